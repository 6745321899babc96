from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import param_block as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


@recorded
def scale_by_param_block_norm(min_scale: float = 1e-3) -> GradientTransformation:
    r"""Multiply the updates of each leaf by the norm of its parameters.

    .. math:: u' = \max(\|p\|, s) \, u

    A step then changes all leaves by the same relative amount.

    Args:
        min_scale: The least factor :math:`s`, not negative, which lets a leaf of zeros move.

    Returns:
        A transformation with state ``EmptyState()``. Its ``update`` needs ``params``.

    Raises:
        TypeError: ``min_scale`` is not a real number.
        ValueError: ``min_scale`` is NaN or negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_param_block_norm()
        >>> params = np.array([3.0, 4.0])
        >>> tx.update(np.array([1.0, -1.0]), tx.init(params), params)[0]
        array([ 5., -5.])

    References:
        Shazeer and Stern, `Adafactor <https://arxiv.org/abs/1804.04235>`_, 2018.
    """
    hyper = {"min_scale": real("min_scale", min_scale, at_least=0)}
    return native(Spec(ops.scale_by_param_block_norm, EmptyState, hyper))


@recorded
def scale_by_param_block_rms(min_scale: float = 1e-3) -> GradientTransformation:
    r"""Multiply the updates of each leaf by the root mean square of its parameters.

    .. math:: u' = \max\!\left(\sqrt{\operatorname{mean}(p^2)}, s\right) u

    Unlike with :func:`scale_by_param_block_norm`, an update of a given size means the same for
    small leaves and large ones.

    Args:
        min_scale: The least factor :math:`s`, not negative, which lets a leaf of zeros move.

    Returns:
        A transformation with state ``EmptyState()``. Its ``update`` needs ``params``.

    Raises:
        TypeError: ``min_scale`` is not a real number.
        ValueError: ``min_scale`` is NaN or negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_param_block_rms()
        >>> params = np.array([3.0, -3.0])
        >>> tx.update(np.array([1.0, -2.0]), tx.init(params), params)[0]
        array([ 3., -6.])

    References:
        Shazeer and Stern, `Adafactor <https://arxiv.org/abs/1804.04235>`_, 2018.
    """
    hyper = {"min_scale": real("min_scale", min_scale, at_least=0)}
    return native(Spec(ops.scale_by_param_block_rms, EmptyState, hyper))
