from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.arrays import widest
from gradmill._data.checks import float_dtype, is_integer, is_real, number_of, refusal
from gradmill._data.numbers import HOST, TRACED, is_foreign, is_traced, namespace_of
from gradmill._data.recorded import Call, recorded
from gradmill._data.tape import UnwritableError, is_own
from gradmill._data.trees import flatten
from gradmill._data.types import WrappedScheduleState, is_transformation
from gradmill._plan.control import Context, Control, FieldError, Plan
from gradmill._plan.scalars import next_count
from gradmill._plan.spec import Gated, Spec
from gradmill._run.fused import native_with_extra
from gradmill.errors import LeafTypeError, TreeError
from gradmill.schedules._named import value_of
from gradmill.schedules._stateful import WrappedSchedule
from gradmill.transforms._arguments import sort_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import ParamSpec, Protocol, overload

    from numpy.typing import DTypeLike

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.cells import After, Cells
    from gradmill._run.transformation import GradientTransformationExtraArgs
    from gradmill.schedules import StatefulSchedule

    _A = ParamSpec("_A")

    class _Injected(Protocol[_A]):
        """What takes the arguments of a factory; a schedule may stand for any of its numbers."""

        @overload
        def __call__(
            self, *args: _A.args, **kwargs: _A.kwargs
        ) -> GradientTransformationExtraArgs: ...
        @overload
        def __call__(self, *args: Any, **kwargs: Any) -> GradientTransformationExtraArgs: ...


class InjectStatefulHyperparamsState(NamedTuple):
    """The state of :func:`inject_hyperparams`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        hyperparams: The hyperparameters by name, 0-d arrays; assign to change one.
        hyperparams_states: The states of those that are schedules.
        inner_state: The state of the inner transformation.

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


class InjectHyperparamsState(NamedTuple):
    """A state of older versions of optax, before schedules had state; gradmill never makes one.

    Attributes:
        count: Steps taken.
        hyperparams: The hyperparameters by name.
        inner_state: The state of the inner transformation.

    Example:
        >>> import gradmill as gm
        >>> gm.InjectHyperparamsState(count=3, hyperparams={}, inner_state=gm.EmptyState())
        InjectHyperparamsState(count=3, hyperparams={}, inner_state=EmptyState())
    """

    count: Any
    hyperparams: Any
    inner_state: Any


class _Injection(Control):
    """Builds the inner transformation from what the state says at the moment."""

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
        self._names = {*numbers, *schedules}
        self._rounded: dict[tuple[str, Any], Any] = {}
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
        first = {name: self._value(name, own.init()) for name, own in self.schedules.items()}
        return self.build({**self.numbers, **first})

    def _value(self, name: str, state: PyTree, **extra_args: Any) -> Any:
        """What a schedule says, in full precision."""
        with np.errstate(all="ignore"):
            return value_of(name, self.schedules[name](state, **extra_args))

    def _stored(self, name: str, value: Any, params: PyTree) -> Any:
        """A number as the state has it: a 0-d array of the dtype asked for, or of the widest one.

        Integers stay such where the factory was given one, int32 as in a JAX program.
        """
        if self.dtype is None and _is_stored(value):
            return value.copy()
        if is_traced(value):
            array = value
        elif isinstance(value, (np.ndarray, np.generic)) or is_foreign(value):
            array = np.asarray(value)
        else:
            array = np.asarray(number_of(value))
        given = self.numbers.get(name)
        if array.dtype.kind in "iu" and (given is None or is_integer(given)):
            return array if is_traced(array) else _narrow(array)
        if isinstance(value, np.ndarray) and self.dtype is None and array.dtype.kind == "f":
            return array.copy()
        return _rounded(array, self.dtype or widest(flatten(params)[0]))

    def _exact(self, name: str, value: Any) -> Any:
        """What the factory was given, if the 0-d array ``value`` is that number, rounded."""
        given = self.numbers[name]
        if is_traced(given):
            return value
        key = name, value.dtype
        if key not in self._rounded:
            self._rounded[key] = number_of(_rounded(np.asarray(number_of(given)), value.dtype))
        if not is_traced(value):
            return given if float(value) == self._rounded[key] else value
        xp = namespace_of(value)
        wide = xp.asarray(value, float)
        if value.dtype.kind in "iu" or wide.dtype == value.dtype:
            return value
        # A sum, so that there is a derivative. It is exact, since the number it makes is a float64.
        rest = float(number_of(given)) - float(self._rounded[key])
        return wide + xp.where(value == self._rounded[key], rest, 0.0)

    def init(self, params: PyTree) -> dict[str, Any]:
        states = {name: schedule.init() for name, schedule in self.schedules.items()}
        first = {name: self._value(name, state) for name, state in states.items()}
        values = {**self.numbers, **first}
        return {
            "count": np.zeros((), np.int32),
            "hyperparams": {n: self._stored(n, value, params) for n, value in values.items()},
            "hyperparams_states": states,
        }

    def plan(self, state: Any, context: Context) -> Plan:
        like = context.updates if context.params is None else context.params
        on_host = context.xp is HOST
        if on_host and state.hyperparams.keys() != self._names:
            raise FieldError("hyperparams", _difference(self._names, state.hyperparams), TreeError)
        stored: dict[str, Any] = {}
        exact: dict[str, Any] = {}
        states: dict[str, Any] = {}
        for name in self.numbers:
            value = state.hyperparams[name]
            if on_host and not _is_stored(value):
                _check(name, value)
            new = self._stored(name, value, like) if on_host or self.dtype else value
            stored[name] = new
            exact[name] = self._exact(name, new) if hasattr(new, "dtype") else new
        for name, schedule in self.schedules.items():
            own = state.hyperparams_states[name]
            exact[name] = self._value(name, own, **context.extra)
            stored[name] = self._stored(name, exact[name], like)
            states[name] = schedule.update(own, **context.extra)
        return Plan(inner=self.build(exact), carry=(stored, states))

    def written(self, recipe: Cells, link: int) -> tuple[Plan, After]:
        # A factory of the user's may compute anything of its numbers.
        is_known = is_own(self.factory)
        if not all(is_known and _is_wrapped(schedule) for schedule in self.schedules.values()):
            raise UnwritableError
        dtype = None if self.dtype is None else self.dtype.name
        count = recipe.cell(link, ("count",), "count")
        exact: dict[str, Any] = {}
        new: dict[Any, Any] = {("count",): next_count(count)}
        for name, given in self.numbers.items():
            number = number_of(given)
            if not isinstance(number, float):
                # An integer stays one in the state.
                raise UnwritableError
            path = "hyperparams", name
            exact[name] = recipe.cell(link, path, "number", given=number, dtype=dtype)
            if not is_known:
                recipe.tape.need(exact[name] == number)
        for name, schedule in self.schedules.items():
            path = "hyperparams", name
            recipe.cell(link, path, "number", dtype=dtype)
            steps = recipe.cell(link, ("hyperparams_states", name, "count"), "count")
            exact[name] = new[path] = schedule(WrappedScheduleState(steps))
            new["hyperparams_states", name, "count"] = next_count(steps)
        if is_known:
            recipe.inject(link, self.factory(**self.fixed, **exact))
        return Plan(), lambda _: new

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        values, states = plan.carry
        count = next_count(state.count)
        return {"count": count, "hyperparams": values, "hyperparams_states": states}


def _is_wrapped(schedule: StatefulSchedule) -> bool:
    """Whether a schedule is one of the count of steps, as :func:`sort_arguments` wraps it."""
    return type(schedule) is WrappedSchedule


def _is_stored(value: Any) -> bool:
    """Whether a hyperparameter is a 0-d array of floats, as :func:`init` made it."""
    return type(value) is np.ndarray and value.dtype.char in "fd" and not value.shape


def _check(name: str, value: Any) -> None:
    """See that what was assigned is a number."""
    problem = TRACED
    if not is_traced(value):
        if is_real(value):
            return
        wanted, given = refusal(value)
        problem = f"must be {wanted}, got {given}"
    raise FieldError(f"hyperparams[{name!r}]", problem, LeafTypeError)


def _difference(names: set[str], hyperparams: Mapping[str, Any]) -> str:
    """The first name that is missing, or that there should not be."""
    name = min(names ^ hyperparams.keys())
    return f"{'missing' if name in names else 'unknown'} key {name!r}"


def _narrow(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An integer as an int32, where that holds it."""
    narrow = array.astype(np.int32)
    return narrow if narrow == array else array


