"""The definition of every op, in a few lines of array code.

``xp`` is the array namespace: NumPy in float64 makes these the oracle of the tests. Each function
takes the update, the parameter and the op's scalars by name, then its slots, and returns the new
update and the new slots. What an op has to know beside them comes by name as well: ``norm``, the
global norm of the update; ``finite``, whether all updates are; ``axes``, those of a unit where they
are not the usual ones; ``normal``, normally distributed numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._ops.accumulate import apply_every, multi_steps_mean, multi_steps_sum
from gradmill._ops.adam import scale_by_adam, scale_by_adam_nesterov
from gradmill._ops.clip import clip
from gradmill._ops.decayed_weights import add_decayed_weights
from gradmill._ops.ema import ema
from gradmill._ops.global_norm import clip_by_global_norm, normalize_by_update_norm
from gradmill._ops.noise import add_noise
from gradmill._ops.nonnegative import keep_params_nonnegative
from gradmill._ops.rms import scale_by_rms, scale_by_stddev
from gradmill._ops.scale import scale
from gradmill._ops.trace import trace, trace_nesterov
from gradmill._ops.unitwise import (
    adaptive_grad_clip,
    centralize,
    clip_by_block_rms,
    scale_by_trust_ratio,
)
from gradmill._ops.zero import apply_if_finite, set_to_zero, zero_nans

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._ops.common import Array

FORMULAS: dict[str, Callable[..., tuple[Array, ...]]] = {
    formula.__name__: formula
    for formula in (
        scale,
        clip,
        clip_by_global_norm,
        normalize_by_update_norm,
        clip_by_block_rms,
        adaptive_grad_clip,
        scale_by_trust_ratio,
        centralize,
        add_decayed_weights,
        add_noise,
        keep_params_nonnegative,
        set_to_zero,
        zero_nans,
        apply_if_finite,
        scale_by_adam,
        scale_by_adam_nesterov,
        scale_by_rms,
        scale_by_stddev,
        trace,
        trace_nesterov,
        ema,
        apply_every,
        multi_steps_sum,
        multi_steps_mean,
    )
}
"""The formula of each op, by its name."""
