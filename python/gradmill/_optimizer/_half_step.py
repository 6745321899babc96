"""A step between its halves: the sums so far, and the parts still to come."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from gradmill import _core
from gradmill._data.threads import scoped
from gradmill._run.trees import formula_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gradmill._core import _Found
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.links import Link
    from gradmill._run.in_place import InPlaceRuns

OVER_THE_TREE = {"norm", "finite", "estimates"}
"""What ops look for that have to know something of all leaves together."""


Total: TypeAlias = "Callable[[list[int], list[list[float]]], list[float]]"
"""Gives the sum over the tree, of leaves and of what was added up of each."""


class Plan(NamedTuple):
    """The numbers of a step.

    Attributes:
        scalars: Those of all ops in a row.
        off: The ops that do not run, as bits.
        after: Makes the new states; None where the core counts steps.
    """

    scalars: list[float]
    off: int
    after: Callable[[_Found], list[PyTree]] | None


class HalfStep:
    """A step that is measured and applied part by part.

    Attributes:
        scalars: The scalars of all ops in a row.
        off: The ops that do not run, as bits.
        counts: Whether the core counts steps.
        absent: The leaves that have no gradient.
        after: Makes the new states.
        steps: How many steps were taken before.
        given: The gradients, by leaf, as long as they are not applied.
        written: The leaves that are done with.
        left: The leaves that are to come.
        has_drawn: Whether random numbers were drawn for some leaves, by their order among all.
    """

    def __init__(
        self, runs: InPlaceRuns, plan: Plan, steps: int, due: Iterable[int], *, rounds: bool
    ) -> None:
        self.scalars, self.off, self.after = plan
        self.counts = plan.after is None
        self.absent: list[int] = []
        self.steps = steps
        self.given: dict[int, Any] = {}
        self.written: set[int] = set()
        self.left = set(due)
        # What the first ops over the tree have added up, and the next one of each leaf. An
        # interrupt finds both, or neither, one step on.
        self._round: tuple[list[list[float]], dict[int, list[float]]] = [], {}
        self.has_drawn = False
        draws = [op.draws for op in runs.tail.own_ops]
        gathers = [at for at, op in enumerate(runs.tail.own_ops) if op.finds in OVER_THE_TREE]
        self._gathers = len(gathers)
        self._draws = rounds or any(draws)
        self._draws_first = any(draws[: gathers[0]]) if gathers else False

    @property
    def needs_all(self) -> bool:
        """Whether some op has to know all gradients before any is applied."""
        return self._gathers > 0

    @property
    def known(self) -> list[list[float]]:
        """What the first ops over the tree have added up."""
        return self._round[0]

    def measure(self, bound: _core.InPlace, part: dict[int, Any]) -> None:
        """Look at gradients, and add up what the first op over the tree asks for."""
        present = _present(part)
        with self._taking(part):
            sums = _core.half_sums(bound, present, self, [], scoped.get())
            self._round[1].update(zip([at for at, _ in present], sums, strict=False))
        self.has_drawn |= self._draws_first and bool(present)

    @contextmanager
    def _taking(self, part: dict[int, Any]) -> Iterator[None]:
        """Keep gradients until they are applied, if what comes meanwhile does not fail."""
        before = self.absent
        new = [at for at, leaf in part.items() if leaf is None and at not in self.given]
        self.absent = before + new
        try:
            yield
        except BaseException:
            self.absent = before
            raise
        self.given |= part

    def settle(self, bound: _core.InPlace, total: Total) -> None:
        """Find what all ops over the tree have to know, now that each gradient is there."""
        while len(self.known) < self._gathers:
            present = _present(self.given)
            order = [at for at, _ in present]
            known, sums = self._round
            rows = [sums[at] for at in order]
            asked = HalfSums(self, [*known, total(order, rows)])
            own: list[list[float]] = []
            if len(asked.known) < self._gathers:
                own = _core.half_sums(bound, present, asked, rows, scoped.get())
            self._round = asked.known, dict(zip(order, own, strict=False))

    def apply(self, bound: _core.InPlace, part: dict[int, Any]) -> None:
        """Write the parameters and the state of some leaves."""
        present = _present(part)
        try:
            with self._taking(part):
                _core.half_apply(bound, present, self, scoped.get())
            self._done(part)
        except BaseException:
            # An interrupt may have arrived between the two.
            self._done(dict.fromkeys(_core.half_written(bound)))
            raise
        self.has_drawn |= self._draws and bool(present)

    def _done(self, leaves: dict[int, Any]) -> None:
        """Let go of leaves that are written."""
        self.given |= dict.fromkeys(leaves)
        self.written |= leaves.keys()
        self.left -= leaves.keys()


class HalfSums:
    """What :class:`HalfStep` is for the core, where one more sum is known."""

    def __init__(self, step: HalfStep, known: list[list[float]]) -> None:
        self.scalars, self.off, self.counts = step.scalars, step.off, step.counts
        self.absent, self.known = step.absent, known


def _present(part: dict[int, Any]) -> list[tuple[int, Any]]:
    """The gradients that are there, in the order of leaves."""
    return sorted((at, leaf) for at, leaf in part.items() if leaf is not None)


def out_of_reach(runs: InPlaceRuns) -> str | None:
    """Why a step cannot come in halves; None where it can."""
    first_with_state: Link | None = None
    for link in runs.links:
        if link.op is None and link.spec is None:
            return f"{_name(link.tx)} runs in Python, on whole trees"
        if link.op is not None and not link.op.is_native:
            return f"{link.op} runs by its formula, on whole trees"
        if link.control is not None and link.control.needs_updates:
            return f"the member whose state is {link.path} looks at all gradients in Python"
        if link.finds in OVER_THE_TREE and first_with_state is not None:
            return (
                f"{link.op} has to know all that leaves {first_with_state.op}, the state of which"
                " is not written before the second half"
            )
        if first_with_state is None and link.op is not None and link.spec and link.spec.slots:
            first_with_state = link
    return "the chain is longer than a program of the core" if runs.head else None


def _name(tx: TransformationLike) -> str:
    """What a transformation without a description is called."""
    formula = formula_of(tx)
    return f"{tx!r:.60}" if formula is None else formula.name


def missing(due: Sequence[int], there: Iterable[int]) -> int | None:
    """The first leaf that is not there; None where all are."""
    found = set(there)
    return next((at for at in due if at not in found), None)