def _rounded(array: Any, dtype: np.dtype[Any]) -> Any:
    """``array`` in ``dtype``; numbers that are too large for it become infinite."""
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def inject_hyperparams(
    inner_factory: Callable[_A, TransformationLike],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DTypeLike | None = None,
) -> _Injected[_A]:
    """Put the hyperparameters of a transformation into its state, where you can change them.

    ``inject_hyperparams(adam)(learning_rate=0.1)`` is ``adam(learning_rate=0.1)`` with all numbers
    and schedules among its arguments, defaults included, in ``state.hyperparams``. Assign a number
    there, and it holds from the next step on. A schedule is evaluated anew in each step, with a
    count from 0. Nothing is compiled, and the transformation stays native.

    Updates have the bits of ``adam(learning_rate=0.1)``. For float32 parameters the state shows 0.1
    as a float32, as optax does, but a step uses the exact 0.1 that you gave the factory for as long
    as the state is unchanged. The result of a schedule is rounded only in the state. A number that
    you assign has the precision of the state.

    Args:
        inner_factory: A function that returns a transformation, such as :func:`adam`.
        static_args: The name or names of arguments to pass on unchanged. Keys, dtypes and masks are
            recognised without being named. A function counts as a schedule if the annotation of its
            argument allows a number, or, without a telling annotation, unless the argument has a
            name such as ``mask`` or ``label_fn``.
        hyperparam_dtype: float32 or float64 for the values in the state; None for the widest dtype
            among the parameters, but at least float32. Arrays keep their own dtype.

    Returns:
        A function that takes the arguments of ``inner_factory`` and returns a transformation with
        state :class:`InjectStatefulHyperparamsState`.

    Raises:
        TypeError: ``hyperparam_dtype`` is not such a dtype.
        ValueError: ``static_args`` names something that is not an argument of ``inner_factory``;
            or, from ``update``, the structure of the transformation depends on a hyperparameter's
            value.
        LeafTypeError: From ``update``: you assigned something that is not a real number.
        TreeError: From ``update``: a hyperparameter was removed or added.

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
        arguments = sort_arguments(bound.arguments, signature.parameters, static)
        control = _Injection(inner_factory, *arguments, dtype)
        spec = Spec(None, InjectStatefulHyperparamsState, control=control)
        return native_with_extra(Gated(spec, control.prototype(), "inner_state"))

    keywords: dict[str, Any] = {"static_args": sorted(static)} if static else {}
    if dtype is not None:
        keywords["hyperparam_dtype"] = dtype
    return recorded(wrapped, Call(inject_hyperparams, (inner_factory,), keywords))
