from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import dowg as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native_with_extra
from gradmill.contrib._estimating import Estimating
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._identity import identity

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


class DoWGState(NamedTuple):
    """The state of the part of :func:`dowg` that finds the learning rate.

    Attributes:
        init_params: The initial parameters.
        weighted_sq_norm_grads: The weighted sum of squares of all gradients, a 0-d array.
        estim_sq_dist: The largest square of a distance from the first parameters, a 0-d array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.dowg().init(np.ones(2))[1].estim_sq_dist
        array(0.0001)
    """

    init_params: Any
    weighted_sq_norm_grads: Any
    estim_sq_dist: Any


@recorded
def dowg(
    learning_rate: ScalarOrSchedule = 1.0,
    init_estim_sq_dist: float | None = None,
    eps: float = 1e-4,
    weight_decay: float | None = None,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    r"""DoWG: :func:`dog` with gradients weighted by the distance moved.

    .. math::
        u_t = -\gamma \, g_t \frac{r_t^2}{\sqrt{\sum_{s \le t} r_s^2 \|g_s\|^2} + \epsilon}, \qquad
        r_t = \max_{s \le t} \|p_s - p_0\|

    Its steps are larger than those of :func:`dog`, and safely so. It needs no tuned learning rate,
    whether the loss is smooth or not.

    Args:
        learning_rate: A number or a schedule :math:`\gamma`, which multiplies the rate found.
        init_estim_sq_dist: The first :math:`r^2`, not negative; None for ``eps``.
        eps: The number :math:`\epsilon` added outside the root, not negative.
        weight_decay: An L2 penalty: this multiple of the parameters is added to the gradients; None
            for none.
        mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.

    Returns:
        A chain whose second state is a :class:`DoWGState`, and whose ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.dowg(), np.array([1.0, -2.0]))
        >>> for _ in range(100):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Khaled, Mishchenko and Jin, `DoWG Unleashed: An Efficient Universal Parameter-Free Gradient
        Descent Method <https://arxiv.org/abs/2305.16284>`_, 2023.
    """
    start = eps if init_estim_sq_dist is None else init_estim_sq_dist
    first = {
        "weighted_sq_norm_grads": 0.0,
        "estim_sq_dist": real("init_estim_sq_dist", start, at_least=0),
    }
    spec = Spec(
        ops.dowg,
        DoWGState,
        slots=(Slot("init_params", start="params"),),
        control=Estimating(ops.dowg, {"eps": real("eps", eps, at_least=0)}, first),
    )
    return chain(
        identity() if weight_decay is None else add_decayed_weights(weight_decay, mask),
        native_with_extra(spec),
        scale_by_learning_rate(learning_rate),
    )
