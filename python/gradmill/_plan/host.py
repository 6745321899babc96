"""The host's part of a run's steps, written down once for the core where it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import _core
from gradmill._data.tape import UnwritableError
from gradmill._data.types import WrappedScheduleState
from gradmill._plan.cells import After, Cells, Path, Pattern
from gradmill._plan.control import Context, Plan
from gradmill._plan.layout import links_of
from gradmill._plan.scalars import next_count, scalars_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradmill._data.types import TransformationLike
    from gradmill._plan.links import Link
    from gradmill._plan.spec import Spec


class Part(NamedTuple):
    """A link for the core, which takes places instead of numbers."""

    gates: list[int]
    bit: int
    plan: tuple[int, int]
    scalars: list[Any]
    on: Any
    open: Any
    forced: Any
    found: Any
    advance: tuple[int, int]


class Recipe(Cells):
    """What the host does in each step of a run, as a tape.

    Args:
        links: The links of the run.
        bits: The bit of each op, by its link's index.

    Raises:
        Exception: It is none that can be written down.
    """

    def __init__(self, links: Sequence[Link], bits: Mapping[int, int]) -> None:
        super().__init__()
        self.links = links
        self._bits = bits
        self._at = {link.index: position for position, link in enumerate(links)}
        self._injected: dict[int, Spec] = {}
        self._new: dict[tuple[int, Path], Any] = {}
        self._parts = [self._part(position, link) for position, link in enumerate(links)]

    def inject(self, link: int, tx: TransformationLike) -> None:
        """Let the links behind a gate have the hyperparameters of those of ``tx``."""
        now = links_of(tx)
        if self.links[link].inner_ops != tuple(one.op for one in now):
            raise UnwritableError
        for at, new in enumerate(now, link + 1):
            if new.spec is None:
                raise UnwritableError
            self._injected[at] = new.spec

    def _part(self, position: int, link: Link) -> Part:
        """Write down one link; what it governs has to be part of the run."""
        spec = self._injected.get(position, link.spec)
        reach = position + link.end - link.index
        if spec is None or reach > len(self.links) or link.finds in {"nans", "estimates"}:
            raise UnwritableError
        tape, start = self.tape, len(self.tape.ops)
        if spec.control is None:
            plan, after = self._counted(position, spec)
        else:
            plan, after = spec.control.written(self, position) or self._controlled(position, spec)
        middle = len(tape.ops)
        found = tape.input(np.dtype(np.bool_)) if link.finds == "finite" else None
        self._new.update({(position, path): new for path, new in after(found).items()})
        return Part(
            [self._at[gate] for gate in link.gates],
            self._bits.get(link.index, 0),
            (start, middle),
            [tape.number(value) for value in plan.scalars],
            tape.number(plan.on),
            None if plan.open is None else tape.number(plan.open),
            tape.number(plan.carry if plan.open is None else False),
            found,
            (middle, len(tape.ops)),
        )

    def _counted(self, link: int, spec: Spec) -> tuple[Plan, After]:
        """A link that counts steps at most."""
        counts = [self.cell(link, (name,), "count") for name in spec.counts]
        count: Any = counts[0] if counts else 0
        row = scalars_of(spec)
        plan = Plan(tuple(value(count) if callable(value) else value for value in row))
        new = {(name,): next_count(own) for name, own in zip(spec.counts, counts, strict=True)}
        return plan, lambda _: new

    def _controlled(self, link: int, spec: Spec) -> tuple[Plan, After]:
        """A link whose control is arithmetic among fields of its state."""
        control = spec.control
        if control is None or not control.is_arithmetic:
            raise UnwritableError
        kinds = {"i": "count", "b": "flag", "f": "real"}
        state: dict[str, Any] = dict.fromkeys(spec.state._fields)
        for name, first in control.init(None).items():
            if isinstance(first, np.ndarray):
                state[name] = self.cell(link, (name,), kinds[first.dtype.kind])
        whole = spec.state(**state)
        plan = control.plan(whole, Context(None, None, {}, self.tape))

        def after(found: Any) -> dict[Path, Any]:
            return {(name,): new for name, new in control.advance(whole, plan, found).items()}

        return plan, after

    def host(self, pattern: Pattern, labels: Sequence[Any], slots: Sequence[Any]) -> _core.Host:
        """It for the core, for states of a pattern.

        Args:
            pattern: The pattern.
            labels: For each of its leaves the link and the way to it, or None.
            slots: The same of the slots, in the order of the program.
        """
        at = {label: leaf for leaf, label in enumerate(labels) if label is not None}
        place = self.tape.index
        cells = []
        for cell in self.cells:
            new = self._new.get((cell.link, cell.path), cell.number)
            to = None if new is cell.number else place(self.tape.number(new))
            leaf = at[cell.link, cell.path]
            start = place(cell.number)
            cells.append((cell.link, leaf, cell.kind, cell.given, cell.dtype, start, to))
        parts = [
            part._replace(
                scalars=[place(value) for value in part.scalars],
                on=place(part.on),
                open=None if part.open is None else place(part.open),
                forced=place(part.forced),
                found=None if part.found is None else place(part.found),
            )
            for part in self._parts
        ]
        constants, ops = self.tape.written()
        nest = _core.Nest(pattern)
        spots = [at[slot] for slot in slots]
        return _core.Host(nest, constants, ops, self.tape.functions, cells, spots, parts)

    def pattern(
        self, link: int, labels: list[Any], inner: tuple[str, Callable[[], Pattern]] | None = None
    ) -> Pattern:
        """The pattern of the state of a link, whose leaves are added to ``labels``.

        ``inner`` is the field of a gate that holds the state behind it, and what makes its pattern.
        """
        spec = self.links[link].spec
        assert spec is not None  # noqa: S101  (for the type checker: each has been written down)
        paths = [cell.path for cell in self.cells if cell.link == link]
        fields = [
            inner[1]() if inner and name == inner[0] else _field(name, paths, link, labels)
            for name in spec.state._fields
        ]
        return spec.state, fields, [], []


def _field(name: str, paths: Sequence[Path], link: int, labels: list[Any]) -> Pattern:
    """The pattern of a field of a state."""
    below = [path for path in paths if path[0] == name]
    if not below or below == [(name,)]:
        labels.append((link, (name,)))
        return None
    keys = [path[1] for path in below]
    children: list[Pattern] = []
    for path in below:
        labels.append((link, path))
        # A schedule's state has its count for a field.
        children.append((WrappedScheduleState, [None], [], []) if len(path) > 2 else None)
    return dict, children, keys, list(range(len(keys)))
