from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradmill._data.checks import float_dtype, is_integer, number_of, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import adam_mini as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.transforms import ScaleByAdamState, add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


def _blocks(axis: int | None, num_blocks: int | None, xp: Any, array: Any, dtype: Any) -> Any:
    """Zeros, as many along each axis as there are blocks.

    Raises:
        ValueError: There is no such axis, or it cannot be cut into equal parts.
    """
    shape = [1] * array.ndim
    if axis is None or array.ndim < 2:
        return xp.zeros(shape, dtype)
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"has shape {array.shape}, and no axis {axis}")
    length = array.shape[axis]
    if num_blocks is not None and length % num_blocks:
        raise ValueError(f"has length {length} along axis {axis}, and no {num_blocks} equal parts")
    shape[axis] = length if num_blocks is None else num_blocks
    return xp.zeros(shape, dtype)


def _integer(name: str, value: int | None) -> int | None:
    if value is not None and not is_integer(value):
        raise TypeError(f"{name} must be an integer or None, got {value!r:.80}")
    return None if value is None else int(number_of(value))


@recorded
def scale_by_adam_mini(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    axis: int | None = -1,
    num_blocks: int | None = None,
) -> GradientTransformation:
    r"""Rescale updates as Adam does, with one second moment for each block of a leaf.

    .. math::
        m' = \beta_1 m + (1 - \beta_1) u, \qquad
        v_b' = \beta_2 v_b + (1 - \beta_2) \operatorname{mean}_{i \in b}(u_i^2), \qquad
        u_i' = \frac{m_i' / (1 - \beta_1^t)}{\sqrt{v_{b(i)}' / (1 - \beta_2^t) + \bar\epsilon}
            + \epsilon}

    Here :math:`t` counts from 1. It halves the state of Adam, and does about as well if curvature
    is alike within a block: an output neuron, an attention head, a token. Vectors and scalars are
    one block. In float32 that is 4 bytes for each parameter and 4 for each block
    instead of 8 for each parameter; :func:`scale_by_apollo_mini` keeps next to none.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added inside the root, :math:`\bar\epsilon`. Usually 0; a small value keeps the
            derivative of the step finite, for meta-learning. Not negative.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
        axis: The axis along which blocks lie. The last one, for the outputs of kernels as JAX has
            them; 0 for their rows, for kernels as PyTorch has them, and for tables of embeddings;
            None for one block a leaf.
        num_blocks: Into how many equal parts to cut that axis, such as heads; None for one block
            for each index. :func:`gradmill.partition` gives leaves blocks of different kinds.

    Returns:
        A transformation with state :class:`gradmill.ScaleByAdamState`, in which the second moments
        have a length of 1 along all axes but ``axis``. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, ``mu_dtype`` is not a dtype of floats, or
            ``axis`` or ``num_blocks`` no integer.
        ValueError: A hyperparameter is out of bounds, or there are parts and no axis.
        LeafValueError: From ``init``: a leaf has no such axis, or no such parts.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_adam_mini(axis=0)
        >>> grads = np.array([[3.0, 4.0], [0.6, 0.8]])
        >>> updates, state = tx.update(grads, tx.init(grads))
        >>> updates.round(3)
        array([[0.849, 1.131],
               [0.849, 1.131]])
        >>> state.nu.shape
        (2, 1)

    References:
        Zhang et al., `Adam-mini: Use Fewer Learning Rates To Gain More
        <https://arxiv.org/abs/2406.16793>`_, 2024.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
    }
    axis, num_blocks = _integer("axis", axis), _integer("num_blocks", num_blocks)
    if num_blocks is not None:
        real("num_blocks", num_blocks, at_least=1)
        if axis is None:
            raise ValueError("num_blocks needs axis, the axis to divide")
    nu = Slot("nu", start=partial(_blocks, axis, num_blocks))
    slots = (Slot("mu", float_dtype("mu_dtype", mu_dtype), coding="signed"), nu)
    return native(Spec(ops.scale_by_adam_mini, ScaleByAdamState, hyper, slots))


@recorded
def adam_mini(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    axis: int | None = -1,
    num_blocks: int | None = None,
) -> GradientTransformationExtraArgs:
    """Adam-mini: AdamW with one second moment for each block of a leaf.

    :func:`scale_by_adam_mini`, then :func:`gradmill.add_decayed_weights`, then
    :func:`gradmill.scale_by_learning_rate`. Keep the hyperparameters that work for AdamW.
    A matrix of 1,000 rows and 4,000 columns has 16 MB of state in float32, where Adam keeps 32 MB.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added inside the root. Usually 0; a small value keeps the derivative of the step
            finite, for meta-learning. Not negative.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule. A
            step subtracts this multiple of the parameters, times the learning rate: with 0.1 and a
            rate of 1e-3, one part in 10,000.
        mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.
        axis: The axis along which blocks lie, as for :func:`scale_by_adam_mini`; None for one
            block a leaf.
        num_blocks: Into how many equal parts to cut that axis; None for one for each index.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A hyperparameter is out of bounds.
        LeafValueError: From ``init``: a leaf has no such axis, or no such parts.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> heads = gm.contrib.adam_mini(0.1, axis=0, num_blocks=2)
        >>> opt = gm.Optimizer(heads, np.ones((4, 1)))
        >>> _ = opt.step(np.array([[3.0], [4.0], [0.6], [0.8]]))
        >>> opt.params.round(3).ravel()
        array([0.915, 0.887, 0.915, 0.887])

    References:
        Zhang et al., `Adam-mini: Use Fewer Learning Rates To Gain More
        <https://arxiv.org/abs/2406.16793>`_, 2024.
    """
    return chain(
        scale_by_adam_mini(b1, b2, eps, eps_root, mu_dtype, axis=axis, num_blocks=num_blocks),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
