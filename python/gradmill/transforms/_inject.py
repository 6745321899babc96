from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._arrays import is_float
from gradmill._base import is_transformation
from gradmill._control import Context, Control, Plan
from gradmill._numbers import HOST, is_foreign, is_traced
from gradmill._recorded import Call, recorded
from gradmill._run import native_with_extra
from gradmill._scalars import next_count
from gradmill._spec import Gated, Spec, float_dtype
from gradmill._tree import flatten
from gradmill.schedules import StatefulSchedule, WrappedSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import DTypeLike

    from gradmill._base import (
        GradientTransformationExtraArgs,
        PyTree,
        TransformationLike,
    )


class InjectStatefulHyperparamsState(NamedTuple):
    """The state of :func:`inject_hyperparams`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        hyperparams: The hyperparameters by name, 0-d arrays; assign to change one.
        hyperparams_states: The states of those that are schedules.
        inner_state: The state of the transformation inside.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.inject_hyperparams(gm.scale)(step_size=-0.1)
        >>> tx.init(np.zeros(2)).hyperparams
        {'step_size': array(-0.1)}
    """

    count: Any
    hyperparams: Any
    hyperparams_states: Any
    inner_state: Any


class _Injection(Control):
    """Builds the transformation inside from what the state says at the moment."""

    counts = ("count",)

    def __init__(
        self,
        factory: Callable[..., TransformationLike],
        fixed: Mapping[str, Any],
        numbers: Mapping[str, Any],
        schedules: Mapping[str, StatefulSchedule],
        dtype: np.dtype[Any] | None,
    ) -> None:
        self.factory = factory
        self.fixed = fixed
        self.numbers = numbers
        self.schedules = schedules
        self.dtype = dtype
        self._built: tuple[dict[str, float], TransformationLike] | None = None

    def build(self, values: Mapping[str, Any]) -> TransformationLike:
        """The transformation with these hyperparameters; the last one is kept."""
        if any(map(is_traced, values.values())):
            return self._build(values)
        key = {name: float(value) for name, value in values.items()}
        # Another thread may put another one there at any time.
        built = self._built
        if built is None or built[0] != key:
            self._built = built = key, self._build(values)
        return built[1]

    def _build(self, values: Mapping[str, Any]) -> TransformationLike:
        tx = self.factory(**self.fixed, **values)
        if not is_transformation(tx):
            raise TypeError(f"inject_hyperparams: the factory returned {tx!r}")
        return tx

    def __reduce__(self) -> tuple[Any, ...]:
        made_from = self.factory, self.fixed, self.numbers, self.schedules, self.dtype
        return _Injection, made_from

    def prototype(self) -> TransformationLike:
        """The transformation with the hyperparameters of the first step."""
        first = {name: schedule(schedule.init()) for name, schedule in self.schedules.items()}
        return self.build({**self.numbers, **first})

    def _cast(self, value: Any, params: PyTree) -> Any:
        """A 0-d array: a number in the dtype asked for or the widest among the parameters."""
        array = value if is_traced(value) else np.asarray(value)
        if array.dtype.kind != "f":
            return array
        if isinstance(value, np.ndarray) and self.dtype is None:
            return array.copy()
        return array.astype(self.dtype or _widest(params))

    def init(self, params: PyTree) -> dict[str, Any]:
        states = {name: schedule.init() for name, schedule in self.schedules.items()}
        values = {name: self._cast(value, params) for name, value in self.numbers.items()}
        for name, schedule in self.schedules.items():
            values[name] = self._cast(float(schedule(states[name])), params)
        return {
            "count": np.zeros((), np.int32),
            "hyperparams": values,
            "hyperparams_states": states,
        }

    def plan(self, state: Any, context: Context) -> Plan:
        like = context.updates if context.params is None else context.params
        cast = self._cast if context.xp is HOST or self.dtype else lambda value, _: value
        values = {name: cast(value, like) for name, value in state.hyperparams.items()}
        states = {}
        for name, schedule in self.schedules.items():
            own = state.hyperparams_states[name]
            value = schedule(own, **context.extra)
            is_on_host = context.xp is HOST
            values[name] = self._cast(float(value) if is_on_host else value, like)
            states[name] = schedule.update(own, **context.extra)
        return Plan(inner=self.build(values), memo=(values, states))

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        values, states = plan.memo
        count = next_count(state.count)
        return {"count": count, "hyperparams": values, "hyperparams_states": states}


