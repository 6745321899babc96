"""Time what programs do with their own optimizer and with an adapter: ``make bench-adapters``.

The two take turns in one process. A ratio is the time before over the time after.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Any

import _machine
import gradmill as gm
from _contenders import Contender
from _measure import Effort, measure
from _report import _aligned, duration, head

if TYPE_CHECKING:
    from _adapters import Row

PROGRAMS = ("torch", "sklearn", "thinc", "evolution", "autograd", "flower")
"""Those with a module ``_adapters_<program>``, which has ``rows`` and may have ``set_threads``."""


def timed(row: Row, effort: Effort) -> list[str]:
    """A line of the table."""
    before, after = row.make()
    contenders = [Contender("after", after, list), Contender("before", before, list)]
    found = measure(contenders, effort)
    ratio = found["before"].ratio
    times = [duration(found[name].median) for name in ("before", "after")]
    met = "met" if ratio >= row.least else "NOT MET"
    return [f"{row.program}: {row.what}", *times, f"{ratio:.2f}", f"{row.least:.1f}", met]


def modules(programs: list[str]) -> dict[str, Any]:
    """What is installed of them; says what is not."""
    found = {}
    for program in programs:
        try:
            found[program] = import_module(f"_adapters_{program}")
        except ImportError as error:
            print(f"{program}: {error}")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="*", default=PROGRAMS, help="all, if none is given")
    parser.add_argument("--threads", type=int, default=_machine.cpus())
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    options = parser.parse_args()
    gm.set_num_threads(options.threads)
    print(head(_machine.facts()), flush=True)
    rows: list[Row] = []
    for module in modules(list(options.programs)).values():
        if hasattr(module, "set_threads"):
            module.set_threads(options.threads)
        rows += module.rows()
    effort = Effort(least=options.rounds, most=options.rounds, seconds=0.0)
    table = [["", "before", "after", "ratio", "at least", ""]]
    table += [timed(row, effort) for row in rows if options.only in row.what]
    print("\n".join(_aligned(table)))


if __name__ == "__main__":
    main()
