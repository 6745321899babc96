from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import cocob as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


class COCOBState(NamedTuple):
    """The state of :func:`scale_by_cocob`.

    Attributes:
        init_particles: The initial parameters.
        cumulative_gradients: Negated sums of gradients, a tree like the parameters.
        scale: The largest absolute gradients so far, a tree like the parameters.
        subgradients: Sums of absolute gradients, a tree like the parameters.
        reward: What bets have won, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.scale_by_cocob().init(np.ones(2)).scale
        array([1.e-08, 1.e-08])
    """

    init_particles: Any
    cumulative_gradients: Any
    scale: Any
    subgradients: Any
    reward: Any


@recorded
def scale_by_cocob(alpha: float = 100.0, eps: float = 1e-8) -> GradientTransformation:
    r"""Turn gradients into steps without a learning rate, by betting on their signs.

    .. math::
        L' = \max(L, |u|), \quad G' = G + |u|, \quad
        R' = \max(R - u (p - p_0), 0), \quad C' = C - u

    .. math:: u' = p_0 - p + \frac{C'}{L' \max(G' + L', \alpha L')} (L' + R')

    Each element is a gambler who bets a share of its winnings on the next gradient. Pick it if
    nobody can tune a learning rate; steps grow as fast as they pay off.

    Args:
        alpha: The number :math:`\alpha` that keeps first bets small, not negative.
        eps: The first :math:`L`, not negative.

    Returns:
        A transformation with state :class:`COCOBState`, whose ``update`` needs ``params`` and which
        turns the sign of gradients. An element whose gradients are zero stays.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_cocob()
        >>> params = np.zeros(2)
        >>> tx.update(np.array([3.0, -0.1]), tx.init(params), params)[0]
        array([-0.01,  0.01])

    References:
        Orabona and Tommasi, `Training Deep Networks without Learning Rates Through Coin Betting
        <https://arxiv.org/abs/1705.07795>`_, 2017.
    """
    eps = real("eps", eps, at_least=0)
    slots = (
        Slot("init_particles", start="params"),
        Slot("cumulative_gradients"),
        Slot("scale", start=eps),
        Slot("subgradients"),
        Slot("reward"),
    )
    hyper = {"alpha": real("alpha", alpha, at_least=0)}
    return native(Spec(ops.scale_by_cocob, COCOBState, hyper, slots))


@recorded
def cocob(
    learning_rate: ScalarOrSchedule = 1.0,
    alpha: float = 100.0,
    eps: float = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """COCOB: steps without a learning rate, by betting on the signs of gradients.

    :func:`gradmill.add_decayed_weights`, then :func:`gradmill.scale_by_learning_rate` without the
    change of sign, then :func:`scale_by_cocob`.

    Args:
        learning_rate: A factor for gradients, a number or a schedule. Cocob does not depend on the
            scale of gradients, so only changes of this factor during a run matter.
        alpha: What keeps first bets small, not negative.
        eps: The first size of a gradient, not negative.
        weight_decay: An L2 penalty, a number or a schedule: this multiple of the parameters is
            added to the gradients.
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
        >>> opt = gm.Optimizer(gm.contrib.cocob(), np.array([1.0, -2.0]))
        >>> for _ in range(300):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Orabona and Tommasi, `Training Deep Networks without Learning Rates Through Coin Betting
        <https://arxiv.org/abs/1705.07795>`_, 2017.
    """
    return chain(
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_cocob(alpha, eps),
    )
