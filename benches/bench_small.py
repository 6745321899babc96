"""Time steps over small trees against one call of a loop by hand in C: ``make bench-small``.

In a tight loop, and as steps are taken: after 32 MB of other reading, and between two products of
matrices, where neither code nor arrays are in the caches that are next to the processor.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import _in_c
import _machine
import gradmill as gm
from _chains import CHAINS
from _measure import no_garbage_collection
from _report import _aligned, duration, head
from _trees import SIZES, leaves, map_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from _settings import Step

ROUNDS = 301
TIGHT = 200
"""Steps of a sample in a tight loop."""


def _nothing() -> None:
    pass


def places() -> dict[str, tuple[Callable[[], object], int]]:
    """What is done before each sample, and how many steps a sample has."""
    other = np.ones(2**22)
    square = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)
    return {
        "tight": (_nothing, TIGHT),
        "after 32 MB": (other.sum, 1),
        "between products": (lambda: square @ square, 1),
    }


def sample(before: Callable[[], object], step: Step, repeats: int) -> float:
    """Seconds a step, over several behind one other thing."""
    before()
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def contenders(chain: str, size: str) -> dict[str, Step]:
    """The step of gradmill in place, and that of C, each with arrays of its own."""
    params, grads = SIZES[size].normal(1, 1.0), SIZES[size].normal(2, 0.1)
    own = map_tree(np.copy, params)
    opt = gm.Optimizer(CHAINS[chain].build(gm), own)
    in_c = _in_c.step_of(chain, leaves(map_tree(np.copy, params)), leaves(grads))
    return {"gradmill": partial(opt.step, grads), "C": in_c}


def row(chain: str, size: str) -> list[str]:
    """Medians and ratios of one chain at one size."""
    steps = contenders(chain, size)
    cells = [chain, size]
    for before, most in places().values():
        # Where a step takes long, one is enough.
        repeats = 1 if sample(before, steps["gradmill"], 1) > 1e-3 else most
        times: dict[str, list[float]] = {name: [] for name in steps}
        for step in steps.values():
            step()
        for _ in range(ROUNDS):
            for name, step in steps.items():
                times[name].append(sample(before, step, repeats))
        ratio = statistics.median(
            own / other for own, other in zip(times["gradmill"], times["C"], strict=True)
        )
        cells += [duration(statistics.median(values)) for values in times.values()]
        cells.append(f"{ratio:.2f}")
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--chains", nargs="+", choices=_in_c.CHAINS, default=["adamw", "clip_adamw"]
    )
    sizes = ["flat114", "flat1000", "mlp", "1000x64", "1e5"]
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=sizes)
    options = parser.parse_args()
    print(head(_machine.facts()), flush=True)
    if _in_c.compiler() is None:
        print("no C compiler is found")
        return
    heading: list[Any] = ["chain", "size"]
    for place in places():
        heading += [place, "C", "ratio"]
    with no_garbage_collection(), gm.num_threads(1):
        rows = [row(chain, size) for chain in options.chains for size in options.sizes]
    print("\n".join(_aligned([heading, *rows])))


if __name__ == "__main__":
    main()
