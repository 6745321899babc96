"""thinc's optimizer, for thinc's and spaCy's models, with steps in one pass.

In a config file ``@optimizers = "gradmill.Adam.v1"`` takes the place of ``"Adam.v1"``; there are
``gradmill.RAdam.v1`` and ``gradmill.SGD.v1`` as well. What is not a NumPy array's is left to thinc.
"""

from __future__ import annotations

import inspect
import operator
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill.adapters._steps import Steps, chain_of, rate, uncorrected_adam
from gradmill.transforms import (
    add_decayed_weights,
    clip_by_global_norm,
    identity,
    inject_hyperparams,
    parameter_average,
    scale,
    scale_by_radam,
)
from gradmill.transforms._chain import chain

try:
    import srsly as _srsly
    from thinc import optimizers as _theirs
    from thinc.config import registry as _registry
except ImportError as error:
    raise ImportError(
        f"{error}; gradmill.adapters.thinc needs: pip install 'gradmill[thinc]'"
    ) from error

if TYPE_CHECKING:
    from gradmill._data.types import TransformationLike

    Array = np.ndarray[Any, Any]
    Key = tuple[int, str]

_STATE = {"mom1": "mu", "mom2": "nu", "averages": "average"}
"""The dicts of state arrays, and the library's names of their slots."""

# In float64, since in float32 a weight near one leaves little of the rest.
_average = inject_hyperparams(parameter_average, ("start", "dtype"), np.float64)


class _Rule(NamedTuple):
    """What a parameter's step is made of; the other numbers come with each step."""

    kind: str
    b1: float
    b2: float
    eps: float
    adds_l2: bool
    clips: bool
    decays: bool
    averages: bool

    def chain(self) -> TransformationLike:
        """The members: L2, clip, moments, rate, decay of what the weights will be, average."""
        before: list[TransformationLike] = []
        after: list[TransformationLike] = []
        if self.adds_l2:
            before.append(inject_hyperparams(add_decayed_weights)(weight_decay=1.0))
        if self.clips:
            before.append(inject_hyperparams(clip_by_global_norm)(max_norm=1.0))
        if self.decays:
            after.append(inject_hyperparams(scale)(step_size=1.0))
            after.append(inject_hyperparams(add_decayed_weights)(weight_decay=1.0))
        if self.averages:
            after.append(_average(decay=0.9, dtype=np.float32))
        return chain(*before, self._moments(), rate(), *after)

    def _moments(self) -> TransformationLike:
        if self.kind == "radam":
            return scale_by_radam(self.b1, self.b2, self.eps, threshold=5.0, eps_mode="hat")
        if self.kind == "adam":
            # thinc's has them in float32, other than the corrections in the rate.
            b1, b2 = float(np.float32(self.b1)), float(np.float32(self.b2))
            return uncorrected_adam(b1, b2, self.eps)
        return identity()

    def numbers(self, l2: float, most: float, learn_rate: float, lr_scale: float, t: int) -> Any:
        """The numbers of the members in step ``t``."""
        size = learn_rate if self.kind == "radam" else learn_rate * lr_scale
        if self.kind == "adam":
            size *= (1 - self.b2**t) ** 0.5 / (1 - self.b1**t)
        decay = learn_rate * lr_scale * l2
        return (
            *((l2,) if self.adds_l2 else ()),
            *((most,) if self.clips else ()),
            size,
            *((1 - decay, -decay) if self.decays else ()),
            *((min((1 + t) / (10 + t), 0.9999),) if self.averages else ()),
        )


