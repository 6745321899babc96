"""Single examples' gradients, clipped one by one and then summed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from gradmill import _core, errors
from gradmill._data.checks import is_bool, is_real, real
from gradmill._data.numbers import is_traced
from gradmill._data.recorded import recorded
from gradmill._data.threads import scoped
from gradmill._data.trees import flatten, leaf_path, tree_map
from gradmill._run.transformation import GradientTransformation

if TYPE_CHECKING:
    from gradmill._data.types import PyTree

_MISSING: Any = object()


class PerExampleClipState(NamedTuple):
    """The state of :func:`per_example_global_norm_clip` as a transformation.

    Attributes:
        num_clipped: How many examples were clipped in the last step, a 0-d int32 array.

    Example:
        >>> import gradmill as gm
        >>> gm.per_example_global_norm_clip(1.0).init({"w": 1.0})
        PerExampleClipState(num_clipped=array(0, dtype=int32))
    """

    num_clipped: Any


@overload
def per_example_global_norm_clip(
    grads: float, l2_norm_clip: bool = ..., single_batch_element: bool = ...
) -> GradientTransformation: ...
@overload
def per_example_global_norm_clip(
    *, l2_norm_clip: float, single_batch_element: bool = ...
) -> GradientTransformation: ...
@overload
def per_example_global_norm_clip(grads: PyTree, l2_norm_clip: float) -> tuple[PyTree, int]: ...
@recorded
def per_example_global_norm_clip(
    grads: Any = _MISSING, l2_norm_clip: Any = _MISSING, single_batch_element: Any = False
) -> Any:
    r"""Clip each example's gradients by their global norm, and add them up.

    .. math:: \sum_b m_b \, g_b \quad \text{with} \quad
        m_b = \min\left(\frac{C}{\lVert g_b \rVert}, 1\right)

    ``per_example_global_norm_clip(l2_norm_clip, single_batch_element=False)`` (the specification's
    form) is a transformation; ``per_example_global_norm_clip(grads, l2_norm_clip)`` (optax's) is a
    function of gradients. The result is a sum: follow it with ``scale(1 / batch_size)`` for the
    mean, and put :func:`add_noise` between the two for differential privacy.

    Norms and sums are accumulated in float64, without overflow, and each element is rounded once;
    optax does so in the leaf's dtype, where norms may overflow and drop an example. Gradients are
    read twice, and nothing of their size is allocated. An example whose norm is zero or NaN has
    :math:`m_b = 1`; one with an infinity has :math:`m_b = 0`, which makes that element NaN. All
    this is as in optax: a NaN in one element lets the others of its example pass unclipped.

    Args:
        grads: A tree of float arrays of 16, 32 or 64 bits. The first axis of each runs over the
            examples, the same number in all. In the specification's form the bound.
        l2_norm_clip: The bound :math:`C` of an example's norm. In the specification's form, where
            the bound is given first, the value of ``single_batch_element``.
        single_batch_element: Whether updates have no batch axis and are one example.

    Returns:
        In optax's form the sums, a tree of new arrays without the batch axis, and the number of
        examples with :math:`m_b < 1`, an int. In the specification's form a transformation of such
        gradients into such sums, with state :class:`PerExampleClipState`.

    Raises:
        TypeError: The arguments have neither form.
        ValueError: The bound is NaN or negative.
        LeafValueError: A leaf has no batch axis, or leaves have different numbers of examples.
        LeafTypeError: A leaf is not an array of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> grads = {"w": np.array([[3.0, 4.0], [0.3, 0.4]])}
        >>> gm.per_example_global_norm_clip(grads, 1.0)
        ({'w': array([0.9, 1.2])}, 1)
        >>> tx = gm.chain(gm.per_example_global_norm_clip(1.0), gm.scale(1 / 2))
        >>> updates, state = tx.update(grads, tx.init({"w": np.zeros(2)}))
        >>> updates, state[0].num_clipped
        ({'w': array([0.45, 0.6 ])}, array(1, dtype=int32))

    References:
        Abadi et al., `Deep Learning with Differential Privacy
        <https://arxiv.org/abs/1607.00133>`_, 2016.
    """
    given = [value for value in (grads, l2_norm_clip) if value is not _MISSING]
    if is_bool(single_batch_element):
        match given:
            case [bound] if is_real(bound):
                return _as_transformation(_bound(bound), bool(single_batch_element))
            case [bound, single] if is_real(bound) and is_bool(single) and not single_batch_element:
                return _as_transformation(_bound(bound), bool(single))
            case [tree, bound] if not is_real(tree) and is_real(bound) and not single_batch_element:
                sums, (num_clipped,) = _clip(tree, _bound(bound), "grads")
                return sums, num_clipped
    raise TypeError(
        "per_example_global_norm_clip takes"
        " per_example_global_norm_clip(l2_norm_clip, single_batch_element=False), a number and a"
        " bool, or per_example_global_norm_clip(grads, l2_norm_clip), a tree of arrays with a batch"
        " axis and a number"
    )


def per_example_layer_norm_clip(
    grads: PyTree, global_l2_norm_clip: float, uniform: bool = True
) -> tuple[PyTree, PyTree]:
    r"""Clip each example's gradients leaf by leaf, and add them up.

    Like :func:`per_example_global_norm_clip`, with a norm and a bound :math:`C_i` for each leaf:

    .. math:: C_i = \frac{C}{\sqrt{K}} \text{ if uniform, else }
        C_i = C \sqrt{\frac{D_i}{D}}

    Here :math:`K` is the number of leaves, :math:`D_i` the number of elements in one example's
    leaf, and :math:`D` their total. The norm over all leaves is then at most :math:`C`.

    Args:
        grads: A tree of float arrays of 16, 32 or 64 bits. The first axis of each runs over the
            examples, the same number in all.
        global_l2_norm_clip: The largest norm :math:`C` over all leaves of one example.
        uniform: Whether all leaves have the same bound.

    Returns:
        The sums, a tree of new arrays without the batch axis, and a tree of ints: for each leaf the
        number of examples that were shrunk.

    Raises:
        TypeError: ``global_l2_norm_clip`` is not a real number.
        ValueError: ``global_l2_norm_clip`` is NaN or negative.
        LeafValueError: A leaf has no batch axis, or leaves have different numbers of examples.
        LeafTypeError: A leaf is not an array of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> grads = {"b": np.array([[0.0], [2.0]]), "w": np.array([[3.0, 4.0], [0.3, 0.4]])}
        >>> gm.per_example_layer_norm_clip(grads, 2**0.5)
        ({'b': array([1.]), 'w': array([0.9, 1.2])}, {'b': 1, 'w': 1})

    References:
        McMahan et al., `Learning Differentially Private Recurrent Language Models
        <https://arxiv.org/abs/1710.06963>`_, 2018.
    """
    bound = real("global_l2_norm_clip", global_l2_norm_clip, at_least=0)
    sums, counts = _clip(grads, bound, "grads", uniform=bool(uniform))
    of_leaves = iter(counts)
    return sums, tree_map(lambda _: next(of_leaves), sums)


def _bound(value: object) -> float:
    return real("l2_norm_clip", value, at_least=0)


def _as_transformation(bound: float, single: bool) -> GradientTransformation:
    return GradientTransformation(_init, partial(_update, bound, not single))


def _init(params: PyTree) -> PerExampleClipState:  # noqa: ARG001  (a count needs none)
    return PerExampleClipState(np.zeros((), np.int32))


def _update(
    bound: float,
    batched: bool,
    /,
    updates: PyTree,
    state: PerExampleClipState,  # noqa: ARG001  (it is that of the last step alone)
    params: PyTree | None = None,  # noqa: ARG001  (every update takes them)
) -> tuple[PyTree, PerExampleClipState]:
    sums, (num_clipped,) = _clip(updates, bound, "updates", batched=batched)
    count = num_clipped if is_traced(num_clipped) else np.array(num_clipped, np.int32)
    return sums, PerExampleClipState(count)


def _clip(
    tree: PyTree, bound: float, name: str, *, uniform: bool | None = None, batched: bool = True
) -> tuple[PyTree, list[int]]:
    leaves, treespec = flatten(tree)
    if any(map(is_traced, leaves)):
        from gradmill._ops.jax_sums import (  # noqa: PLC0415  (JAX need not be installed)
            per_example_clip,
        )

        arrays = [leaf for leaf in leaves if leaf is not None]
        sums, counts = per_example_clip(arrays, bound, uniform, batched)
        rest = iter(sums)
        return treespec.unflatten([None if leaf is None else next(rest) for leaf in leaves]), counts
    try:
        sums, counts = _core.per_example_clip(leaves, bound, uniform, batched, scoped.get())
    except _core.CoreError as fault:
        raise errors.from_fault(fault, lambda place: leaf_path(treespec, place[2], name)) from None
    return treespec.unflatten(sums), counts
