from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import adadelta as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


class ScaleByAdaDeltaState(NamedTuple):
    """The state of :func:`scale_by_adadelta`.

    Attributes:
        e_g: Averages of squared updates that came in, a tree like the parameters.
        e_x: Averages of squared updates that went out, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_adadelta().init(np.ones(1))
        ScaleByAdaDeltaState(e_g=array([0.]), e_x=array([0.]))
    """

    e_g: Any
    e_x: Any


@recorded
def scale_by_adadelta(rho: float = 0.9, eps: float = 1e-6) -> GradientTransformation:
    r"""Rescale updates to the size of the steps that came before, as Adadelta does.

    .. math::
        g' = \rho g + (1 - \rho) u^2, \qquad
        u' = \frac{\sqrt{x + \epsilon}}{\sqrt{g' + \epsilon}} \, u, \qquad
        x' = \rho x + (1 - \rho) u'^2

    Steps have the unit of parameters, so there is no learning rate to tune. They start small, in
    proportion to :math:`\sqrt\epsilon`, and grow.

    Args:
        rho: How much of both running means each step keeps, :math:`\rho`, in [0, 1].
        eps: Sets the size of the first steps, which are proportional to its root, and keeps the
            denominator away from zero. Not negative.

    Returns:
        A transformation with state :class:`ScaleByAdaDeltaState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_adadelta(rho=0.75, eps=0.01)
        >>> tx.update(np.array([3.0, -4.0]), tx.init(np.zeros(2)))[0].round(4)
        array([ 0.1996, -0.1998])

    References:
        Zeiler, `ADADELTA: An Adaptive Learning Rate Method <https://arxiv.org/abs/1212.5701>`_,
        2012.
    """
    hyper = {
        "rho": real("rho", rho, at_least=0, at_most=1),
        "eps": real("eps", eps, at_least=0),
    }
    slots = (Slot("e_g", coding="square"), Slot("e_x", coding="square"))
    return native(Spec(ops.scale_by_adadelta, ScaleByAdaDeltaState, hyper, slots))
