from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import ademamix as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.schedules._named import real_or_schedule
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


class ScaleBySimplifiedAdEMAMixState(NamedTuple):
    """The state of :func:`scale_by_simplified_ademamix`.

    Attributes:
        t: Steps taken, a 0-d int32 array.
        m: Sums of decayed updates, a tree like the parameters.
        n: Second moments, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.contrib.scale_by_simplified_ademamix().init(np.ones(1))
        >>> state.t, state.m
        (array(0, dtype=int32), array([0.]))
    """

    t: Any
    m: Any
    n: Any


@recorded
def scale_by_simplified_ademamix(
    b1: float = 0.99,
    b2: float = 0.95,
    alpha: ScalarOrSchedule = 0.0,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> GradientTransformation:
    r"""Rescale updates as AdEMAMix does, with one moment instead of two.

    .. math::
        m' = \beta_1 m + u, \qquad v' = \beta_2 v + (1 - \beta_2) u^2, \qquad
        u' = \frac{m' + \alpha u}{\sqrt{v' / (1 - \beta_2^t) + \bar\epsilon} + \epsilon}

    Here :math:`t` counts from 1. The slow moment is a sum, not a mean: it grows to
    :math:`1 / (1 - \beta_1)` times an update, so learning rates are that much smaller than Adam's.
    It takes one array less than :func:`scale_by_ademamix`. Raise ``alpha`` with the batch size:
    small batches want the sum to dominate; large ones go up to about 100.

    Args:
        b1: How much of the running sum of gradients each step keeps: about ``1 / (1 - b1)`` steps.
            Between -1 and 1. The sum is ``1 / (1 - b1)`` times as large as a mean, so learning
            rates are smaller.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        alpha: The weight of the current gradient relative to the running sum, a number or a
            schedule.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added inside the root, :math:`\bar\epsilon`. Usually 0; a small value keeps the
            derivative of the step finite, for meta-learning. Not negative.

    Returns:
        A transformation with state :class:`ScaleBySimplifiedAdEMAMixState`. It does not change the
        sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_simplified_ademamix(alpha=2.0)
        >>> updates, state = tx.update(np.array([3.0, -0.1]), tx.init(np.zeros(2)))
        >>> updates.round(6)
        array([ 3., -3.])

    References:
        Morwani et al., `Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD
        Variants <https://arxiv.org/abs/2502.02431>`_, 2025.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "alpha": real_or_schedule("alpha", alpha),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
    }
    op, slots = (
        ops.scale_by_simplified_ademamix,
        (Slot("m", coding="signed"), Slot("n", coding="square")),
    )
    return native(Spec(op, ScaleBySimplifiedAdEMAMixState, hyper, slots, counters=("t",)))


@recorded
def simplified_ademamix(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.99,
    b2: float = 0.95,
    alpha: ScalarOrSchedule = 0.0,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """Simplified AdEMAMix: a long sum of gradients, plus a multiple of the current one.

    :func:`scale_by_simplified_ademamix`, then :func:`gradmill.add_decayed_weights`, then
    :func:`gradmill.scale_by_learning_rate`.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running sum of gradients each step keeps: about ``1 / (1 - b1)`` steps.
            Between -1 and 1. The sum is ``1 / (1 - b1)`` times as large as a mean, so learning
            rates are smaller.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        alpha: The weight of the current gradient relative to the running sum, a number or a
            schedule.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added inside the root. Usually 0; a small value keeps the derivative of the step
            finite, for meta-learning. Not negative.
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule. A
            step subtracts this multiple of the parameters, times the learning rate: with 0.1 and a
            rate of 1e-3, one part in 10,000.
        mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.simplified_ademamix(0.1)
        >>> opt = gm.Optimizer(tx, np.array([1.0, -1.0]))
        >>> for _ in range(2):
        ...     _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.701, -1.299])

    References:
        Morwani et al., `Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD
        Variants <https://arxiv.org/abs/2502.02431>`_, 2025.
    """
    return chain(
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
