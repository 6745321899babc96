"""Tables of what was measured, and the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from _contenders import IN_PLACE, LIMIT, NAMES, OPTAX, missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _chains import Chain
    from _machine import Facts
    from _measure import Timing
    from _trees import Size

NONE = "-"


@dataclass(frozen=True)
class Cell:
    """One chain at one size."""

    chain: Chain
    size: Size
    timings: dict[str, Timing]

    def time(self, name: str) -> str:
        """A contender's median, with its unit."""
        return duration(self.timings[name].median) if name in self.timings else NONE

    def ratio(self, name: str) -> str:
        """A contender's time over that of gradmill in place."""
        return f"{self.timings[name].ratio:.2f}" if name in self.timings else NONE

    @property
    def bandwidth(self) -> str:
        """Gigabytes a second that gradmill in place moves, where they come from memory."""
        if LIMIT not in self.timings:
            return NONE
        moved = self.chain.bytes_per_param * self.size.params
        return f"{moved / self.timings[IN_PLACE].median / 1e9:.1f}"

    @property
    def compilation(self) -> str:
        """Time that optax takes to compile."""
        if OPTAX not in self.timings:
            return NONE
        timing = self.timings[OPTAX]
        return duration(max(timing.first - timing.median, 0.0))


@dataclass(frozen=True)
class Target:
    """A bound on a ratio or on the time of gradmill in place."""

    text: str
    chain: str
    size: str
    contender: str
    bound: float

    def value(self, cell: Cell) -> float | None:
        """What was measured: a ratio, or a time in microseconds."""
        timing = cell.timings.get(self.contender)
        if timing is None:
            return None
        return timing.median * 1e6 if self.contender == IN_PLACE else timing.ratio

    def met(self, value: float) -> bool:
        """Whether a value is on the right side of the bound."""
        return value <= self.bound if self.contender == IN_PLACE else value >= self.bound


TARGETS = (
    Target("adamw at 3e7, of the memory limit: >= 0.90", "adamw", "3e7", LIMIT, 0.90),
    Target("clip_adamw at 3e7, of the memory limit: >= 0.90", "clip_adamw", "3e7", LIMIT, 0.90),
    Target("adamw at 1e7, optax over gradmill: >= 1.3", "adamw", "1e7", OPTAX, 1.3),
    Target("clip_adamw at 1e7, optax over gradmill: >= 2.5", "clip_adamw", "1e7", OPTAX, 2.5),
    Target("clip_adamw on the MLP, us a step: <= 8", "clip_adamw", "mlp", IN_PLACE, 8.0),
    Target("clip_adamw on the MLP, optax over gradmill: >= 8", "clip_adamw", "mlp", OPTAX, 8.0),
    Target("clip_adamw at 1000x64, us a step: <= 300", "clip_adamw", "1000x64", IN_PLACE, 300.0),
)


def duration(seconds: float) -> str:
    """A duration in the unit that suits it."""
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 1000:
            return f"{seconds * factor:#.3g} {unit}".replace(". ", " ")
    return f"{seconds:.1f} s"


def head(facts: Facts) -> str:
    """Facts about the machine, one a line."""
    width = max(map(len, facts))
    return "\n".join(
        f"{name:{width}}  {value}" for name, value in facts.items() if value is not None
    )


def table(chain: Chain, cells: Sequence[Cell]) -> str:
    """The table of one chain."""
    names = [name for name in NAMES if any(name in cell.timings for cell in cells)]
    others = [name for name in names if name != IN_PLACE]
    heading = ["size", *names, *(f"x {name}" for name in others)]
    heading += ["limit", "of limit", "GB/s", "compile"]
    rows = [heading]
    for cell in cells:
        row = [cell.size.name, *map(cell.time, names), *map(cell.ratio, others)]
        row += [cell.time(LIMIT), cell.ratio(LIMIT), cell.bandwidth, cell.compilation]
        rows.append(row)
    lines = [f"{chain.name}: {chain.bytes_per_param} bytes a parameter", *_aligned(rows)]
    lines += [f"{name}: {reason}" for name, reason in missing().items()]
    if chain.bytes_per_param < 28:
        lines.append(f"limit: {chain.bytes_per_param}/28 of the time of a loop that moves 28 bytes")
    return "\n".join(lines)


def targets(cells: Iterable[Cell]) -> str:
    """Each target, with what was measured and whether it is met."""
    found = {(cell.chain.name, cell.size.name): cell for cell in cells}
    rows = []
    for target in TARGETS:
        cell = found.get((target.chain, target.size))
        value = None if cell is None else target.value(cell)
        if value is None:
            rows.append([target.text, NONE, "not measured"])
        else:
            rows.append([target.text, f"{value:.2f}", "met" if target.met(value) else "NOT MET"])
    return "\n".join(["targets", *_aligned(rows)])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{text:{'<' if index == 0 else '>'}{width}}"
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
