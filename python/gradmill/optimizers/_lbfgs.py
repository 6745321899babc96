from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill.transforms import (
    identity,
    scale,
    scale_by_lbfgs,
    scale_by_learning_rate,
    scale_by_zoom_linesearch,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule, TransformationLike
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: TransformationLike | None = scale_by_zoom_linesearch(  # noqa: B008  (it is a tuple)
        20, initial_guess_strategy="one"
    ),
) -> GradientTransformationExtraArgs:
    r"""L-BFGS: Newton steps with curvature estimated from the last few steps, and a line search.

    .. math:: u = -\eta \, H_t \, g_t

    :func:`scale_by_lbfgs`, then :func:`scale_by_learning_rate`, then the line search. Pick it for
    smooth functions with exact gradients: full batches, physics, fitting. There it needs far fewer
    steps than gradient descent. It does not cope with the noise of small batches.

    Args:
        learning_rate: A number or a schedule that scales the direction before the line search; None
            for 1, which is usual.
        memory_size: How many past steps approximate the curvature, at least 1; 5 to 20 is usual.
        scale_init_precond: Whether the inverse Hessian starts from the last curvature (usual) or
            from 1.
        linesearch: Scales each step; None to take the direction as it is, which may diverge.

    Returns:
        A chain whose states are a :class:`ScaleByLBFGSState`, that of the scaling, and that of the
        line search. Its ``update`` needs ``params`` and what the line search asks for: ``value``,
        ``grad`` and ``value_and_grad_fn``, where optax has ``value_fn`` and differentiates it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``memory_size`` is below 1.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> both = lambda p: (float((p**2).sum()), 2 * p)
        >>> opt = gm.Optimizer(gm.lbfgs(), np.array([1.0, 2.0, 3.0]))
        >>> value_and_grad = gm.value_and_grad_from_state(both)
        >>> for _ in range(2):
        ...     value, grad = value_and_grad(opt.params, state=opt.state)
        ...     _ = opt.step(grad, value=value, grad=grad, value_and_grad_fn=both)
        >>> both(opt.params)[0] < 1e-12
        True

    References:
        Liu and Nocedal, `On the limited memory BFGS method for large scale optimization
        <https://doi.org/10.1007/BF01589116>`_, 1989.
    """
    return chain(
        scale_by_lbfgs(memory_size, scale_init_precond),
        scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate),
        identity() if linesearch is None else linesearch,
    )
