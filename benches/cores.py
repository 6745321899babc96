"""From how many cores on a memory channel fewer bytes win: ``python benches/cores.py``.

A step takes as long as the slower of two things: its arithmetic, spread over cores, and its bytes,
over what the memory delivers. The first is measured on one thread in cache by this script, on each
instruction set; the second is counted by ``bench_bytes.py``. Prints a table for docs/scaling.md and
draws ``cores.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import _machine
import gradmill as gm
from _measure import Effort, measure
from _report import head
from bench_bytes import WAYS, contender
from gradmill import _core

CHANNEL = 38.4
"""GB/s of a channel of DDR5-4800."""
IN_CACHE = 100_000
SHOWN = ("float32", "8-bit moments", "bf16 moments")
TIERS = ("avx512", "avx2")


def measured(tier: str) -> dict[str, tuple[float, float]]:
    """For each way nanoseconds of arithmetic a parameter, and its bytes."""
    made = [contender(name, tier, IN_CACHE) for name in WAYS]
    with gm.num_threads(1):
        timings = measure([one for one, _ in made], Effort(9, 301, 3.0))
    pairs = zip(WAYS, timings.values(), made, strict=True)
    return {name: (1e9 * timing.minimum / IN_CACHE, own) for name, timing, (_, own) in pairs}


def seconds(cores: float, arithmetic: float, moved: float) -> float:
    """Nanoseconds a parameter, with so many cores on a channel."""
    return max(arithmetic / cores, moved / CHANNEL)


def draw(found: dict[str, dict[str, tuple[float, float]]], path: Path) -> None:
    """How many times as fast as float32, over cores on a channel."""
    import matplotlib as mpl  # noqa: PLC0415  (the table needs no plots)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  (behind the choice of what draws)

    cores = np.linspace(0.25, 6, 200)
    figure, axes = plt.subplots(figsize=(7, 4))
    for tier, ways in found.items():
        wide = [seconds(count, *ways["float32"]) for count in cores]
        for name in SHOWN[1:]:
            own = [seconds(count, *ways[name]) for count in cores]
            style = "-" if tier == "avx512" else "--"
            axes.plot(cores, np.divide(wide, own), style, label=f"{name}, {tier}")
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_xlabel(f"cores on a memory channel of {CHANNEL} GB/s")
    axes.set_ylabel("float32's time / own")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("cores.png"))
    options = parser.parse_args()
    print(head(_machine.facts()))
    found = {}
    for tier in TIERS:
        try:
            _core.force(simd=tier)
        except ValueError:
            print(f"{tier}: not on this processor")
            continue
        found[tier] = measured(tier)
    _core.force()
    print("\n| | ns/param in cache | B/param | cores to be even | cores for all of it |")
    print("|---|---|---|---|---|")
    for tier, ways in found.items():
        limit = ways["float32"][1] / CHANNEL
        for name in SHOWN[1:]:
            own, moved = ways[name]
            even, whole = own / limit, own * CHANNEL / moved
            print(f"| {name}, {tier} | {own:.3f} | {moved:.2f} | {even:.2f} | {whole:.2f} |")
    draw(found, options.output)
    print("written:", options.output)


if __name__ == "__main__":
    main()
