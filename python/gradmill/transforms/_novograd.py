from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import float_dtype, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import novograd as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._run.transformation import GradientTransformation


class ScaleByNovogradState(NamedTuple):
    """The state of :func:`scale_by_novograd`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Averages of squared norms, a tree of a 0-d array for each parameter.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_novograd().init(np.ones(2))
        ScaleByNovogradState(count=array(0, dtype=int32), mu=array([0., 0.]), nu=array(0.))
    """

    count: Any
    mu: Any
    nu: Any


def _one(xp: Any, _: Any, dtype: Any) -> Any:
    """A number for a leaf."""
    return xp.zeros((), dtype)


@recorded
def scale_by_novograd(
    b1: float = 0.9,
    b2: float = 0.25,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: float = 0.0,
    mu_dtype: DTypeLike | None = None,
) -> GradientTransformation:
    r"""Divide each leaf by a running mean of its norm, then accumulate, as in NovoGrad.

    .. math::
        v' &= \beta_2 v + (1 - \beta_2) \|u\|^2, \qquad
        d = \frac{u}{\sqrt{v' + \bar\epsilon} + \epsilon} + \lambda p \\
        u' &= m' = \beta_1 m + d

    In the first step :math:`v' = \|u\|^2`. The second moment is one number per leaf, so state is
    half of Adam's.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1].
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added inside the root, :math:`\bar\epsilon`. Usually 0; a small value keeps the
            derivative of the step finite, for meta-learning. Not negative.
        weight_decay: The multiple :math:`\lambda` of the parameters that is added to each
            normalized gradient.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).

    Returns:
        A transformation with state :class:`ScaleByNovogradState`. Its ``update`` needs ``params``.
        It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, or ``mu_dtype`` is not a float dtype.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_novograd()
        >>> params = np.zeros(2)
        >>> tx.update(np.array([3.0, -4.0]), tx.init(params), params)[0].round(6)
        array([ 0.6, -0.8])

    References:
        Ginsburg et al., `Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training
        of Deep Networks <https://arxiv.org/abs/1905.11286>`_, 2019.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, at_most=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
        "weight_decay": real("weight_decay", weight_decay),
    }
    slots = (Slot("mu", float_dtype("mu_dtype", mu_dtype), coding="signed"), Slot("nu", start=_one))
    return native(Spec(ops.scale_by_novograd, ScaleByNovogradState, hyper, slots))
