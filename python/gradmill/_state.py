"""The states of a chain: taken apart into those of its links, and put together again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._arrays import as_native
from gradmill._core import Scalars
from gradmill._scalars import LOOKS_FOR, step_scalars
from gradmill._spec import Chained, Gated, LabelMask, Masked, Partitioned, Spec
from gradmill._tree import flatten, keep, leaf_path
from gradmill.errors import LeafTypeError, TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradmill._base import PyTree, TransformationLike
    from gradmill._control import Control
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

    tx: TransformationLike
    spec: Spec | None
    masks: tuple[Mask, ...]
    masks_extra: bool
    gates: tuple[int, ...]
    index: int
    end: int
    path: str

    @cached_property
    def op(self) -> str | None:
        """The name of its op, if it has one."""
        return None if self.spec is None else self.spec.op

    @cached_property
    def control(self) -> Control | None:
        """What the host does, where that is more than to count steps."""
        return None if self.spec is None else self.spec.control

    @cached_property
    def counts(self) -> bool:
        """Whether all that the host does is to count steps."""
        return self.spec is not None and self.spec.counts

    @cached_property
    def scalars_of(self) -> Scalars:
        """The scalars of its op as a function of its count."""
        return Scalars([]) if self.spec is None else step_scalars(self.spec)

    @cached_property
    def looks_for(self) -> str | None:
        """What its op has to know of the update as a whole."""
        return None if self.op is None else LOOKS_FOR[self.op]


def links_of(tx: TransformationLike) -> list[Link]:
    """The links of ``tx``, in the order in which updates pass them."""
    row: list[Link] = []
    _lay_out(tx, _Place("state"), row)
    return row


@dataclass(frozen=True)
class _Place:
    """Where a part of a transformation stands."""

    path: str
    masks: tuple[Mask, ...] = ()
    masks_extra: bool = False
    gates: tuple[int, ...] = ()

    def link(self, tx: TransformationLike, spec: Spec | None, index: int, end: int) -> Link:
        return Link(tx, spec, self.masks, self.masks_extra, self.gates, index, end, self.path)


def _lay_out(tx: TransformationLike, place: _Place, row: list[Link]) -> None:
    """Add the links of ``tx`` to ``row``."""
    description = getattr(tx, "description", None)
    index = len(row)
    if description is None or isinstance(description, Spec):
        row.append(place.link(tx, description, index, index + 1))
        return
    inside = place
    if isinstance(description, Gated):
        row.append(place.link(tx, description.spec, index, index))
        inside = replace(place, gates=(*place.gates, index))
    for suffix, member, mask in _members(description):
        here = replace(inside, path=place.path + suffix)
        if mask is not None:
            extra = place.masks_extra or description.masks_extra
            here = replace(here, masks=(*place.masks, mask), masks_extra=extra)
        _lay_out(member, here, row)
    if isinstance(description, Gated):
        row[index] = replace(row[index], end=len(row))


def _members(description: Any) -> list[tuple[str, TransformationLike, Mask | None]]:
    """The transformations inside, each with the way to its state and its mask."""
    match description:
        case Chained(members, names):
            keys = names or range(len(members))
            return [(f"[{k!r}]", member, None) for k, member in zip(keys, members, strict=True)]
        case Masked(inner, mask):
            return [(".inner_state", inner, mask)]
        case Partitioned(members, labels):
            return [
                (f".inner_states[{label!r}].inner_state", member, LabelMask(labels, label))
                for label, member in members.items()
            ]
        case _:
            return [(f".{description.field}", description.inner, None)]


def _states(description: Any, state: PyTree) -> list[PyTree] | None:
    """The states inside ``state``, or None where it is not one of ``description``."""
    match description:
        case Chained(members, None) if isinstance(state, tuple) and len(state) == len(members):
            return list(state)
        case Chained(_, tuple() as names) if isinstance(state, dict) and set(state) == set(names):
            return [state[name] for name in names]
        case Masked() if hasattr(state, "inner_state"):
            return [state.inner_state]
        case Partitioned(members):
            states = getattr(state, "inner_states", None)
            if isinstance(states, dict) and set(states) == set(members):
                return [getattr(states[label], "inner_state", None) for label in members]
        case Gated(spec, _, field) if _has_fields(state, spec):
            return [getattr(state, field)]
    return None


def _has_fields(state: PyTree, spec: Spec) -> bool:
    return all(hasattr(state, name) for name in spec.state._fields)


def split_state(tx: TransformationLike, state: PyTree, path: str = "state") -> list[PyTree]:
    """The states of the links of ``tx``; a gate's holds those behind it as well.

    Raises:
        TreeError: ``state`` is not one that ``tx.init`` makes.
    """
    description = getattr(tx, "description", None)
    if description is None or (isinstance(description, Spec) and _has_fields(state, description)):
        return [state]
    states = _states(description, state)
    if states is None:
        raise TreeError(f"{path}: expected {_kind(description)}, got {state!r:.80}")
    parts = [state] if isinstance(description, Gated) else []
    for (suffix, member, _), inner in zip(_members(description), states, strict=True):
        parts += split_state(member, inner, path + suffix)
    return parts


def _kind(description: Any) -> str:
    """What a state of ``description`` is, in words."""
    match description:
        case Chained(members, None):
            return f"a tuple of {len(members)} states"
        case Chained(_, names):
            return f"a dict with the keys {', '.join(names or ())}"
        case Masked():
            return "a MaskedState"
        case Partitioned(members):
            return f"a PartitionState with the labels {', '.join(map(str, members))}"
        case _:
            return f"a {getattr(description, 'spec', description).state.__name__}"


def join_state(tx: TransformationLike, parts: Iterator[PyTree]) -> PyTree:
    """The state of ``tx`` whose links have these states."""
    match getattr(tx, "description", None):
        case Chained(members, None):
            return tuple([join_state(member, parts) for member in members])
        case Chained(members, tuple() as names):
            named = zip(names, members, strict=True)
            return OrderedDict((name, join_state(member, parts)) for name, member in named)
        case Masked(inner):
            return MaskedState(join_state(inner, parts))
        case Partitioned(members):
            states = {label: MaskedState(join_state(m, parts)) for label, m in members.items()}
            return PartitionState(states)
        case Gated(_, inner, field):
            own = next(parts)
            return own._replace(**{field: join_state(inner, parts)})
        case _:
            return next(parts)


def init_link(link: Link, params: PyTree, taken: Sequence[bool] | None) -> PyTree:
    """The first state of a link; where it is a gate, without the state behind it.

    Args:
        link: The link.
        params: The parameters.
        taken: Which leaves its masks leave to it; None where it has none.

    Raises:
        LeafTypeError: A parameter that needs a slot is no array of floats.
    """
    spec = link.spec
    own = params if taken is None else keep(params, taken)
    if spec is None:
        return link.tx.init(own)
    fields: dict[str, Any] = dict.fromkeys(spec.state._fields)
    if spec.counts:
        fields["count"] = np.zeros((), np.int32)
    if spec.control is not None:
        fields.update(spec.control.init(own))
    if spec.slots:
        leaves, treespec = flatten(own)
        for slot in spec.slots:
            arrays: list[Any] = []
            for index, leaf in enumerate(leaves):
                if leaf is None:
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
    if len(changes) == len(state):
        return type(state)(**changes)
    return state._replace(**changes)


def write_fields(state: PyTree, changes: dict[str, Any]) -> PyTree:
    """As :func:`new_fields`, with arrays overwritten where they stay of one shape."""
    replaced = {}
    for name, value in changes.items():
        old = getattr(state, name)
        if isinstance(old, np.ndarray):
            old[...] = value
        else:
            replaced[name] = value
    return state._replace(**replaced) if replaced else state
