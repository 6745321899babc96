"""Ops by their formulas: one way through them for arrays of any library.

NumPy arrays take it where the core does not list an op, and in the oracle of the tests, in float64;
JAX arrays take it in the lowering.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.numbers import is_traced

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradmill._ops.op import Op, Sums


class Library(ABC):
    """What a way through formulas needs of a library of arrays.

    Attributes:
        xp: Its functions.
    """

    xp: Any

    @abstractmethod
    def norm(self, leaves: Sequence[Any]) -> Any:
        """The Euclidean norm of all leaves together."""

    @abstractmethod
    def all_finite(self, leaves: Sequence[Any]) -> Any:
        """Whether each element of all leaves is finite."""

    @abstractmethod
    def total(self, arrays: Sequence[Any]) -> Any:
        """The sum of all elements of some arrays."""

    @abstractmethod
    def normal(self, words: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
        """Normally distributed numbers for each leaf, drawn with a key of two words."""

    def number(self, value: Any, dtype: Any) -> Any:
        """A scalar that meets elements of ``dtype``: one of Python's, unless it is traced."""
        if not is_traced(value):
            return float(value)
        return value if value.dtype == bool else self.xp.asarray(value, dtype)


class FormulaError(Exception):
    """A formula refuses a leaf, the position of which stands first."""


class Done(NamedTuple):
    """What an op leaves behind.

    Attributes:
        updates: The new updates.
        slots: The new leaves of each slot.
        found: What it had to find in the update as a whole; None if nothing.
    """

    updates: list[Any]
    slots: list[list[Any]]
    found: Any


def run_op(
    op: Op,
    library: Library,
    scalars: dict[str, Any],
    updates: Sequence[Any],
    params: Sequence[Any],
    slots: Sequence[Sequence[Any]],
    takes: Sequence[bool],
    axes: tuple[int, ...] | None,
) -> Done:
    """Send updates through one op.

    Args:
        op: The op.
        library: What the arrays are of.
        scalars: Its scalars by name.
        updates: The leaves, in the dtypes that they are computed in.
        params: The parameters, in the same dtypes; of no matter where the op does not read them.
        slots: The leaves of each slot, in the dtypes that they are stored in.
        takes: Whether the op takes part in each leaf.
        axes: Those of a unit, where they are not the usual ones.

    Raises:
        FormulaError: A leaf is none that the formula can make sense of.
    """
    own = [leaf for leaf, take in zip(updates, takes, strict=True) if take]
    given = partial(_given, op, library, scalars, updates, params, slots, takes)
    found: Any
    if op.sums is None:
        found = _found(op, library, updates, takes, own)
    else:
        found = _estimated(op.sums, library, scalars, given())
    words = [scalars[name] for name in op.words]
    drawn = iter(library.normal(words, own) if op.draws else ())
    normals = {at: next(drawn) for at, take in enumerate(takes) if take and op.draws}
    new_updates, new_slots = list(updates), [list(slot) for slot in slots]
    for at, arrays, numbers in given():
        dtype = arrays[0].dtype
        known = {
            "norm": library.number(found, dtype) if op.finds == "norm" else None,
            "finite": found,
            "axes": axes,
            "normal": normals.get(at),
            "estimates": op.sums and tuple(library.number(one, dtype) for one in found),
        }
        numbers |= {name: value for name, value in known.items() if name in op.knows}
        try:
            new = op.formula(library.xp, *arrays, **numbers)
        except ValueError as error:
            raise FormulaError(at, str(error)) from None
        new_updates[at] = new[0]
        for slot, value in zip(new_slots, new[1:], strict=True):
            slot[at] = value
    return Done(new_updates, new_slots, found)


def _given(
    op: Op,
    library: Library,
    scalars: dict[str, Any],
    updates: Sequence[Any],
    params: Sequence[Any],
    slots: Sequence[Sequence[Any]],
    takes: Sequence[bool],
) -> Iterator[tuple[int, list[Any], dict[str, Any]]]:
    """Of each leaf that the op takes and that has elements: its place, its arrays, its scalars."""
    for at, (leaf, take) in enumerate(zip(updates, takes, strict=True)):
        if take and leaf.size > 0:
            numbers = {
                name: value if name == "count" else library.number(value, leaf.dtype)
                for name, value in scalars.items()
            }
            param = [params[at]] if op.reads_params else []
            old = [library.xp.asarray(slot[at], leaf.dtype) for slot in slots]
            yield at, [leaf, *param, *old], numbers


def _estimated(
    sums: Sums,
    library: Library,
    scalars: dict[str, Any],
    given: Iterator[tuple[int, list[Any], dict[str, Any]]],
) -> Any:
    """What becomes of the op's own sums over the tree."""
    rows = [sums.addends(library.xp, *row, SimpleNamespace(**own)) for _, row, own in given]
    totals = [library.total(column) for column in zip(*rows, strict=True)] or [0.0, 0.0]
    return sums.estimates(library.xp, *totals, SimpleNamespace(**scalars))


def _found(
    op: Op, library: Library, updates: Sequence[Any], takes: Sequence[bool], own: Sequence[Any]
) -> Any:
    """What the op has to find in the update as a whole."""
    xp = library.xp
    match op.finds:
        case "norm":
            return library.norm(own)
        case "finite":
            return library.all_finite(own)
        case "nans":
            pairs = zip(updates, takes, strict=True)
            return [xp.isnan(leaf).any() if take else xp.asarray(False) for leaf, take in pairs]
    return None
