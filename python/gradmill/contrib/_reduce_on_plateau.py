from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.numbers import HOST, integer
from gradmill._data.recorded import recorded
from gradmill._ops import scale as ops
from gradmill._plan.control import Context, Control, Plan
from gradmill._plan.spec import Spec
from gradmill._run.fused import native_with_extra
from gradmill.contrib._loss import loss_of
from gradmill.contrib._numbers import dtype_of_numbers

if TYPE_CHECKING:
    from gradmill._data.types import PyTree
    from gradmill._run.transformation import GradientTransformationExtraArgs


class ReduceLROnPlateauState(NamedTuple):
    """The state of :func:`reduce_on_plateau`.

    Attributes:
        scale: The factor of the updates, a 0-d array.
        best_value: The lowest average loss so far, a 0-d array.
        plateau_count: How many averages in a row did not improve, a 0-d int32 array.
        cooldown_count: How many more averages to ignore, a 0-d int32 array.
        count: Losses in the average that is being formed, a 0-d int32 array.
        avg_value: That average, a 0-d array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.contrib.reduce_on_plateau().init(np.zeros(2))
        >>> state.scale, state.best_value
        (array(1.), array(inf))
    """

    scale: Any
    best_value: Any
    plateau_count: Any
    cooldown_count: Any
    count: Any
    avg_value: Any


class _Plateau(Control):
    counts = ("plateau_count", "cooldown_count", "count")

    def __init__(
        self,
        factor: float,
        patience: int,
        rtol: float,
        atol: float,
        cooldown: int,
        accumulation_size: int,
        min_scale: float,
    ) -> None:
        self.factor = factor
        self.patience = patience
        self.rtol = rtol
        self.atol = atol
        self.cooldown = cooldown
        self.accumulation_size = accumulation_size
        self.min_scale = min_scale

    def init(self, params: PyTree) -> dict[str, Any]:
        widest = np.promote_types(tree.dtype(params, "highest"), np.float32)
        return {
            "scale": np.ones((), dtype_of_numbers(params)),
            "best_value": np.full((), np.inf, widest),
            "plateau_count": np.zeros((), np.int32),
            "cooldown_count": np.zeros((), np.int32),
            "count": np.zeros((), np.int32),
            "avg_value": np.zeros((), widest),
        }

    def plan(self, state: Any, context: Context) -> Plan:
        xp = context.xp
        loss = loss_of(context.extra, "reduce_on_plateau")
        scale, best, average = (
            float(number) if xp is HOST else number
            for number in (state.scale, state.best_value, state.avg_value)
        )
        count = integer(state.count)
        average = (count * average + loss) / (count + 1)
        looks = count + 1 == self.accumulation_size

        is_better = average < (1 - self.rtol) * best - self.atol
        bad = xp.where(is_better, 0, integer(state.plateau_count) + 1)
        cools = integer(state.cooldown_count) > 0
        bad = xp.where(cools, 0, bad)
        gives_up = bad == self.patience
        less = xp.maximum(scale * self.factor, self.min_scale)
        left = xp.where(cools, integer(state.cooldown_count) - 1, 0)
        found = {
            "scale": xp.where(gives_up, less, scale),
            "best_value": xp.where(is_better, average, best),
            "plateau_count": xp.where(gives_up, 0, bad),
            "cooldown_count": xp.where(gives_up, self.cooldown, left),
            "count": 0,
            "avg_value": 0.0,
        }
        kept = {
            "scale": scale,
            "best_value": best,
            "plateau_count": integer(state.plateau_count),
            "cooldown_count": integer(state.cooldown_count),
            "count": count + 1,
            "avg_value": average,
        }
        fields = {name: xp.where(looks, found[name], kept[name]) for name in found}
        return Plan((fields["scale"],), carry=fields)

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        fields: dict[str, Any] = plan.carry
        return fields


@recorded
def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> GradientTransformationExtraArgs:
    r"""Multiply updates by a scale that is reduced whenever the loss stops improving.

    A loss counts as an improvement if it is less than :math:`(1 - r) f - a`, with the best loss
    :math:`f` and the tolerances :math:`r` and :math:`a`. After ``patience`` losses in a row without
    improvement, the scale, which starts at 1, is multiplied by ``factor``. Put it after an
    optimizer in a chain; pick it if nobody knows in advance when the learning rate should fall.

    Each step needs the loss: ``update(grads, state, params, value=loss)`` or
    ``opt.step(grads, value=loss)``. Losses of batches are noisy: average ``accumulation_size`` of
    them, and the average is what counts in all of the above.

    Args:
        factor: The factor of each reduction, between 0 and 1.
        patience: How many losses in a row may fail to improve before the scale is reduced, at least
            1.
        rtol: How much better than the best loss a loss has to be, relative to it, from 0 to 1.
        atol: How much better than the best loss a loss has to be, absolutely. Not negative; one of
            the two tolerances must be above 0.
        cooldown: How many losses to ignore after a reduction.
        accumulation_size: How many losses to average before they are compared, at least 1.
        min_scale: The scale never falls below this. Not negative.

    Returns:
        A transformation with state :class:`ReduceLROnPlateauState`, whose ``update`` needs
        ``value``. It does not change the sign.

    Raises:
        TypeError: An argument has the wrong type; or, from a step, ``value`` is.
        ValueError: An argument is out of bounds; or, from a step, ``value`` is missing.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.chain(gm.sgd(0.1), gm.contrib.reduce_on_plateau(0.5, patience=2))
        >>> opt = gm.Optimizer(tx, np.zeros(1))
        >>> for loss in [1.0, 1.0, 1.0, 1.0]:
        ...     _ = opt.step(np.ones(1), value=loss)
        >>> opt.state[1].scale, opt.params
        (array(0.5), array([-0.3]))

    References:
        Smith, `Cyclical Learning Rates for Training Neural Networks
        <https://arxiv.org/abs/1506.01186>`_, 2017, has it as a baseline.
    """
    rtol, atol = real("rtol", rtol, at_least=0, at_most=1), real("atol", atol, at_least=0)
    if rtol == 0 and atol == 0:
        raise ValueError("reduce_on_plateau: rtol or atol must be greater than 0, got 0 for both")
    control = _Plateau(
        factor=real("factor", factor, above=0, below=1),
        patience=_whole("patience", patience, 1),
        rtol=rtol,
        atol=atol,
        cooldown=_whole("cooldown", cooldown, 0),
        accumulation_size=_whole("accumulation_size", accumulation_size, 1),
        min_scale=real("min_scale", min_scale, at_least=0, below=math.inf),
    )
    return native_with_extra(Spec(ops.scale, ReduceLROnPlateauState, control=control))


def _whole(name: str, value: object, least: int) -> int:
    """``value`` as an int that is not less than ``least``."""
    if not is_integer(value):
        raise TypeError(f"{name} must be an integer, got {value!r:.80}")
    return int(real(name, number_of(value), at_least=least))
