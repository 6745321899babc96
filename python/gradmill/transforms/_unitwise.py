"""Transformations that measure parts of a leaf: the whole of it, its rows, or its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.numbers import library_of
from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import unitwise as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.tree._dtypes import is_exact
from gradmill.tree._leafwise import quietly

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradmill._run.transformation import GradientTransformation


@recorded
def clip_by_block_rms(threshold: float) -> GradientTransformation:
    r"""Shrink each leaf so that the root mean square of its elements is at most ``threshold``.

    .. math:: u' = u \,/\, \max\!\left(1, \sqrt{\operatorname{mean}(u^2)} \,/\, \tau\right)

    The mean is accumulated in float64 and cannot overflow. Leaves that are all zero stay zero.

    Args:
        threshold: The largest root mean square :math:`\tau` of a leaf, at least 0.

    Returns:
        A transformation with state ``EmptyState()``. It costs one more read of the updates.

    Raises:
        TypeError: ``threshold`` is not a real number.
        ValueError: ``threshold`` is NaN or negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.clip_by_block_rms(1.0)
        >>> updates = {"a": np.array([3.0, 3.0]), "b": np.array([0.5])}
        >>> tx.update(updates, tx.init(updates))[0]
        {'a': array([1., 1.]), 'b': array([0.5])}

    References:
        Shazeer and Stern, `Adafactor <https://arxiv.org/abs/1804.04235>`_, 2018.
    """
    return native(
        Spec(
            ops.clip_by_block_rms,
            EmptyState,
            {"threshold": real("threshold", threshold, at_least=0)},
        )
    )


@recorded
def adaptive_grad_clip(
    clipping: float, eps: float = 1e-3, axis: int | Iterable[int] | None = None
) -> GradientTransformation:
    r"""Shrink each unit of the updates to a multiple of the norm of its weights.

    .. math::
        u' = u \text{ if } \lVert u \rVert < m, \text{ else }
        u \, \frac{m}{\max(\lVert u \rVert, 10^{-6})}, \qquad
        m = \lambda \max(\lVert p \rVert, \epsilon)

    It lets networks without batch normalization train with large batches. A unit is everything that
    leads to one output: a whole vector, a column of a matrix (norms are taken over axis 0, also for
    rank 3), and all axes but the last of a kernel of rank 4 or 5.

    Args:
        clipping: The largest ratio :math:`\lambda` of gradient norm to weight norm. The paper uses
            0.01 for large batches, and more for small ones.
        eps: Weight norms below this count as :math:`\epsilon`, so that weights that start at zero
            can move.
        axis: The axis or axes to take norms over, instead of those above.

    Returns:
        A transformation with state ``EmptyState()``. Its ``update`` needs ``params``.

    Raises:
        TypeError: A hyperparameter is not a real number, or ``axis`` is not an integer or integers.
        ValueError: A hyperparameter is NaN or negative.
        LeafValueError: From ``update``: a leaf has no such axis, or has more than five and ``axis``
            is not given.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.adaptive_grad_clip(0.5)
        >>> params = np.array([[3.0, 0.0], [4.0, 10.0]])
        >>> updates = np.array([[3.0, 1.0], [4.0, 1.0]])
        >>> tx.update(updates, tx.init(params), params)[0]
        array([[1.5, 1. ],
               [2. , 1. ]])

    References:
        Brock, De, Smith and Simonyan, `High-Performance Large-Scale Image Recognition Without
        Normalization <https://arxiv.org/abs/2102.06171>`_, 2021.
    """
    hyper = {
        "clipping": real("clipping", clipping, at_least=0),
        "eps": real("eps", eps, at_least=0),
    }
    axes = None
    if axis is not None:
        try:
            given = (axis,) if is_integer(axis) or not hasattr(axis, "__iter__") else tuple(axis)
        except TypeError:
            given = (None,)
        if not all(map(is_integer, given)):
            raise TypeError(f"axis must be an integer or integers, got {axis!r:.80}")
        axes = tuple(map(number_of, given))
    return native(Spec(ops.adaptive_grad_clip, EmptyState, hyper, axes=axes))


@recorded
def centralize() -> GradientTransformation:
    r"""Subtract the mean from each row of the updates.

    .. math:: u' = u - \operatorname{mean}(u, \text{all axes but the first})

    Vectors and scalars stay as they are. The mean is accumulated in float64.

    Returns:
        A transformation with state ``EmptyState()``. It costs one more read of the updates.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.centralize()
        >>> updates = {"w": np.array([[1.0, 3.0], [5.0, 5.0]]), "b": np.array([1.0, 3.0])}
        >>> tx.update(updates, tx.init(updates))[0]["w"]
        array([[-1.,  1.],
               [ 0.,  0.]])

    References:
        Yong, Huang, Hua and Zhang, `Gradient Centralization
        <https://arxiv.org/abs/2004.01461>`_, 2020.
    """
    return native(Spec(ops.centralize, EmptyState))


@recorded
def scale_by_trust_ratio(
    min_norm: float = 0.0, trust_coefficient: float = 1.0, eps: float = 0.0
) -> GradientTransformation:
    r"""Scale each leaf by the norm of its weights over the norm of its update.

    .. math:: u' = u \, c \, \frac{\max(\lVert p \rVert, n)}{\max(\lVert u \rVert, n) + \epsilon}

    and :math:`u' = u` where either of the two bounded norms is zero. Each layer then changes by a
    fixed fraction of its size, which is what large batches need. Norms are accumulated in float64
    and cannot overflow; nor can their ratio, which is at most the largest float.

    Args:
        min_norm: Smaller norms count as :math:`n`. If it is positive, no norm is zero.
        trust_coefficient: The factor :math:`c`: how much a layer may change in one step, relative
            to the size of its weights.
        eps: Added to the norm of the update in the denominator of the trust ratio.

    Returns:
        A transformation with state ``EmptyState()``. Its ``update`` needs ``params``.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is NaN, or ``min_norm`` or ``eps`` is negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_trust_ratio()
        >>> params = np.array([6.0, 8.0])
        >>> tx.update(np.array([0.3, 0.4]), tx.init(params), params)[0]
        array([6., 8.])

    References:
        You, Gitman and Ginsburg, `Large Batch Training of Convolutional Networks
        <https://arxiv.org/abs/1708.03888>`_, 2017.
    """
    hyper = {
        "min_norm": real("min_norm", min_norm, at_least=0),
        "trust_coefficient": real("trust_coefficient", trust_coefficient),
        "eps": real("eps", eps, at_least=0),
    }
    return native(Spec(ops.scale_by_trust_ratio, EmptyState, hyper))


def unitwise_norm(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    r"""The norm of each unit of an array, repeated for each of its elements.

    .. math:: \sqrt{\sum_{j \in \text{unit}(i)} |x_j|^2}

    Args:
        x: A NumPy or JAX array, of real numbers.
        axis: The axis or axes to take norms over; None for those of :func:`adaptive_grad_clip`.

    Returns:
        An array of the shape and the dtype of ``x``.

    Raises:
        ValueError: ``axis`` is None, and ``x`` has more than five axes.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.transforms.unitwise_norm(np.array([[3.0, 0.0], [4.0, 1.0]]))
        array([[5., 1.],
               [5., 1.]])
    """
    xp = library_of(x)
    array = xp.asarray(x)
    given = (axis,) if isinstance(axis, int) else axis
    axes = ops.unit_axes(array.shape) if given is None else tuple(given)
    wide = array.astype(np.float64) if xp is np else array
    found = quietly(lambda: xp.sqrt(xp.sum(wide * wide, axis=axes, keepdims=True)))
    spread = xp.broadcast_to(found, array.shape)
    return spread if is_exact(array.dtype) else spread.astype(array.dtype)


def unitwise_clip(g_norm: Any, max_norm: Any, grad: Any, div_eps: float = 1e-6) -> Any:
    r"""Shrink the elements of units whose norm is too large.

    .. math:: g \min\Bigl(1, \frac{m}{\max(\|g\|, \epsilon)}\Bigr)

    Args:
        g_norm: The norm :math:`\|g\|` of each element's unit.
        max_norm: The largest norm :math:`m` of each element's unit.
        grad: The gradient :math:`g`.
        div_eps: What is divided by at least, above 0.

    Returns:
        An array like ``grad``.

    Raises:
        ValueError: Shapes differ.

    Example:
        >>> import numpy as np
        >>> from gradmill.transforms import unitwise_clip
        >>> unitwise_clip(np.array([5.0, 0.5]), np.array([1.0, 1.0]), np.array([3.0, 0.5]))
        array([0.6, 0.5])
    """
    xp = library_of(grad)
    shapes = [np.shape(one) for one in (g_norm, max_norm, grad)]
    if len(set(shapes)) > 1:
        raise ValueError(f"g_norm, max_norm and grad have shapes {shapes}, expected equal ones")
    shrunk = grad * (max_norm / xp.maximum(g_norm, div_eps))
    return xp.where(g_norm < max_norm, grad, shrunk)
