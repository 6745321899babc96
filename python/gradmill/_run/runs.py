"""Runs of links: ops together, by kernels or by formulas; one written in Python as a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from gradmill._data.trees import HOLE, Structure
from gradmill._plan.layout import links_of
from gradmill._plan.match import match
from gradmill._run.formulas import FormulaRun
from gradmill._run.frame import Framer, masked_extra
from gradmill._run.native import NativeRun
from gradmill._run.ops import MAX_LINKS, Found, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.context import StepContext
    from gradmill._plan.links import Link


_WITH_EXTRA = "GradientTransformationExtraArgs"
"""The class of those that take extra arguments, whose name it is in optax as well."""


class PythonRun:
    """One link that is written in Python."""

    def __init__(self, link: Link, hole: PyTree = HOLE) -> None:
        self.links = (link,)
        self.hole = hole
        self.takes_extra = any(kind.__name__ == _WITH_EXTRA for kind in type(link.tx).__mro__)
        self._frame = Framer()

    def update(
        self, updates: PyTree, states: Sequence[PyTree], context: StepContext
    ) -> tuple[PyTree, list[PyTree], Found]:
        """Call the transformation, with what masks leave to it."""
        (link,), (state,) = self.links, states
        if not all(context.open[gate] for gate in link.gates):
            return updates, [state], Found((), True)
        tx = context.members.get(link.index, link.tx)
        extra = context.extra if self.takes_extra else {}
        params = context.params
        if not link.masks:
            new, state = tx.update(updates, state, params, **extra)
            return new, [state], Found((), True)
        frame = self._frame(updates, params, needs_params=True)
        leaves = frame.updates.leaves
        kept = frame.selection(self.hole)(link.masks)
        if link.masks_extra:
            extra = masked_extra(extra, frame.structure, kept)
        masked = kept.tree(leaves)
        given = None if frame.params is None else kept.tree(frame.params)
        new, state = tx.update(masked, state, given, **extra)
        before = Structure(kept.structure())
        rest = iter(match(new, before, "the masked updates", "those before").leaves)
        merged = [next(rest) if take else old for take, old in zip(kept.taken, leaves, strict=True)]
        return frame.updates.rebuild(merged), [state], Found((), True)


Run: TypeAlias = NativeRun | FormulaRun | PythonRun


def runs_of(tx: TransformationLike) -> list[Run]:
    """The links of ``tx``; neighbours with ops that kernels run, or that none does, together."""
    runs: list[Run] = []
    row: list[Link] = []

    def close() -> None:
        if row:
            is_native = all(link.op is None or link.op.is_native for link in row)
            runs.append(NativeRun(tuple(row)) if is_native else FormulaRun(tuple(row)))
            row.clear()

    for link in links_of(tx):
        if link.spec is None:
            close()
            runs.append(PythonRun(link))
            continue
        control = link.spec.control
        kinds = {one.op.is_native for one in (*row, link) if one.op is not None}
        if width((*row, link)) > MAX_LINKS or len(kinds) > 1 or (control and control.needs_updates):
            close()
        row.append(link)
    close()
    return runs


def runs_in_place(tx: TransformationLike) -> tuple[*tuple[Run, ...], NativeRun]:
    """The runs of ``tx``; the last one, which can work in place, is native and may be empty."""
    runs = runs_of(tx)
    match runs[-1:]:
        case [NativeRun() as tail]:
            return (*runs[:-1], tail)
        case _:
            return (*runs, NativeRun(()))


def send_through(
    runs: Sequence[Run], updates: PyTree, states: Sequence[PyTree], context: StepContext
) -> tuple[PyTree, list[PyTree], Found]:
    """Send updates through runs one after the other, all of which make new arrays.

    Args:
        runs: The runs.
        updates: The updates.
        states: The states of their links; there may be more behind them.
        context: The step.
    """
    new_states: list[PyTree] = []
    norms: list[float | None] = []
    finite = True
    for run in runs:
        own = states[len(new_states) : len(new_states) + len(run.links)]
        updates, own, found = run.update(updates, own, context)
        new_states += own
        norms += found.norms
        finite = finite and found.finite
    return updates, new_states, Found(norms, finite)
