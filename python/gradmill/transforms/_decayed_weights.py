from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import decayed_weights as ops
from gradmill._plan.spec import Masked, Spec
from gradmill._run.fused import native
from gradmill.schedules._named import real_or_schedule

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformation


class WeightDecaySchedule(NamedTuple):
    """The state of :func:`add_decayed_weights` with a schedule.

    Attributes:
        count: Steps taken, a 0-d int32 array.

    Example:
        >>> import gradmill as gm
        >>> gm.add_decayed_weights(lambda count: 1e-4).init({"w": 1.0})
        WeightDecaySchedule(count=array(0, dtype=int32))
    """

    count: Any


@recorded
def add_decayed_weights(
    weight_decay: ScalarOrSchedule = 0.0, mask: Mask | None = None
) -> GradientTransformation:
    r"""Add a multiple of the parameters to the updates: weight decay.

    .. math:: u' = u + \lambda_t \cdot p

    Its place in a chain matters. After Adam and before the learning rate it is the decoupled decay
    of AdamW; before Adam it is an L2 penalty.

    Args:
        weight_decay: How strongly parameters are pulled towards zero: the multiple of them that is
            added, a number or a schedule.
        mask: Which leaves decay; None for all. A tree of bools with the structure of the parameters
            or of its upper part, a function of the tree that returns such a tree, or a function of
            path and leaf that returns a bool. Decide by path, shape and dtype only: functions see
            updates in place of parameters in some calls.

    Returns:
        A transformation with state ``EmptyState()``, or :class:`WeightDecaySchedule` for a
        schedule, inside :class:`MaskedState` if there is a mask. Its ``update`` needs ``params``.

    Raises:
        TypeError: ``weight_decay`` is neither a number nor callable; or, from a step, a schedule
            returned something other than a real number. Such a step changes nothing.
        ValueError: ``weight_decay`` is NaN; or, from a step, a schedule returned NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.add_decayed_weights(0.5, mask=lambda path, leaf: "bias" not in path)
        >>> params = {"bias": np.ones(2), "kernel": np.ones(2)}
        >>> tx.update({"bias": np.zeros(2), "kernel": np.zeros(2)}, tx.init(params), params)[0]
        {'bias': array([0., 0.]), 'kernel': array([0.5, 0.5])}

    References:
        Loshchilov and Hutter, `Decoupled Weight Decay Regularization
        <https://arxiv.org/abs/1711.05101>`_, 2019.
    """
    decay = real_or_schedule("weight_decay", weight_decay)
    state: type[Any] = WeightDecaySchedule if callable(decay) else EmptyState
    tx = native(Spec(ops.add_decayed_weights, state, {"weight_decay": decay}))
    return tx if mask is None else native(Masked(tx, mask))
