"""Where the time of a small step goes: ``make bench-breakdown``.

Whole step, trees, native call and kernels are timed in turn, in tight loops; the rest is by
difference. Two trees are looked at, of which the parameters' is timed alone and counts twice. The
kernels are those of one vector with as many elements, less those of an empty one.
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
from _trees import SIZES
from gradmill._data.threads import threads_asked

if TYPE_CHECKING:
    from _settings import Step

EFFORT = Effort(least=51, most=51, seconds=0.0)


def parts(size_name: str) -> list[str]:
    """One row: microseconds in trees, checks and dispatch, kernels, and Python around them."""
    size, chain = SIZES[size_name], CHAINS["clip_adamw"]

    def contender(params: Any, grads: Any) -> tuple[gm.Optimizer, Step]:
        opt = gm.Optimizer(chain.build(gm), params)
        # From then on its trees are known.
        opt.step(grads)
        return opt, partial(opt._bound.step_soon, params, None, grads, threads_asked)

    def vector(count: int) -> Step:
        return contender(np.ones(count, np.float32), np.full(count, 0.1, np.float32))[1]

    grads = size.normal(2, 0.1)
    opt, native = contender(size.normal(1, 1.0), grads)
    steps: dict[str, Step] = {
        "step": partial(opt.step, grads),
        "tree": partial(opt._bound.holds, opt.params, None),
        "native": native,
        "flat": vector(size.params),
        "empty": vector(0),
    }
    found = measure([Contender(name, step, list) for name, step in steps.items()], EFFORT)
    time = {name: timing.median * 1e6 for name, timing in found.items()}
    kernels, trees = time["flat"] - time["empty"], 2 * time["tree"]
    python, rest = time["step"] - time["native"], time["native"] - kernels - trees
    cells = [time["step"], trees, python, rest, kernels]
    return [size_name, *(f"{value:.2f}" for value in cells)]


def main() -> None:
    """Print the table."""
    heading = ["clip_adamw, us", "step", "trees", "Python", "checks and dispatch", "kernels"]
    print("\n".join(_aligned([heading, *map(parts, ("flat1000", "mlp", "1000x64"))])))


if __name__ == "__main__":
    main()
