"""Adafactor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradmill._data.checks import number, real
from gradmill._data.recorded import recorded
from gradmill.schedules._named import real_or_schedule
from gradmill.transforms import (
    add_decayed_weights,
    clip_by_block_rms,
    ema,
    scale,
    scale_by_factored_rms,
    scale_by_learning_rate,
    scale_by_param_block_rms,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


@recorded
def adafactor(
    learning_rate: ScalarOrSchedule | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: float = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float | None = 1.0,
    momentum: float | None = None,
    dtype_momentum: DTypeLike = np.float32,
    weight_decay_rate: ScalarOrSchedule | None = None,
    eps: float = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    r"""Adafactor: Adam without momentum, storing one value per row and column of a matrix.

    Pick it when optimizer state does not fit in memory: a matrix of :math:`m \times n` parameters
    needs :math:`m + n` numbers instead of Adam's :math:`2 m n`. :func:`scale_by_factored_rms`, then
    the steps that the arguments ask for, then ``scale(-1.0)``.

    Args:
        learning_rate: A number or a schedule; None leaves it out.
        min_dim_size_to_factor: Leaves whose second longest axis is shorter than this keep a value
            per element.
        decay_rate: How fast the memory of squares grows: step :math:`t` keeps about :math:`1 -
            t^{-\rho}` of it. Not negative.
        decay_offset: Subtracted from the step count; set it to the count at which fine-tuning
            begins.
        multiply_by_parameter_scale: Whether the learning rate is relative to the root mean square
            of each leaf; see :func:`scale_by_param_block_rms`.
        clipping_threshold: The largest root mean square of an update, for
            :func:`clip_by_block_rms`; None for no clipping.
        momentum: How much of the running mean of updates each step keeps, as in :func:`ema`; None
            for no momentum, which saves its memory.
        dtype_momentum: The dtype in which momentum is stored.
        weight_decay_rate: The multiple of the parameters to add, a number or a schedule; None for
            no decay. The learning rate does not multiply it.
        eps: Added to squares, not negative.
        factored: Whether to keep row and column means of squares instead of one value per element:
            that is what saves memory.
        weight_decay_mask: Which leaves decay; see :func:`add_decayed_weights`. Biases and the
            scales of normalization layers are usually left out:
            ``lambda path, leaf: leaf.ndim > 1``.

    Returns:
        The chain; its length depends on the arguments. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.adafactor(0.1), np.array([2.0, -2.0]))
        >>> _ = opt.step(np.array([3.0, 4.0]))
        >>> opt.params.round(6)
        array([ 1.8, -2.2])

    References:
        Shazeer and Stern, `Adafactor: Adaptive Learning Rates with Sublinear Memory Cost
        <https://arxiv.org/abs/1804.04235>`_, 2018.
    """
    offset = number("decay_offset", decay_offset)
    members: list[GradientTransformation] = [
        scale_by_factored_rms(factored, decay_rate, offset, min_dim_size_to_factor, eps)
    ]
    if clipping_threshold is not None:
        members.append(clip_by_block_rms(real("clipping_threshold", clipping_threshold)))
    if learning_rate is not None:
        members.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if multiply_by_parameter_scale:
        members.append(scale_by_param_block_rms())
    if momentum is not None:
        decay = real("momentum", momentum)
        members.append(ema(decay, debias=False, accumulator_dtype=dtype_momentum))
    if weight_decay_rate is not None:
        decays = real_or_schedule("weight_decay_rate", weight_decay_rate)
        members.append(add_decayed_weights(decays, weight_decay_mask))
    return chain(*members, scale(-1.0))
