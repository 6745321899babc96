from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from gradmill._data.checks import is_bool, is_real
from gradmill._data.numbers import HOST
from gradmill._data.recorded import recorded
from gradmill._data.tape import Tape
from gradmill._data.types import is_transformation
from gradmill._ops import zero as ops
from gradmill._plan.control import Context, Control, Plan
from gradmill._plan.scalars import next_count
from gradmill._plan.spec import Gated, Spec
from gradmill._run.fused import native_with_extra
from gradmill.schedules._named import call_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._run.transformation import GradientTransformationExtraArgs


class ConditionallyTransformState(NamedTuple):
    """The state of :func:`conditionally_transform`.

    Attributes:
        inner_state: The state of the inner transformation.
        step: Steps taken, a 0-d int32 array.

    Example:
        >>> import gradmill as gm
        >>> gm.conditionally_transform(gm.scale(2.0), lambda step: step > 3).init({"w": 1.0})
        ConditionallyTransformState(inner_state=EmptyState(), step=array(0, dtype=int32))
    """

    inner_state: Any
    step: Any


class ConditionallyMaskState(NamedTuple):
    """The state of :func:`conditionally_mask`.

    Attributes:
        step: Steps taken, a 0-d int32 array.
        inner_state: The state of the inner transformation.

    Example:
        >>> import gradmill as gm
        >>> gm.conditionally_mask(gm.scale(2.0), lambda step: step > 3).init({"w": 1.0})
        ConditionallyMaskState(step=array(0, dtype=int32), inner_state=EmptyState())
    """

    step: Any
    inner_state: Any


class _Condition(Control):
    """Runs what it governs where a condition holds; an op of its own runs where it does not."""

    counts = ("step",)

    def __init__(self, name: str, holds: Callable[..., Any], forward_extra_args: bool) -> None:
        self.name = name
        self.holds = holds
        self.forward_extra_args = forward_extra_args

    @property
    def is_arithmetic(self) -> bool:
        """Whether the condition looks at nothing but the step."""
        return not self.forward_extra_args

    def init(self, params: PyTree) -> dict[str, Any]:
        return {"step": np.zeros((), np.int32)}

    def plan(self, state: Any, context: Context) -> Plan:
        xp, step = context.xp, state.step
        extra = context.extra if self.forward_extra_args else {}
        holds: Any
        if isinstance(xp, Tape):
            holds = xp.call(lambda count: self._checked(call_at(self.holds, count)), step)
        elif xp is HOST:
            holds = self._checked(call_at(self.holds, int(step), **extra))
        else:
            holds = call_at(self.holds, step, **extra)
        return Plan(on=xp.logical_not(holds), open=holds)

    def _checked(self, holds: Any) -> bool:
        """What the condition says, as a bool."""
        if type(holds) in (bool, np.bool_):
            return bool(holds)
        if not (is_bool(holds) or is_real(holds)):
            raise TypeError(f"{self.name}: the condition returned {holds!r:.80}, expected a bool")
        return bool(holds)

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        return {"step": next_count(state.step)}


def _pick(name: str, *candidates: Any) -> tuple[Any, Any]:
    """The transformation and the condition among the arguments, in whichever order they stand."""
    given = [candidate for candidate in candidates if candidate is not None]
    transformations = [tx for tx in given if is_transformation(tx)]
    conditions = [function for function in given if not is_transformation(function)]
    if len(transformations) != 1 or len(conditions) != 1 or not callable(conditions[0]):
        raise TypeError(
            f"{name} takes a condition and a transformation: {name}(condition_fn, transformation)"
            f" or {name}(inner, should_transform_fn); got {given!r}"
        )
    return transformations[0], conditions[0]


