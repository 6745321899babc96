"""Updates set to zero: all of them, those that are NaN, or those of a step that is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from gradmill._data.checks import is_integer, number_of
from gradmill._data.numbers import integer, is_foreign, library_of, namespace_of
from gradmill._data.recorded import recorded
from gradmill._data.trees import tree_map
from gradmill._data.types import EmptyState, is_transformation
from gradmill._ops import zero as ops
from gradmill._plan.control import Context, Control, Plan
from gradmill._plan.match import match
from gradmill._plan.scalars import COUNT_MAX, next_count
from gradmill._plan.spec import Gated, Spec
from gradmill._run.fused import native, native_with_extra

if TYPE_CHECKING:
    from gradmill._data.trees import Structure
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._run.transformation import GradientTransformation, GradientTransformationExtraArgs


@recorded
def set_to_zero() -> GradientTransformation:
    """Replace all updates by zeros, whatever they are, NaN and infinities included.

    Returns:
        A transformation with state ``EmptyState()``.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.set_to_zero()
        >>> tx.update(np.array([1.0, np.nan]), tx.init(np.zeros(2)))[0]
        array([0., 0.])
    """
    return native(Spec(ops.set_to_zero, EmptyState))


class ZeroNansState(NamedTuple):
    """The state of :func:`zero_nans`.

    Attributes:
        found_nan: For each leaf whether its last update had a NaN, a 0-d array of bool.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.zero_nans().init({"w": np.ones(2)})
        ZeroNansState(found_nan={'w': array(False)})
    """

    found_nan: Any


class _FoundNans(Control):
    def init(self, params: PyTree) -> dict[str, Any]:
        return {"found_nan": tree_map(lambda _: np.asarray(False), params)}

    def plan(self, state: Any, context: Context) -> Plan:
        return Plan()

    def advance(
        self, state: Any, plan: Plan, found: tuple[Structure, list[bool]]
    ) -> dict[str, Any]:
        structure, nans = found
        old = match(state.found_nan, structure, "found_nan", "updates", holes=True)
        new = [_flag(flag, nan) for flag, nan in zip(old.leaves, nans, strict=True)]
        # Most steps change no flag.
        if all(before is after for before, after in zip(old.leaves, new, strict=True)):
            return {}
        return {"found_nan": old.rebuild(new)}


def _flag(old: Any, nan: Any) -> Any:
    """``nan`` in place of ``old``, where that is a flag and another one."""
    if is_foreign(old):
        return library_of(old).asarray(nan)
    return np.asarray(nan) if isinstance(old, np.ndarray) and bool(old) != nan else old


@recorded
def zero_nans() -> GradientTransformation:
    r"""Replace each NaN by zero. Infinities stay.

    .. math:: u' = 0 \text{ where } u \text{ is NaN, else } u

    Returns:
        A transformation with state :class:`ZeroNansState`, which says where there were any. It
        costs one more read of the updates.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.zero_nans()
        >>> tx.update(np.array([1.0, np.nan]), tx.init(np.zeros(2)))
        (array([1., 0.]), ZeroNansState(found_nan=array(True)))
    """
    return native(Spec(ops.zero_nans, ZeroNansState, control=_FoundNans()))


class ApplyIfFiniteState(NamedTuple):
    """The state of :func:`apply_if_finite`.

    Attributes:
        notfinite_count: Steps in a row whose updates were not finite, a 0-d int32 array.
        last_finite: Whether the last updates were finite, a 0-d array of bool.
        total_notfinite: Steps whose updates were not finite, a 0-d int32 array.
        inner_state: The state of the inner transformation.

    Example:
        >>> import gradmill as gm
        >>> gm.apply_if_finite(gm.scale(1.0)).init({"w": 1.0}).last_finite
        array(True)
    """

    notfinite_count: Any
    last_finite: Any
    total_notfinite: Any
    inner_state: Any


class _IfFinite(Control):
    counts = ("notfinite_count", "total_notfinite")
    is_arithmetic = True

    def __init__(self, max_consecutive_errors: int | None) -> None:
        most = COUNT_MAX if max_consecutive_errors is None else max_consecutive_errors
        self.limit = min(most, COUNT_MAX)

    def init(self, params: PyTree) -> dict[str, Any]:
        return {
            "notfinite_count": np.zeros((), np.int32),
            "last_finite": np.asarray(True),
            "total_notfinite": np.zeros((), np.int32),
        }

    def plan(self, state: Any, context: Context) -> Plan:
        # This one, if it is not finite, comes on top.
        accept = integer(state.notfinite_count) >= self.limit
        return Plan((accept,), open=None, carry=accept)

    def advance(self, state: Any, plan: Plan, found: Any) -> dict[str, Any]:
        count, total = state.notfinite_count, state.total_notfinite
        where = namespace_of(found).where
        return {
            "notfinite_count": where(found, 0, next_count(count)),
            "last_finite": found,
            "total_notfinite": where(found, total, next_count(total)),
        }


@overload
def apply_if_finite(
    inner: TransformationLike, max_consecutive_errors: int | None = None
) -> GradientTransformationExtraArgs: ...
@overload
def apply_if_finite(
    *, transformation: TransformationLike, max_consecutive_errors: int | None = None
) -> GradientTransformationExtraArgs: ...
@recorded
def apply_if_finite(
    inner: TransformationLike | None = None,
    max_consecutive_errors: int | None = None,
    *,
    transformation: TransformationLike | None = None,
) -> GradientTransformationExtraArgs:
    """Apply a transformation only in steps whose updates are all finite.

    In other steps updates are zero and the inner state stays as it is. Call it as
    ``apply_if_finite(transformation)`` (the specification's form) or
    ``apply_if_finite(inner, max_consecutive_errors)`` (optax's).

    Args:
        inner: The transformation to protect.
        max_consecutive_errors: How many steps in a row may be skipped. After that, updates are
            applied, NaN and all, so that a run that is beyond rescue fails visibly. None to skip
            for as long as it takes.
        transformation: ``inner`` by another name.

    Returns:
        A transformation with state :class:`ApplyIfFiniteState`. It costs one more read of the
        updates that reach it.

    Raises:
        TypeError: Not exactly one transformation is given, or the limit is not an integer.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.apply_if_finite(gm.trace(0.9))
        >>> updates, state = tx.update(np.array([1.0, np.inf]), tx.init(np.zeros(2)))
        >>> updates, state.inner_state.trace
        (array([0., 0.]), array([0., 0.]))
    """
    given = [tx for tx in (inner, transformation) if tx is not None]
    limit = max_consecutive_errors
    if len(given) != 1 or not is_transformation(given[0]):
        raise TypeError(
            "apply_if_finite takes one transformation: apply_if_finite(transformation) or"
            f" apply_if_finite(inner, max_consecutive_errors); got {given!r}"
        )
    if limit is not None and not is_integer(limit):
        raise TypeError(
            f"apply_if_finite: max_consecutive_errors must be an integer or None, got {limit!r:.80}"
        )
    control = _IfFinite(None if limit is None else int(number_of(limit)))
    spec = Spec(ops.apply_if_finite, ApplyIfFiniteState, control=control)
    return native_with_extra(Gated(spec, given[0], "inner_state"))
