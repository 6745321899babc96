"""Time steps over arrays that lie in memory in other orders than C's: ``make bench-layouts``.

State is in C order whatever the parameters are, so where a parameter or its gradient is not, a step
has to bring arrays together that lie differently. Each figure is the time of a step over that of
the step whose arrays are all in C order, in the same rounds.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

import _machine
import gradmill as gm
from _chains import CHAINS
from _contenders import Contender
from _measure import Effort, measure
from _report import _aligned, duration, head

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPES: tuple[tuple[int, ...], ...] = (
    (64, 64),
    (1, 1000),
    (512, 512),
    (2000, 2000),
    (100_000, 16),
    (16, 100_000),
    (1000, 50, 40),
    (256, 256, 3, 3),
    (64, 64, 3, 5, 7),
)
DTYPES = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def orders(axes: int) -> dict[str, tuple[int, ...]]:
    """Named orders of axes in memory, outermost first."""
    named = {"C": tuple(range(axes)), "F": tuple(reversed(range(axes)))}
    if axes > 2:
        named["channels last"] = (0, *range(2, axes), 1)
    return named


def array(shape: Sequence[int], order: Sequence[int], dtype: Any, seed: int) -> Any:
    """Normal numbers whose axes lie in memory in this order."""
    values = np.random.default_rng(seed).standard_normal([shape[axis] for axis in order])
    return (0.1 * values).astype(dtype).transpose(np.argsort(order))


def in_place(chain: str, param: Any, grad: Any) -> Any:
    """A step of an optimizer."""
    return partial(gm.Optimizer(CHAINS[chain].build(gm), param).step, grad)


def functional(chain: str, param: Any, grad: Any) -> Any:
    """A step that returns new arrays."""
    tx = CHAINS[chain].build(gm)
    held = [param, tx.init(param)]

    def step() -> None:
        updates, held[1] = tx.update(grad, held[1], held[0])
        held[0] = gm.apply_updates(held[0], updates)

    return step


WAYS = {"in place": in_place, "functional": functional}


def rows(options: argparse.Namespace, shape: tuple[int, ...], name: str) -> list[list[str]]:
    """Times of one shape and dtype: a row for each pair of orders."""
    dtype, way = DTYPES[name], WAYS[options.way]
    named = orders(len(shape))
    contenders = []
    for of_param, param_order in named.items():
        for of_grad, grad_order in named.items():
            param, grad = array(shape, param_order, dtype, 0), array(shape, grad_order, dtype, 1)
            step = way(options.chain, param, grad)
            contenders.append(Contender(f"{of_param} / {of_grad}", step, list))
    timings = measure(contenders, Effort(5, options.rounds, options.seconds))
    size = "x".join(map(str, shape))
    return [
        [size, name, layout, duration(timing.median), f"{timing.ratio:.2f}"]
        for layout, timing in timings.items()
    ]


def shape_of(text: str) -> tuple[int, ...]:
    """A shape written as 256x256x3x3."""
    return tuple(map(int, text.split("x")))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chain", choices=CHAINS, default="adamw")
    parser.add_argument("--way", choices=WAYS, default="in place")
    parser.add_argument("--shapes", nargs="+", type=shape_of, default=SHAPES)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=51)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    print(head(_machine.facts()), flush=True)
    heading = ["shape", "dtype", "parameter / gradient", "step", "to all C"]
    with gm.num_threads(options.threads):
        body = [
            row
            for shape in options.shapes
            for name in options.dtypes
            for row in rows(options, shape, name)
        ]
    print("\n".join(_aligned([heading, *body])))


if __name__ == "__main__":
    main()
