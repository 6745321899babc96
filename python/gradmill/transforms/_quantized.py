from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.checks import is_integer, number_of
from gradmill._data.codes import decoded, is_quantized, stored_as
from gradmill._data.recorded import recorded
from gradmill._data.trees import flatten
from gradmill._plan.match import flatten_like
from gradmill._plan.spec import Coded
from gradmill._run.fused import native_with_extra

if TYPE_CHECKING:
    from gradmill._data.types import Mask, PyTree, TransformationLike
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def quantized_state(
    inner: TransformationLike, min_size: int = 4096, mask: Mask | None = None
) -> GradientTransformationExtraArgs:
    r"""Store an optimizer's moments in 8 bits: 2.25 bytes per parameter for Adam's two, not 8.

    Every 32 neighbours share a float32 scale; see :class:`Quantized`. First moments are integers
    times the scale, off by at most 1/254 of the largest in the group. Second moments are 8-bit
    floats, off by at most 1/32 of themselves, and never zero beside a larger one, since Adam
    divides by them. In :class:`Optimizer`, Adam and momentum decode, step and encode in one loop in
    registers; others do so block by block. Storing a value that was read back changes no bit.

    Pick it if memory is short, or if many cores wait for memory. Leave the moments of embeddings
    and of other rows that rarely receive a gradient in float32, with ``mask``. Parameters and
    gradients may have any float dtype. Slots that hold parameters, such as averages of them, stay
    as they are, and so do values per leaf or per axis.

    Args:
        inner: The optimizer or other transformation.
        min_size: Leaves with fewer elements keep their moments in float32: they take few bytes, and
            are often biases and scales on which much depends.
        mask: Which leaves to encode, as for :func:`masked`; None for all.

    Returns:
        A transformation with the state of ``inner``, in which arrays of moments are
        :class:`Quantized`. It is set by ``init``: a state goes on as it was made.

    Raises:
        TypeError: ``min_size`` is not an integer.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.quantized_state(gm.adamw(1e-3), mask=lambda path, leaf: "embed" not in path)
        >>> opt = gm.Optimizer(tx, {"embed": np.ones((64, 64)), "dense": np.ones((64, 64))})
        >>> nu = opt.state[0].nu
        >>> nu["embed"].nbytes, nu["dense"].codes.nbytes, nu["dense"].scale.nbytes
        (32768, 4096, 512)

    References:
        Dettmers et al., `8-bit Optimizers via Block-wise Quantization
        <https://arxiv.org/abs/2110.02861>`_, 2021.
    """
    if not is_integer(min_size):
        raise TypeError(f"quantized_state: min_size must be an integer, got {min_size!r:.80}")
    masks = (partial(_is_long, int(number_of(min_size))),)
    return native_with_extra(Coded(inner, masks if mask is None else (mask, *masks)))


def _is_long(min_size: int, path: str, leaf: Any) -> bool:
    del path
    return np.size(leaf) >= min_size


def dequantize_state(state: PyTree) -> PyTree:
    """Turn each :class:`Quantized` leaf of a state into a float32 array, as optax has it.

    Args:
        state: A state, or any tree.

    Returns:
        The same tree with plain arrays; those that were such are the very same objects.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.quantized_state(gm.scale_by_adam(), min_size=1)
        >>> gm.dequantize_state(tx.init(np.ones(2)))
        ScaleByAdamState(count=array(0, dtype=int32), mu=array([0., 0.], dtype=float32),
                         nu=array([0., 0.], dtype=float32))
    """
    leaves, spec = flatten(state, is_quantized)
    return spec.unflatten([decoded(leaf) for leaf in leaves])


def quantize_state(state: PyTree, like: PyTree) -> PyTree:
    """Encode the plain arrays of a state, such as optax's, where ``like`` is encoded.

    Args:
        state: The state.
        like: A state of the same structure whose leaves say what to encode, such as
            ``tx.init(params)``.

    Returns:
        The state, with :class:`Quantized` leaves.

    Raises:
        TreeError: The two have different structures.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.quantized_state(gm.trace(0.9), min_size=1)
        >>> state = gm.TraceState(np.array([1.0, -0.5]))
        >>> gm.quantize_state(state, tx.init(np.ones(2))).trace.codes
        array([127, -64], dtype=int8)
    """
    wanted, spec = flatten(like, is_quantized)
    leaves = flatten_like(spec, state, "state", "like")
    return spec.unflatten([stored_as(old, leaf) for old, leaf in zip(wanted, leaves, strict=True)])
