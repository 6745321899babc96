"""Compare two runs of ``make bench``: ``python benches/compare.py OLD.json NEW.json``.

Times of two runs mean little beside each other, as machines are noisy and shared. What is compared
is each cell's ratio to something measured in the same rounds: the memory limit where there is one,
else NumPy by hand, else optax. A cell that has become more than 10 % slower by that measure is
flagged, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = ("in place", "functional")
REFERENCES = ("limit", "NumPy", "optax")
TOLERANCE = 1.10


@dataclass(frozen=True)
class Change:
    """How a contender's time in one cell changed, against the reference.

    Attributes:
        cell: Chain and size.
        contender: Whose time.
        reference: What it is compared with.
        old: Its time over the reference's in the old run.
        new: The same in the new run.
    """

    cell: str
    contender: str
    reference: str
    old: float
    new: float

    @property
    def factor(self) -> float:
        """The new ratio over the old: above 1 is slower."""
        return self.new / self.old

    @property
    def regressed(self) -> bool:
        """Whether it is more than a tenth slower."""
        return self.factor > TOLERANCE


def _cells(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{cell['chain']} {cell['size']}": cell["seconds"] for cell in run["cells"]}


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """What two runs have in common, cell by cell."""
    before, after = _cells(old), _cells(new)
    found = []
    for cell in before.keys() & after.keys():
        own = before[cell].keys() & after[cell].keys()
        reference = next((name for name in REFERENCES if name in own), None)
        if reference is None:
            continue
        for contender in OURS:
            if contender in own:
                # Ratios are to the first contender, medians over rounds.
                ratios = [
                    run[cell][contender]["ratio"] / run[cell][reference]["ratio"]
                    for run in (before, after)
                ]
                found.append(Change(cell, contender, reference, *ratios))
    return sorted(found, key=lambda change: -change.factor)


def table(found: Sequence[Change]) -> str:
    """One line for each change, the worst first."""
    rows = [["cell", "contender", "against", "old", "new", "new/old", ""]]
    for change in found:
        numbers = [f"{value:.3f}" for value in (change.old, change.new, change.factor)]
        flag = "SLOWER" if change.regressed else ""
        rows.append([change.cell, change.contender, change.reference, *numbers, flag])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main(args: Sequence[str] | None = None) -> int:
    """Print the table; 1 if anything has become slower."""
    parser = argparse.ArgumentParser(description="Compare two runs of make bench.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args(args)
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in (options.old, options.new)]
    found = changes(*runs)
    print(table(found))
    slower = sum(change.regressed for change in found)
    print(f"{len(found)} compared, {slower} more than {TOLERANCE - 1:.0%} slower")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
