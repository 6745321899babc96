from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import float_dtype, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import mars as ops
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


class ScaleByMarsState(NamedTuple):
    """The state of :func:`scale_by_mars`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Second moments, a tree like the parameters.
        prev_grad: The gradients of the step before, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.scale_by_mars().init(np.ones(2)).prev_grad
        array([0., 0.])
    """

    count: Any
    mu: Any
    nu: Any
    prev_grad: Any


@recorded
def scale_by_mars(
    b1: float = 0.95,
    b2: float = 0.99,
    gamma: ScalarOrSchedule = 0.025,
    eps: float = 1e-8,
    max_norm: float | None = 1.0,
    mu_dtype: DTypeLike | None = None,
) -> GradientTransformation:
    r"""Rescale gradients as Adam does, after reducing their variance with the previous gradient.

    .. math::
        c &= g_t + \gamma \frac{\beta_1}{1 - \beta_1} (g_t - g_{t-1}), \qquad
        \tilde c = c \min(1, r / \lVert c \rVert) \\
        m' &= \beta_1 m + (1 - \beta_1) \tilde c, \qquad
        v' = \beta_2 v + (1 - \beta_2) \tilde c^2, \qquad
        u = \frac{m' / (1 - \beta_1^t)}{\sqrt{v' / (1 - \beta_2^t)} + \epsilon}

    Here :math:`t` counts from 1 and :math:`g_0 = g_1`; the norm is that of each leaf. This is the
    paper's approximate form: :math:`g_{t-1}` is the gradient of the previous batch, so a step needs
    one gradient, like Adam's. Pick it if gradients are noisy because batches are small.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. In [0,
            1).
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        gamma: The strength :math:`\gamma` of the correction, or a schedule of it; with 0 it is
            Adam with clipped gradients.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        max_norm: The largest norm :math:`r` of a corrected gradient, above 0; None for any.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).

    Returns:
        A transformation with state :class:`ScaleByMarsState`, which has to see gradients, not
        updates of another one. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, or ``mu_dtype`` is not a float dtype.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_mars(b1=0.5, gamma=1.0)
        >>> state = tx.init(np.zeros(1))
        >>> for grads in (0.2, 0.3):
        ...     updates, state = tx.update(np.array([grads]), state)
        >>> state.mu.round(6), state.prev_grad
        (array([0.25]), array([0.3]))

    References:
        Yuan et al., `MARS: Unleashing the Power of Variance Reduction for Training Large Models
        <https://arxiv.org/abs/2411.10438>`_, 2024.
    """
    hyper = {
        "b1": real("b1", b1, at_least=0, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "gamma": real_or_schedule("gamma", gamma),
        "eps": real("eps", eps, at_least=0),
        "max_norm": math.inf if max_norm is None else real("max_norm", max_norm, above=0),
    }
    slots = (
        Slot("mu", float_dtype("mu_dtype", mu_dtype), coding="signed"),
        Slot("nu", coding="square"),
        Slot("prev_grad", coding="signed"),
    )
    return native(Spec(ops.scale_by_mars, ScaleByMarsState, hyper, slots))


@recorded
def mars(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.95,
    b2: float = 0.99,
    gamma: ScalarOrSchedule = 0.025,
    eps: float = 1e-8,
    max_norm: float | None = 1.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """MARS-AdamW: AdamW on gradients whose variance is reduced.

    :func:`scale_by_mars`, then :func:`gradmill.add_decayed_weights`, then
    :func:`gradmill.scale_by_learning_rate`. Its authors use AdamW for vectors; combine the two with
    :func:`gradmill.partition`.

    Args:
        learning_rate: A number or a schedule; the paper uses 3e-3, higher than usual for AdamW.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. In [0,
            1).
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        gamma: The strength of the correction, or a schedule of it.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        max_norm: The largest norm of a leaf's corrected gradient, above 0; None for any.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
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
        >>> opt = gm.Optimizer(gm.contrib.mars(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.9, -1.1])

    References:
        Yuan et al., `MARS: Unleashing the Power of Variance Reduction for Training Large Models
        <https://arxiv.org/abs/2411.10438>`_, 2024.
    """
    return chain(
        scale_by_mars(b1, b2, gamma, eps, max_norm, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
