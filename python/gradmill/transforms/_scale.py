from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import scale as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.schedules._named import named
from gradmill.transforms._identity import identity

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule, Schedule
    from gradmill._run.transformation import GradientTransformation


class ScaleByScheduleState(NamedTuple):
    """The state of :func:`scale_by_schedule`.

    Attributes:
        count: Steps taken, a 0-d int32 array.

    Example:
        >>> import gradmill as gm
        >>> gm.scale_by_schedule(lambda count: 0.1).init({"w": 1.0})
        ScaleByScheduleState(count=array(0, dtype=int32))
    """

    count: Any


@recorded
def scale(step_size: float) -> GradientTransformation:
    r"""Multiply updates by a constant.

    .. math:: u' = \text{step\_size} \cdot u

    Args:
        step_size: The factor. Make it negative to descend.

    Returns:
        A transformation with state ``EmptyState()``. Updates keep their dtype.

    Raises:
        TypeError: ``step_size`` is not a real number.
        ValueError: ``step_size`` is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale(-0.5)
        >>> tx.update(np.array([2.0, 4.0]), tx.init(np.zeros(2)))
        (array([-1., -2.]), EmptyState())
    """
    return native(Spec(ops.scale, EmptyState, {"step_size": real("step_size", step_size)}))


@overload
def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation: ...
@overload
def scale_by_schedule(*, schedule: Schedule) -> GradientTransformation: ...
@recorded
def scale_by_schedule(
    step_size_fn: Schedule | None = None, *, schedule: Schedule | None = None
) -> GradientTransformation:
    r"""Multiply updates by a function of the step count.

    .. math:: u' = \text{step\_size\_fn}(t) \cdot u, \qquad t = 0, 1, \dots

    It does not change the sign: to descend, the function has to be negative.
    :func:`scale_by_learning_rate` negates for you.

    Args:
        step_size_fn: Maps the count, from 0, to a real number. A count is a NumPy int64, with
            the methods and the arithmetic of an array; this package's own schedules take ints.
        schedule: ``step_size_fn`` by another name.

    Returns:
        A transformation with state :class:`ScaleByScheduleState`.

    Raises:
        TypeError: Not exactly one of the two is given, or it is not callable; or, from a step, the
            function returned something other than a real number. Such a step changes nothing.
        ValueError: From a step, the function returned NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_schedule(lambda count: -1.0 / (count + 1))
        >>> state = tx.init(np.zeros(2))
        >>> updates, state = tx.update(np.ones(2), state)
        >>> tx.update(np.ones(2), state)[0]
        array([-0.5, -0.5])
    """
    given = [function for function in (step_size_fn, schedule) if function is not None]
    if len(given) != 1 or not callable(given[0]):
        raise TypeError(
            "scale_by_schedule takes one function of the count: scale_by_schedule(step_size_fn)"
            f" or scale_by_schedule(schedule=...); got {given!r}"
        )
    name = "schedule" if step_size_fn is None else "step_size_fn"
    return _by_schedule(named(name, given[0]))


def _by_schedule(schedule: Schedule) -> GradientTransformation:
    return native(Spec(ops.scale, ScaleByScheduleState, {"step_size": schedule}))


@dataclass(frozen=True)
class _Negated:
    schedule: Schedule

    def __call__(self, count: int) -> float:
        return -self.schedule(count)


@recorded
def scale_by_learning_rate(
    learning_rate: ScalarOrSchedule | None = None, *, flip_sign: bool = True
) -> GradientTransformation:
    r"""Multiply updates by the negative learning rate, which makes gradients into descent steps.

    .. math:: u' = -\eta_t \cdot u

    Usually the last member of a chain.

    Args:
        learning_rate: A number or a schedule; None leaves updates unchanged, sign included.
        flip_sign: Whether to negate updates, which makes steps descend; False to ascend.

    Returns:
        A transformation with state ``EmptyState()``, or :class:`ScaleByScheduleState` for a
        schedule.

    Raises:
        TypeError: ``learning_rate`` is neither a number nor callable; or, from a step, a schedule
            returned something other than a real number. Such a step changes nothing.
        ValueError: ``learning_rate`` is NaN; or, from a step, a schedule returned that.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_learning_rate(0.1)
        >>> tx.update(np.array([1.0, -2.0]), tx.init(np.zeros(2)))[0]
        array([-0.1,  0.2])
    """
    if learning_rate is None:
        return identity()
    if callable(learning_rate):
        schedule = named("learning_rate", learning_rate)
        return _by_schedule(_Negated(schedule) if flip_sign else schedule)
    rate = real("learning_rate", learning_rate)
    return scale(-rate if flip_sign else rate)
