from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.checks import float_dtype, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import distance_over_gradients as ops
from gradmill._ops.common import total
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._run.transformation import GradientTransformation


class ScaleByDistanceOverGradientsState(NamedTuple):
    """The state of :func:`scale_by_distance_over_gradients`.

    Attributes:
        max_dist: The largest distance so far, a tree of a 0-d array for each parameter.
        grad_sum_of_squares: Sums of squares of all updates, a tree of an array of one element for
            each parameter.
        init_params: The initial parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.scale_by_distance_over_gradients(0.1).init(np.array([3.0, 4.0]))
        >>> state.max_dist, state.grad_sum_of_squares
        (array(0.6), array([0.]))
    """

    max_dist: Any
    grad_sum_of_squares: Any
    init_params: Any


def _first_distance(reps_rel: float, xp: Any, leaf: Any, dtype: Any) -> Any:
    wide = xp.asarray(leaf, dtype)
    return xp.asarray(reps_rel * (1 + xp.sqrt(total(xp, wide * wide))), dtype)


def _one_element(xp: Any, _: Any, dtype: Any) -> Any:
    return xp.zeros((1,), dtype)


@recorded
def scale_by_distance_over_gradients(
    reps_rel: float = 1e-6,
    eps: float = 1e-8,
    param_dtype: DTypeLike | None = np.float32,
    global_scale: float = 1.0,
) -> GradientTransformation:
    r"""Scale each leaf by how far it has moved, over the norm of all its updates.

    .. math::
        d' = \max\left(d, \|p - p_0\|\right), \qquad s' = s + \|u\|^2, \qquad
        u' = c \, u \, \frac{d'}{\sqrt{s' + \epsilon}}

    This holds for each leaf on its own; :math:`d` starts at ``reps_rel`` times :math:`1 + \|p_0\|`.
    There is no learning rate to tune. :func:`contrib.dog` does the same for all leaves together.
    The sign does not change: put ``scale(-1.0)`` after it.

    Args:
        reps_rel: The first distance, in multiples of one more than the norm of the parameters.
        eps: Added inside the root, so that parameters with tiny gradients do not take huge steps.
        param_dtype: The dtype in which the initial parameters are kept; None for their own.
        global_scale: The factor :math:`c`.

    Returns:
        A transformation with state :class:`ScaleByDistanceOverGradientsState`. Its ``update`` needs
        ``params``.

    Raises:
        TypeError: A hyperparameter is not a real number, or ``param_dtype`` is not a float dtype.
        ValueError: ``reps_rel`` or ``eps`` is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.chain(gm.scale_by_distance_over_gradients(), gm.scale(-1.0))
        >>> opt = gm.Optimizer(tx, np.array([1.0, -2.0]))
        >>> for _ in range(100):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Ivgi, Hinder and Carmon, `DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size
        Schedule <https://arxiv.org/abs/2302.12022>`_, 2023.
    """
    start = real("reps_rel", reps_rel, at_least=0)
    hyper = {
        "eps": real("eps", eps, at_least=0),
        "global_scale": real("global_scale", global_scale),
    }
    slots = (
        Slot("init_params", float_dtype("param_dtype", param_dtype), start="params"),
        Slot("max_dist", start=partial(_first_distance, start)),
        Slot("grad_sum_of_squares", start=_one_element),
    )
    return native(
        Spec(ops.scale_by_distance_over_gradients, ScaleByDistanceOverGradientsState, hyper, slots)
    )
