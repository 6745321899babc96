"""The states of links: how they start, count and change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._core import in_default_mode
from gradmill._data.arrays import as_native
from gradmill._data.codes import encoded
from gradmill._data.trees import Flattener, flatten, leaf_path
from gradmill._plan.align import hint_for
from gradmill._plan.control import FieldError, count_of
from gradmill._plan.masks import Selection
from gradmill.errors import LeafTypeError, LeafValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradmill._data.slots import Slot
    from gradmill._data.types import PyTree
    from gradmill._plan.links import Link


def init_links(
    links: Sequence[Link],
    params: PyTree,
    select: Selection | None = None,
    as_array: Callable[[object], Any] = as_native,
) -> Iterator[PyTree]:
    """The first states of links; see :func:`init_link`.

    Args:
        links: The links.
        params: The parameters.
        select: What masks leave of them; None to find that out where there are masks.
        as_array: Makes an array of a parameter, or raises a TypeError.
    """
    if select is None and any(link.masks or link.coded is not None for link in links):
        select = Selection(*Flattener()(params), "params")
    for link in links:
        own, coded = params, None
        if select is not None:
            # Each mask and label is looked at, whether or not there is state under it.
            kept = select(link.masks)
            own = kept.tree(select.leaves) if link.masks else params
            if link.coded is not None:
                coded = kept.tree(select((*link.masks, *link.coded)).taken)
        yield init_link(link, own, as_array, coded)


def init_link(
    link: Link,
    own: PyTree,
    as_array: Callable[[object], Any] = as_native,
    coded: PyTree = None,
) -> PyTree:
    """The first state of a link; where it is a gate, without the state behind it.

    Args:
        link: The link.
        own: The parameters that its masks leave to it.
        as_array: Makes an array of a parameter, or raises a TypeError.
        coded: For each of these parameters whether its state is in 8 bits a number.

    Raises:
        LeafTypeError: A parameter that needs a slot is not an array of floats.
        LeafValueError: There is no slot for one of its shape.
    """
    spec = link.spec
    if spec is None:
        return link.tx.init(own)
    fields: dict[str, Any] = dict.fromkeys(spec.state._fields)
    for name in spec.counts:
        fields[name] = np.zeros((), np.int32)
    if spec.control is not None:
        fields.update(in_default_mode(spec.control.init, own))
    if spec.slots:
        leaves, treespec = flatten(own)
        flags = [False] * len(leaves) if coded is None else flatten(coded)[0]
        for slot in spec.slots:
            arrays: list[Any] = []
            for index, (leaf, has_codes) in enumerate(zip(leaves, flags, strict=True)):
                try:
                    arrays.append(_first(slot, leaf, as_array, has_codes=has_codes))
                except (TypeError, ValueError) as error:
                    path = leaf_path(treespec, index, "params")
                    problem = f"{path}: {error} ({spec.op})"
                    if isinstance(error, TypeError):
                        raise LeafTypeError(problem + hint_for(leaf)) from None
                    raise LeafValueError(problem) from None
            fields[slot.name] = treespec.unflatten(arrays)
    return spec.state(**fields)


def _first(slot: Slot, leaf: object, as_array: Callable[[object], Any], *, has_codes: bool) -> Any:
    """The slot of a parameter at first, or None where there is no parameter."""
    if leaf is None:
        return None
    array = as_array(leaf)
    first = in_default_mode(slot.first, array)
    if has_codes and slot.coding and slot.is_like(array.shape):
        return encoded(first, slot.coding)
    return first


def check_counts(link: Link, state: PyTree) -> None:
    """See that all counts in the state of a link are such.

    Raises:
        FieldError: One is not an integer, or negative.
    """
    of_control = () if link.control is None else link.control.counts
    for field in link.counts or of_control:
        count_of(state, field)


def steps_counted(links: Sequence[Link], states: Sequence[PyTree]) -> int:
    """The largest count of steps among the states of links.

    Raises:
        LeafTypeError: A count is not an integer; the message has its path.
        LeafValueError: A count is negative.
    """
    counts = [0]
    for link, state in zip(links, states, strict=True):
        try:
            check_counts(link, state)
        except FieldError as fault:
            raise fault.at(link.path) from None
        names = link.counts or ("count",)
        counts += [int(getattr(state, name)) for name in names if name in link.state_fields]
    return max(counts)


def new_fields(state: PyTree, changes: dict[str, Any]) -> PyTree:
    """``state`` with new fields; a number becomes a 0-d array of the old one's dtype."""
    if not changes:
        return state
    for name, value in changes.items():
        if isinstance(value, (bool, int, float)):
            dtype = getattr(getattr(state, name), "dtype", None)
            # Floats are rounded, and the caller's thread may do that in another way.
            if isinstance(value, float):
                with np.errstate(over="ignore"):
                    changes[name] = in_default_mode(np.asarray, value, dtype)
            else:
                changes[name] = np.asarray(value, dtype)
    if len(changes) == len(state):
        return type(state)(**changes)
    return state._replace(**changes)
