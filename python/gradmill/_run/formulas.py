"""Neighbouring links whose ops the core does not list, by their formulas on NumPy arrays."""

from __future__ import annotations

from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import _core
from gradmill._data.arrays import as_native
from gradmill._data.codes import decoded, stored_as
from gradmill._data.threads import scoped
from gradmill._ops.walk import FormulaError, Library, run_op
from gradmill._run.ops import OpsRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._plan.links import Link


class OnNumPy(Library):
    """NumPy, with the core's sums and random numbers."""

    xp = np

    def norm(self, leaves: Sequence[Any]) -> float:
        """The Euclidean norm of all leaves together."""
        return _core.global_norm(list(leaves), scoped.get())

    def all_finite(self, leaves: Sequence[Any]) -> bool:
        """Whether each element of all leaves is finite."""
        return _core.count_not_finite(list(leaves), scoped.get()) == 0

    def total(self, arrays: Sequence[Any]) -> float:
        """The sum of all elements of some arrays, in float64."""
        return sum(float(np.sum(array, dtype=np.float64)) for array in arrays)

    def normal(self, words: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
        """Normally distributed numbers for each leaf, drawn with a key of two words."""
        zeros = [np.zeros_like(leaf) for leaf in leaves]
        noise = _core.Program([("add_noise", 0, None)])
        return noise.update(zeros, None, [], None, [1.0, *words], 0, scoped.get())[0]


class FormulaProgram:
    """Ops by their formulas, with the methods of a program of the core.

    Leaves are computed in the widest dtype among their arrays, at least float32, in which updates
    come out as well. What is subnormal in a slot is zero, as it is in kernels.

    Args:
        run: The run whose ops these are.
        library: What runs the formulas.
        dtype: The dtype to compute all leaves in; None for that which they have.
    """

    def __init__(
        self, run: OpsRun, library: Library | None = None, dtype: type[Any] | None = None
    ) -> None:
        self.ops = run.ops
        self.slots = [len(link.spec.slots) for link in run.ops if link.spec is not None]
        self.governs = [
            ((1 << run.governed(link)) - 1) << bit + 1 for bit, link in enumerate(run.ops)
        ]
        self.library = OnNumPy() if library is None else library
        self.dtype = dtype

    def update(
        self,
        updates: list[Any],
        params: list[Any] | None,
        slots: list[list[Any]],
        skip: list[int] | None,
        scalars: list[float],
        off: int = 0,
        threads: int = 0,  # noqa: ARG002  (NumPy has one)
    ) -> tuple[list[Any], list[list[Any]], _core._Found]:
        """Send updates through the ops: new updates, new slots, and what was found."""
        params = [None] * len(updates) if params is None else params
        skip = [0] * len(updates) if skip is None else skip
        with np.errstate(all="ignore"):
            return _core.in_default_mode(self._updated, updates, params, slots, skip, scalars, off)

    def _updated(
        self,
        updates: list[Any],
        params: list[Any],
        slots: list[list[Any]],
        skips: list[int],
        scalars: list[float],
        off: int,
    ) -> tuple[list[Any], list[list[Any]], _core._Found]:
        given = [self._array("updates", leaf, at) for at, leaf in enumerate(updates)]
        read = [
            None if leaf is None or param is None else self._array("params", param, at)
            for at, (leaf, param) in enumerate(zip(given, params, strict=True))
        ]
        coded, slots = slots, [[decoded(leaf) for leaf in slot] for slot in slots]
        dtypes = [self._dtype(row) for row in zip(given, read, *slots, strict=True)]
        leaves = [
            None if leaf is None else np.asarray(leaf, dtype, order="C")
            for leaf, dtype in zip(given, dtypes, strict=True)
        ]
        own = [
            None if param is None else np.asarray(param, dtype, order="C")
            for param, dtype in zip(read, dtypes, strict=True)
        ]
        norms: list[float | None] = []
        all_finite: list[bool] = []
        nans: list[list[bool]] = []
        estimates: list[tuple[float, float] | None] = []
        new_slots = [list(slot) for slot in slots]
        values, first = iter(scalars), 0
        for bit, (link, count) in enumerate(zip(self.ops, self.slots, strict=True)):
            op = link.op
            assert op is not None  # noqa: S101  (for the type checker)
            row = {name: next(values) for name in op.scalars}
            mine, first = new_slots[first : first + count], first + count
            found: Any = None
            if not off >> bit & 1:
                takes = [
                    leaf is not None and not skip >> bit & 1
                    for leaf, skip in zip(leaves, skips, strict=True)
                ]
                leaves, found = self._op(link, row, leaves, own, mine, takes)
            if op.finds == "norm":
                norms.append(found)
            elif op.finds == "estimates":
                estimates.append(found)
            elif op.finds == "nans":
                nans.append([] if found is None else [bool(has) for has in found])
            elif op.finds == "finite":
                all_finite.append(True if found is None else bool(found))
                if found is not None and not found and not row["accept"]:
                    off |= self.governs[bit]
        new = [
            None if leaf is None else _rounded(leaf, leaf.dtype, old)
            for leaf, old in zip(leaves, given, strict=True)
        ]
        new_slots = [
            [stored_as(old, leaf) for old, leaf in zip(before, slot, strict=True)]
            for before, slot in zip(coded, new_slots, strict=True)
        ]
        finite = self.library.all_finite([leaf for leaf in given if leaf is not None])
        return new, new_slots, (norms, bool(finite), (all_finite, nans, estimates))

    def _op(
        self,
        link: Link,
        scalars: dict[str, Any],
        leaves: list[Any],
        params: list[Any],
        slots: list[list[Any]],
        takes: list[bool],
    ) -> tuple[list[Any], Any]:
        """Send updates through one op; ``slots`` are replaced."""
        op, spec = link.op, link.spec
        assert op is not None  # noqa: S101  (for the type checker)
        assert spec is not None  # noqa: S101  (for the type checker)
        self._check(link, leaves, params, slots, takes)
        try:
            done = run_op(op, self.library, scalars, leaves, params, slots, takes, spec.axes)
        except FormulaError as error:
            at, problem = error.args
            raise _fault("updates", at, f"{problem} ({op.name})") from None
        new = [
            np.asarray(leaf, old.dtype) if take else leaf
            for leaf, old, take in zip(done.updates, leaves, takes, strict=True)
        ]
        for slot, made in zip(slots, done.slots, strict=True):
            for at, take in enumerate(takes):
                if take:
                    slot[at] = stored(made[at], slot[at], leaves[at].dtype)
        return new, done.found

    def _array(self, tree: str, leaf: object, at: int) -> Any:
        if leaf is None:
            return None
        try:
            return as_native(leaf)
        except TypeError as error:
            raise _core.CoreError((tree, None, at), str(error), True, None) from None

    def _dtype(self, row: Sequence[Any]) -> Any:
        """The dtype that a leaf with these arrays is computed in."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        dtypes = [array.dtype for array in row if isinstance(array, np.ndarray)]
        return reduce(np.promote_types, dtypes, np.dtype(np.float32))

    def _check(
        self,
        link: Link,
        leaves: list[Any],
        params: list[Any],
        slots: list[list[Any]],
        takes: list[bool],
    ) -> None:
        """See that there is an array for each leaf, of its shape where that is the slot's.

        Raises:
            CoreError: There is none, or it has another.
        """
        op, spec = link.op, link.spec
        assert op is not None  # noqa: S101  (for the type checker)
        assert spec is not None  # noqa: S101  (for the type checker)
        start = sum(self.slots[: self.ops.index(link)])
        for at, (leaf, take) in enumerate(zip(leaves, takes, strict=True)):
            if not take:
                continue
            if op.reads_params:
                problem = _misfit(leaf, params[at], "params")
                if problem:
                    raise _fault("updates", at, f"{problem} ({op.name})")
            for number, (slot, arrays) in enumerate(zip(spec.slots, slots, strict=True)):
                problem = _misfit(leaf, arrays[at], "updates", has_shape=slot.is_like(leaf.shape))
                if problem:
                    raise _fault("state", at, f"{problem} ({op.name})", start + number)


def _misfit(leaf: Any, array: Any, name: str, *, has_shape: bool = True) -> str | None:
    """What is wrong with the array that belongs to a leaf."""
    if not isinstance(array, np.ndarray):
        return f"is a {type(array).__name__}, expected an array"
    if not has_shape or array.shape == leaf.shape:
        return None
    return f"shape {leaf.shape}, {name} has {array.shape}"


def _fault(tree: str, at: int, problem: str, slot: int | None = None) -> _core.CoreError:
    return _core.CoreError((tree, slot, at), problem, False, None)


def stored(value: Any, old: Any, dtype: Any) -> Any:
    """``value`` as the state holds it in the place of ``old``, by way of the dtype of its leaf.

    It has zeros for what is subnormal there, which slows arithmetic down.
    """
    value = np.asarray(value, dtype)
    flushed = np.where(np.abs(value) < np.finfo(dtype).tiny, value * 0, value)
    return _rounded(flushed, old.dtype, old)


def _rounded(value: Any, dtype: np.dtype[Any], old: Any) -> Any:
    """``value`` in ``dtype`` and C order, in memory that is not that of ``old``."""
    array = np.asarray(value, dtype, order="C")
    return array.copy() if np.may_share_memory(array, old) else array


class FormulaRun(OpsRun):
    """Consecutive links of which the core lists no op."""

    @cached_property
    def program(self) -> FormulaProgram:
        """The formulas."""
        return FormulaProgram(self)
