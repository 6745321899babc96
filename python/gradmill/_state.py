"""The states of a chain: taken apart into those of its links, and put together again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._arrays import as_native
from gradmill._spec import Chained, Masked, Spec
from gradmill._tree import flatten, leaf_path, mask_leaves
from gradmill.errors import LeafTypeError, TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradmill._base import GradientTransformation, PyTree
    from gradmill._spec import Mask


class MaskedNode(NamedTuple):
    """Stands in a masked transformation's state for a leaf that the mask leaves out.

    It has no leaves itself, so maps over the state skip it.

    Example:
        >>> import gradmill as gm
        >>> gm.MaskedNode()
        MaskedNode()
    """


class MaskedState(NamedTuple):
    """The state of a masked transformation.

    Attributes:
        inner_state: That of the transformation inside, with ``MaskedNode`` for other leaves.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.add_decayed_weights(1e-4, mask={"w": True}).init({"w": np.ones(2)})
        MaskedState(inner_state=EmptyState())
    """

    inner_state: Any


@dataclass(frozen=True)
class Link:
    """One member of a chain whose nested chains are laid out in a row.

    Attributes:
        tx: The member.
        spec: What it does, or None where it is written in Python.
        masks: The masks it stands under.
        path: The expression for its state.
    """

    tx: GradientTransformation
    spec: Spec | None
    masks: tuple[Mask, ...]
    path: str


def links_of(
    tx: GradientTransformation, path: str = "state", masks: tuple[Mask, ...] = ()
) -> Iterator[Link]:
    """The links of ``tx``, in the order in which updates pass them."""
    match getattr(tx, "description", None):
        case Chained(members):
            for index, member in enumerate(members):
                yield from links_of(member, f"{path}[{index}]", masks)
        case Masked(inner, mask):
            yield from links_of(inner, f"{path}.inner_state", (*masks, mask))
        case spec:
            yield Link(tx, spec, masks, path)


def split_state(tx: GradientTransformation, state: PyTree, path: str = "state") -> list[PyTree]:
    """The states of the links of ``tx``.

    Raises:
        TreeError: ``state`` is not one that ``tx.init`` makes.
    """
    match getattr(tx, "description", None):
        case Chained(members):
            if not isinstance(state, tuple) or len(state) != len(members):
                raise TreeError(
                    f"{path}: expected a tuple of {len(members)} states, got {state!r:.80}"
                )
            return [
                part
                for index, (member, inner) in enumerate(zip(members, state, strict=True))
                for part in split_state(member, inner, f"{path}[{index}]")
            ]
        case Masked(inner, _):
            if not hasattr(state, "inner_state"):
                raise TreeError(f"{path}: expected a MaskedState, got {state!r:.80}")
            return split_state(inner, state.inner_state, f"{path}.inner_state")
        case Spec() as spec:
            missing = [name for name in spec.state._fields if not hasattr(state, name)]
            if missing:
                raise TreeError(f"{path}: expected a {spec.state.__name__}, got {state!r:.80}")
            return [state]
        case _:
            return [state]


def join_state(tx: GradientTransformation, parts: Iterator[PyTree]) -> PyTree:
    """The state of ``tx`` whose links have these states."""
    match getattr(tx, "description", None):
        case Chained(members):
            return tuple([join_state(member, parts) for member in members])
        case Masked(inner, _):
            return MaskedState(join_state(inner, parts))
        case _:
            return next(parts)


def init_state(spec: Spec, params: PyTree, masks: Sequence[Mask] = ()) -> PyTree:
    """The first state of a native transformation: count and slots are zero.

    Raises:
        LeafTypeError: A parameter that needs a slot is no array of floats.
    """
    fields: dict[str, Any] = {}
    if spec.counts:
        fields["count"] = np.zeros((), np.int32)
    if spec.slots:
        leaves, treespec = flatten(params)
        taken = [mask_leaves(mask, params, treespec) for mask in masks]
        for slot in spec.slots:
            arrays: list[Any] = []
            for index, leaf in enumerate(leaves):
                if not all(mask[index] for mask in taken):
                    arrays.append(MaskedNode())
                elif leaf is None:
                    arrays.append(None)
                else:
                    try:
                        array = as_native(leaf)
                    except TypeError as error:
                        path = leaf_path(treespec, index, "params")
                        raise LeafTypeError(f"{path}: {error} ({spec.op})") from None
                    arrays.append(np.zeros_like(array, dtype=slot.dtype))
            fields[slot.name] = treespec.unflatten(arrays)
    return spec.state(**fields)
