from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optree

from gradmill._data.nodes import NAMESPACE
from gradmill._data.numbers import is_foreign, is_traced, library_of
from gradmill._data.recorded import recorded
from gradmill._data.trees import flatten, tree_map
from gradmill._data.types import is_transformation
from gradmill._plan.spec import Around
from gradmill._run.frame import Framer
from gradmill._run.transformation import GradientTransformationExtraArgs
from gradmill.transforms._stateless import with_extra_args_support

if TYPE_CHECKING:
    from gradmill._data.types import PyTree, TransformationLike


class SplitRealAndImaginaryState(NamedTuple):
    """The state of :func:`split_real_and_imaginary`.

    Attributes:
        inner_state: The state of the inner transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.split_real_and_imaginary(gm.trace(0.9))
        >>> tx.init(np.zeros(1, complex)).inner_state.trace
        SplitRealAndImaginaryArrays(real=array([0.]), imaginary=array([0.]))
    """

    inner_state: Any


class SplitRealAndImaginaryArrays(NamedTuple):
    """The parts of a complex array.

    Attributes:
        real: The real part.
        imaginary: The imaginary part.
    """

    real: Any
    imaginary: Any


_NONE = SplitRealAndImaginaryArrays(None, None)


def _split(leaf: Any) -> Any:
    """A complex leaf as its parts, in memory of their own; any other as it is."""
    array = leaf if is_foreign(leaf) or is_traced(leaf) else np.asarray(leaf)
    if leaf is None or array.dtype.kind != "c":
        return leaf
    xp = library_of(array)
    return SplitRealAndImaginaryArrays(xp.array(array.real), xp.array(array.imag))


def _joined(leaf: Any) -> Any:
    """Two parts as a complex array; any other leaf as it is."""
    if not isinstance(leaf, SplitRealAndImaginaryArrays):
        return leaf
    if leaf.real is None:
        return None
    if not isinstance(leaf.real, np.ndarray):
        from jax import lax  # noqa: PLC0415  (who has such a leaf has imported JAX)

        return lax.complex(leaf.real, leaf.imaginary)
    # A sum would make a NaN of an infinity.
    array = np.empty(leaf.real.shape, np.result_type(leaf.real, np.complex64))
    array.real, array.imag = leaf
    return array


def _init(tx: TransformationLike, /, params: PyTree) -> SplitRealAndImaginaryState:
    return SplitRealAndImaginaryState(tx.init(tree_map(_split, params)))


def _update(
    tx: TransformationLike,
    /,
    updates: PyTree,
    state: SplitRealAndImaginaryState,
    params: PyTree | None = None,
    **extra_args: Any,
) -> tuple[PyTree, SplitRealAndImaginaryState]:
    frame = Framer()(updates, params, needs_params=True)
    spec, leaves = frame.structure.spec, list(map(_split, frame.updates.leaves))
    given = None
    if frame.params is not None:
        own = list(map(_split, frame.params))
        given = spec.unflatten(own)
        # Where there is no update, there are none of the parts.
        leaves = [
            _NONE if leaf is None and isinstance(param, SplitRealAndImaginaryArrays) else leaf
            for leaf, param in zip(leaves, own, strict=True)
        ]
    parts, inner = tx.update(spec.unflatten(leaves), state.inner_state, given, **extra_args)
    joined = optree.tree_map(
        _joined,
        parts,
        is_leaf=lambda node: isinstance(node, SplitRealAndImaginaryArrays),
        none_is_leaf=True,
        namespace=NAMESPACE,
    )
    new = frame.updates.rebuild(flatten(joined)[0])
    return new, SplitRealAndImaginaryState(inner)


def _around(tx: TransformationLike) -> GradientTransformationExtraArgs:
    return GradientTransformationExtraArgs(
        partial(_init, tx), partial(_update, tx), Around(tx, _around)
    )


@recorded
def split_real_and_imaginary(inner: TransformationLike) -> GradientTransformationExtraArgs:
    """Apply a transformation to complex parameters, treating real and imaginary parts separately.

    Optimizers such as Adam are made for real numbers. The inner transformation sees each complex
    leaf as a pair of real ones, and its update becomes a complex leaf again; real leaves stay as
    they are. Gradients have to point uphill: conjugate those of JAX first, with
    :func:`gradmill.tree.conj`.

    :class:`gradmill.Optimizer` takes real parameters only; add complex updates with
    :func:`gradmill.apply_updates`.

    Args:
        inner: The transformation.

    Returns:
        A transformation with state :class:`SplitRealAndImaginaryState`. It copies the parts before
        each step, in Python.

    Raises:
        TypeError: ``inner`` is not a transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.split_real_and_imaginary(gm.scale_by_sign())
        >>> grads = np.array([2.0 - 3.0j, 0.5j])
        >>> tx.update(grads, tx.init(grads))[0]
        array([1.-1.j, 0.+1.j])
    """
    if not is_transformation(inner):
        raise TypeError(f"split_real_and_imaginary takes a transformation, got {inner!r:.80}")
    return _around(with_extra_args_support(inner))
