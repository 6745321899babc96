"""Time an evolution strategy's noise: gradmill, NumPy and ``jax.random``, measured in turn.

Run it with ``make bench-evolution``. README.md says how it measures.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import _machine
import _report
import gradmill as gm
from _contenders import NUMPY, Contender
from _measure import Effort, measure
from bench_step import use_threads

try:
    import jax
except ImportError:
    jax = None
else:
    jax.config.update("jax_platforms", "cpu")

if TYPE_CHECKING:
    from _measure import Timing
    from _settings import Step
    from _trees import Array

GRADMILL = "gradmill"
ONE_THREAD = "1 thread"
JAX = "jax.random"
JAX_WHOLE = "jax.random, all at once"
SIGMA = 0.1
CASES = ((1_000_000, 64), (100_000, 64), (10_000, 64))


def by_numpy(count: int, scores: Array) -> Array:
    """All noise as one matrix, and a product with the scores."""
    noise = np.random.default_rng(0).standard_normal((len(scores), count), dtype=np.float32)
    total: Array = (scores @ noise) / np.float32(len(scores) * SIGMA)
    return total


def by_jax(count: int, scores: Array, *, whole: bool) -> Step:
    """One jitted call: a sum with one member's noise at a time, or a product with all of it."""
    factors = jax.numpy.asarray(scores / (len(scores) * SIGMA), np.float32)
    seeds = jax.numpy.arange(len(scores), dtype=np.uint32)

    def noise(seed: Any) -> Any:
        [key] = jax.random.split(jax.random.key(seed), 1)
        return jax.random.normal(key, (count,))

    @jax.jit  # type: ignore[untyped-decorator, unused-ignore]  # there may be no JAX
    def in_turn(seeds: Any, factors: Any) -> Any:
        def add(total: Any, own: Any) -> Any:
            return total + own[1] * noise(own[0]), None

        return jax.lax.scan(add, jax.numpy.zeros(count), (seeds, factors))[0]

    @jax.jit  # type: ignore[untyped-decorator, unused-ignore]  # there may be no JAX
    def at_once(seeds: Any, factors: Any) -> Any:
        return factors @ jax.vmap(noise)(seeds)

    run = at_once if whole else in_turn
    return lambda: run(seeds, factors).block_until_ready()


def one_thread(params: Array, seeds: range, scores: Array) -> Array:
    """The gradient on the calling thread alone."""
    with gm.num_threads(1):
        found: Array = gm.evolution.gradient(params, seeds, scores, SIGMA)
    return found


def contenders(count: int, members: int) -> list[Contender]:
    """All contenders of a case.

    Raises:
        AssertionError: Those with one noise do not find the same sums.
    """
    scores = np.linspace(-0.5, 0.5, members, dtype=np.float32)
    params, seeds = np.zeros(count, np.float32), range(members)
    steps: dict[str, Step] = {
        GRADMILL: partial(gm.evolution.gradient, params, seeds, scores, SIGMA),
        ONE_THREAD: partial(one_thread, params, seeds, scores),
        NUMPY: partial(by_numpy, count, scores),
    }
    if jax is not None:
        ours: Any = steps[GRADMILL]()
        for name, whole in ((JAX, False), (JAX_WHOLE, True)):
            steps[name] = by_jax(count, scores, whole=whole)
            theirs: Any = steps[name]()
            np.testing.assert_allclose(theirs, ours, 1e-4, 1e-5, err_msg=name)
    return [Contender(name, step, list) for name, step in steps.items()]


def row(count: int, members: int, timings: dict[str, Timing]) -> str:
    """Medians, and ratios to gradmill in the same round."""
    found = [f"{name} {_report.duration(timing.median)}" for name, timing in timings.items()]
    ratios = [f"{name} {t.ratio:.2f}" for name, t in timings.items() if name != GRADMILL]
    each = timings[GRADMILL].median / count / members * 1e9
    title = f"{count} parameters, {members} members"
    return "\n  ".join([title, ", ".join(found), f"x: {', '.join(ratios)}; {each:.2f} ns a number"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time noise, measured in turn.")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each case")
    parser.add_argument("--threads", type=int, help="CPUs to use; default: all")
    options = parser.parse_args()
    if options.threads is not None:
        if not 1 <= options.threads <= _machine.cpus():
            parser.error(f"--threads must be between 1 and {_machine.cpus()}")
        use_threads(options.threads)
    print(_report.head(_machine.facts()), flush=True)
    for count, members in CASES:
        effort = Effort(least=5, most=101, seconds=options.seconds)
        timings = measure(contenders(count, members), effort)
        print(row(count, members, timings), flush=True)


if __name__ == "__main__":
    main()
