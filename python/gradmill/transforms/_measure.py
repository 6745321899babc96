"""Transformations that record something about updates and pass them on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.arrays import is_float, is_half
from gradmill._data.checks import float_dtype, real
from gradmill._data.numbers import is_foreign
from gradmill._data.recorded import recorded
from gradmill._data.trees import tree_map
from gradmill._data.types import EmptyState, is_transformation
from gradmill._plan.scalars import next_count
from gradmill._run.fresh import copied
from gradmill._run.fused import by_tree
from gradmill._run.transformation import GradientTransformation, GradientTransformationExtraArgs
from gradmill._run.trees import formula_of
from gradmill.transforms._ema import EmaState
from gradmill.transforms._stateless import init_empty_state, with_extra_args_support

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import DTypeLike

    from gradmill._data.types import PyTree, TransformationLike


class SnapshotState(NamedTuple):
    """The state of :func:`snapshot`.

    Attributes:
        measurement: The last measurement, a dict with one name.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.snapshot("norm", gm.tree.norm).init(np.array([3.0, 4.0]))
        SnapshotState(measurement={'norm': array(5.)})
    """

    measurement: Any


class MonitorState(NamedTuple):
    """The state of :func:`monitor`.

    Attributes:
        measurements: The last measurements, a dict by name; empty before the first step.
        measure_states: The states of the measures, in their order.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.monitor({"norm": gm.tree.norm}).init(np.array([3.0, 4.0]))
        MonitorState(measurements={}, measure_states=(EmptyState(),))
    """

    measurements: Any
    measure_states: Any


@recorded
def snapshot(measure_name: str, measure: Callable[[PyTree], PyTree]) -> GradientTransformation:
    """Record what a function finds in the updates, which pass unchanged.

    Put it anywhere in a chain to see what arrives there. Read the result by its name:
    ``gm.tree.get(state, name)``.

    Args:
        measure_name: The name in the state.
        measure: The function of a tree of updates; at first it is given the parameters. It returns
            a number or a tree of arrays.

    Returns:
        A transformation with state :class:`SnapshotState`, written in Python.

    Raises:
        TypeError: ``measure`` is not a function.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.chain(gm.snapshot("before", gm.tree.norm), gm.clip(1.0))
        >>> _, state = tx.update(np.array([3.0, 4.0]), tx.init(np.zeros(2)))
        >>> gm.tree.get(state, "before")
        array(5.)
    """
    if not callable(measure):
        raise TypeError(f"snapshot takes a function, got {measure!r:.80}")
    first = partial(_first_snapshot, measure_name, measure)
    return GradientTransformation(first, partial(_snapshot, measure_name, measure))


@recorded
def monitor(
    measures: Mapping[str, TransformationLike | Callable[[PyTree], PyTree]],
) -> GradientTransformationExtraArgs:
    """Record what several functions or transformations find in the updates, which pass unchanged.

    Read each measurement by its name, ``gm.tree.get(state, name)``, from the first step on.

    Args:
        measures: By name, a function of a tree of updates that returns a number or a tree of
            arrays; or a transformation whose updates are the measurement, such as
            :func:`measure_with_ema`, which is given parameters and extra arguments as well.

    Returns:
        A transformation with state :class:`MonitorState`. It runs on NumPy.

    Raises:
        TypeError: A measure is neither.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> average = gm.measure_with_ema(gm.tree.norm, decay=0.5)
        >>> tx = gm.chain(gm.monitor({"norm": gm.tree.norm, "average": average}), gm.scale(-1.0))
        >>> state = tx.init(np.zeros(2))
        >>> for grads in np.array([0.0, 3.0]), np.array([6.0, 0.0]):
        ...     _, state = tx.update(grads, state)
        >>> gm.tree.get(state, "norm"), gm.tree.get(state, "average")
        (array(6.), array(5.))
    """
    hyper: dict[str, Any] = {"names": tuple(measures)}
    for at, (name, measure) in enumerate(measures.items()):
        hyper[f"measure_{at}"] = _functions_of(name, measure)
    return by_tree(_init_monitor, _monitor, hyper)


@recorded
def measure_with_ema(
    measure: Callable[[PyTree], PyTree],
    decay: float,
    debias: bool = True,
    accumulator_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    r"""The exponential moving average of what a function finds in the updates.

    .. math:: e' = \beta e + (1 - \beta) f(u), \qquad e' / (1 - \beta^t) \;\text{ or }\; e'

    It returns the average in place of the updates, so use it only inside :func:`monitor`.

    Args:
        measure: The function :math:`f` of a tree of updates, which returns a number or a tree of
            arrays.
        decay: How much of the running value each step keeps, :math:`\beta`. It remembers about
            :math:`1 / (1 - \beta)` steps: 0.9 is 10 steps, 0.99 is 100.
        debias: Whether to make up for an average that starts at zero, by dividing it by :math:`1 -
            \beta^t`.
        accumulator_dtype: The dtype in which the averages are stored; None for the dtype of the
            measurement (float32 where that is 16 bits wide, or integer).

    Returns:
        A transformation with state ``(EmptyState(), EmaState(count, ema))``.

    Raises:
        TypeError: ``measure`` is not a function, ``decay`` is not a real number, or
            ``accumulator_dtype`` is not a float dtype.
        ValueError: ``decay`` is NaN; or, with ``debias``, it is not between -1 and 1.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> measure = gm.measure_with_ema(gm.tree.norm, 0.5)
        >>> measure.update(np.array([3.0, 4.0]), measure.init(np.zeros(2)))[0]
        array(5.)
    """
    if not callable(measure):
        raise TypeError(f"measure_with_ema takes a function, got {measure!r:.80}")
    bounds = {"above": -1.0, "below": 1.0} if debias else {}
    beta = real("decay", decay, **bounds)
    dtype = float_dtype("accumulator_dtype", accumulator_dtype)
    return GradientTransformationExtraArgs(
        partial(_first_average, measure, dtype), partial(_average, measure, beta, bool(debias))
    )


# Parts of the transformations above: at the top of a module, so that they can be pickled.


def _own(leaf: Any) -> Any:
    """An array in memory that nobody else writes to or gives away."""
    return leaf if is_foreign(leaf) else copied(leaf)


def _measured(measure: Callable[[PyTree], PyTree], updates: PyTree) -> PyTree:
    """What a function finds, as arrays that nobody else has."""
    return tree_map(_own, measure(updates))


def _first_snapshot(name: str, measure: Callable[[PyTree], PyTree], params: PyTree) -> PyTree:
    return SnapshotState({name: _measured(measure, params)})


def _snapshot(
    name: str,
    measure: Callable[[PyTree], PyTree],
    updates: PyTree,
    state: SnapshotState,
    params: PyTree | None = None,  # noqa: ARG001  (every update takes them)
) -> tuple[PyTree, SnapshotState]:
    measurement = {name: _measured(measure, updates)}
    return tree_map(_own, updates), state._replace(measurement=measurement)


def _functions_of(name: str, measure: Any) -> Any:
    """``init`` and ``update`` of a measure; as a transformation, where JAX needs another."""
    if is_transformation(measure):
        tx = with_extra_args_support(measure)
        is_described = getattr(tx, "description", None) is not None or formula_of(tx) is not None
        return tx if is_described else (tx.init, tx.update)
    if callable(measure):
        return init_empty_state, partial(_stateless, measure)
    raise TypeError(
        f"monitor takes functions and transformations, got {measure!r:.80} for {name!r:.80}"
    )


def _both(measure: Any) -> Any:
    return (measure.init, measure.update) if is_transformation(measure) else measure


def _stateless(
    measure: Callable[[PyTree], PyTree], updates: PyTree, state: PyTree, *_: Any, **__: Any
) -> tuple[PyTree, PyTree]:
    return measure(updates), state


def _init_monitor(xp: Any, params: PyTree, *, names: Any, **measures: Any) -> MonitorState:  # noqa: ARG001  (formulas of trees have one signature)
    states = [_both(measure)[0](params) for measure in measures.values()]
    return MonitorState({}, tuple(states))


def _monitor(
    xp: Any,  # noqa: ARG001  (measures compute, not it)
    updates: PyTree,
    state: MonitorState,
    params: PyTree | None,
    extra: Mapping[str, Any],
    *,
    names: tuple[str, ...],
    **measures: Any,
) -> tuple[PyTree, MonitorState]:
    measurements, states = {}, []
    for name, measure, old in zip(names, measures.values(), state.measure_states, strict=True):
        found, new = _both(measure)[1](updates, old, params, **extra)
        measurements[name] = tree_map(_own, found)
        states.append(new)
    new_state = state._replace(measurements=measurements, measure_states=tuple(states))
    return tree_map(_own, updates), new_state


def _first_average(
    measure: Callable[[PyTree], PyTree], dtype: np.dtype[Any] | None, params: PyTree
) -> tuple[EmptyState, EmaState]:
    def widened(leaf: Any) -> Any:
        is_wide = is_float(leaf.dtype) and not is_half(leaf.dtype)
        return leaf.astype(dtype or (leaf.dtype if is_wide else np.float32))

    start = tree.zeros_like(tree_map(widened, _measured(measure, params)))
    return EmptyState(), EmaState(np.zeros((), np.int32), start)


def _average(
    measure: Callable[[PyTree], PyTree],
    decay: float,
    debias: bool,
    updates: PyTree,
    state: tuple[EmptyState, EmaState],
    params: PyTree | None = None,  # noqa: ARG001  (every update takes them)
    **extra_args: Any,  # noqa: ARG001  (formulas of trees have one signature)
) -> tuple[PyTree, tuple[EmptyState, EmaState]]:
    empty, last = state
    count = next_count(last.count)
    average = tree.update_moment(_measured(measure, updates), last.ema, decay, 1)
    seen = tree.bias_correction(average, decay, count) if debias else average
    kept = tree.cast_like(average, last.ema)
    count = count if is_foreign(count) else np.asarray(count, np.int32)
    return seen, (empty, last._replace(count=count, ema=kept))
