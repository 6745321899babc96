from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradmill._data.checks import float_dtype, is_hat, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import ademamix as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.schedules._named import real_or_schedule
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


class ScaleByAdemamixState(NamedTuple):
    """The state of :func:`scale_by_ademamix`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        count_m2: The same for the slow moment.
        m1: First moments, a tree like the parameters.
        m2: Slow first moments, a tree like the parameters.
        nu: Second moments, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.contrib.scale_by_ademamix().init(np.ones(1))
        >>> state.count_m2, state.m2
        (array(0, dtype=int32), array([0.]))
    """

    count: Any
    count_m2: Any
    m1: Any
    m2: Any
    nu: Any


@recorded
def scale_by_ademamix(
    b1: float = 0.9,
    b2: float = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 6.0,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformation:
    r"""Rescale updates as Adam does, with a second, much slower running mean.

    .. math::
        m_1' &= \beta_1 m_1 + (1 - \beta_1) u, \qquad m_2' = \beta_3 m_2 + (1 - \beta_3) u, \qquad
        v' = \beta_2 v + (1 - \beta_2) u^2 \\
        u' &= \frac{m_1' / (1 - \beta_1^t) + \alpha m_2'}
            {\sqrt{v' / (1 - \beta_2^t) + \bar\epsilon} + \epsilon}

    Here :math:`t` counts from 1. The slow mean is not corrected: it fills over about
    :math:`1 / (1 - \beta_3)` steps. Gradients from thousands of steps ago still count in it, which
    pays in long runs. For short ones, lower ``b3``.

    Args:
        b1: How much of the fast running mean of gradients each step keeps. Between -1 and 1.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        b3: How much of the slow running mean each step keeps, a number in [0, 1] or a schedule. The
            paper uses 0.9999: ten thousand steps.
        alpha: The weight of the slow mean relative to the fast one, a number or a schedule. The
            paper uses 5 to 10 and warms it up over the run.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added inside the root, :math:`\bar\epsilon`. Usually 0; a small value keeps the
            derivative of the step finite, for meta-learning. Not negative.
        mu_dtype: The dtype in which all moments are stored. None for the parameters' own dtype
            (float32 where that is 16 bits wide).
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        A transformation with state :class:`ScaleByAdemamixState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, or ``mu_dtype`` is not a float dtype.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_ademamix(b3=0.5, alpha=2.0)
        >>> updates, state = tx.update(np.array([3.0, -0.1]), tx.init(np.zeros(2)))
        >>> updates.round(6)
        array([ 2., -2.])

    References:
        Pagliardini, Ablin and Grangier, `The AdEMAMix Optimizer: Better, Faster, Older
        <https://arxiv.org/abs/2409.03137>`_, 2024.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "b3": real_or_schedule("b3", b3, at_least=0, at_most=1),
        "alpha": real_or_schedule("alpha", alpha),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
        "hat": is_hat(eps_mode),
        "bias_correction": bool(bias_correction),
    }
    dtype = float_dtype("mu_dtype", mu_dtype)
    slots = (
        Slot("m1", dtype, coding="signed"),
        Slot("m2", dtype, coding="signed"),
        Slot("nu", dtype, coding="square"),
    )
    counters = ("count", "count_m2")
    op = ops.scale_by_ademamix
    return native(Spec(op, ScaleByAdemamixState, hyper, slots, counters=counters))


@recorded
def ademamix(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 5.0,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformationExtraArgs:
    r"""AdEMAMix: AdamW with a second, much slower running mean of gradients, for long runs.

    :func:`scale_by_ademamix`, then :func:`gradmill.add_decayed_weights`, then
    :func:`gradmill.scale_by_learning_rate`.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the fast running mean of gradients each step keeps. Between -1 and 1.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        b3: How much of the slow running mean each step keeps, a number in [0, 1] or a schedule. The
            paper uses 0.9999: ten thousand steps.
        alpha: The weight of the slow mean relative to the fast one, a number or a schedule. The
            paper uses 5 to 10.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added inside the root. Usually 0; a small value keeps the derivative of the step
            finite, for meta-learning. Not negative.
        mu_dtype: The dtype in which all moments are stored. None for the parameters' own dtype
            (float32 where that is 16 bits wide).
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule. A
            step subtracts this multiple of the parameters, times the learning rate: with 0.1 and a
            rate of 1e-3, one part in 10,000.
        mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.ademamix(0.1, b3=0.5, alpha=2.0)
        >>> opt = gm.Optimizer(tx, np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.8, -1.2])

    References:
        Pagliardini, Ablin and Grangier, `The AdEMAMix Optimizer: Better, Faster, Older
        <https://arxiv.org/abs/2409.03137>`_, 2024.
    """
    return chain(
        scale_by_ademamix(
            b1,
            b2,
            b3,
            alpha,
            eps,
            eps_root,
            mu_dtype,
            eps_mode=eps_mode,
            bias_correction=bias_correction,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
