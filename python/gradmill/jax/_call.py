"""Custom calls: programs over groups of leaves, with their scalars as operands."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ffi

from gradmill._data.numbers import integer
from gradmill._plan.scalars import scalars_of, the_count
from gradmill.jax._target import TARGET

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from gradmill._data.types import PyTree
    from gradmill._plan.control import Plan
    from gradmill._plan.links import Link
    from gradmill._plan.spec import Spec


def in_float64() -> AbstractContextManager[Any]:
    """Where scalars are computed in float64, as on the host, whatever mode the program has.

    Versions of JAX without ``enable_x64`` mix up dtypes in programs that are partly float64.
    """
    context: AbstractContextManager[Any] = getattr(jax, "enable_x64", nullcontext)(True)
    return context


WORDS_OF_ESTIMATES = 4
"""What an op estimates: two doubles."""


def doubles(words: Any) -> Any:
    """The doubles that words hold, the lower halves first; in float32 where JAX has no others."""
    pairs = words.reshape(-1, 2)
    if hasattr(jax, "enable_x64") or jax.config.jax_enable_x64:
        with in_float64():
            return jax.lax.bitcast_convert_type(pairs, jnp.float64)
    low, high = pairs[:, 0], pairs[:, 1]
    exponent = ((high >> 20) & 0x7FF).astype(jnp.int32) - 1023
    # Of 52 bits behind the point 23 are left, rounded to nearest; a carry goes to the exponent.
    digits = ((high & 0xFFFFF) << 3 | low >> 29) + (low >> 28 & 1)
    normal = ((exponent + 127).astype(jnp.uint32) << 23) + digits
    size = jnp.where(exponent < -126, 0, jnp.where(exponent > 127, 0x7F800000, normal))
    is_nan = (exponent == 1024) & ((high & 0xFFFFF | low) != 0)
    size = jnp.where(is_nan, 0x7FC00000, size).astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(size | (high >> 31 << 31), jnp.float32)


class Mode(IntEnum):
    """What a call does; the numbers are those of the handler."""

    SUMS = 0
    UPDATE = 1
    STEP = 2


@dataclass
class Scalars:
    """The scalars of ops: constants, and places among what a program hands over.

    Attributes:
        rows: For each scalar its kind, a value, and a place.
        numbers: What programs compute, as floats.
        words: Counts, and words of keys; the first two are the bits of the ops that are off.
    """

    rows: list[tuple[float, float, float]] = field(default_factory=list)
    numbers: list[Any] = field(default_factory=list)
    words: list[Any] = field(default_factory=list)

    def number(self, value: Any) -> int:
        """The place of a float."""
        self.numbers.append(value)
        return len(self.numbers) - 1

    def word(self, value: Any) -> int:
        """The place of a count or a word."""
        self.words.append(value)
        return len(self.words) - 1 + 2

    def add(self, link: Link, spec: Spec, state: PyTree, plan: Plan) -> None:
        """Append those of a link's op."""
        assert link.op is not None  # noqa: S101  (for the type checker)
        if link.control is not None:
            for name, value in zip(link.op.scalars, plan.scalars, strict=True):
                if name in link.op.words:
                    self.rows.append((2, 0, self.word(value)))
                else:
                    self.rows.append(self._of(value))
            return
        count = getattr(state, link.counts[0]) if link.counts else np.int32(0)
        for scalar in scalars_of(spec):
            if scalar is the_count:
                self.rows.append((2, 0, self.word(count)))
            else:
                self.rows.append(self._of(scalar(integer(count)) if callable(scalar) else scalar))

    def _of(self, value: Any) -> tuple[float, float, float]:
        if isinstance(value, (bool, int, float)):
            return 0, float(value), 0
        return 1, 0, self.number(value)

    def operands(self, off: int, switched: Sequence[tuple[int, Any]]) -> tuple[Any, Any]:
        """Numbers and words; ``switched`` has positions of ops with whether they are off."""
        halves = [jnp.uint32(off & 0xFFFFFFFF), jnp.uint32(off >> 32)]
        for position, is_off in switched:
            bit = jnp.where(is_off, jnp.uint32(1 << position % 32), jnp.uint32(0))
            halves[position // 32] |= bit
        words = [jnp.asarray(word).astype(jnp.uint32) for word in self.words]
        with in_float64():
            numbers = jnp.stack([jnp.asarray(n, float) for n in self.numbers or [0.0]])
        return numbers, jnp.stack([*halves, *words])


@dataclass
class LeafArrays:
    """What a call reads and writes of a leaf.

    Attributes:
        index: Its position in the tree.
        skip: The ops that pass it by, as bits.
        update: The update.
        dtype: The dtype that it is computed in.
        param: The parameter.
        slots: The slots of the ops that do not pass it by.
    """

    index: int
    skip: int
    update: Any
    dtype: Any
    param: Any
    slots: list[Any]


@dataclass
class Program:
    """What all calls of a program have in common.

    Attributes:
        ops: Its links.
        numbers: An operand of floats.
        words: An operand of words.
        rows: The rows of its scalars.
        measured: What was found out about all leaves for the first ops that ask for it.
    """

    ops: Sequence[Link]
    numbers: Any
    words: Any
    rows: list[tuple[float, float, float]]
    measured: list[Any]

    def call(
        self, mode: Mode, leaves: Sequence[LeafArrays], drawn: Sequence[int]
    ) -> tuple[list[Any], list[list[Any]], Any]:
        """Run it over a group of leaves: updates or parameters, their slots, and what was found."""
        reads = mode is Mode.STEP or any(leaf.param is not None for leaf in leaves)
        operands: list[Any] = []
        results: list[Any] = []
        aliases: dict[int, int] = {}
        first = 3
        for leaf in leaves:
            operands.append(leaf.update)
            if reads:
                operands.append(leaf.param)
            if mode is Mode.SUMS:
                operands += leaf.slots
                continue
            if mode is Mode.STEP:
                aliases[first + len(operands) - 1] = len(results)
                results.append(_like(leaf.param))
            else:
                results.append(jax.ShapeDtypeStruct(leaf.update.shape, leaf.dtype))
            for slot in leaf.slots:
                aliases[first + len(operands)] = len(results)
                operands.append(slot)
                results.append(_like(slot))
        words = self._words_found(mode, len(leaves))
        results.append(jax.ShapeDtypeStruct(words, jnp.uint32))
        *arrays, found = ffi.ffi_call(
            TARGET, results, vmap_method="broadcast_all", input_output_aliases=aliases
        )(
            self.numbers,
            self.words,
            self._known(),
            *operands,
            mode=np.int64(mode),
            ops=" ".join(map(self._entry, self.ops)),
            scalars=np.array(self.rows or [(0, 0, 0)], np.float64).ravel(),
            skip=np.array([leaf.skip for leaf in leaves], np.uint64).view(np.int64),
            drawn=np.array(drawn or [0], np.int64),
            params=np.int64(reads),
        )
        rest = iter(arrays)
        if mode is Mode.SUMS:
            return [], [], found
        made = [[next(rest) for _ in range(1 + len(leaf.slots))] for leaf in leaves]
        return [row[0] for row in made], [row[1:] for row in made], found

    def _words_found(self, mode: Mode, leaves: int) -> tuple[int, ...]:
        if mode is Mode.SUMS:
            return leaves, 6
        finds = [link.finds for link in self.ops]
        flags = finds.count("finite") + finds.count("nans") * leaves
        return (max(1, flags + finds.count("estimates") * WORDS_OF_ESTIMATES),)

    def _known(self) -> Any:
        return jnp.stack(self.measured) if self.measured else jnp.zeros((0, 1, 6), jnp.uint32)

    def _entry(self, link: Link) -> str:
        governs = sum(link.index in other.gates for other in self.ops)
        assert link.op is not None  # noqa: S101  (for the type checker)
        axes = None if link.spec is None else link.spec.axes
        written = "*" if axes is None else ",".join(map(str, axes))
        return f"{link.op.name}:{governs}:{written}"


def _like(array: Any) -> Any:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)
