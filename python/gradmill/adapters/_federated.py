"""A federated server's arithmetic: the average of its clients, and its step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradmill._optimizer import Optimizer
from gradmill._run.sums import weighted_sum
from gradmill.adapters._steps import Native, adam_by_rate, rate
from gradmill.errors import LeafTypeError, LeafValueError
from gradmill.transforms import identity, scale_by_rss, scale_by_yogi, trace
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._data.types import TransformationLike
    from gradmill.adapters._steps import Slots

    Array = np.ndarray[Any, Any]
    Chain = tuple[Callable[..., TransformationLike], tuple[Any, ...]]


def average(arrays: Sequence[Array], parts: Sequence[float], name: str) -> Array:
    """The weighted average of arrays of one shape, in their dtype, rounded for integers.

    Raises:
        LeafTypeError: They are neither of floats nor of integers or bools.
    """
    dtype = arrays[0].dtype
    if any(array.dtype.kind not in "fiub" for array in arrays):
        raise LeafTypeError(f"{name}: dtype {dtype}, expected floats, integers or bools")
    if all(map(_is_float, arrays)):
        total: Array = weighted_sum(arrays, parts)
        return total.astype(dtype, copy=False)
    # Counters are small.
    return np.asarray(np.rint(np.tensordot(parts, np.stack(arrays), 1)), dtype)


def _is_float(array: Array) -> bool:
    return bool(array.dtype.kind == "f")


def shares(weights: Sequence[float]) -> list[float]:
    """Weights that add up to one."""
    total = sum(weights)
    return [weight / total for weight in weights]


class _Server(ABC):
    """What becomes of the current arrays and an aggregate: a step of those of floats.

    Attributes:
        _climbs: Whether the direction is that from the current arrays to the aggregate, as Flower's
            moments have it, or the opposite, a gradient.
    """

    _climbs = True

    def _stepped(
        self, server_round: int, keys: Sequence[Any], current: list[Array], aggregate: list[Array]
    ) -> list[Array]:
        """New arrays; none that was given is written to."""
        floats = [at for at, old in enumerate(current) if _is_float(old)]
        own = [current[at] for at in floats]
        for key, old, to in zip(keys, current, aggregate, strict=True):
            if old.shape != to.shape:
                raise LeafValueError(f"{key!r}: shape {to.shape}, the server has {old.shape}")
        directions = [
            self._direction(old, aggregate[at]) for at, old in zip(floats, own, strict=True)
        ]
        moved = self._moved(server_round, [keys[at] for at in floats], own, directions)
        new = list(aggregate)
        for at, array in zip(floats, moved, strict=True):
            new[at] = array
        return new

    def _direction(self, old: Array, aggregate: Array) -> Array:
        pair = (aggregate, old) if self._climbs else (old, aggregate)
        return np.asarray(np.subtract(*pair, dtype=old.dtype))

    @abstractmethod
    def _moved(
        self, server_round: int, keys: list[Any], current: list[Array], directions: list[Array]
    ) -> list[Array]:
        """The arrays behind the step."""


class _ByRule(_Server, Native):
    """A step of Flower's, with the state in the attributes where Flower has it.

    Attributes:
        _state: These attributes, by the library's names of slots.
    """

    _state: ClassVar[dict[str, str]]
    _keys: tuple[Any, ...] = ()
    _steps_from_zero: Sequence[Array] = ()

    @abstractmethod
    def _rate(self, server_round: int) -> float:
        """What the step of a round multiplies with."""

    def _moved(
        self, server_round: int, keys: list[Any], current: list[Array], directions: list[Array]
    ) -> list[Array]:
        self._keys = tuple(keys)
        # No rule looks at the parameters; a step from zero is what is to be added.
        steps = self._steps_from_zero
        if [(x.shape, x.dtype) for x in steps] != [(x.shape, x.dtype) for x in current]:
            steps = self._steps_from_zero = [np.empty_like(old) for old in current]
            self._bound = None
        for step in steps:
            step.fill(0)
        size = self._rate(server_round)
        self._steps(steps)(steps, directions, -size if self._climbs else size)
        return [np.asarray(old + step) for old, step in zip(current, steps, strict=True)]

    def _slots(self) -> Slots:
        return {slot: _listed(getattr(self, name)) for slot, name in self._state.items()}

    def _take(self, slots: dict[str, list[Any]]) -> None:
        for slot, name in self._state.items():
            setattr(self, name, self._in_order(slots[slot]))

    def _in_order(self, arrays: list[Array]) -> Any:
        return arrays


def _listed(arrays: Any) -> list[Array] | None:
    if not arrays:
        return None
    return list(arrays.values()) if isinstance(arrays, dict) else arrays


class AdamStep(_ByRule):
    """Moments without corrections but for those in the rate, which are a step ahead."""

    _state: ClassVar = {"mu": "m_t", "nu": "v_t"}

    def _chain(self: Any) -> Chain:
        return adam_by_rate, (self.beta_1, self.beta_2, self.tau)

    def _rate(self: Any, server_round: int) -> float:
        power = server_round + 1
        correction = math.sqrt(1 - self.beta_2**power) / (1 - self.beta_1**power)
        return float(self.eta * correction)


class YogiStep(_ByRule):
    """Moments without corrections, the second of which starts at zero."""

    _state: ClassVar = {"mu": "m_t", "nu": "v_t"}

    def _chain(self: Any) -> Chain:
        return _yogi, (self.beta_1, self.beta_2, self.tau)

    def _rate(self: Any, server_round: int) -> float:
        return float(self.eta)


class AdagradStep(_ByRule):
    """Sums of squares; the first moment is the difference itself."""

    _state: ClassVar = {"sum_of_squares": "v_t"}

    def _chain(self: Any) -> Chain:
        return _adagrad, (self.tau,)

    def _rate(self: Any, server_round: int) -> float:
        return float(self.eta)


class MomentumStep(_ByRule):
    """A sum of gradients, the first of which is the first gradient."""

    _climbs = False

    @property
    def _state(self: Any) -> dict[str, str]:  # type: ignore[override]  # by the rule in force
        return {"trace": "momentum_vector"} if self.server_momentum > 0 else {}

    def _chain(self: Any) -> Chain:
        return _momentum, (max(self.server_momentum, 0.0),)

    def _rate(self: Any, server_round: int) -> float:
        return float(self.server_learning_rate)


class ChainStep(_Server):
    """A step of a transformation, of parameters by their names."""

    _climbs = False
    tx: TransformationLike
    optimizer: Optimizer | None

    def _moved(
        self, server_round: int, keys: list[Any], current: list[Array], directions: list[Array]
    ) -> list[Array]:
        if self.optimizer is None:
            params = dict(zip(keys, map(np.array, current), strict=True))
            self.optimizer = Optimizer(self.tx, params)
        params = self.optimizer.params
        for key, old in zip(keys, current, strict=True):
            np.copyto(params[key], old)
        self.optimizer.step(dict(zip(keys, directions, strict=True)))
        return [params[key].copy() for key in keys]


def _yogi(b1: float, b2: float, eps: float) -> TransformationLike:
    moments = scale_by_yogi(
        b1, b2, eps, eps_root=0.0, initial_accumulator_value=0.0, bias_correction=False
    )
    return chain(moments, rate())


def _adagrad(eps: float) -> TransformationLike:
    return chain(scale_by_rss(0.0, eps, eps_in_sqrt=False), rate())


def _momentum(decay: float) -> TransformationLike:
    return chain(trace(decay) if decay else identity(), rate())
