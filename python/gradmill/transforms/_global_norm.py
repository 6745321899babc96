from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import global_norm as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


@recorded
def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    r"""Shrink updates so that the norm over all leaves is at most ``max_norm``.

    .. math:: u' = u \text{ if } \lVert u \rVert < m, \text{ else } u \cdot m / \lVert u \rVert

    The usual guard against exploding gradients: it keeps their direction. Put it first in a chain.
    The norm is accumulated in float64 and cannot overflow. A NaN or an infinity anywhere makes the
    norm NaN or infinite, as in optax; :class:`gradmill.Optimizer` reports it. Updates that are all
    zero stay zero, even under a bound of zero.

    Args:
        max_norm: The largest global norm, at least 0. 1.0 is usual; infinity for no bound (the norm
            is still reported).

    Returns:
        A transformation with state ``EmptyState()``. It costs one more read of the updates; the
        multiplication is part of the pass of its neighbours.

    Raises:
        TypeError: ``max_norm`` is not a real number.
        ValueError: ``max_norm`` is NaN or negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.clip_by_global_norm(1.0)
        >>> updates, _ = tx.update({"a": np.array([3.0]), "b": np.array([4.0])}, tx.init(None))
        >>> updates
        {'a': array([0.6]), 'b': array([0.8])}

    References:
        Pascanu, Mikolov and Bengio, `On the difficulty of training recurrent neural networks
        <https://arxiv.org/abs/1211.5063>`_, 2012.
    """
    hyper = {"max_norm": real("max_norm", max_norm, at_least=0)}
    return native(Spec(ops.clip_by_global_norm, EmptyState, hyper))


@recorded
def normalize_by_update_norm(
    scale_factor: float = 1.0, eps: float = 1e-6
) -> GradientTransformation:
    r"""Divide updates by the norm over all leaves.

    .. math:: u' = u \, \frac{s}{\lVert u \rVert + \epsilon}

    Every update then has the same norm, large or small. The norm is accumulated in float64 and
    cannot overflow. Updates that are all zero stay zero, even without an epsilon.

    Args:
        scale_factor: The norm :math:`s` that updates have afterwards.
        eps: Added to the norm.

    Returns:
        A transformation with state ``EmptyState()``. It costs one more read of the updates.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.normalize_by_update_norm(scale_factor=10.0, eps=0.0)
        >>> tx.update([np.array([3.0]), np.array([4.0])], tx.init(None))[0]
        [array([6.]), array([8.])]
    """
    hyper = {"scale_factor": real("scale_factor", scale_factor), "eps": real("eps", eps)}
    return native(Spec(ops.normalize_by_update_norm, EmptyState, hyper))