class Optimizer(_theirs.Optimizer):
    """The optimizer that a thinc model calls with each of its parameters: SGD, Adam or RAdam.

    Arguments and attributes are those of ``thinc.optimizers.Optimizer``: numbers or schedules, and
    dicts by key, whose arrays steps overwrite.

    Args:
        learn_rate: The learning rate.
        **options: ``L2``, ``beta1``, ``beta2``, ``eps``, ``grad_clip``, ``use_averages``,
            ``use_radam`` and ``L2_is_weight_decay``, as in thinc.

    Raises:
        TypeError: An option is unknown.
        ValueError: One is neither a number nor a schedule.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.thinc import Optimizer
        >>> optimizer = Optimizer(0.1)
        >>> weights, gradient = np.ones(2, "f"), np.array([0.3, -0.4], "f")
        >>> weights, gradient = optimizer((0, "W"), weights, gradient)
        >>> weights.round(3), gradient
        (array([0.9, 1.1], dtype=float32), array([0., 0.], dtype=float32))
    """

    __slots__ = ("_bound",)

    def __init__(self, learn_rate: Any, **options: Any) -> None:
        super().__init__(learn_rate, **options)
        self._bound: dict[Key, tuple[_Rule, tuple[Any, Any, Any], Steps]] = {}

    def __call__(
        self, key: Key, weights: Any, gradient: Any, *, lr_scale: float = 1.0
    ) -> tuple[Any, Any]:
        """Take a step with one parameter.

        Args:
            key: The number of a model and the name of a parameter.
            weights: The parameter, which is overwritten.
            gradient: Its gradient, which is zero afterwards.
            lr_scale: A multiple of the learning rate.

        Returns:
            Both arrays.

        Raises:
            LeafValueError: The gradient has another shape, or the weights are read-only.
            LeafTypeError: One has no floats.
        """
        if not (isinstance(weights, np.ndarray) and isinstance(gradient, np.ndarray)):
            return tuple(super().__call__(key, weights, gradient, lr_scale=lr_scale))
        if len(gradient) < 1:
            return weights, gradient
        step, known = self._step, {"key": key, "last_score": self._last_score}
        l2, most = self.L2(step, **known), self.grad_clip(step, **known)
        learn_rate = self.learn_rate(step, **known)
        rule = self._rule(step, known, l2, most)
        t = self.nr_update[key] + 1
        steps = self._steps(key, rule, weights, t)
        steps([weights], [gradient], *rule.numbers(l2, most, learn_rate, lr_scale, t))
        self.nr_update[key] = t
        gradient.fill(0)
        return weights, gradient

    def _rule(self, step: int, known: dict[str, Any], l2: float, most: float) -> _Rule:
        b1, b2 = self.b1(step, **known), self.b2(step, **known)
        kind = "radam" if self.use_radam else "adam" if b1 > 0 and b2 > 0 else "sgd"
        if kind == "sgd" and b2 > 0:
            # As in thinc.
            raise NotImplementedError("beta1 is 0 and beta2 is not: thinc has no such optimizer")
        adds, decays = l2 != 0 and not self.L2_is_weight_decay, l2 != 0 and self.L2_is_weight_decay
        eps, averages = self.eps(step, **known), self.averages is not None
        return _Rule(kind, b1, b2, eps, adds, most != 0, decays, averages)

    def _steps(self, key: Key, rule: _Rule, weights: Array, t: int) -> Steps:
        """Steps of a parameter, over the arrays that the dicts have."""
        own = self._arrays(key)
        bound = self._bound.get(key)
        if bound is not None and bound[0] == rule and all(map(operator.is_, bound[1], own)):
            return bound[2]
        names = [] if rule.kind == "sgd" else ["mom1", "mom2"]
        names += ["averages"] if rule.averages else []
        shape = weights.shape
        slots = {
            _STATE[name]: [
                np.zeros(shape, np.float32 if name == "averages" else weights.dtype)
                if array is None
                else array.reshape(shape)
            ]
            for name, array in zip(_STATE, own, strict=True)
            if name in names
        }
        # Its RAdam is a step ahead.
        steps = Steps(chain_of(_Rule.chain, rule), [weights], slots, count=t)
        for name in names:
            # Moments are flat, in the memory that steps overwrite.
            [array] = steps.slots[_STATE[name]]
            getattr(self, name)[key] = array if name == "averages" else array.reshape(-1)
        self._bound[key] = rule, self._arrays(key), steps
        return steps

    def _arrays(self, key: Key) -> tuple[Any, Any, Any]:
        averages = None if self.averages is None else self.averages.get(key)
        return self.mom1.get(key), self.mom2.get(key), averages

    def to_bytes(self) -> bytes:
        """The state in thinc's own format: moments, averages, counts, step and score.

        Schedules are not included; they come from the configuration.
        """
        state: dict[str, Any] = {name: _items(getattr(self, name)) for name in _STATE}
        counts = {"nr_update": _items(self.nr_update), "last_seen": _items(self.last_seen)}
        state |= {**counts, "step": self._step, "last_score": self._last_score}
        packed: bytes = _srsly.msgpack_dumps(state)
        return packed

    def from_bytes(self, packed: bytes) -> Optimizer:
        """Continue from a state that :meth:`to_bytes` returned.

        Args:
            packed: The bytes.

        Returns:
            This optimizer.

        Example:
            >>> import numpy as np
            >>> from gradmill.adapters.thinc import Adam
            >>> first, second = Adam(0.1), Adam(0.1)
            >>> _ = first((0, "W"), np.ones(2, "f"), np.ones(2, "f"))
            >>> second.from_bytes(first.to_bytes()).nr_update[0, "W"]
            1
        """
        state = _srsly.msgpack_loads(packed)
        for name in _STATE:
            items = state[name]
            arrays = None if items is None else {(at, of): np.array(a) for at, of, a in items}
            setattr(self, name, arrays)
        for name in ("nr_update", "last_seen"):
            counts = ((at, of, count) for at, of, count in state[name])
            setattr(self, name, defaultdict(int, {(at, of): count for at, of, count in counts}))
        score = state["last_score"]
        own = {"_step": state["step"], "_last_score": None if score is None else tuple(score)}
        for name, value in own.items():
            setattr(self, name, value)
        return self

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """All that thinc's own has; the next step binds anew."""
        slots = (name for name in (*_theirs.Optimizer.__slots__,) if hasattr(self, name))
        return None, {**{name: getattr(self, name) for name in slots}, "_bound": {}}


