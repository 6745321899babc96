"""Time optimiser steps: gradmill, NumPy, optax, torch and the memory limit, measured in turn.

Run it with ``make bench ARGS=--quick``. README.md says how it measures and how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _contenders
import _machine
import _plot
import _report
import _torch_steps
import gradmill as gm
from _chains import CHAINS, Chain
from _contenders import OPTAX
from _measure import Effort, measure
from _report import Cell
from _trees import SIZES, Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FULL = Effort(least=9, most=101, seconds=5.0)
QUICK = Effort(least=9, most=9, seconds=1.0)
QUICK_SIZES = ("mlp", "flat1000", "1000x64", "200x5000", "1e5", "1e6")


def parse(args: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time optimiser steps, measured in turn.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, sizes up to 1e6")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, help="default: all")
    parser.add_argument(
        "--chains", nargs="+", choices=CHAINS, default=list(CHAINS), help="default: all"
    )
    parser.add_argument("--rounds", type=int, help="rounds a cell, whatever time they take")
    parser.add_argument("--threads", type=int, help="CPUs to use; default: all")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_name("results.json"),
        help="where to write; a plot goes beside it",
    )
    options = parser.parse_args(args)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.threads is not None and not 1 <= options.threads <= _machine.cpus():
        parser.error(f"--threads must be between 1 and {_machine.cpus()}")
    return options


def use_threads(count: int) -> None:
    """Keep this process, and with it every contender, to so many CPUs.

    XLA sizes its pool by the CPUs that a process may use when it first needs one.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    gm.set_num_threads(count)
    _torch_steps.set_num_threads(count)


def effort_of(options: argparse.Namespace) -> Effort:
    """How long to measure a cell."""
    if options.rounds is not None:
        rounds = options.rounds | 1
        return Effort(rounds, rounds, 0.0)
    return QUICK if options.quick else FULL


def left_out(chain: Chain, size: Size, quick: bool) -> tuple[str, ...]:
    """Contenders that are left out, because they take long to compile."""
    slow = size.name == "1000x64" and (quick or chain.name != "clip_adamw")
    return (OPTAX,) if slow else ()


@contextmanager
def progress(total: int) -> Iterator[Any]:
    """A progress bar, or None without tqdm."""
    try:
        from tqdm import tqdm  # noqa: PLC0415
    except ImportError:
        yield None
        return
    with tqdm(total=total, leave=False, disable=None) as bar:
        yield bar


def run(options: argparse.Namespace) -> list[Cell]:
    """Measure all cells."""
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    cells = []
    with progress(len(options.chains) * len(sizes)) as bar:
        for chain in (CHAINS[name] for name in options.chains):
            _contenders.check(chain, SIZES["mlp"])
            for size in (SIZES[name] for name in sizes):
                if chain.sizes is not None and size.name not in chain.sizes:
                    continue
                if bar is not None:
                    bar.set_description(f"{chain.name} {size.name}")
                found = _contenders.contenders(chain, size, left_out(chain, size, options.quick))
                cells.append(Cell(chain, size, measure(found, effort_of(options))))
                if bar is not None:
                    bar.update()
    return cells


def save(path: Path, facts: _machine.Facts, cells: Sequence[Cell]) -> None:
    """Write everything that was measured as JSON."""
    rows = [
        {
            "chain": cell.chain.name,
            "size": cell.size.name,
            "params": cell.size.params,
            "bytes_per_param": cell.chain.bytes_per_param,
            "seconds": {name: asdict(timing) for name, timing in cell.timings.items()},
        }
        for cell in cells
    ]
    path.write_text(
        json.dumps({"machine": facts, "cells": rows}, indent=1) + "\n", encoding="utf-8"
    )


def main() -> None:
    """Measure, print and save."""
    options = parse()
    if options.threads is not None:
        use_threads(options.threads)
    facts = _machine.facts()
    print(_report.head(facts), flush=True)
    cells = run(options)
    for name in options.chains:
        print()
        print(_report.table(CHAINS[name], [cell for cell in cells if cell.chain.name == name]))
    print()
    print(_report.targets(cells))
    print("in cache, against a hand-fused loop: make bench-kernels")
    save(options.output, facts, cells)
    written = [options.output]
    picture = options.output.with_suffix(".png")
    if _plot.plot(cells, picture):
        written.append(picture)
    print("written:", *written)


if __name__ == "__main__":
    main()
