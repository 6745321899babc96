"""Steps over arrays of another program, at rates that it sets."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._optimizer import Optimizer
from gradmill.transforms import inject_hyperparams, scale_by_adam, scale_by_learning_rate
from gradmill.transforms._chain import chain

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


@lru_cache(maxsize=64)
def chain_of(make: Callable[..., TransformationLike], *numbers: Any) -> TransformationLike:
    """The chain of these hyperparameters, which is laid out once however many are bound to it."""
    return make(*numbers)


def adam_by_rate(b1: float, b2: float, eps: float) -> TransformationLike:
    """Adam with epsilon beside the moment as it is; :class:`Steps` are called with its rate."""
    return chain(uncorrected_adam(b1, b2, eps), rate())


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
        inner = [getattr(part, "inner_state", part) for part in parts]
        found = {name: getattr(part, name) for part in inner for name in _fields(part, slots)}
        self.slots: dict[str, list[Any]] = found
        injected = [part.hyperparams for part in parts if hasattr(part, "hyperparams")]
        self._numbers = [(numbers, name) for numbers in injected for name in numbers]

    def __call__(
        self,
        params: Sequence[Any],
        grads: Sequence[Any],
        *numbers: float,
    ) -> StepReport:
        """Update these arrays in place; they may be others than the last ones, of equal shapes.

        Args:
            params: The arrays.
            grads: Their gradients.
            *numbers: The numbers injected into the chain, in its order.
        """
        if any(map(operator.is_not, params, self._optimizer.params)):
            self._optimizer.rebind(list(params))
        for (injected, name), number in zip(self._numbers, numbers, strict=True):
            injected[name] = number
        return self._optimizer.step(grads)


def _fields(part: Any, slots: Slots) -> list[str]:
    return [name for name in slots if hasattr(part, name)]


def _with(part: Any, slots: Slots, count: int) -> Any:
    """A part of a state with other arrays, and the count that goes with them."""
    if hasattr(part, "inner_state"):
        return part._replace(inner_state=_with(part.inner_state, slots, count))
    given = {name: slots[name] for name in _fields(part, slots)}
    new: dict[str, Any] = {name: list(own) for name, own in given.items() if own is not None}
    if new and "count" in part._fields:
        new["count"] = np.asarray(count, part.count.dtype)
    return part._replace(**new) if new else part


class Native(ABC):
    """An optimizer of another program, whose attributes have the state, and our steps.

    What is assigned to such an attribute holds from the next step on. Steps are bound to arrays
    when they are taken, so there is nothing of theirs to be pickled.
    """

    _bound: tuple[tuple[Any, ...], list[Any], Steps] | None = None
    _derived = frozenset({"_bound"})

    @abstractmethod
    def _chain(self) -> tuple[Callable[..., TransformationLike], tuple[Any, ...]]:
        """What makes the chain, and the hyperparameters that it is made of."""

    @abstractmethod
    def _slots(self) -> Slots:
        """The state arrays, by the library's names for them."""

    def _own(self) -> list[Any]:
        """All of them."""
        return [array for arrays in self._slots().values() for array in arrays or [None]]

    @abstractmethod
    def _take(self, slots: dict[str, list[Any]]) -> None:
        """Have these arrays from now on, which have the values of the old ones."""

    def _steps(self, params: Sequence[Any]) -> Steps:
        """Steps over the state that there is now."""
        make, numbers = self._chain()
        bound = self._bound
        if bound is None or bound[0] != numbers or not _are(bound[1], self._own()):
            steps = Steps(chain_of(make, *numbers), params, self._slots())
            self._take(steps.slots)
            self._bound = bound = numbers, self._own(), steps
        return bound[2]

    def __getstate__(self) -> dict[str, Any]:
        """All attributes that the other program's own has."""
        return {name: value for name, value in vars(self).items() if name not in self._derived}


def _are(old: list[Any], new: list[Any]) -> bool:
    return len(old) == len(new) and all(map(operator.is_, old, new))
