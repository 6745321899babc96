"""Train an Equinox network on handwritten digits in JAX: optax, ``to_optax`` and ``step``.

All three see the same batches, start from the same parameters and run the same chain; what differs
is what becomes of it inside ``jax.jit``. A table shows how long each took to compile, what a step
of training takes, gradient included, and how many digits of the test set it gets right.

    python examples/jax_digits.py
    python examples/jax_digits.py --width 2048 --epochs 3
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradmill as gm

try:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    from digits import Data
    from gradmill.jax import step, to_optax
except ImportError as error:
    sys.exit(f"{error}; install what this needs with: pip install 'gradmill[demo,jax-demo,optax]'")

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 64


def chain(module: Any, steps: int) -> Any:
    """Clipping and AdamW with a warm-up, of gradmill or of optax."""
    rate = module.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 10, steps)
    return module.chain(module.clip_by_global_norm(1.0), module.adamw(rate, weight_decay=1e-4))


def contenders(steps: int) -> dict[str, tuple[Any, Any]]:
    """For each its ``init``, and its step from gradients, state and parameters."""
    theirs, lowered, fused = chain(optax, steps), to_optax(chain(gm, steps)), step(chain(gm, steps))

    def with_updates(tx: Any, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return {
        "optax": (theirs.init, partial(with_updates, theirs)),
        "gradmill.jax.to_optax": (lowered.init, partial(with_updates, lowered)),
        "gradmill.jax.step": (fused.init, fused),
    }


@dataclass(frozen=True)
class Result:
    """What came of one training.

    Attributes:
        compilation: Seconds until the program was there.
        step: Median seconds of a step, gradient included.
        accuracy: The share of test images that are read right.
    """

    compilation: float
    step: float
    accuracy: float


def train(init: Any, take: Callable[..., Any], model: Any, data: Data, epochs: int) -> Result:
    """Train a copy of ``model``."""
    # The parameters, with None for what is none, and the rest; the program overwrites a copy.
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    params = jax.tree.map(jnp.copy, params)

    def loss(params: Any, x: Any, y: Any) -> Any:
        logits = jax.vmap(eqx.combine(params, rest))(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def train_step(params: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        return take(jax.grad(loss)(params, x, y), state, params)  # type: ignore[no-any-return]

    state = init(params)
    batches = [
        (x, y) for seed in range(epochs) for x, y in data.batches(BATCH, seed) if len(x) == BATCH
    ]
    # What is donated is returned in the same order, so that each array stays where it is.
    program = jax.jit(train_step, donate_argnums=(0, 1))
    start = time.perf_counter()
    compiled = program.lower(params, state, *batches[0]).compile()
    compilation = time.perf_counter() - start
    times = []
    for x, y in batches:
        start = time.perf_counter()
        params, state = jax.block_until_ready(compiled(params, state, x, y))
        times.append(time.perf_counter() - start)
    found = jax.vmap(eqx.combine(params, rest))(data.test_x).argmax(axis=1)
    return Result(compilation, statistics.median(times), float((found == data.test_y).mean()))


def main() -> None:
    """Train with each in turn and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=256, help="of the two hidden layers")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = Data.load(options.seed)
    steps = options.epochs * (len(data.train_x) // BATCH)
    key = jax.random.PRNGKey(options.seed)
    model = eqx.nn.MLP(64, 10, options.width, depth=2, key=key)
    size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    print(f"{size:,} parameters, {steps} steps\n")
    print(f"{'':24}{'compilation':>12}{'step':>12}{'accuracy':>12}")
    results = {}
    for name, (init, take) in contenders(steps).items():
        found = results[name] = train(init, take, model, data, options.epochs)
        print(
            f"{name:24}{found.compilation:10.2f} s{found.step * 1e6:9.0f} us{found.accuracy:12.4f}"
        )
    accuracies = [found.accuracy for found in results.values()]
    if max(accuracies) - min(accuracies) > 0.01:
        sys.exit("the accuracies differ")


if __name__ == "__main__":
    main()
