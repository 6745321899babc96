from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from gradmill._data.recorded import recorded
from gradmill._data.trees import tree_map
from gradmill._data.types import is_transformation
from gradmill._plan.masks import mask_tree
from gradmill._plan.spec import Labels, Masked, Partitioned
from gradmill._run.fused import native_with_extra
from gradmill.transforms._zero import set_to_zero

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from gradmill._data.trees import Path
    from gradmill._data.types import Mask, PyTree, TransformationLike
    from gradmill._run.transformation import GradientTransformation, GradientTransformationExtraArgs


@overload
def masked(
    inner: TransformationLike, mask: Mask, *, mask_compatible_extra_args: bool = False
) -> GradientTransformationExtraArgs: ...
@overload
def masked(
    mask_fn: Mask,
    transformation: TransformationLike,
    /,
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@overload
def masked(
    *,
    mask_fn: Mask,
    transformation: TransformationLike,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@recorded
def masked(
    inner: TransformationLike | Mask | None = None,
    mask: Mask | TransformationLike | None = None,
    *,
    mask_compatible_extra_args: bool = False,
    transformation: TransformationLike | None = None,
    mask_fn: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """Apply a transformation to some leaves and pass the updates of the others on unchanged.

    Leaves that no transformation takes get their raw gradient added, which is seldom meant: combine
    it with :func:`freeze`, or use :func:`partition`. Call it as ``masked(mask_fn, transformation)``
    (the specification's form) or ``masked(inner, mask)`` (optax's).

    Args:
        inner: The transformation, or the mask.
        mask: The mask, or the transformation. A mask is a tree of bools with the structure of the
            parameters or of its upper part, a single bool, a function of the tree that returns such
            a tree, or a function of path and leaf that returns a bool. Trees are matched by key,
            whatever kinds of mapping meet. Functions see the parameters, or the updates if there
            are none, without what the masks around this one leave out; decide by path, shape and
            dtype only.
        mask_compatible_extra_args: Whether to mask extra arguments too, if they are trees like the
            updates.
        transformation: The transformation by name.
        mask_fn: The mask by name.

    Returns:
        A transformation with state :class:`MaskedState`. The inner transformation, and functions
        that decide about it, see ``MaskedNode()`` in place of each leaf or subtree that the mask
        leaves out, and so does the state. Native ones skip them in the same pass. Leaves that masks
        leave to nobody, or to :func:`set_to_zero` alone, are not looked at: they may be counts,
        flags, keys, or have no gradient.

    Raises:
        TypeError: The arguments are not one transformation and one mask, or a mask has a leaf that
            is not a bool.
        TreeError: From ``init`` and ``update``: the mask has another structure; the message names
            the first difference.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.masked(lambda path, leaf: path.endswith("w"), gm.scale(-1.0))
        >>> grads = {"w": np.ones(2), "b": np.ones(2)}
        >>> tx.update(grads, tx.init(grads))[0]
        {'w': array([-1., -1.]), 'b': array([1., 1.])}
    """
    candidates: tuple[Any, ...] = (inner, mask, transformation, mask_fn)
    given = [value for value in candidates if value is not None]
    inside = [value for value in given if is_transformation(value)]
    masks = [value for value in given if not is_transformation(value)]
    if len(inside) != 1 or len(masks) != 1:
        raise TypeError(
            "masked takes a mask and a transformation: masked(mask_fn, transformation) or"
            f" masked(inner, mask); got {given!r}"
        )
    return native_with_extra(Masked(inside[0], masks[0], mask_compatible_extra_args))


@recorded
def freeze(mask: Mask) -> GradientTransformationExtraArgs:
    """Set the updates of some leaves to zero, so that these parameters stay as they are.

    Args:
        mask: Which leaves to freeze, as a mask for :func:`masked`.

    Returns:
        A transformation with state :class:`MaskedState`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.freeze({"w": False, "b": True})
        >>> grads = {"w": np.ones(2), "b": np.ones(2)}
        >>> tx.update(grads, tx.init(grads))[0]
        {'w': array([1., 1.]), 'b': array([0., 0.])}
    """
    return masked(set_to_zero(), mask)


@overload
def partition(
    transforms: Mapping[Any, TransformationLike],
    param_labels: PyTree,
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@overload
def partition(
    selector_fn: Callable[[Path, Any], Any],
    *transformations: TransformationLike | Mapping[Any, TransformationLike],
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs: ...
@recorded
def partition(*args: Any, **kwargs: Any) -> GradientTransformationExtraArgs:
    """Apply a different transformation to each group of leaves, such as biases and kernels.

    Call it as ``partition(selector_fn, *transformations)`` (the specification's form), as
    ``partition(transforms, param_labels, *, mask_compatible_extra_args=False)`` (optax's), or as
    ``partition(selector_fn, transforms)``, with a selector that returns labels.

    Args:
        *args: One of three forms. *A selector and transformations*: the selector is called with the
            path and the parameter of each leaf. With two transformations it returns a bool, and
            True picks the first; with any number it may return a position. *A mapping and labels*:
            the mapping has a transformation for each label; the labels are a tree with the
            structure of the parameters or of its upper part, or a function of the tree that returns
            one. *A selector and a mapping*: the selector returns labels. A path is a string of keys
            joined by "/"; ``path.keys`` has the keys themselves. Functions may depend on paths,
            shapes and dtypes only: they see the parameters, or the updates where there are none.
        **kwargs: ``selector_fn``, ``transforms`` and ``param_labels`` by name, and
            ``mask_compatible_extra_args``: whether to mask extra arguments too, if they are trees
            like the updates.

    Returns:
        A transformation with state :class:`PartitionState`. All native groups run in one pass.

    Raises:
        TypeError: The arguments have neither form.
        ValueError: From ``init`` and ``update``: a leaf has a label without a transformation; the
            message names it.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> def is_bias(path, param):
        ...     return "bias" in path
        >>> tx = gm.partition(is_bias, gm.scale(-0.01), gm.scale(-0.001))
        >>> grads = {"bias": np.ones(1), "kernel": np.ones(1)}
        >>> tx.update(grads, tx.init(grads))[0]
        {'bias': array([-0.01]), 'kernel': array([-0.001])}
        >>> by_label = gm.partition({"a": gm.scale(2.0), "b": gm.scale(3.0)}, {"x": "a", "y": "b"})
        >>> grads = {"x": np.ones(1), "y": np.ones(1)}
        >>> by_label.update(grads, by_label.init(grads))[0]
        {'x': array([2.]), 'y': array([3.])}
    """
    masks_extra = bool(kwargs.pop("mask_compatible_extra_args", False))
    members, labels = _members_and_labels(args, kwargs)
    return native_with_extra(Partitioned(members, labels, masks_extra))


def _members_and_labels(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[Hashable, GradientTransformation], Labels]:
    row = [kwargs.pop("selector_fn")] if "selector_fn" in kwargs else []
    row += args
    row += [kwargs.pop(name) for name in ("transforms", "param_labels") if name in kwargs]
    match row:
        case _ if kwargs:
            pass
        case [Mapping() as members, labels] if _are_transformations(members.values()):
            by_label = dict(members)
            return by_label, Labels(labels, tuple(by_label))
        case [selector, Mapping() as members] if _is_selector(selector):
            if _are_transformations(members.values()):
                by_label = dict(members)
                return by_label, Labels(_PerLeaf(selector), tuple(by_label))
        case [selector, first, *rest] if _is_selector(selector):
            if _are_transformations([first, *rest]):
                by_label = dict(enumerate([first, *rest]))
                return by_label, Labels(_PerLeaf(selector), tuple(by_label), by_choice=True)
    raise TypeError(
        "partition takes a selector and transformations, partition(selector_fn, *transformations),"
        " or transformations by label and labels, partition(transforms, param_labels);"
        f" got {args!r}, {kwargs!r}"
    )


def _is_selector(value: object) -> bool:
    return callable(value) and not is_transformation(value)


def _are_transformations(values: Iterable[object]) -> bool:
    return all(map(is_transformation, values))


@dataclass(frozen=True)
class _PerLeaf:
    """Calls a selector with path and leaf, however many arguments have defaults."""

    selector: Callable[..., Any]

    def __call__(self, path: Path, leaf: Any) -> Any:
        return self.selector(path, leaf)


@dataclass(frozen=True)
class _FreezeLabels:
    """The label "freeze" where a mask is true, else "train"."""

    mask: Mask

    def __call__(self, tree: PyTree) -> PyTree:
        return tree_map(lambda is_frozen: _FREEZE[is_frozen], mask_tree(self.mask, tree))


_FREEZE = {True: "freeze", False: "train"}


@recorded
def selective_transform(
    optimizer: TransformationLike, *, freeze_mask: Mask
) -> GradientTransformationExtraArgs:
    """Apply a transformation to some leaves and set the updates of the others to zero.

    Args:
        optimizer: The transformation.
        freeze_mask: Which leaves to leave out, as the mask of :func:`masked`.

    Returns:
        A transformation with state :class:`PartitionState` and the labels "train" and "freeze".

    Raises:
        TypeError: ``optimizer`` is not a transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.selective_transform(gm.scale(-0.1), freeze_mask={"w": False, "b": True})
        >>> grads = {"w": np.ones(2), "b": np.ones(2)}
        >>> tx.update(grads, tx.init(grads))[0]
        {'w': array([-0.1, -0.1]), 'b': array([0., 0.])}
    """
    transforms = {"train": optimizer, "freeze": set_to_zero()}
    return partition(transforms, _FreezeLabels(freeze_mask))
