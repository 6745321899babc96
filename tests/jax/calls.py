"""The custom call as tests make it, and the same step from a program over NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import ffi

from gradmill import _core
from gradmill.jax._target import TARGET

if TYPE_CHECKING:
    from collections.abc import Sequence


SUMS, UPDATE, STEP = 0, 1, 2
SHAPES = [(5,), (), (0, 3), (9, 7), (2, 3, 2, 2)]


class Op(NamedTuple):
    """An op of a program with its scalars."""

    name: str
    scalars: tuple[float, ...] = ()
    governs: int = 0
    axes: tuple[int, ...] | None = None


@dataclass
class Leaf:
    """The arrays of a leaf; those of slots are there for skipped ops too."""

    update: Any
    param: Any
    slots: list[Any]
    skip: int = 0

    def slots_of(self, ops: Sequence[Op]) -> list[int]:
        """The slots of the ops that do not skip it."""
        owners = [bit for bit, op in enumerate(ops) for _ in SLOTS[op.name]]
        return [at for at, bit in enumerate(owners) if not self.skip >> bit & 1]


@dataclass
class Call:
    """What differs between calls."""

    ops: Sequence[Op]
    mode: int = UPDATE
    params: bool = True
    numbers: Any = (0.0,)
    words: Any = (0, 0)
    known: Any = None
    drawn: Sequence[int] | None = None
    rows: Any = None
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes, but for those of leaves."""
        constants = [(0, value, 0) for op in self.ops for value in op.scalars]
        rows = constants if self.rows is None else self.rows
        draws = sum(op.name == "add_noise" for op in self.ops)
        usual = {
            "mode": np.int64(self.mode),
            "ops": " ".join(map(_written, self.ops)),
            "scalars": np.array(rows, np.float64).ravel(),
            "drawn": np.array([0] * draws if self.drawn is None else self.drawn, np.int64),
            "params": np.int64(self.params),
        }
        return {**usual, **self.others}


SLOTS = {op["name"]: op["slots"] for op in _core.list_ops()}
ESTIMATING = {op["name"] for op in _core.list_ops() if op["finds"] == "estimates"}


def _written(op: Op) -> str:
    axes = "*" if op.axes is None else ",".join(map(str, op.axes))
    return f"{op.name}:{op.governs}:{axes}"


def arrays(call: Call, leaves: Sequence[Leaf]) -> list[Any]:
    """The operands of leaves."""
    slots = call.mode != SUMS or any(op.name in ESTIMATING for op in call.ops[-1:])
    return [
        array
        for leaf in leaves
        for array in (
            leaf.update,
            *([leaf.param] if call.params else []),
            *(leaf.slots[at] for at in leaf.slots_of(call.ops) if slots),
        )
    ]


def results(call: Call, leaves: Sequence[Leaf]) -> tuple[list[Any], dict[int, int]]:
    """The results, and which of them replace operands."""
    if call.mode == SUMS:
        return [jax.ShapeDtypeStruct((len(leaves), 6), jnp.uint32)], {}
    rows: list[Any] = []
    aliases = {}
    operand = 3
    for leaf in leaves:
        operand += 1
        kept = leaf.slots_of(call.ops)
        widest = [leaf.update, jnp.float32(0), *(leaf.slots[at] for at in kept)]
        if any(READS[op.name] and not leaf.skip >> bit & 1 for bit, op in enumerate(call.ops)):
            widest.append(leaf.param)
        dtype = jnp.float64 if any(x.dtype == np.float64 for x in widest) else jnp.float32
        if call.mode == STEP:
            aliases[operand] = len(rows)
            dtype = leaf.param.dtype
        rows.append(jax.ShapeDtypeStruct(leaf.update.shape, dtype))
        operand += call.params
        for at in kept:
            aliases[operand] = len(rows)
            operand += 1
            rows.append(jax.ShapeDtypeStruct(leaf.update.shape, leaf.slots[at].dtype))
    finite = sum(op.name == "apply_if_finite" for op in call.ops)
    nans = sum(op.name == "zero_nans" for op in call.ops) * len(leaves)
    words = finite + nans + 4 * sum(op.name in ESTIMATING for op in call.ops)
    return [*rows, jax.ShapeDtypeStruct((max(1, words),), jnp.uint32)], aliases


