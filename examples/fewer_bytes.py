"""Train one small transformer with optimizers that keep fewer and fewer bytes of state.

It predicts the next pixel of handwritten digits that scikit-learn ships, 64 pixels of 17 greys in a
row, from those before. All contenders see the same batches, learning rates and first parameters, of
five seeds. A table shows the loss on digits that were left out, the bytes of state and of what a
step moves for each parameter, and the time of a step over the same network at a larger width; a
plot shows the losses on the way, with the spread over seeds.

Two more problems show where fewer bytes hurt: gradients whose sizes lie ten decades apart, side by
side, and rows of a table of which each step sees one in a hundred.

    python examples/fewer_bytes.py
    python examples/fewer_bytes.py --only adamw,apollo_mini --seeds 1 --steps 100
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gradmill as gm

try:
    import jax
    import jax.numpy as jnp
    import ml_dtypes
    from sklearn.datasets import load_digits
except ImportError as error:
    sys.exit(f"{error}; install what this needs with: pip install 'gradmill[demo,jax]'")

if TYPE_CHECKING:
    from collections.abc import Callable

    Params = dict[str, np.ndarray[Any, Any]]
    Make = Callable[[Params, Any], gm.Optimizer]

BF16 = ml_dtypes.bfloat16
GREYS, PIXELS, HEADS = 17, 64, 4
BATCH, PEAK, DECAY = 32, 3e-3, 0.01


def are_kernels(params: Any) -> Any:
    """Which weights decay: matrices do."""
    return {name: np.ndim(leaf) == 2 for name, leaf in params.items()}


def adamw(
    params: Params, rate: Any, *, master: bool = False, in_codes: bool = False, **options: Any
) -> gm.Optimizer:
    """AdamW, as all others have it."""
    if master:
        for name, leaf in params.items():
            params[name] = leaf.astype(BF16)
    draws = options.pop("rounding", "nearest")
    tx = gm.adamw(rate, weight_decay=DECAY, mask=are_kernels, **options)
    tx = gm.quantized_state(tx) if in_codes else tx
    return gm.Optimizer(tx, params, master=master, rounding=draws)


def adam_mini(params: Params, rate: Any) -> gm.Optimizer:
    """One second moment for each output of a layer, and for each row of a table."""
    ways = {
        name: gm.contrib.adam_mini(rate, weight_decay=DECAY, mask=are_kernels, axis=axis)
        for name, axis in (("table", 0), ("layer", -1))
    }
    labels = {name: "table" if name in ("token", "place") else "layer" for name in params}
    return gm.Optimizer(gm.partition(ways, labels), params)


def apollo_mini(params: Params, rate: Any) -> gm.Optimizer:
    """Next to no state for kernels; tables and the last layer stay with AdamW, as in the paper."""
    kernel = gm.contrib.MuonDimensionNumbers()
    axes = {
        name: kernel if name[-1].isdigit() and x.ndim == 2 else None for name, x in params.items()
    }
    tx = gm.contrib.apollo_mini(
        rate,
        scale=min(min(x.shape) for name, x in params.items() if axes[name]) ** 0.5,
        weight_decay=DECAY,
        mask=are_kernels,
        weight_dimension_numbers=axes,
    )
    return gm.Optimizer(tx, params)


HALVES = {"mu_dtype": BF16, "nu_dtype": BF16}
CONTENDERS: dict[str, Make] = {
    "adamw": adamw,
    "bf16": partial(adamw, **HALVES),
    "bf16_stochastic": partial(adamw, rounding="stochastic", **HALVES),
    "bf16_master": partial(adamw, master=True),
    "8bit": partial(adamw, in_codes=True),
    "8bit_master": partial(adamw, in_codes=True, master=True),
    "adam_mini": adam_mini,
    "apollo_mini": apollo_mini,
}
"""What makes an optimizer of parameters and a learning rate, by its name."""


def first_params(seed: int, width: int, layers: int) -> Params:
    """Weights of a transformer, with a variance of one over what they add up."""
    rng = np.random.default_rng(seed)

    def normal(rows: int, columns: int) -> np.ndarray[Any, Any]:
        return rng.normal(0.0, rows**-0.5, (rows, columns)).astype(np.float32)

    params: Params = {
        "token": normal(GREYS + 1, width),
        "place": normal(PIXELS, width) * np.float32(0.1),
        "head": normal(width, GREYS),
        "norm": np.ones(width, np.float32),
    }
    for layer in range(layers):
        params[f"qkv{layer}"] = normal(width, 3 * width)
        params[f"out{layer}"] = normal(width, width)
        params[f"up{layer}"] = normal(width, 4 * width)
        params[f"down{layer}"] = normal(4 * width, width)
        params[f"norm_a{layer}"] = np.ones(width, np.float32)
        params[f"norm_b{layer}"] = np.ones(width, np.float32)
    return params


def _normal(x: Any, scale: Any) -> Any:
    return x * scale / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def _attended(x: Any, qkv: Any, out: Any) -> Any:
    """What each pixel takes from those before it."""
    shape = (*x.shape[:2], HEADS, x.shape[2] // HEADS)
    query, key, value = (part.reshape(shape) for part in jnp.split(x @ qkv, 3, axis=-1))
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / shape[3] ** 0.5
    seen = jnp.tril(jnp.ones((PIXELS, PIXELS), bool))
    weights = jax.nn.softmax(jnp.where(seen, scores, -1e9), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape) @ out


def loss_of(params: Any, pixels: Any) -> Any:
    """Mean cross entropy of each pixel, given those before it."""
    p = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in params.items()}
    before = jnp.pad(pixels[:, :-1], ((0, 0), (1, 0)), constant_values=GREYS)
    x = p["token"][before] + p["place"]
    for layer in range(sum(name.startswith("qkv") for name in p)):
        x += _attended(_normal(x, p[f"norm_a{layer}"]), p[f"qkv{layer}"], p[f"out{layer}"])
        inner = jax.nn.gelu(_normal(x, p[f"norm_b{layer}"]) @ p[f"up{layer}"])
        x += inner @ p[f"down{layer}"]
    logits = jax.nn.log_softmax(_normal(x, p["norm"]) @ p["head"])
    return -jnp.mean(jnp.take_along_axis(logits, pixels[..., None], axis=-1))


LOSS, GRADS = jax.jit(loss_of), jax.jit(jax.grad(loss_of))


class Run(NamedTuple):
    """What became of one contender with one seed.

    Attributes:
        steps: The steps before which the loss was taken.
        losses: That on digits which were left out.
    """

    steps: list[int]
    losses: list[float]


def trained(make: Make, seed: int, options: argparse.Namespace) -> Run:
    """Train the transformer."""
    pixels = load_digits().data.astype(np.int32)
    pixels = pixels[np.random.default_rng(0).permutation(len(pixels))]
    train, test = pixels[400:], pixels[:400]
    params = first_params(seed, options.width, options.layers)
    rate = gm.warmup_cosine_decay_schedule(0.0, PEAK, options.steps // 10, options.steps)
    opt, rng, run = make(params, rate), np.random.default_rng(seed), Run([], [])
    for step in range(options.steps + 1):
        if step % max(options.steps // 20, 1) == 0:
            run.steps.append(step)
            run.losses.append(float(LOSS(opt.params, test)))
        if step < options.steps:
            grads = GRADS(opt.params, train[rng.integers(len(train), size=BATCH)])
            opt.step({name: np.asarray(leaf) for name, leaf in grads.items()})
    return run


def decades(make: Make, steps: int = 400) -> float:
    """The share of elements that arrive, where the sizes of gradients lie ten decades apart.

    Neighbours are of any size, so that those which share a scale differ most.
    """
    rng = np.random.default_rng(0)
    sizes = (10.0 ** rng.uniform(-5, 5, (128, 64))).astype(np.float32)
    goal = rng.choice(np.array([-1, 1], np.float32), sizes.shape)
    opt = make({"w0": np.zeros(sizes.shape, np.float32)}, 1e-2)
    for _ in range(steps):
        away = np.asarray(opt.params["w0"], np.float32) - goal
        opt.step({"w0": (sizes * away).astype(opt.params["w0"].dtype)})
    return float(np.mean(np.abs(np.asarray(opt.params["w0"], np.float32) - goal) < 0.2))


def sparse_rows(make: Make, steps: int = 2000) -> float:
    """How far rows stay away from their goals, of which each step sees one in a hundred."""
    rng = np.random.default_rng(0)
    goal = rng.normal(size=(1000, 64)).astype(np.float32)
    opt = make({"w0": np.zeros(goal.shape, np.float32)}, gm.cosine_decay_schedule(3e-2, steps))
    for _ in range(steps):
        grads = np.zeros(goal.shape, opt.params["w0"].dtype)
        rows = rng.choice(len(goal), 10, replace=False)
        away = np.asarray(opt.params["w0"][rows], np.float32) - goal[rows]
        grads[rows] = away + 0.3 * rng.normal(size=away.shape)
        opt.step({"w0": grads})
    return float(np.sqrt(np.mean((np.asarray(opt.params["w0"], np.float32) - goal) ** 2)))


def bytes_of(opt: gm.Optimizer) -> float:
    """The bytes of state for each parameter, master copies included."""
    leaves = jax.tree.leaves(opt.state)
    masters = [x for name, x in opt.master.items() if x is not opt.params[name]]
    size = sum(leaf.size for leaf in opt.params.values())
    return float(sum(leaf.nbytes for leaf in (*leaves, *masters)) / size)


def times(contenders: dict[str, Make], width: int, layers: int) -> dict[str, float]:
    """Milliseconds of a step, the median of eleven that take turns with those of all others."""
    params = first_params(0, width, layers)
    opts = {
        name: make({key: leaf.copy() for key, leaf in params.items()}, 1e-4)
        for name, make in contenders.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in opts}
    for _ in range(12):
        for name, opt in opts.items():
            grads = {key: leaf.astype(opt.params[key].dtype) for key, leaf in params.items()}
            start = time.perf_counter()
            opt.step(grads)
            taken[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(each[1:]) for name, each in taken.items()}


def plot(runs: dict[str, list[Run]], path: str) -> None:
    """Draw the mean loss of each contender, and all of them in the second half, with the spread."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (whole, late) = plt.subplots(1, 2, figsize=(11, 4.2))
    for name, each in runs.items():
        losses = np.array([run.losses for run in each])
        half = len(losses[0]) // 2
        for axes, part in ((whole, slice(1, None)), (late, slice(half, None))):
            steps = each[0].steps[part]
            axes.plot(steps, losses.mean(axis=0)[part], label=name)
            axes.fill_between(steps, losses.min(axis=0)[part], losses.max(axis=0)[part], alpha=0.15)
    for axes in (whole, late):
        axes.set_xlabel("step")
        axes.set_ylabel("nats a pixel, digits left out")
    whole.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print a row for each contender."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(CONTENDERS), help="names of contenders")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--timed-width", type=int, default=512)
    parser.add_argument("--plot", default="fewer_bytes.png")
    options = parser.parse_args()
    own = {name: make for name, make in CONTENDERS.items() if name in options.only.split(",")}
    clock = times(own, options.timed_width, 4)
    print(f"{platform.processor() or platform.machine()}, {gm.build_info()['threads']} threads")
    print(f"{'':<26}{'loss':>8}{'spread':>16}{'state B':>9}{'ms':>8}{'10 decades':>12}{'rows':>8}")
    runs: dict[str, list[Run]] = {}
    for name, make in own.items():
        runs[name] = [trained(make, seed, options) for seed in range(options.seeds)]
        last = [run.losses[-1] for run in runs[name]]
        state = bytes_of(make(first_params(0, options.timed_width, 4), 1e-4))
        print(
            f"{name:<26}{statistics.mean(last):>8.4f}{min(last):>8.4f}{max(last):>8.4f}{state:>9.3f}"
            f"{clock[name]:>8.1f}{decades(make):>12.3f}{sparse_rows(make):>8.3f}",
            flush=True,
        )
    plot(runs, options.plot)


if __name__ == "__main__":
    main()
