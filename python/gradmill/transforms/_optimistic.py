from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.checks import is_bool, real
from gradmill._data.numbers import HOST, TRACED, is_traced
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import optimistic as ops
from gradmill._plan.control import Context, Control, FieldError, Plan
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.errors import LeafTypeError

if TYPE_CHECKING:
    from gradmill._data.types import PyTree
    from gradmill._run.transformation import GradientTransformation


class ScaleByOptimisticGradientState(NamedTuple):
    """The state of :func:`scale_by_optimistic_gradient`.

    Attributes:
        is_initial_step: Whether no step has been taken, a 0-d array.
        previous_gradient: The last updates, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_optimistic_gradient().init(np.ones(1)).previous_gradient
        array([0.])
    """

    is_initial_step: Any
    previous_gradient: Any


class _Optimistic(Control):
    """Reads from the state whether a step is the first."""

    is_arithmetic = True

    def __init__(self, alpha: float, beta: float) -> None:
        self.alpha = alpha
        self.beta = beta

    def init(self, params: PyTree) -> dict[str, Any]:
        return {"is_initial_step": np.asarray(True)}

    def plan(self, state: Any, context: Context) -> Plan:
        is_first = state.is_initial_step
        if context.xp is HOST:
            if is_traced(is_first) or not is_bool(is_first):
                problem = TRACED if is_traced(is_first) else f"{is_first!r:.60} is not a bool"
                raise FieldError("is_initial_step", problem, LeafTypeError)
            is_first = bool(is_first)
        return Plan((self.alpha, self.beta, is_first))

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        return {"is_initial_step": False}


@recorded
def scale_by_optimistic_gradient(alpha: float = 1.0, beta: float = 1.0) -> GradientTransformation:
    r"""Add a multiple of the change since the last step to the updates.

    .. math:: u_t' = \alpha u_t + \beta \left(u_t - u_{t-1}\right)

    and :math:`u_1' = \alpha u_1`. It expects the next update to change as the last one did. Players
    of a game, such as the two networks of a GAN, then converge where they would otherwise circle
    around an equilibrium.

    Args:
        alpha: The factor :math:`\alpha` of the update.
        beta: The factor :math:`\beta` of its change since the last step.

    Returns:
        A transformation with state :class:`ScaleByOptimisticGradientState`. It does not change the
        sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_optimistic_gradient()
        >>> updates, state = tx.update(np.array([1.0]), tx.init(np.zeros(1)))
        >>> updates, tx.update(np.array([3.0]), state)[0]
        (array([1.]), array([5.]))

    References:
        Mokhtari, Ozdaglar and Pattathil, `A Unified Analysis of Extra-gradient and Optimistic
        Gradient Methods for Saddle Point Problems <https://arxiv.org/abs/1901.08511>`_, 2019.
    """
    control = _Optimistic(real("alpha", alpha), real("beta", beta))
    slots = (Slot("previous_gradient"),)
    return native(
        Spec(
            ops.scale_by_optimistic_gradient,
            ScaleByOptimisticGradientState,
            slots=slots,
            control=control,
        )
    )