def _widest(params: PyTree) -> np.dtype[Any]:
    """The widest dtype among the parameters, and at least float32."""
    # Counts, flags and keys among the parameters have no say.
    arrays = [leaf if is_foreign(leaf) else np.asarray(leaf) for leaf in flatten(params)[0]]
    return np.result_type(np.float32, *{a.dtype for a in arrays if is_float(a.dtype)})


def inject_hyperparams(
    inner_factory: Callable[..., TransformationLike],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DTypeLike | None = None,
) -> Callable[..., GradientTransformationExtraArgs]:
    """Keep the hyperparameters of a transformation in its state, where they can be changed.

    ``inject_hyperparams(adam)(learning_rate=0.1)`` is ``adam(learning_rate=0.1)`` with numbers and
    schedules among its arguments, defaults included, in ``state.hyperparams``. A number assigned
    there holds from the next step on; that of a schedule is evaluated anew in each step, with a
    count from 0. Nothing is compiled, and the transformation stays native.

    Args:
        inner_factory: A function that returns a transformation.
        static_args: The name or names of arguments to leave as they are. A mask that is a function
            belongs here, since functions count as schedules.
        hyperparam_dtype: float32 or float64 for the values; None for the widest dtype among the
            parameters, and at least float32. Arrays keep their own.

    Returns:
        A function that takes the arguments of ``inner_factory`` and returns a transformation with
        state :class:`InjectStatefulHyperparamsState`.

    Raises:
        TypeError: ``hyperparam_dtype`` is no such dtype.
        ValueError: ``static_args`` names no argument of ``inner_factory``; or, from ``update``,
            the ops of the transformation depend on a hyperparameter's value.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.inject_hyperparams(gm.sgd)(learning_rate=1.0), np.zeros(1))
        >>> _ = opt.step(np.ones(1))
        >>> opt.state.hyperparams["learning_rate"] = 0.5
        >>> _ = opt.step(np.ones(1))
        >>> opt.params
        array([-1.5])
    """
    static = {static_args} if isinstance(static_args, str) else set(static_args)
    signature = inspect.signature(inner_factory)
    if not static.issubset(signature.parameters):
        raise ValueError(
            f"static_args must name arguments of the factory, {list(signature.parameters)};"
            f" got {sorted(static)}"
        )
    dtype = float_dtype("hyperparam_dtype", hyperparam_dtype)

    @functools.wraps(inner_factory)
    def wrapped(*args: Any, **kwargs: Any) -> GradientTransformationExtraArgs:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        fixed: dict[str, Any] = {}
        numbers: dict[str, Any] = {}
        schedules: dict[str, StatefulSchedule] = {}
        for name, value in bound.arguments.items():
            if name in static or isinstance(value, (bool, np.bool_)):
                fixed[name] = value
            elif isinstance(value, StatefulSchedule):
                schedules[name] = value
            elif callable(value):
                schedules[name] = WrappedSchedule(value)
            elif isinstance(value, (int, float, np.number, np.ndarray)) or is_foreign(value):
                numbers[name] = value
            else:
                fixed[name] = value
        control = _Injection(inner_factory, fixed, numbers, schedules, dtype)
        spec = Spec(None, InjectStatefulHyperparamsState, control=control)
        return native_with_extra(Gated(spec, control.prototype(), "inner_state"))

    keywords: dict[str, Any] = {"static_args": sorted(static)} if static else {}
    if dtype is not None:
        keywords["hyperparam_dtype"] = dtype
    return recorded(wrapped, Call(inject_hyperparams, (inner_factory,), keywords))
