"""What a step in a program starts from: leaves, checked, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from gradmill._base import NO_PARAMS_MSG
from gradmill._control import Context
from gradmill._scalars import READS_PARAMS
from gradmill._tree import Selection, flatten, flatten_like, leaf_path
from gradmill.errors import LeafTypeError, LeafValueError
from gradmill.jax._trees import adopt, as_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._base import PyTree
    from gradmill._state import Link
    from gradmill._tree import Treespec


@dataclass
class Inputs:
    """What a step starts from.

    Attributes:
        treespec: The structure of the updates.
        given: Their leaves.
        params: The leaves of the parameters, None where there are none.
        states: The states of the links.
        context: What controls look at.
        taken: For each link the leaves that its masks leave to it.
        dtypes: The dtype that each leaf is computed in.
    """

    treespec: Treespec
    given: list[Any]
    params: list[Any]
    states: list[PyTree]
    context: Context
    taken: list[list[bool]]
    dtypes: list[Any]

    def computed(self, leaves: Sequence[Any]) -> list[Any]:
        """``leaves`` in the dtypes to compute in."""
        return [
            None if leaf is None else jnp.asarray(leaf, dtype)
            for leaf, dtype in zip(leaves, self.dtypes, strict=True)
        ]


def inputs_of(
    links: Sequence[Link],
    states: list[PyTree],
    updates: PyTree,
    params: PyTree | None,
    extra_args: dict[str, Any],
    *,
    writes_params: bool = False,
) -> Inputs:
    """The inputs of a step over these trees, and perhaps to new parameters.

    Raises:
        TreeError: A tree has another structure than the updates.
        LeafTypeError: A leaf is no array of floats.
        LeafValueError: An array has another shape than its update.
        ValueError: There are no parameters, and they are needed.
    """
    adopt(updates)
    adopt(params)
    # What is written in Python may add up a batch.
    keeps_shapes = all(link.spec is not None for link in links)
    reads_params = any(link.op in READS_PARAMS for link in links)
    leaves, treespec = flatten(updates)
    given = [
        None if leaf is None else _array(leaf, treespec, index, "updates")
        for index, leaf in enumerate(leaves)
    ]
    own: list[Any] = [None] * len(given)
    if params is not None:
        own = flatten_like(treespec, params, "params", "updates")
        for index, (param, update) in enumerate(zip(own, given, strict=True)):
            # Where there is no update, whatever there is stays.
            if update is not None and (param is not None or reads_params or writes_params):
                own[index] = _array(param, treespec, index, "params")
        if keeps_shapes:
            _check_shapes(given, own, treespec, "params")
    elif reads_params or writes_params:
        reading = (link.op for link in links if link.op in READS_PARAMS)
        raise ValueError(f"{next(reading, 'step')} {NO_PARAMS_MSG}")
    slots: list[list[Any]] = []
    for link, state in zip(links, states, strict=True):
        for name, slot in zip(_slots(link), slot_leaves(link, state, treespec), strict=True):
            if keeps_shapes:
                _check_shapes(given, slot, treespec, name)
            slots.append(slot)
    context = Context(updates, params, extra_args, jnp)
    select = Selection(updates if params is None else params, treespec)
    taken = [select(link.masks) for link in links]
    read = [given, *([own] if reads_params else []), *slots]
    dtypes = [None if row[0] is None else _widest(row) for row in zip(*read, strict=True)]
    return Inputs(treespec, given, own, states, context, taken, dtypes)


def slot_leaves(link: Link, state: PyTree, treespec: Treespec) -> list[list[Any]]:
    """The leaves of each slot of a link."""
    return [
        flatten_like(treespec, getattr(state, name), f"{link.path}.{name}", "updates")
        for name in _slots(link)
    ]


def _slots(link: Link) -> list[str]:
    return [] if link.spec is None else [slot.name for slot in link.spec.slots]


def _array(leaf: object, treespec: Treespec, index: int, name: str) -> Any:
    try:
        return as_array(leaf)
    except TypeError as error:
        path = leaf_path(treespec, index, name)
        raise LeafTypeError(f"{path}: {error}") from None


def _check_shapes(
    updates: Sequence[Any], others: Sequence[Any], treespec: Treespec, name: str
) -> None:
    for index, (update, other) in enumerate(zip(updates, others, strict=True)):
        shape = getattr(other, "shape", None)
        if update is not None and shape is not None and update.shape != shape:
            path = leaf_path(treespec, index, "updates")
            raise LeafValueError(f"{path}: shape {update.shape}, {name} has {shape}")


def _widest(arrays: Sequence[Any]) -> Any:
    """The widest dtype among the arrays that are read, and at least float32."""
    dtypes = [array.dtype for array in arrays if hasattr(array, "dtype")]
    return jnp.result_type(jnp.float32, *dtypes)