def _items(by_key: dict[Key, Any] | None) -> list[tuple[Any, ...]] | None:
    return None if by_key is None else [(*key, value) for key, value in by_key.items()]


def Adam(learn_rate: Any = 0.001, **options: Any) -> Optimizer:  # noqa: N802  (thinc's name)
    """``thinc.optimizers.Adam`` with steps in one pass; "gradmill.Adam.v1" in config files.

    Args:
        learn_rate: The learning rate.
        **options: See :class:`Optimizer`.

    Example:
        >>> from gradmill.adapters.thinc import Adam
        >>> Adam(0.01, L2=0.1).use_radam
        False
    """
    return Optimizer(learn_rate, **options)


def RAdam(learn_rate: Any = 0.001, **options: Any) -> Optimizer:  # noqa: N802  (thinc's name)
    """``thinc.optimizers.RAdam`` with steps in one pass; "gradmill.RAdam.v1" in config files.

    Args:
        learn_rate: The learning rate.
        **options: See :class:`Optimizer`.

    Example:
        >>> from gradmill.adapters.thinc import RAdam
        >>> RAdam(0.01).use_radam
        True
    """
    return Optimizer(learn_rate, use_radam=True, **options)


def SGD(learn_rate: Any, **options: Any) -> Optimizer:  # noqa: N802  (thinc's name)
    """``thinc.optimizers.SGD`` with steps in one pass; "gradmill.SGD.v1" in config files.

    Args:
        learn_rate: The learning rate.
        **options: See :class:`Optimizer`.

    Example:
        >>> from gradmill.adapters.thinc import SGD
        >>> SGD(0.01).b1(0)
        0.0
    """
    return Optimizer(learn_rate, beta1=0.0, beta2=0.0, **options)


for _make in (Adam, RAdam, SGD):
    # Config files are checked against the signature.
    _make.__signature__ = inspect.signature(getattr(_theirs, _make.__name__))  # type: ignore[attr-defined]  # functions have attributes
    _registry.optimizers(f"gradmill.{_make.__name__}.v1")(_make)
