from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import acprop as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.transforms import ScaleByBeliefState, add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


@recorded
def scale_by_acprop(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-16,
    eps_root: float = 1e-16,
) -> GradientTransformation:
    r"""Divide updates by how far earlier updates were from their running mean, as in ACProp.

    .. math::
        u' = \frac{u}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}, \qquad
        s' = \beta_2 s + (1 - \beta_2) (u - m)^2 + \bar\epsilon, \qquad
        m' = \beta_1 m + (1 - \beta_1) u

    Here :math:`t` counts from 0, and the root of the first step counts as one. Like
    :func:`gradmill.scale_by_belief`, it takes large steps where gradients are as predicted. The
    denominator has not seen the gradient that it divides, so the method converges for any ``b2``.
    Pick it if gradients are sparse or noisy.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the running mean of squared deviations each step keeps, over about
            ``1 / (1 - b2)`` steps. In [0, 1).
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added to the moment of squares in each step, :math:`\bar\epsilon`, not negative.

    Returns:
        A transformation with state :class:`gradmill.ScaleByBeliefState`. It does not change the
        sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_acprop()
        >>> state = tx.init(np.zeros(2))
        >>> _, state = tx.update(np.array([4.0, -0.1]), state)
        >>> tx.update(np.array([2.0, -0.1]), state)[0].round(6)
        array([ 0.5, -1. ])

    References:
        Zhuang et al., `Momentum Centering and Asynchronous Update for Adaptive Gradient Methods
        <https://arxiv.org/abs/2110.05454>`_, 2021.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
    }
    slots = (Slot("mu", coding="signed"), Slot("nu", coding="square"))
    return native(Spec(ops.scale_by_acprop, ScaleByBeliefState, hyper, slots))


@recorded
def acprop(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-16,
    eps_root: float = 1e-16,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """ACProp: gradients over the root of a second moment that has not seen them yet.

    :func:`scale_by_acprop`, then :func:`gradmill.add_decayed_weights`, then
    :func:`gradmill.scale_by_learning_rate`.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the running mean of squared deviations each step keeps, over about
            ``1 / (1 - b2)`` steps. In [0, 1).
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added to the moment of squares in each step, not negative.
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
        >>> opt = gm.Optimizer(gm.contrib.acprop(0.1), np.array([1.0, -1.0]))
        >>> for _ in range(2):
        ...     _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.7 , -1.15])

    References:
        Zhuang et al., `Momentum Centering and Asynchronous Update for Adaptive Gradient Methods
        <https://arxiv.org/abs/2110.05454>`_, 2021.
    """
    return chain(
        scale_by_acprop(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
