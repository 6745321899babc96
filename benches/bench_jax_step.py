"""Steps inside programs of JAX on a CPU: the fused step and ``to_optax`` against optax.

All have parameters and state donated and returned in the memory in which they came. Gradients are
arrays that are there already, or made by a matrix product in the same program. Compilation is
measured apart, by the number of leaves.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import _machine
import _report
import gradmill as gm
from _contenders import Contender
from _measure import Effort, Timing, measure

try:
    import jax
    import jax.numpy as jnp
    import optax

    from gradmill.jax import step, to_optax
except ImportError as error:
    sys.exit(f"{error}; install what this needs with: pip install 'gradmill[optax]'")

if TYPE_CHECKING:
    from collections.abc import Callable

OPTAX, LOWERED, FUSED = "optax", "to_optax", "step"
FULL = Effort(least=9, most=61, seconds=6.0)
QUICK = Effort(least=9, most=9, seconds=1.0)
COMPILED = (1, 200, 800)
ROUNDS_COMPILED = 3


def adamw(module: Any) -> Any:
    """AdamW, of gradmill or of optax."""
    return module.adamw(1e-3, weight_decay=1e-4)


def clip_adamw(module: Any) -> Any:
    """AdamW behind clipping by global norm, which is active."""
    return module.chain(module.clip_by_global_norm(1.0), adamw(module))


@dataclass(frozen=True)
class Setting:
    """One row.

    Attributes:
        chain: Makes the transformation.
        leaves: How many there are.
        elements: How many each has.
        by_product: Whether gradients are made in the program, by a matrix product.
        target: How much faster than optax the fused step is to be, if there is a target.
    """

    chain: Callable[[Any], Any]
    leaves: int
    elements: int
    by_product: bool = False
    target: float | None = None


SETTINGS = [
    Setting(adamw, 1, 10**4),
    Setting(adamw, 1, 10**6),
    Setting(adamw, 1, 10**7, target=1.3),
    Setting(adamw, 1, 10**6, by_product=True),
    Setting(adamw, 1, 10**7, by_product=True, target=1.1),
    Setting(adamw, 200, 5000, target=1.3),
    Setting(adamw, 200, 5000, by_product=True),
    Setting(clip_adamw, 1, 10**6),
    Setting(clip_adamw, 1, 10**7, target=2.0),
    Setting(clip_adamw, 200, 5000),
]


def take(name: str, chain: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The ``init`` of a contender, and its step from gradients, state and parameters."""
    if name == FUSED:
        fused = step(chain(gm))
        return fused.init, fused
    tx = to_optax(chain(gm)) if name == LOWERED else chain(optax)

    def by_optax(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return tx.init, by_optax


def product(seeds: Any) -> Any:
    """Gradients by a matrix product, 64 multiplications an element."""
    return {name: (left @ right).reshape(-1) for name, (left, right) in seeds.items()}


def tree(setting: Setting, seed: int) -> dict[str, Any]:
    """Parameters, or gradients."""
    rng = np.random.default_rng(seed)
    shape = setting.elements
    return {f"{at:03}": rng.standard_normal(shape, np.float32) for at in range(setting.leaves)}


def factors(setting: Setting) -> dict[str, Any]:
    """For each leaf two matrices whose product has as many elements."""
    rng = np.random.default_rng(2)
    rows = next(rows for rows in (1000, 100, 50) if setting.elements % rows == 0)
    shapes = (rows, 64), (64, setting.elements // rows)
    return {
        f"{at:03}": tuple(rng.standard_normal(shape, np.float32) / 8 for shape in shapes)
        for at in range(setting.leaves)
    }


class Training:
    """A program that overwrites its parameters and its state, and how long it took to compile."""

    def __init__(self, name: str, setting: Setting) -> None:
        init, run = take(name, setting.chain)
        self.params = jax.tree.map(jnp.array, tree(setting, 0))
        self.state = init(self.params)
        given = factors(setting) if setting.by_product else tree(setting, 1)
        self.given = jax.tree.map(jnp.array, given)

        def train(params: Any, state: Any, given: Any) -> Any:
            return run(product(given) if setting.by_product else given, state, params)

        start = time.perf_counter()
        program = jax.jit(train, donate_argnums=(0, 1))
        self.train = program.lower(self.params, self.state, self.given).compile()
        self.compilation = time.perf_counter() - start

    def __call__(self) -> None:
        """Take a step and wait for it."""
        self.params, self.state = self.train(self.params, self.state, self.given)
        jax.block_until_ready(self.params)


def steps(setting: Setting, effort: Effort) -> dict[str, Timing]:
    """Time steps, after two of each contender that must agree."""
    programs = {name: Training(name, setting) for name in (OPTAX, LOWERED, FUSED)}
    for program in programs.values():
        program()
        program()
    reference = jax.tree.leaves(programs[OPTAX].params)
    for program in programs.values():
        for ours, theirs in zip(jax.tree.leaves(program.params), reference, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    return measure([Contender(name, run, list) for name, run in programs.items()], effort)


def compilation(leaves: int) -> dict[str, float]:
    """Seconds to trace and to compile, medians."""
    setting = Setting(clip_adamw, leaves, 100)
    rounds = range(ROUNDS_COMPILED)
    names = (OPTAX, LOWERED, FUSED)
    times = [{name: Training(name, setting).compilation for name in names} for _ in rounds]
    return {name: statistics.median(row[name] for row in times) for name in names}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time steps inside programs of JAX.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, up to 1e6 parameters")
    quick = parser.parse_known_args()[0].quick
    print(_report.head(_machine.facts()), flush=True)
    print("\n| chain | leaves x elements | gradient | optax | to_optax | step | optax / step |")
    print("|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        if quick and setting.leaves * setting.elements > 10**6:
            continue
        found = steps(setting, QUICK if quick else FULL)
        times = [_report.duration(found[name].median) for name in (OPTAX, LOWERED, FUSED)]
        faster = f"{1 / found[FUSED].ratio:.2f}"
        if setting.target is not None:
            faster += f" (target {setting.target})"
        made = "by a product" if setting.by_product else "given"
        row = [setting.chain.__name__, f"{setting.leaves} x {setting.elements:,}", made, *times]
        print(f"| {' | '.join([*row, faster])} |", flush=True)
    print("\n| leaves | to compile: optax | to_optax | step |\n|---|---|---|---|")
    for leaves in COMPILED[:2] if quick else COMPILED:
        seconds = compilation(leaves)
        cells = [f"{seconds[name]:.2f} s" for name in (OPTAX, LOWERED, FUSED)]
        print(f"| {leaves} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
