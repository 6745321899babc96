"""Tables of what was measured, and the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from _contenders import F32, FUNCTIONAL, IN_PLACE, LIMIT, NAMES, OPTAX, OPTAX_PURE, missing

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

    def bandwidth(self, name: str) -> str:
        """Gigabytes a second that a contender moves, where they come from memory."""
        if LIMIT not in self.timings:
            return NONE
        moved = self.chain.bytes_per_param * self.size.params
        return f"{moved / self.timings[name].median / 1e9:.1f}"

    @property
    def compilation(self) -> str:
        """Time that optax takes to compile."""
        if OPTAX not in self.timings:
            return NONE
        timing = self.timings[OPTAX]
        return duration(max(timing.first - timing.median, 0.0))


@dataclass(frozen=True)
class Target:
    """A bound on a ratio to gradmill in place or on a time in microseconds.

    Attributes:
        text: What it asks for.
        chain: The chain it is measured on.
        size: And its size.
        contender: Whose time or ratio it is.
        bound: The bound.
        at_most: Whether it is an upper one.
        over: The contender whose time divides, where that is not gradmill in place.
        is_time: Whether it is a time.
    """

    text: str
    chain: str
    size: str
    contender: str
    bound: float
    at_most: bool = False
    over: str = IN_PLACE
    is_time: bool = False

    def value(self, cell: Cell) -> float | None:
        """What was measured: a ratio, or a time in microseconds."""
        timing, other = cell.timings.get(self.contender), cell.timings.get(self.over)
        if timing is None or other is None:
            return None
        return timing.median * 1e6 if self.is_time else timing.ratio / other.ratio

    def met(self, value: float) -> bool:
        """Whether a value is on the right side of the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


def _time(text: str, chain: str, size: str, bound: float, contender: str = IN_PLACE) -> Target:
    return Target(text, chain, size, contender, bound, at_most=True, is_time=True)


TARGETS = (
    Target("adamw at 3e7, of the memory limit: >= 0.90", "adamw", "3e7", LIMIT, 0.90),
    Target("clip_adamw at 3e7, of the memory limit: >= 0.90", "clip_adamw", "3e7", LIMIT, 0.90),
    Target("adamw at 1e7, optax over gradmill: >= 1.3", "adamw", "1e7", OPTAX, 1.3),
    Target("clip_adamw at 1e7, optax over gradmill: >= 2.5", "clip_adamw", "1e7", OPTAX, 2.5),
    _time("clip_adamw on the MLP, us a step: <= 4.5", "clip_adamw", "mlp", 4.5),
    _time("adamw on one vector of 1,000, us a step: <= 1.5", "adamw", "flat1000", 1.5),
    Target("clip_adamw on the MLP, optax over gradmill: >= 8", "clip_adamw", "mlp", OPTAX, 8.0),
    _time("clip_adamw at 1000x64, us a step: <= 150", "clip_adamw", "1000x64", 150.0),
    _time("clip_adamw at 10000x64, us a step: <= 1600", "clip_adamw", "10000x64", 1600.0),
    _time("functional clip_adamw on the MLP, us: <= 20", "clip_adamw", "mlp", 20.0, FUNCTIONAL),
    Target("functional adamw at 1e7, x in place: <= 2.0", "adamw", "1e7", FUNCTIONAL, 2.0, True),
    Target(
        "functional adamw at 1e7, pure optax over it: >= 1",
        "adamw",
        "1e7",
        OPTAX_PURE,
        1.0,
        over=FUNCTIONAL,
    ),
    Target(
        "partition at 1000x64, x adamw: <= 1.3",
        "partition",
        "1000x64",
        IN_PLACE,
        1.3,
        at_most=True,
        over=F32,
    ),
    Target("adamw in bf16 at 3e7, of the limit: >= 0.85", "adamw_bf16", "3e7", LIMIT, 0.85),
    Target("bf16 moments at 3e7, adamw over it: >= 1.25", "bf16_moments", "3e7", F32, 1.25),
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
    heading += ["limit", "of limit", "GB/s", "limit GB/s", "compile"]
    rows = [heading]
    for cell in cells:
        row = [cell.size.name, *map(cell.time, names), *map(cell.ratio, others)]
        row += [cell.time(LIMIT), cell.ratio(LIMIT)]
        row += [cell.bandwidth(IN_PLACE), cell.bandwidth(LIMIT), cell.compilation]
        rows.append(row)
    lines = [f"{chain.name}: {chain.bytes_per_param:g} bytes a parameter", *_aligned(rows)]
    lines += [f"{name}: {reason}" for name, reason in missing().items()]
    if chain.bytes_per_param < 28:
        share = f"{chain.bytes_per_param:g}/28"
        lines.append(f"limit: {share} of the time of a loop that moves 28 bytes")
    return "\n".join(lines)


def targets(cells: Iterable[Cell], wanted: Iterable[Target] = TARGETS) -> str:
    """Each target, with what was measured and whether it is met."""
    found = {(cell.chain.name, cell.size.name): cell for cell in cells}
    rows = []
    for target in wanted:
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
