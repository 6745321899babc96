"""Time per-example clipping: gradmill, NumPy, optax and two plain reads, measured in turn.

Run it with ``make bench-clip``. README.md says how it measures.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import _machine
import _report
import gradmill as gm
from _contenders import NUMPY, OPTAX, Contender
from _measure import Effort, measure
from _trees import MLP, Size, leaves, map_tree
from bench_step import use_threads

try:
    import jax
    import optax
except ImportError:
    jax = optax = None
else:
    jax.config.update("jax_platforms", "cpu")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _measure import Timing
    from _settings import Step
    from _trees import Array, Tree

GRADMILL = "gradmill"
ONE_THREAD = "1 thread"
LIMIT = "two reads"
NORM = 0.5
"""The bound, as a part of the median norm: most examples are shrunk."""

WIDE = {
    "dense0": {"w": (256, 256), "b": (256,)},
    "dense1": {"w": (256, 128), "b": (128,)},
    "dense2": {"w": (128, 10), "b": (10,)},
}
CASES = ((256, Size("1e5", (100_000,))), (256, Size("6 leaves", WIDE)), (32, Size("mlp", MLP)))


def by_hand(grads: Sequence[Array], bound: float) -> list[Array]:
    """What people write with NumPy."""
    squares = sum(np.einsum("bi,bi->b", rows, rows) for rows in _rows(grads))
    factors = np.minimum(bound / np.sqrt(squares), 1.0).astype(np.float32)
    sums = [factors @ rows for rows in _rows(grads)]
    return [own.reshape(leaf.shape[1:]) for own, leaf in zip(sums, grads, strict=True)]


def _rows(grads: Sequence[Array]) -> list[Array]:
    return [leaf.reshape(len(leaf), -1) for leaf in grads]


def in_optax(grads: Tree, bound: float) -> Step:
    """One jitted call; waits for the result."""
    own = map_tree(jax.numpy.array, grads)
    clip = jax.jit(partial(optax.per_example_global_norm_clip, l2_norm_clip=bound))

    def step() -> Any:
        sums, _ = clip(own)
        leaves(sums)[-1].block_until_ready()
        return sums

    return step


def two_reads(grads: Tree) -> None:
    """The global norm, twice: as much as the clipping reads, in the same chunks and threads."""
    gm.global_norm(grads)
    gm.global_norm(grads)


def one_thread(grads: Tree, bound: float) -> None:
    """Clip on the calling thread alone."""
    with gm.num_threads(1):
        gm.per_example_global_norm_clip(grads, bound)


def contenders(batch: int, size: Size) -> list[Contender]:
    """All contenders of a case, each with arrays of its own.

    Raises:
        AssertionError: They do not find the same sums.
    """
    shapes = map_tree(lambda shape: (batch, *shape), size.shapes)
    grads = Size(size.name, shapes).normal(seed=1, scale=0.1)
    bound = NORM * 0.1 * size.params**0.5
    steps: dict[str, Step] = {
        GRADMILL: partial(gm.per_example_global_norm_clip, map_tree(np.copy, grads), bound),
        ONE_THREAD: partial(one_thread, map_tree(np.copy, grads), bound),
        NUMPY: partial(by_hand, leaves(map_tree(np.copy, grads)), bound),
    }
    if optax is not None:
        steps[OPTAX] = in_optax(grads, bound)
    ours: Any = steps[GRADMILL]()
    for name in (NUMPY, OPTAX):
        if name in steps:
            for own, other in zip(leaves(ours[0]), leaves_of(steps[name]()), strict=True):
                np.testing.assert_allclose(other, own, 1e-4, 1e-4, err_msg=name)
    steps[LIMIT] = partial(two_reads, map_tree(np.copy, grads))
    return [Contender(name, step, list) for name, step in steps.items()]


def leaves_of(tree: Any) -> list[Any]:
    """The leaves of a list or a tree."""
    return tree if isinstance(tree, list) else leaves(tree)


def row(batch: int, size: Size, timings: dict[str, Timing]) -> str:
    """Medians, and ratios to gradmill in the same round."""
    moved = 2 * 4 * batch * size.params
    found = [f"{name} {_report.duration(timing.median)}" for name, timing in timings.items()]
    ratios = [f"{name} {t.ratio:.2f}" for name, t in timings.items() if name != GRADMILL]
    speed = moved / timings[GRADMILL].median / 1e9
    title = f"{batch} examples of {size.params} parameters ({size.name})"
    return "\n  ".join([title, ", ".join(found), f"x: {', '.join(ratios)}; {speed:.1f} GB/s"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time per-example clipping, measured in turn.")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each case")
    parser.add_argument("--threads", type=int, help="CPUs to use; default: all")
    options = parser.parse_args()
    if options.threads is not None:
        if not 1 <= options.threads <= _machine.cpus():
            parser.error(f"--threads must be between 1 and {_machine.cpus()}")
        use_threads(options.threads)
    print(_report.head(_machine.facts()), flush=True)
    for batch, size in CASES:
        effort = Effort(least=9, most=1001, seconds=options.seconds)
        print(row(batch, size, measure(contenders(batch, size), effort)), flush=True)


if __name__ == "__main__":
    main()
