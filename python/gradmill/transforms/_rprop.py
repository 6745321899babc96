from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import rprop as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


class ScaleByRpropState(NamedTuple):
    """The state of :func:`scale_by_rprop`.

    Attributes:
        step_sizes: The size of the next step of each element, a tree like the parameters.
        prev_updates: The next updates, unless signs change, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_rprop(0.1).init(np.ones(1))
        ScaleByRpropState(step_sizes=array([0.1]), prev_updates=array([0.]))
    """

    step_sizes: Any
    prev_updates: Any


@recorded
def scale_by_rprop(
    learning_rate: float,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
) -> GradientTransformation:
    r"""Take steps whose sizes depend on the signs of updates, not on their magnitudes.

    .. math::
        s' = \begin{cases}
            \operatorname{clip}(\eta^+ s, s_-, s_+) & u d > 0 \\
            \operatorname{clip}(\eta^- s, s_-, s_+) & u d < 0 \\
            s & u d = 0
        \end{cases} \qquad
        d' = \begin{cases} 0 & u d < 0 \\ s' \operatorname{sign}(u) & \text{else} \end{cases} \qquad
        u' = \begin{cases} 0 & u d < 0 \\ d & \text{else} \end{cases}

    As in optax, updates lag by one step: the first one is zero. Use it with full batches only; the
    signs of small batches flip too often.

    Args:
        learning_rate: The size of the first step of every parameter, not negative. The algorithm
            adapts the sizes from there.
        eta_minus: The factor of a step size when the sign of its gradient has changed: below 1, not
            negative.
        eta_plus: The factor of a step size when the sign of its gradient has stayed: above 1, not
            negative.
        min_step_size: The smallest step size, not negative.
        max_step_size: The largest step size, not negative.

    Returns:
        A transformation with state :class:`ScaleByRpropState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_rprop(0.1)
        >>> state = tx.init(np.zeros(2))
        >>> for grads in ([3.0, -4.0], [2.0, -1.0], [1.0, 1.0]):
        ...     updates, state = tx.update(np.array(grads), state)
        >>> updates, state.step_sizes
        (array([0.12, 0.  ]), array([0.144, 0.06 ]))

    References:
        Riedmiller and Braun, `A Direct Adaptive Method for Faster Backpropagation Learning: The
        RPROP Algorithm <https://doi.org/10.1109/ICNN.1993.298623>`_, 1993.
    """
    hyper = {
        "eta_minus": real("eta_minus", eta_minus, at_least=0),
        "eta_plus": real("eta_plus", eta_plus, at_least=0),
        "min_step_size": real("min_step_size", min_step_size, at_least=0),
        "max_step_size": real("max_step_size", max_step_size, at_least=0),
    }
    slots = (
        Slot("step_sizes", start=real("learning_rate", learning_rate, at_least=0)),
        Slot("prev_updates"),
    )
    return native(Spec(ops.scale_by_rprop, ScaleByRpropState, hyper, slots))
