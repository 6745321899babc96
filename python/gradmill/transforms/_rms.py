from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import rms as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


class ScaleByRmsState(NamedTuple):
    """The state of :func:`scale_by_rms` without bias correction.

    Attributes:
        nu: Averages of squared updates, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_rms(initial_scale=1.0).init(np.ones(2))
        ScaleByRmsState(nu=array([1., 1.]))
    """

    nu: Any


class ScaleByRmsWithCountState(NamedTuple):
    """The state of :func:`scale_by_rms` with bias correction.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        nu: Averages of squared updates, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_rms(bias_correction=True).init(np.ones(1))
        ScaleByRmsWithCountState(count=array(0, dtype=int32), nu=array([0.]))
    """

    count: Any
    nu: Any


class ScaleByRStdDevState(NamedTuple):
    """The state of :func:`scale_by_stddev` without bias correction.

    Attributes:
        mu: Averages of updates, a tree like the parameters.
        nu: Averages of squared updates, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_stddev().init(np.ones(1))
        ScaleByRStdDevState(mu=array([0.]), nu=array([0.]))
    """

    mu: Any
    nu: Any


class ScaleByRStdDevWithCountState(NamedTuple):
    """The state of :func:`scale_by_stddev` with bias correction.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: Averages of updates, a tree like the parameters.
        nu: Averages of squared updates, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_stddev(bias_correction=True).init(np.ones(1)).count
        array(0, dtype=int32)
    """

    count: Any
    mu: Any
    nu: Any


def _hyper(decay: float, eps: float, eps_in_sqrt: bool, bias_correction: bool) -> dict[str, float]:
    eps = real("eps", eps, at_least=0)
    return {
        # A weight above one would make averages of squares negative.
        "decay": real("decay", decay, at_least=0, at_most=1, below=1 if bias_correction else None),
        "eps": 0.0 if eps_in_sqrt else eps,
        "eps_root": eps if eps_in_sqrt else 0.0,
        "bias_correction": bool(bias_correction),
    }


@recorded
def scale_by_rms(
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    r"""Divide updates by the root of their running mean square.

    .. math::
        v' = \beta v + (1 - \beta) u^2, \qquad
        u' = \frac{u}{\sqrt{\hat v + \epsilon}} \;\text{ or }\; \frac{u}{\sqrt{\hat v} + \epsilon}

    Here :math:`\hat v` is :math:`v'`, or :math:`v' / (1 - \beta^t)` with bias correction.

    Args:
        decay: How much of the running value each step keeps, :math:`\beta`. It remembers about
            :math:`1 / (1 - \beta)` steps: 0.9 is 10 steps, 0.99 is 100.
        eps: Keeps the denominator away from zero. Raise it (1e-6 to 1e-3) if updates of rarely used
            parameters are too large.
        initial_scale: The value of :math:`v` before the first step. Above 0, it tempers the first
            steps.
        eps_in_sqrt: Whether ``eps`` is added inside the root, as optax does, or outside, as torch
            does.
        bias_correction: Whether to make up for an average that starts at zero, by dividing it by
            :math:`1 - \beta^t`.

    Returns:
        A transformation with state :class:`ScaleByRmsState`, or :class:`ScaleByRmsWithCountState`
        with bias correction.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: ``eps``, ``initial_scale`` or ``decay`` is negative or NaN, or ``decay`` is
            more than 1, or not less with bias correction.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_rms(decay=0.75)
        >>> tx.update(np.array([3.0, -4.0]), tx.init(np.zeros(2)))[0].round(6)
        array([ 2., -2.])

    References:
        Tieleman and Hinton, `Lecture 6.5: rmsprop
        <https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf>`_, 2012.
    """
    state = ScaleByRmsWithCountState if bias_correction else ScaleByRmsState
    slots = (Slot("nu", start=real("initial_scale", initial_scale, at_least=0), coding="square"),)
    hyper = _hyper(decay, eps, eps_in_sqrt, bias_correction)
    return native(Spec(ops.scale_by_rms, state, hyper, slots))


@recorded
def scale_by_stddev(
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    r"""Divide each element of the updates by its standard deviation over time.

    .. math::
        m' = \beta m + (1 - \beta) u, \qquad v' = \beta v + (1 - \beta) u^2, \qquad
        u' = \frac{u}{\sqrt{\hat v - \hat m^2 + \epsilon}}

    or :math:`u / (\sqrt{\hat v - \hat m^2} + \epsilon)`, with corrected averages on request. If
    rounding makes a variance negative, it counts as zero.

    Args:
        decay: How much of the running value each step keeps, :math:`\beta`. It remembers about
            :math:`1 / (1 - \beta)` steps: 0.9 is 10 steps, 0.99 is 100.
        eps: Keeps the denominator away from zero. Raise it (1e-6 to 1e-3) if updates of rarely used
            parameters are too large.
        initial_scale: The value of :math:`v` before the first step. Above 0, it tempers the first
            steps.
        eps_in_sqrt: Whether ``eps`` is added inside the root, as optax does, or outside, as torch
            does.
        bias_correction: Whether to make up for averages that start at zero, by dividing them by
            :math:`1 - \beta^t`.

    Returns:
        A transformation with state :class:`ScaleByRStdDevState`, or
        :class:`ScaleByRStdDevWithCountState` with bias correction.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: ``eps``, ``initial_scale`` or ``decay`` is negative or NaN, or ``decay`` is
            more than 1, or not less with bias correction.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_stddev(decay=0.5)
        >>> tx.update(np.array([3.0, -4.0]), tx.init(np.zeros(2)))[0].round(6)
        array([ 2., -2.])

    References:
        Graves, `Generating Sequences With Recurrent Neural Networks
        <https://arxiv.org/abs/1308.0850>`_, 2013.
    """
    state = ScaleByRStdDevWithCountState if bias_correction else ScaleByRStdDevState
    slots = (
        Slot("mu", coding="signed"),
        Slot("nu", start=real("initial_scale", initial_scale, at_least=0), coding="square"),
    )
    hyper = _hyper(decay, eps, eps_in_sqrt, bias_correction)
    return native(Spec(ops.scale_by_stddev, state, hyper, slots))
