"""Steps over arrays that somebody else owns, at a rate that somebody else sets."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill.optimizer import Optimizer
from gradmill.transforms import inject_hyperparams, scale_by_adam, scale_by_learning_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradmill._data.types import TransformationLike
    from gradmill._run.report import StepReport
    from gradmill._run.transformation import GradientTransformation

    Slots = Mapping[str, Sequence[Any] | None]
    """Lists of state arrays by name; None for those that a chain starts with."""


def rate() -> TransformationLike:
    """The member of a chain that multiplies with a number that :class:`Steps` is called with."""
    return inject_hyperparams(scale_by_learning_rate)(learning_rate=1.0)


def uncorrected_adam(b1: float, b2: float, eps: float) -> GradientTransformation:
    """Adam's moments, and their quotient without corrections, which are in the rate."""
    return scale_by_adam(b1, b2, eps, bias_correction=False)


class Steps:
    """An optimizer of a list of arrays, which each step is told anew.

    Attributes:
        slots: The lists of state arrays by name, which steps overwrite.
    """

    def __init__(
        self,
        tx: TransformationLike,
        params: Sequence[Any],
        slots: Slots,
        count: int = 0,
    ) -> None:
        """Bind a chain, with copies of these state arrays and so many steps to start from."""
        self._optimizer = Optimizer(tx, list(params))
        start = tuple(_with(part, slots, count) for part in self._optimizer.state)
        self._optimizer.init_from(start, steps=0)
        parts = self._optimizer.state
        found = {name: getattr(part, name) for part in parts for name in _fields(part, slots)}
        self.slots: dict[str, list[Any]] = found
        injected = [part.hyperparams for part in parts if hasattr(part, "hyperparams")]
        self._numbers = [(numbers, name) for numbers in injected for name in numbers]

    def holds(self, slots: Slots) -> bool:
        """Whether these are the state arrays that steps overwrite."""
        for name, own in self.slots.items():
            given = slots[name]
            if given is None or len(own) != len(given) or any(map(operator.is_not, own, given)):
                return False
        return True

    def __call__(self, params: Sequence[Any], grads: Sequence[Any], *numbers: float) -> StepReport:
        """Update these arrays in place; they may be others than the last ones, of equal shapes.

        Args:
            params: The arrays.
            grads: Their gradients.
            *numbers: The numbers injected into the chain, in its order.
        """
        bound = self._optimizer.params
        if any(map(operator.is_not, params, bound)):
            bound[:] = params
            self._optimizer.load(bound)
        for (injected, name), number in zip(self._numbers, numbers, strict=True):
            injected[name] = number
        return self._optimizer.step(grads)


def _fields(part: Any, slots: Slots) -> list[str]:
    return [name for name in slots if hasattr(part, name)]


def _with(part: Any, slots: Slots, count: int) -> Any:
    """A part of a state with other arrays, and the count that goes with them."""
    given = {name: slots[name] for name in _fields(part, slots)}
    new: dict[str, Any] = {name: list(own) for name, own in given.items() if own is not None}
    if new and "count" in part._fields:
        new["count"] = np.asarray(count, part.count.dtype)
    return part._replace(**new) if new else part


class Native:
    """An optimizer of another program, whose attributes have the state, and our steps.

    What is assigned to such an attribute holds from the next step on. Steps are bound to arrays
    when they are taken, so there is nothing of theirs to be pickled.
    """

    _steps: tuple[tuple[Any, ...], Steps] | None = None

    def _chain(self) -> tuple[Callable[..., TransformationLike], tuple[Any, ...]]:
        """What makes the chain, and the hyperparameters that it is made of."""
        raise NotImplementedError

    def _slots(self) -> Slots:
        """The state arrays, by the library's names for them."""
        raise NotImplementedError

    def _take(self, slots: dict[str, list[Any]]) -> None:
        """Have these arrays from now on, which have the values of the old ones."""
        raise NotImplementedError

    def _step(self, params: Sequence[Any], grads: Sequence[Any], rate: float) -> StepReport:
        """Overwrite parameters and state."""
        make, numbers = self._chain()
        if (
            self._steps is None
            or self._steps[0] != numbers
            or not self._steps[1].holds(self._slots())
        ):
            steps = Steps(make(*numbers), params, self._slots())
            self._take(steps.slots)
            self._steps = numbers, steps
        return self._steps[1](params, grads, rate)

    def __getstate__(self) -> dict[str, Any]:
        """All attributes that the other program's own has."""
        return {name: value for name, value in vars(self).items() if name != "_steps"}
