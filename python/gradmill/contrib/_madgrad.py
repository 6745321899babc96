from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import madgrad as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.schedules._named import real_or_schedule
from gradmill.transforms import add_decayed_weights
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


class MadgradState(NamedTuple):
    """The state of :func:`scale_by_madgrad`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        grad_sum_sq: Weighted sums of squares of gradients, a tree like the parameters.
        s: Weighted sums of gradients, a tree like the parameters.
        x0: The initial parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.scale_by_madgrad(0.1).init(np.ones(2)).x0
        array([1., 1.])
    """

    count: Any
    grad_sum_sq: Any
    s: Any
    x0: Any


@recorded
def scale_by_madgrad(
    learning_rate: ScalarOrSchedule, momentum: float = 0.9, eps: float = 1e-6
) -> GradientTransformation:
    r"""Turn gradients into steps by dual averaging, with cube roots of sums of squares (MADGRAD).

    .. math::
        \lambda = (\gamma + \epsilon) \sqrt t, \quad
        s' = s + \lambda u, \quad
        \nu' = \nu + \lambda u^2, \quad
        u' = (1 - c) \left(x_0 - \frac{s'}{\sqrt[3]{\nu'} + \epsilon} - p\right)

    Here :math:`t` counts from 1. All gradients since the start count, later ones more. It does as
    well as gradient descent with momentum on images and as Adam on text. It needs less weight decay
    than other optimizers, often none.

    Args:
        learning_rate: The learning rate :math:`\gamma`, a number or a schedule, not negative.
        momentum: The share :math:`c` of the old parameters, from 0 to below 1.
        eps: The number :math:`\epsilon`, not negative.

    Returns:
        A transformation with state :class:`MadgradState`, whose ``update`` needs ``params`` and
        which turns the sign of gradients.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_madgrad(0.001, momentum=0.0, eps=0.0)
        >>> params = np.zeros(2)
        >>> tx.update(np.array([1.0, -8.0]), tx.init(params), params)[0].round(6)
        array([-0.01,  0.02])

    References:
        Defazio and Jelassi, `Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged
        Gradient Method for Stochastic Optimization <https://arxiv.org/abs/2101.11075>`_, 2021.
    """
    hyper = {
        "learning_rate": real_or_schedule("learning_rate", learning_rate, at_least=0),
        "momentum": real("momentum", momentum, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
    }
    slots = (Slot("grad_sum_sq"), Slot("s"), Slot("x0", start="params"))
    return native(Spec(ops.scale_by_madgrad, MadgradState, hyper, slots))


@recorded
def madgrad(
    learning_rate: ScalarOrSchedule,
    momentum: float = 0.9,
    weight_decay: ScalarOrSchedule = 0.0,
    eps: float = 1e-6,
) -> GradientTransformationExtraArgs:
    """MADGRAD: dual averaging with adaptive steps, for images and text alike.

    :func:`gradmill.add_decayed_weights`, then :func:`scale_by_madgrad`.

    Args:
        learning_rate: A number or a schedule, not negative.
        momentum: The share of the old parameters, from 0 to below 1.
        weight_decay: An L2 penalty, a number or a schedule: this multiple of the parameters is
            added to the gradients.
        eps: Added to learning rates and to cube roots, not negative.

    Returns:
        The chain of the two. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.madgrad(0.1), np.array([1.0, -2.0]))
        >>> for _ in range(100):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Defazio and Jelassi, `Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged
        Gradient Method for Stochastic Optimization <https://arxiv.org/abs/2101.11075>`_, 2021.
    """
    return chain(
        add_decayed_weights(weight_decay),
        scale_by_madgrad(learning_rate, momentum, eps),
    )
