"""What a step in a program starts from: leaves, checked, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from gradmill._data.codes import is_quantized
from gradmill._data.trees import HOLE, leaf_path
from gradmill._data.types import NO_PARAMS_MSG
from gradmill._plan.align import hint_for
from gradmill._plan.context import StepContext
from gradmill._run.frame import Framer
from gradmill._run.update import none_error
from gradmill.errors import LeafTypeError, LeafValueError
from gradmill.jax._trees import as_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._data.slots import Slot
    from gradmill._data.types import PyTree
    from gradmill._ops.op import Op
    from gradmill._plan.links import Link
    from gradmill._plan.masks import Selection
    from gradmill._plan.match import Match
    from gradmill._run.frame import Frame


@dataclass
class Inputs:
    """What a step starts from; leaves come in the order of the frame.

    Attributes:
        frame: The trees as they were given.
        given: The updates, as arrays; None where there is none, or none that JAX knows.
        params: The parameters, as arrays where an op looks at the update.
        states: The states of the links.
        context: What controls look at.
        select: What masks leave.
        taken: For each link the leaves that its masks leave to it.
        dtypes: The dtype that each leaf is computed in; None for one that is not looked at.
    """

    frame: Frame
    given: list[Any]
    params: list[Any]
    states: list[PyTree]
    context: StepContext
    select: Selection
    taken: list[list[bool]]
    dtypes: list[Any]

    def computed(self, leaves: Sequence[Any]) -> list[Any]:
        """``leaves`` in the dtypes to compute in."""
        return [
            leaf if leaf is None or dtype is None else jnp.asarray(leaf, dtype)
            for leaf, dtype in zip(leaves, self.dtypes, strict=True)
        ]

    def seen_by(self, link: Link, leaves: Sequence[Any]) -> StepContext:
        """What the control of a link looks at, when updates with these leaves have reached it."""
        self.context.updates = self.frame.updates.rebuild(leaves)
        if not link.masks:
            return self.context
        return self.frame.context(self.context, link, self.select(link.masks), leaves)

    def slots(self, link: Link, state: PyTree) -> list[Match]:
        """The leaves of each slot of a link."""
        return [
            self.frame.slot(getattr(state, slot.name), f"{link.path}.{slot.name}")
            for slot in slots_of(link)
        ]


def inputs_of(
    links: Sequence[Link],
    states: list[PyTree],
    updates: PyTree,
    params: PyTree | None,
    extra_args: dict[str, Any],
    *,
    hole: PyTree = HOLE,
    writes_params: bool = False,
) -> Inputs:
    """The inputs of a step over these trees, and perhaps to new parameters.

    Raises:
        TreeError: A tree has another structure than the updates.
        LeafTypeError: A leaf that an op looks at is not an array of floats.
        LeafValueError: An array has another shape than its update.
        ValueError: Parameters are needed and missing.
    """
    # What is written in Python may add up a batch.
    keeps_shapes = all(link.spec is not None for link in links)
    own_ops = [link.op for link in links if link.op is not None]
    reads_params = any(op.reads_params for op in own_ops)
    if params is None and (reads_params or writes_params):
        reading = (op.name for op in own_ops if op.reads_params)
        raise ValueError(f"{next(reading, 'step')} {NO_PARAMS_MSG}")
    frame = Framer()(updates, params, needs_params=True)
    select = frame.selection(hole)
    taken = [select(link.masks).taken for link in links]
    given: list[Any] = []
    own = list(frame.params or [None] * len(frame.updates.leaves))
    for at, leaf in enumerate(frame.updates.leaves):
        ops = [link.op for link, row in zip(links, taken, strict=True) if link.op and row[at]]
        if leaf is None:
            # Whatever there is stays.
            given.append(None)
        elif _is_looked_at(ops, leaf, own[at], writes_params=writes_params):
            given.append(_array(leaf, frame, at, "updates"))
            if writes_params and own[at] is None:
                raise none_error(leaf, frame.structure.spec, at)
            if params is not None and (own[at] is not None or reads_params):
                own[at] = _array(own[at], frame, at, "params")
        else:
            given.append(_as_it_is(leaf))
    inputs = Inputs(
        frame=frame,
        given=given,
        params=own,
        states=states,
        context=StepContext(updates, params, extra_args, jnp),
        select=select,
        taken=taken,
        dtypes=[],
    )
    slots = [
        (_without_holes(inputs, link, match, slot.name), slot)
        for link, state in zip(links, states, strict=True)
        for match, slot in zip(inputs.slots(link, state), slots_of(link), strict=True)
    ]
    if keeps_shapes:
        _check_shapes(inputs, own, "params")
        for match, slot in slots:
            _check_shapes(inputs, match.leaves, slot.name, slot.is_like)
    read = [given, *([own] if reads_params else []), *(match.leaves for match, _ in slots)]
    inputs.dtypes = [_widest(row) if is_float(row[0]) else None for row in zip(*read, strict=True)]
    return inputs


def _without_holes(inputs: Inputs, link: Link, slot: Match, name: str) -> Match:
    """The slot, which must have an array for each leaf that the link takes; one for codes."""
    slot = slot._replace(leaves=list(map(_as_computed, slot.leaves)))
    rows = zip(slot.leaves, inputs.given, inputs.taken[link.index], strict=True)
    for at, (leaf, update, take) in enumerate(rows):
        if take and update is not None and isinstance(leaf, tuple):
            path = leaf_path(inputs.frame.structure.spec, at, f"{link.path}.{name}")
            raise LeafTypeError(f"{path}: is a MaskedNode, expected an array")
    return slot


def _as_computed(leaf: Any) -> Any:
    """What stands for codes where shapes and dtypes alone are looked at."""
    return jax.ShapeDtypeStruct(leaf.codes.shape, jnp.float32) if is_quantized(leaf) else leaf


def slots_of(link: Link) -> tuple[Slot, ...]:
    """The slots of a link."""
    return () if link.spec is None else link.spec.slots


def _is_looked_at(ops: Sequence[Op], update: object, param: object, *, writes_params: bool) -> bool:
    """Whether an update has to be an array of floats, or may as well be handled as one."""
    if not all(op.zeroes for op in ops):
        return True
    if param is None:
        return is_float(update)
    return is_float(param) and (is_float(update) or (writes_params and not ops))


def is_float(leaf: object) -> bool:
    """Whether a leaf is an array of floats."""
    try:
        as_array(leaf)
    except TypeError:
        return False
    return True


def _as_it_is(leaf: Any) -> Any:
    """A leaf that no op looks at as an array; None for one of which JAX can make none."""
    try:
        array = jnp.asarray(leaf)
    except TypeError:
        return None
    return None if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array


def _array(leaf: object, frame: Frame, at: int, name: str) -> Any:
    try:
        return as_array(leaf)
    except TypeError as error:
        path = leaf_path(frame.structure.spec, at, name)
        raise LeafTypeError(f"{path}: {error}{hint_for(leaf)}") from None


def _check_shapes(
    inputs: Inputs,
    leaves: Sequence[Any],
    name: str,
    is_like: Callable[[tuple[int, ...]], bool] = lambda _: True,
) -> None:
    for at, (update, other) in enumerate(zip(inputs.given, leaves, strict=True)):
        shape = getattr(other, "shape", None)
        if not is_float(update) or shape is None or not is_like(update.shape):
            continue
        if update.shape != shape:
            path = leaf_path(inputs.frame.structure.spec, at, "updates")
            raise LeafValueError(f"{path}: shape {update.shape}, {name} has {shape}")


def _widest(arrays: Sequence[Any]) -> Any:
    """The widest dtype among the arrays that are read, and at least float32."""
    dtypes = [array.dtype for array in arrays if hasattr(array, "dtype")]
    return jnp.result_type(jnp.float32, *dtypes)
