from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.checks import is_integer, number_of
from gradmill._data.numbers import integer
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._data.types import is_transformation
from gradmill._ops import accumulate as ops
from gradmill._plan.control import Context, Control, Plan
from gradmill._plan.spec import Gated, Spec
from gradmill._run.fused import native, native_with_extra

if TYPE_CHECKING:
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._run.transformation import GradientTransformation


class ApplyEvery(NamedTuple):
    """The state of :func:`apply_every` without a transformation.

    Attributes:
        count: Steps taken in this round, a 0-d int32 array.
        grad_acc: The sums of this round, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.apply_every(3).init(np.ones(2))
        ApplyEvery(count=array(0, dtype=int32), grad_acc=array([0., 0.]))
    """

    count: Any
    grad_acc: Any


class ApplyEveryInner(NamedTuple):
    """The state of :func:`apply_every` with a transformation.

    Attributes:
        count: Steps taken in this round, a 0-d int32 array.
        grad_acc: The sums of this round, a tree like the parameters.
        inner_state: The state of the transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.apply_every(3, gm.scale(0.1)).init(np.ones(2)).inner_state
        EmptyState()
    """

    count: Any
    grad_acc: Any
    inner_state: Any


class _Every(Control):
    counts = ("count",)
    is_arithmetic = True

    def __init__(self, k: int) -> None:
        self.k = k

    def init(self, params: PyTree) -> dict[str, Any]:
        return {"count": np.zeros((), np.int32)}

    def plan(self, state: Any, context: Context) -> Plan:
        count = integer(state.count) % self.k
        emits = count == self.k - 1
        return Plan((count == 0, emits), open=emits)

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        return {"count": (integer(state.count) + 1) % self.k}


@recorded
def apply_every(
    k: int = 1, transformation: TransformationLike | None = None
) -> GradientTransformation:
    """Add up the updates of ``k`` steps and pass on the sum in the last of them.

    In the other steps updates are zero. If you give a transformation, it receives the sum, and its
    state changes in those last steps only. Call it as ``apply_every(k, transformation)`` (the
    specification's form) or ``apply_every(k)`` (optax's). :class:`MultiSteps` takes the mean
    instead.

    Sums start afresh each round, so a NaN lasts no longer than its round.

    Args:
        k: The number of steps to add up.
        transformation: Receives the sum; None to pass it on as it is.

    Returns:
        A transformation with state :class:`ApplyEvery`, or :class:`ApplyEveryInner` around a
        transformation.

    Raises:
        TypeError: ``k`` is not an integer, or ``transformation`` is not a transformation.
        ValueError: ``k`` is not positive.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.apply_every(2, gm.scale(-0.5))
        >>> updates, state = tx.update(np.array([1.0]), tx.init(np.zeros(1)))
        >>> updates, tx.update(np.array([3.0]), state)[0]
        (array([0.]), array([-2.]))
    """
    if not is_integer(k) or not (transformation is None or is_transformation(transformation)):
        raise TypeError(
            "apply_every takes apply_every(k) or apply_every(k, transformation), k an integer;"
            f" got {k!r}, {transformation!r}"
        )
    steps = int(number_of(k))
    if steps < 1:
        raise ValueError(f"apply_every needs a positive k, got {steps}")
    slots, control = (Slot("grad_acc"),), _Every(steps)
    if transformation is None:
        return native(Spec(ops.apply_every, ApplyEvery, slots=slots, control=control))
    spec = Spec(ops.apply_every, ApplyEveryInner, slots=slots, control=control)
    return native_with_extra(Gated(spec, transformation, "inner_state"))
