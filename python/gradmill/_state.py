"""The states of a chain: taken apart into those of its links, and put together again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._arrays import as_native
from gradmill._spec import Chained, Gated, LabelMask, Masked, Partitioned, Spec
from gradmill._tree import MaskedNode, flatten, keep, leaf_path, mask_leaves
from gradmill.errors import LeafTypeError, TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradmill._base import GradientTransformation, PyTree
    from gradmill._spec import Mask


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


class PartitionState(NamedTuple):
    """The state of :func:`gradmill.partition`.

    Attributes:
        inner_states: For each label a :class:`MaskedState`.

    Example:
        >>> import gradmill as gm
        >>> gm.partition({"a": gm.scale(1.0)}, {"w": "a"}).init({"w": 1.0})
        PartitionState(inner_states={'a': MaskedState(inner_state=EmptyState())})
    """

    inner_states: Any


@dataclass(frozen=True)
class Link:
    """One member of a chain whose nested parts are laid out in a row.

    Attributes:
        tx: The member.
        spec: What it does, or None where it is written in Python.
        masks: The masks it stands under.
        masks_extra: Whether these also apply to extra arguments.
        gates: The gates it stands behind, by their positions in the row.
        index: Its own position.
        end: The position behind the links that it governs.
        path: The expression for its state.
    """

    tx: GradientTransformation
    spec: Spec | None
    masks: tuple[Mask, ...]
    masks_extra: bool
    gates: tuple[int, ...]
    index: int
    end: int
    path: str

    @property
    def op(self) -> str | None:
        """The name of its op, if it has one."""
        return None if self.spec is None else self.spec.op


def links_of(tx: GradientTransformation) -> list[Link]:
    """The links of ``tx``, in the order in which updates pass them."""
    row: list[Link] = []
    _lay_out(tx, "state", (), (), row)
    return row


def _lay_out(
    tx: GradientTransformation,
    path: str,
    masks: tuple[Mask, ...],
    gates: tuple[int, ...],
    row: list[Link],
    masks_extra: bool = False,
) -> None:
    """Add the links of ``tx`` to ``row``."""
    match getattr(tx, "description", None):
        case Chained(members, names):
            for key, member in zip(names or range(len(members)), members, strict=True):
                _lay_out(member, f"{path}[{key!r}]", masks, gates, row, masks_extra)
        case Masked(inner, mask, extra):
            inner_path = f"{path}.inner_state"
            _lay_out(inner, inner_path, (*masks, mask), gates, row, masks_extra or extra)
        case Partitioned(members, labels, extra):
            for label, member in members.items():
                taken = (*masks, LabelMask(labels, label))
                inner_path = f"{path}.inner_states[{label!r}].inner_state"
                _lay_out(member, inner_path, taken, gates, row, masks_extra or extra)
        case Gated(spec, inner, field):
            index = len(row)
            row.append(Link(tx, spec, masks, masks_extra, gates, index, index, path))
            _lay_out(inner, f"{path}.{field}", masks, (*gates, index), row, masks_extra)
            row[index] = Link(tx, spec, masks, masks_extra, gates, index, len(row), path)
        case spec:
            index = len(row)
            row.append(Link(tx, spec, masks, masks_extra, gates, index, index + 1, path))


def split_state(tx: GradientTransformation, state: PyTree, path: str = "state") -> list[PyTree]:
    """The states of the links of ``tx``; a gate's holds those behind it as well.

    Raises:
        TreeError: ``state`` is not one that ``tx.init`` makes.
    """

    def wrong(expected: str) -> TreeError:
        return TreeError(f"{path}: expected {expected}, got {state!r:.80}")

    match getattr(tx, "description", None):
        case Chained(members, None):
            if not isinstance(state, tuple) or len(state) != len(members):
                raise wrong(f"a tuple of {len(members)} states")
            return [
                part
                for index, (member, inner) in enumerate(zip(members, state, strict=True))
                for part in split_state(member, inner, f"{path}[{index}]")
            ]
        case Chained(members, tuple() as names):
            if not isinstance(state, dict) or set(state) != set(names):
                raise wrong(f"a dict with the keys {', '.join(names)}")
            return [
                part
                for name, member in zip(names, members, strict=True)
                for part in split_state(member, state[name], f"{path}[{name!r}]")
            ]
        case Masked(inner, _):
            if not hasattr(state, "inner_state"):
                raise wrong("a MaskedState")
            return split_state(inner, state.inner_state, f"{path}.inner_state")
        case Partitioned(members, _):
            states = getattr(state, "inner_states", None)
            if not isinstance(states, dict) or set(states) != set(members):
                raise wrong(f"a PartitionState with the labels {', '.join(map(str, members))}")
            return [
                part
                for label, member in members.items()
                for part in split_state(
                    member,
                    getattr(states[label], "inner_state", None),
                    f"{path}.inner_states[{label!r}].inner_state",
                )
            ]
        case Gated(spec, inner, field):
            if not all(hasattr(state, name) for name in spec.state._fields):
                raise wrong(f"a {spec.state.__name__}")
            return [state, *split_state(inner, getattr(state, field), f"{path}.{field}")]
        case Spec() as spec:
            if not all(hasattr(state, name) for name in spec.state._fields):
                raise wrong(f"a {spec.state.__name__}")
            return [state]
        case _:
            return [state]


def join_state(tx: GradientTransformation, parts: Iterator[PyTree]) -> PyTree:
    """The state of ``tx`` whose links have these states."""
    match getattr(tx, "description", None):
        case Chained(members, None):
            return tuple([join_state(member, parts) for member in members])
        case Chained(members, tuple() as names):
            named = zip(names, members, strict=True)
            return OrderedDict((name, join_state(member, parts)) for name, member in named)
        case Masked(inner, _):
            return MaskedState(join_state(inner, parts))
        case Partitioned(members, _):
            states = {label: MaskedState(join_state(m, parts)) for label, m in members.items()}
            return PartitionState(states)
        case Gated(_, inner, field):
            own = next(parts)
            return own._replace(**{field: join_state(inner, parts)})
        case _:
            return next(parts)


def init_link(link: Link, params: PyTree) -> PyTree:
    """The first state of a link; where it is a gate, without the state behind it.

    Raises:
        LeafTypeError: A parameter that needs a slot is no array of floats.
    """
    spec = link.spec
    if spec is None:
        return link.tx.init(mask_tree(params, link.masks))
    fields: dict[str, Any] = dict.fromkeys(spec.state._fields)
    if spec.counts:
        fields["count"] = np.zeros((), np.int32)
    if spec.control is not None:
        fields.update(spec.control.init(mask_tree(params, link.masks)))
    if spec.slots:
        leaves, treespec = flatten(params)
        taken = [mask_leaves(mask, params, treespec) for mask in link.masks]
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
                    arrays.append(slot.first(array))
            fields[slot.name] = treespec.unflatten(arrays)
    return spec.state(**fields)


def new_fields(state: PyTree, changes: dict[str, Any]) -> PyTree:
    """``state`` with new fields; a number becomes a 0-d array of the old one's dtype."""
    if not changes:
        return state
    for name, value in changes.items():
        if isinstance(value, (bool, int, float)):
            changes[name] = np.asarray(value, getattr(state, name).dtype)
    return state._replace(**changes)


def write_fields(state: PyTree, changes: dict[str, Any]) -> PyTree:
    """As :func:`new_fields`, with arrays overwritten where they stay of one shape."""
    replaced = {}
    for name, value in changes.items():
        old = getattr(state, name)
        if isinstance(old, np.ndarray):
            np.copyto(old, value)
        else:
            replaced[name] = value
    return state._replace(**replaced) if replaced else state


def mask_tree(tree: PyTree, masks: Sequence[Mask], like: PyTree | None = None) -> PyTree:
    """``tree`` with ``MaskedNode`` for the leaves that a mask leaves out; masks see ``like``."""
    for mask in masks:
        seen = tree if like is None else like
        taken = mask_leaves(mask, seen, flatten(seen)[1])
        tree = keep(tree, taken)
        like = None if like is None else keep(like, taken)
    return tree
