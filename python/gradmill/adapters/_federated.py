"""What the server of federated learning does with its arrays and the average of its clients'."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradmill._run.sums import weighted_sum
from gradmill.adapters._steps import Native, rate, uncorrected_adam
from gradmill.optimizer import Optimizer
from gradmill.transforms import identity, scale_by_rss, scale_by_yogi, trace
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._data.types import TransformationLike
    from gradmill.adapters._steps import Slots

    Array = np.ndarray[Any, Any]
    Chain = tuple[Callable[..., TransformationLike], tuple[Any, ...]]


def average(arrays: Sequence[Array], parts: Sequence[float]) -> Array:
    """The weighted average of arrays of one shape, in their dtype."""
    dtype = arrays[0].dtype
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


class _Server:
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
        new, directions = list(aggregate), list(aggregate)
        for at, old in enumerate(current):
            if _is_float(old):
                pair = (aggregate[at], old) if self._climbs else (old, aggregate[at])
                new[at] = old.copy()
                directions[at] = np.asarray(np.subtract(*pair, dtype=old.dtype))
        self._move(server_round, keys, new, directions)
        return new

    def _move(
        self, server_round: int, keys: Sequence[Any], new: list[Array], directions: list[Array]
    ) -> None:
        """Overwrite what is of floats in ``new``."""
        raise NotImplementedError


class _ByRule(_Server, Native):
    """A step of Flower's, with the state in the attributes where Flower has it.

    Attributes:
        _state: These attributes, by the library's names of slots.
    """

    _state: ClassVar[dict[str, str]]
    _keys: tuple[Any, ...] = ()

    def _rate(self, server_round: int) -> float:
        raise NotImplementedError

    def _move(
        self, server_round: int, keys: Sequence[Any], new: list[Array], directions: list[Array]
    ) -> None:
        floats = [at for at, array in enumerate(new) if _is_float(array)]
        self._keys = tuple(keys[at] for at in floats)
        size = self._rate(server_round)
        own = [new[at] for at in floats]
        moves = [directions[at] for at in floats]
        self._steps(own)(own, moves, -size if self._climbs else size)

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
        return _adam, (self.beta_1, self.beta_2, self.tau)

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
    def _state(self: Any) -> dict[str, str]:  # type: ignore[override]
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

    def _move(
        self, server_round: int, keys: Sequence[Any], new: list[Array], directions: list[Array]
    ) -> None:
        params, grads = dict(zip(keys, new, strict=True)), dict(zip(keys, directions, strict=True))
        if self.optimizer is None:
            self.optimizer = Optimizer(self.tx, params, others="keep")
        self.optimizer.step(grads, params=params)


def _adam(b1: float, b2: float, eps: float) -> TransformationLike:
    return chain(uncorrected_adam(b1, b2, eps), rate())


def _yogi(b1: float, b2: float, eps: float) -> TransformationLike:
    moments = scale_by_yogi(
        b1, b2, eps, eps_root=0.0, initial_accumulator_value=0.0, bias_correction=False
    )
    return chain(moments, rate())


def _adagrad(eps: float) -> TransformationLike:
    return chain(scale_by_rss(0.0, eps, eps_in_sqrt=False), rate())


def _momentum(decay: float) -> TransformationLike:
    return chain(trace(decay) if decay else identity(), rate())
