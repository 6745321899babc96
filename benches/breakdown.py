"""Where the time of a small step goes: ``make bench-breakdown``.

Whole step, tree, native call and kernels are timed in turn, in tight loops; the rest is by
difference. The kernels are those of one vector with as many elements, less those of an empty one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import gradmill as gm
from _chains import CHAINS
from _contenders import Contender
from _measure import Effort, measure
from _report import _aligned
from _trees import SIZES, leaves

if TYPE_CHECKING:
    from _settings import Step

EFFORT = Effort(least=51, most=51, seconds=0.0)


def parts(size_name: str) -> list[str]:
    """One row: microseconds in tree, checks and dispatch, kernels, and Python around them."""
    size, chain = SIZES[size_name], CHAINS["clip_adamw"]
    grads = size.normal(2, 0.1)
    opt = gm.Optimizer(chain.build(gm), size.normal(1, 1.0))
    bound, row = opt._bound, leaves(grads)

    def vector(count: int) -> tuple[Any, list[Any]]:
        other = gm.Optimizer(chain.build(gm), np.ones(count, np.float32))
        return other._bound, [np.full(count, 0.1, np.float32)]

    (flat, flat_row), (empty, empty_row) = vector(size.params), vector(0)
    steps: dict[str, Step] = {
        "step": partial(opt.step, grads),
        "tree": partial(opt._treespec.flatten_up_to, grads),
        "native": partial(bound.step, row, 1),
        "flat": partial(flat.step, flat_row, 1),
        "empty": partial(empty.step, empty_row, 1),
    }
    found = measure([Contender(name, step, list) for name, step in steps.items()], EFFORT)
    time = {name: timing.median * 1e6 for name, timing in found.items()}
    kernels = time["flat"] - time["empty"]
    python = time["step"] - time["tree"] - time["native"]
    cells = [time["step"], time["tree"], python, time["native"] - kernels, kernels]
    return [size_name, *(f"{value:.2f}" for value in cells)]


def main() -> None:
    """Print the table."""
    heading = ["clip_adamw, us", "step", "tree", "Python", "checks and dispatch", "kernels"]
    print("\n".join(_aligned([heading, *map(parts, ("flat1000", "mlp", "1000x64"))])))


if __name__ == "__main__":
    main()
