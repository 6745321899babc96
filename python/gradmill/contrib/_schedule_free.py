from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.checks import float_dtype, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._data.types import is_transformation
from gradmill._ops import schedule_free as ops
from gradmill._plan.control import Context, Control, Plan
from gradmill._plan.scalars import next_count
from gradmill._plan.spec import Followed, Spec
from gradmill._run.fused import native_with_extra
from gradmill.contrib._numbers import dtype_of_numbers, rate_at, real_number
from gradmill.optimizers import sgd
from gradmill.schedules import warmup_constant_schedule
from gradmill.schedules._named import real_or_schedule
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate, scale_by_rms
from gradmill.transforms._chain import chain
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import PyTree, ScalarOrSchedule, TransformationLike
    from gradmill._run.transformation import GradientTransformationExtraArgs


class ScheduleFreeState(NamedTuple):
    """The state of :func:`schedule_free`.

    Attributes:
        b1: How far parameters lie towards the average, a 0-d array.
        weight_sum: The sum of the weights so far, a 0-d array.
        step_count: One more than the number of steps taken, a 0-d int32 array.
        max_lr: The largest learning rate so far, a 0-d array.
        base_optimizer_state: The state of the inner transformation.
        z: The iterates of the inner transformation, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.schedule_free_sgd().init(np.zeros(2)).z
        array([0., 0.])
    """

    b1: Any
    weight_sum: Any
    step_count: Any
    max_lr: Any
    base_optimizer_state: Any
    z: Any


class _Averaging(Control):
    """Says what share of the average each step has."""

    counts = ("step_count",)
    is_arithmetic = True

    def __init__(self, learning_rate: ScalarOrSchedule, b1: float, power: float) -> None:
        self.learning_rate = learning_rate
        self.b1 = b1
        self.power = power

    def init(self, params: PyTree) -> dict[str, Any]:
        dtype = dtype_of_numbers(params)
        return {
            "b1": np.asarray(self.b1, dtype),
            "weight_sum": np.zeros((), dtype),
            "step_count": np.ones((), np.int32),
            "max_lr": np.zeros((), dtype),
        }

    def plan(self, state: Any, context: Context) -> Plan:
        xp = context.xp
        max_lr, before = real_number(state.max_lr), real_number(state.weight_sum)
        max_lr = xp.maximum(max_lr, rate_at(self.learning_rate, state.step_count))
        weight = xp.power(max_lr, self.power)
        total = before + weight
        # The first steps of a warm-up weigh nothing; what infinite weights share is nothing too.
        has_share = xp.logical_and(total > 0, xp.isfinite(total))
        share = xp.where(has_share, weight / xp.where(has_share, total, 1.0), 0.0)
        return Plan((self.b1, share), carry=(max_lr, total))

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        max_lr, total = plan.carry
        return {"weight_sum": total, "step_count": next_count(state.step_count), "max_lr": max_lr}


def _average(y: Any, z: Any, b1: Any) -> Any:
    """What is averaged, from the parameters, which lie between that and ``z``."""
    return (y - (1.0 - b1) * z) / b1