@overload
def conditionally_transform(
    inner: TransformationLike,
    should_transform_fn: Callable[..., Any],
    forward_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@overload
def conditionally_transform(
    condition_fn: Callable[..., Any],
    transformation: TransformationLike,
    /,
    forward_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@overload
def conditionally_transform(
    *,
    condition_fn: Callable[..., Any],
    transformation: TransformationLike,
    forward_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@recorded
def conditionally_transform(
    inner: TransformationLike | Callable[..., Any] | None = None,
    should_transform_fn: Callable[..., Any] | TransformationLike | None = None,
    forward_extra_args: bool = False,
    *,
    transformation: TransformationLike | None = None,
    condition_fn: Callable[..., Any] | None = None,
) -> GradientTransformationExtraArgs:
    """Apply a transformation only in the steps in which a condition holds.

    In other steps updates pass unchanged and the inner state stays as it is;
    :func:`conditionally_mask` gives zeros instead. Call it as
    ``conditionally_transform(condition_fn, transformation)`` (the specification's form) or as
    ``conditionally_transform(inner, should_transform_fn)`` (optax's).

    Args:
        inner: The transformation, or the condition.
        should_transform_fn: The condition, or the transformation. The condition is called with the
            number of steps taken, a NumPy int64 that starts at 0, and returns a bool.
        forward_extra_args: Whether to call the condition with the extra arguments of ``update`` as
            well.
        transformation: The transformation by name.
        condition_fn: The condition by name.

    Returns:
        A transformation with state :class:`ConditionallyTransformState`.

    Raises:
        TypeError: The arguments are not one transformation and one condition; or, from a step, the
            condition returned something other than a bool. Such a step changes nothing.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.conditionally_transform(lambda step: step >= 1, gm.scale(10.0))
        >>> updates, state = tx.update(np.ones(1), tx.init(np.zeros(1)))
        >>> updates, tx.update(np.ones(1), state)[0]
        (array([1.]), array([10.]))
    """
    given = (inner, should_transform_fn, transformation, condition_fn)
    tx, holds = _pick("conditionally_transform", *given)
    control = _Condition("conditionally_transform", holds, forward_extra_args)
    spec = Spec(None, ConditionallyTransformState, control=control)
    return native_with_extra(Gated(spec, tx, "inner_state"))


@overload
def conditionally_mask(
    inner: TransformationLike,
    should_transform_fn: Callable[..., Any],
    forward_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@overload
def conditionally_mask(
    condition_fn: Callable[..., Any],
    transformation: TransformationLike,
    /,
    forward_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@overload
def conditionally_mask(
    *,
    condition_fn: Callable[..., Any],
    transformation: TransformationLike,
    forward_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@recorded
def conditionally_mask(
    inner: TransformationLike | Callable[..., Any] | None = None,
    should_transform_fn: Callable[..., Any] | TransformationLike | None = None,
    forward_extra_args: bool = False,
    *,
    transformation: TransformationLike | None = None,
    condition_fn: Callable[..., Any] | None = None,
) -> GradientTransformationExtraArgs:
    """Apply a transformation in the steps in which a condition holds; updates are zero in others.

    Arguments may come in either order, as for :func:`conditionally_transform`.

    Args:
        inner: The transformation, or the condition.
        should_transform_fn: The condition, or the transformation. The condition is called with the
            number of steps taken, a NumPy int64 that starts at 0, and returns a bool.
        forward_extra_args: Whether to call the condition with the extra arguments of ``update`` as
            well.
        transformation: The transformation by name.
        condition_fn: The condition by name.

    Returns:
        A transformation with state :class:`ConditionallyMaskState`.

    Raises:
        TypeError: The arguments are not one transformation and one condition; or, from a step, the
            condition returned something other than a bool. Such a step changes nothing.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.conditionally_mask(gm.scale(10.0), lambda step: step >= 1)
        >>> updates, state = tx.update(np.ones(1), tx.init(np.zeros(1)))
        >>> updates, tx.update(np.ones(1), state)[0]
        (array([0.]), array([10.]))
    """
    given = (inner, should_transform_fn, transformation, condition_fn)
    tx, holds = _pick("conditionally_mask", *given)
    control = _Condition("conditionally_mask", holds, forward_extra_args)
    spec = Spec(ops.set_to_zero, ConditionallyMaskState, control=control)
    return native_with_extra(Gated(spec, tx, "inner_state"))