READS = {op["name"]: op["params"] for op in _core.list_ops()}


def function(call: Call, leaves: Sequence[Leaf]) -> Any:
    """A function of numbers, words, known and the operands of leaves."""
    shapes, aliases = results(call, leaves)
    skip = np.array([leaf.skip for leaf in leaves], np.uint64).view(np.int64)
    return lambda *operands: ffi.ffi_call(
        TARGET, shapes, vmap_method="broadcast_all", input_output_aliases=aliases
    )(*operands, **{"skip": skip, **call.attributes})


def fixed(call: Call) -> list[Any]:
    """The first three operands."""
    known = jnp.zeros((0, 1, 6), jnp.uint32) if call.known is None else call.known
    width = jnp.float64 if jax.config.jax_enable_x64 else jnp.float32
    return [jnp.asarray(call.numbers, width), jnp.asarray(call.words, jnp.uint32), known]


def run(call: Call, leaves: Sequence[Leaf]) -> list[Any]:
    """All results of a call."""
    operands = [*fixed(call), *(jnp.asarray(array) for array in arrays(call, leaves))]
    key = str([call.attributes, [leaf.skip for leaf in leaves], *results(call, leaves)])
    program = _programs.setdefault(key, jax.jit(function(call, leaves)))
    return [np.asarray(array) for array in program(*operands)]


_programs: dict[str, Any] = {}
"""Compiled once."""


def on_numpy(
    call: Call, leaves: Sequence[Leaf], scalars: Sequence[float] | None = None, off: int = 0
) -> list[Any]:
    """The same from a program over NumPy arrays."""
    program = _core.Program([(op.name, op.governs, op.axes) for op in call.ops])
    constants = [value for op in call.ops for value in op.scalars]
    slots = [list(slot) for slot in zip(*(leaf.slots for leaf in leaves), strict=True)]
    out, new, (_, _, found) = program.update(
        [leaf.update for leaf in leaves],
        [leaf.param for leaf in leaves],
        slots,
        [leaf.skip for leaf in leaves],
        list(constants if scalars is None else scalars),
        off,
    )
    if call.mode == STEP:
        out = _core.apply_updates([leaf.param for leaf in leaves], out)
    made = []
    for at, leaf in enumerate(leaves):
        made += [out[at], *(new[slot][at] for slot in leaf.slots_of(call.ops))]
    finite, nans, estimates = ([], [], []) if found is None else found
    flags = np.array([*finite, *(flag for row in nans for flag in row)], np.uint32)
    numbers = np.array([one or (0.0, 0.0) for one in estimates], np.float64)
    words = np.concatenate([flags, numbers.ravel().view(np.uint32)])
    return [*made, words if words.size else np.zeros(1, np.uint32)]


def leaves_of(
    ops: Sequence[Op],
    dtypes: Sequence[Any] = (np.float32,) * 3,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    scale: float = 1.0,
    seed: int = 0,
) -> list[Leaf]:
    """Random arrays: updates, parameters and slots of three dtypes."""
    rng = np.random.default_rng(seed)
    names = [name for op in ops for name in SLOTS[op.name]]
    return [
        Leaf(
            rng.normal(0, scale, shape).astype(dtypes[0]),
            rng.normal(0, 1, shape).astype(dtypes[1]),
            [abs(rng.normal(0, 1, shape)).astype(dtypes[2]) for _ in names],
            sum(1 << bit for bit, op in enumerate(ops) if len(shape) <= max(op.axes or [-1])),
        )
        for shape in shapes
    ]


ADAM = Op("scale_by_adam", (0.9, 0.999, 1e-8, 0.0, 0.0, 1.0, 0.0))
DECAY = Op("add_decayed_weights", (0.01,))
RATE = Op("scale", (-0.1,))
TRACE = Op("trace", (0.9,))
CLIP = Op("clip_by_global_norm", (1.5,))
PRODIGY = Op("prodigy", (0.9, 0.999, 0.99, 1e-8, 1e-3, 1.0, 0.01, 0.0, 1.0, 1e-2, 0.5, 3.0))
NOISE = Op("add_noise", (0.5, 7.0, 11.0))
ADAMW = [ADAM, DECAY, RATE]
BF16: Any = jnp.bfloat16