@recorded
def schedule_free(
    base_optimizer: TransformationLike,
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    weight_lr_power: float = 2.0,
    state_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    r"""Average the iterates of an optimizer instead of decaying its learning rate.

    .. math::
        z' = z + u, \qquad
        x' = (1 - c) \, x + c \, z', \qquad
        p' = b_1 \, x' + (1 - b_1) \, z', \qquad
        c = w_t / \sum_{s \le t} w_s, \quad w_t = (\max_{s \le t} \gamma_s)^k

    :math:`u` is the update of the inner optimizer for gradients at the parameters :math:`p`.
    Evaluate with the average :math:`x`, which :func:`schedule_free_eval_params` returns. Averaging
    replaces momentum, so the inner optimizer should have none. Pick it if the length of the run is
    not known in advance.

    Args:
        base_optimizer: The transformation, with the same learning rate.
        learning_rate: The learning rate :math:`\gamma`: a number, or a schedule that warms up and
            then stays constant (no decay is needed). It is called with counts from 1; the schedule
            of ``base_optimizer`` is called with counts from 0.
        b1: How far the point at which gradients are taken lies towards the average, :math:`b_1`,
            above 0 and at most 1. It plays the part of momentum: 0.9 is usual, 0.98 for long runs.
        weight_lr_power: The power :math:`k` of the learning rate by which a step weighs.
        state_dtype: The dtype in which :math:`z` is stored. None for the parameters' own dtype
            (float32 where that is 16 bits wide).

    Returns:
        A transformation with state :class:`ScheduleFreeState`, whose ``update`` needs ``params``.
        It is one pass with the one inside.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``b1`` is out of bounds, or a number is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.schedule_free(gm.sgd(1.0), 1.0)
        >>> params = np.array([4.0])
        >>> updates, state = tx.update(np.array([1.0]), tx.init(params), params)
        >>> updates
        array([-1.])

    References:
        Defazio et al., `The Road Less Scheduled <https://arxiv.org/abs/2405.15682>`_, 2024.
    """
    if not is_transformation(base_optimizer):
        raise TypeError(f"schedule_free takes a transformation, got {base_optimizer!r}")
    rate = real_or_schedule("learning_rate", learning_rate)
    b1 = real("b1", b1, above=0, at_most=1)
    power = real("weight_lr_power", weight_lr_power)
    dtype = float_dtype("state_dtype", state_dtype)
    spec = Spec(
        ops.schedule_free,
        ScheduleFreeState,
        slots=(Slot("z", dtype, start="params"),),
        control=_Averaging(rate, b1, power),
    )
    return native_with_extra(Followed(base_optimizer, spec, "base_optimizer_state"))


def _warmed_up(learning_rate: float, warmup_steps: int | None) -> ScalarOrSchedule:
    if warmup_steps is None:
        return learning_rate
    return warmup_constant_schedule(0.0, learning_rate, warmup_steps)


@recorded
def schedule_free_sgd(
    learning_rate: float = 1.0,
    warmup_steps: int | None = None,
    b1: float = 0.9,
    weight_decay: float | None = None,
    weight_lr_power: float = 2.0,
    state_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    """Gradient descent without a learning rate schedule, by :func:`schedule_free`.

    Args:
        learning_rate: The learning rate. No decay is needed; set ``warmup_steps`` for a warm-up.
        warmup_steps: In how many steps it rises from zero; None for none.
        b1: How far the point at which gradients are taken lies towards the average, above 0 and at
            most 1. It plays the part of momentum: 0.9 is usual, 0.98 for long runs.
        weight_decay: An L2 penalty: this multiple of the parameters is added to the gradients; None
            for none.
        weight_lr_power: The power of the learning rate by which a step weighs.
        state_dtype: The dtype in which the iterates are stored, as for :func:`schedule_free`.

    Returns:
        A transformation with state :class:`ScheduleFreeState`, whose ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``b1`` is out of bounds, or a number is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.schedule_free_sgd(0.5), np.array([2.0]))
        >>> for _ in range(20):
        ...     _ = opt.step(2 * opt.params)
        >>> average = gm.contrib.schedule_free_eval_params(opt.state, opt.params)
        >>> bool(abs(average[0]) < 0.2)
        True

    References:
        Defazio et al., `The Road Less Scheduled <https://arxiv.org/abs/2405.15682>`_, 2024.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = sgd(rate)
    if weight_decay is not None:
        base = chain(add_decayed_weights(weight_decay), base)
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


@recorded
def schedule_free_adamw(
    learning_rate: float = 0.0025,
    warmup_steps: int | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    weight_lr_power: float = 2.0,
    state_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    """AdamW without a learning rate schedule, by :func:`schedule_free`.

    Args:
        learning_rate: The learning rate. No decay is needed; set ``warmup_steps`` for a warm-up.
        warmup_steps: In how many steps it rises from zero; None for none.
        b1: How far the point at which gradients are taken lies towards the average, above 0 and at
            most 1. It plays the part of momentum: 0.9 is usual, 0.98 for long runs.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        weight_decay: How strongly parameters are pulled towards zero: a step subtracts this
            multiple of them, times the learning rate.
        weight_lr_power: The power of the learning rate by which a step weighs.
        state_dtype: The dtype in which the iterates are stored, as for :func:`schedule_free`.

    Returns:
        A transformation with state :class:`ScheduleFreeState`, whose ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``b1`` or ``b2`` is out of bounds, or a number is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.schedule_free_adamw(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params
        array([ 0.9, -1.1])

    References:
        Defazio et al., `The Road Less Scheduled <https://arxiv.org/abs/2405.15682>`_, 2024.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = chain(
        scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


def schedule_free_eval_params(state: ScheduleFreeState, params: PyTree) -> PyTree:
    r"""The parameters to evaluate with: the average that :func:`schedule_free` keeps.

    .. math:: x = (p - (1 - b_1) \, z) / b_1

    Args:
        state: The state of :func:`schedule_free`, of this package's or of optax's.
        params: The parameters that belong to it.

    Returns:
        A tree of new arrays in the parameters' dtypes.

    Raises:
        TypeError: ``state`` is not a state of :func:`schedule_free`.
        TreeError: ``params`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = np.array([1.0])
        >>> state = gm.contrib.schedule_free_sgd().init(params)
        >>> gm.contrib.schedule_free_eval_params(state, params)
        array([1.])
    """
    if not hasattr(state, "z") or not hasattr(state, "b1"):
        kind = type(state).__name__
        raise TypeError(f"schedule_free_eval_params takes a ScheduleFreeState, got a {kind}")
    trees = {"params": params, "state.z": state.z}
    found = mapped(
        "schedule_free_eval_params", lambda _, y, z, b1: _average(y, z, b1), trees, (state.b1,)
    )
    return tree.cast_like(found, params)
