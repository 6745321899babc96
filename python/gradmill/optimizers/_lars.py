"""Steps by the size of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill.transforms import (
    add_decayed_weights,
    masked,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_trust_ratio,
    trace,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def lamb(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformationExtraArgs:
    """LAMB: Adam with weight decay, then :func:`scale_by_trust_ratio`, for large batches.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added outside the root.
        eps_root: Added inside the root.
        weight_decay: The multiple of the parameters to add, or a schedule.
        mask: Which leaves decay; see :func:`add_decayed_weights`.
        eps_mode: "corrected" to add the epsilons to the corrected second moment; "hat" to add them
            to the moment as it is, and correct the quotient, as scikit-learn and many programs do.
        bias_correction: Whether to make up for moments that start at zero.

    Returns:
        The chain of :func:`scale_by_adam`, :func:`add_decayed_weights`,
        :func:`scale_by_trust_ratio` and :func:`scale_by_learning_rate`. Its ``update`` needs
        ``params``.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.lamb(0.1), np.array([3.0, 4.0]))
        >>> _ = opt.step(np.array([1.0, 1.0]))
        >>> opt.params.round(3)
        array([2.646, 3.646])

    References:
        You et al., `Large Batch Optimization for Deep Learning: Training BERT in 76 minutes
        <https://arxiv.org/abs/1904.00962>`_, 2020.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, eps_mode=eps_mode, bias_correction=bias_correction),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: float = 0.001,
    eps: float = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """LARS: weight decay and :func:`scale_by_trust_ratio`, then momentum, for large batches.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: The multiple of the parameters to add, or a schedule.
        weight_decay_mask: Which leaves decay; see :func:`masked`.
        trust_coefficient: The factor of the trust ratio.
        eps: Added to the norm of the update.
        trust_ratio_mask: Which leaves are scaled; see :func:`masked`.
        momentum: The decay of :func:`trace`, which comes behind the learning rate.
        nesterov: Whether to use Nesterov's momentum.

    Returns:
        The chain of :func:`add_decayed_weights`, :func:`scale_by_trust_ratio`,
        :func:`scale_by_learning_rate` and :func:`trace`. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.lars(1.0, trust_coefficient=0.1), np.array([3.0, 4.0]))
        >>> _ = opt.step(np.array([0.3, 0.4]))
        >>> opt.params
        array([2.7, 3.6])

    References:
        You, Gitman and Ginsburg, `Large Batch Training of Convolutional Networks
        <https://arxiv.org/abs/1708.03888>`_, 2017.
    """
    ratio = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(ratio, trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(real("momentum", momentum), nesterov),
    )
