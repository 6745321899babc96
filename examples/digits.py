"""Train a NumPy network on handwritten digits, and compare three optimisers over the same run.

A network with two hidden layers, its backward pass written by hand, learns scikit-learn's bundled
digits. The same batches go through gradmill, through Adam as one writes it in NumPy, and through
jitted optax; a table and ``digits.png`` show what each costs.

    make demo
    make demo ARGS="--size large"
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

import gradmill as gm

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from tqdm import trange
except ImportError as error:
    sys.exit(f"{error}; install what the demo needs with: pip install 'gradmill[demo]'")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Array = np.ndarray[Any, np.dtype[Any]]
Params = dict[str, Array]

TARGET = 0.96
DECAY, MAX_NORM, B1, B2, EPS = 1e-4, 1.0, 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Setting:
    """How large the network is and how long it trains."""

    hidden: tuple[int, int]
    epochs: int
    batch: int
    peak: float


SETTINGS = {
    "small": Setting(hidden=(128, 64), epochs=60, batch=32, peak=3e-3),
    "large": Setting(hidden=(3136, 3136), epochs=8, batch=256, peak=1e-3),
}


@dataclass(frozen=True)
class Data:
    """Images as rows of 64 intensities in [0, 1], and their digits."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array

    @classmethod
    def load(cls, seed: int) -> Data:
        """Split the 1,797 digits, a quarter for testing."""
        images, digits = load_digits(return_X_y=True)
        split = train_test_split(images / 16, digits, stratify=digits, random_state=seed)
        train_x, test_x, train_y, test_y = split
        return cls(train_x.astype(np.float32), train_y, test_x.astype(np.float32), test_y)

    def batches(self, size: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """All training rows once, in random order."""
        order = np.random.default_rng(seed).permutation(len(self.train_x))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield self.train_x[rows], self.train_y[rows]


def init_params(hidden: tuple[int, int], seed: int) -> Params:
    """Weights for ReLU after He et al., and zero biases."""
    rng = np.random.default_rng(seed)
    sizes = (64, *hidden, 10)
    params: Params = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        weights = rng.normal(0.0, np.sqrt(2 / fan_in), (fan_in, fan_out))
        params[f"w{layer}"] = weights.astype(np.float32)
        params[f"b{layer}"] = np.zeros(fan_out, np.float32)
    return params


def predict(params: Params, x: Array) -> tuple[Array, Array, Array]:
    """The two hidden layers and the logits."""
    h1 = np.maximum(x @ params["w1"] + params["b1"], 0)
    h2 = np.maximum(h1 @ params["w2"] + params["b2"], 0)
    return h1, h2, h2 @ params["w3"] + params["b3"]


def accuracy(params: Params, x: Array, y: Array) -> float:
    """The share of rows whose largest logit is the right one."""
    return float(np.mean(predict(params, x)[2].argmax(axis=1) == y))


def loss_and_grads(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Mean cross entropy and its gradient, by hand."""
    h1, h2, logits = predict(params, x)
    logits = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = -float(np.log(probabilities[rows, y] + 1e-12).mean())

    d3 = probabilities
    d3[rows, y] -= 1
    d3 /= len(y)
    d2 = d3 @ params["w3"].T * (h2 > 0)
    d1 = d2 @ params["w2"].T * (h1 > 0)
    inputs_and_deltas = ((x, d1), (h1, d2), (h2, d3))
    grads: Params = {}
    for layer, (inputs, delta) in enumerate(inputs_and_deltas, start=1):
        grads[f"w{layer}"] = inputs.T @ delta
        grads[f"b{layer}"] = delta.sum(axis=0)
    return loss, grads


class Stepper(Protocol):
    """An optimiser: holds parameters as NumPy arrays, and steps."""

    params: Params

    def step(self, grads: Params) -> object:
        """Update the parameters."""


class NumpyAdam:
    """Adam with clipping and L2 decay, as one writes it in NumPy."""

    def __init__(self, params: Params, schedule: Callable[[int], float]) -> None:
        self.params = params
        self.schedule = schedule
        self.t = 0
        self.m = {key: np.zeros_like(leaf) for key, leaf in params.items()}
        self.v = {key: np.zeros_like(leaf) for key, leaf in params.items()}

    def step(self, grads: Params) -> None:
        """Update each array in turn."""
        norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
        factor = np.float32(min(1.0, MAX_NORM / norm))
        rate = np.float32(self.schedule(self.t))
        self.t += 1
        for key, p in self.params.items():
            g = grads[key] * factor + DECAY * p
            self.m[key] = B1 * self.m[key] + (1 - B1) * g
            self.v[key] = B2 * self.v[key] + (1 - B2) * g**2
            m_hat = self.m[key] / (1 - B1**self.t)
            v_hat = self.v[key] / (1 - B2**self.t)
            self.params[key] = p + rate * m_hat / (np.sqrt(v_hat) + EPS)


class JittedOptax:
    """The same chain in optax, jitted with donated buffers."""

    def __init__(self, params: Params, schedule: Callable[[int], float], steps: int) -> None:
        import jax
        import jax.numpy as jnp
        import optax

        def rate(count: Any) -> Any:
            return jnp.asarray(table)[count]

        table = np.array([schedule(count) for count in range(steps)], np.float32)
        tx = make_chain(optax, rate)

        def update(grads: Any, state: Any, params: Any) -> Any:
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        # `jnp.array` copies; donation would otherwise write into the NumPy arrays.
        self._on_device = jax.tree.map(jnp.array, params)
        self._state = tx.init(self._on_device)
        start = time.perf_counter()
        jitted = jax.jit(update, donate_argnums=(1, 2))
        self._update = jitted.lower(self._on_device, self._state, self._on_device).compile()
        self.compile_seconds = time.perf_counter() - start
        self._wait: Any = jax.block_until_ready
        self._put: Any = lambda tree: self._wait(jax.tree.map(jnp.asarray, tree))
        self.params = params
        self.step_seconds = 0.0

    def step(self, grads: Params) -> None:
        """Run the jitted update; conversions to and from NumPy are not timed."""
        arrays = self._put(grads)
        start = time.perf_counter()
        new = self._update(arrays, self._state, self._on_device)
        self._on_device, self._state = self._wait(new)
        self.step_seconds += time.perf_counter() - start
        self.params = {key: np.asarray(leaf) for key, leaf in self._on_device.items()}


def make_chain(module: Any, schedule: Callable[[int], float]) -> Any:
    """The demo's chain, in gradmill or in optax; the schedule is negative, for descent."""
    return module.chain(
        module.clip_by_global_norm(MAX_NORM),
        module.add_decayed_weights(DECAY),
        module.scale_by_adam(B1, B2, EPS),
        module.scale_by_schedule(schedule),
    )


@dataclass
class Run:
    """What one optimiser did with the data."""

    name: str
    accuracy: float = 0.0
    backprop: float = 0.0
    optimiser: float = 0.0
    steps: int = 0
    note: str = ""
    difference: float = 0.0
    losses: list[float] = field(default_factory=list)
    params: Params = field(default_factory=dict)


def train(
    name: str, opt: Stepper, data: Data, setting: Setting, seed: int, shadow: Stepper | None = None
) -> Run:
    """Train for all epochs, timing gradients and steps apart.

    A shadow is given the same gradients, untimed, for a comparison of the final parameters.
    """
    run = Run(name)
    bar = trange(setting.epochs, desc=f"{name:16}", unit="epoch")
    for epoch in bar:
        for x, y in data.batches(setting.batch, seed + epoch):
            start = time.perf_counter()
            loss, grads = loss_and_grads(opt.params, x, y)
            middle = time.perf_counter()
            opt.step(grads)
            run.backprop += middle - start
            run.optimiser += time.perf_counter() - middle
            run.losses.append(loss)
            if shadow is not None:
                shadow.step(grads)
        run.accuracy = accuracy(opt.params, data.test_x, data.test_y)
        bar.set_postfix(loss=f"{run.losses[-1]:.4f}", accuracy=f"{run.accuracy:.3f}")
    run.steps = len(run.losses)
    run.params = {key: np.array(leaf) for key, leaf in opt.params.items()}
    if shadow is not None:
        run.difference = largest_difference(shadow.params, run.params)
    if isinstance(opt, JittedOptax):
        run.optimiser = opt.step_seconds
        run.note = f"compiled in {opt.compile_seconds:.2f} s before"
    return run


def largest_difference(ours: Params, theirs: Params) -> float:
    """The largest difference, each array's relative to its largest value."""
    return max(
        float(np.abs(ours[key] - leaf).max() / np.abs(leaf).max()) for key, leaf in theirs.items()
    )


def print_table(runs: list[Run]) -> None:
    """One line for each run, and how far the parameters are from gradmill's."""
    print(f"\n{'':18}{'accuracy':>9}{'backprop':>11}{'optimiser':>11}{'a step':>14}{'ratio':>8}")
    for run in runs:
        if not run.steps:
            print(f"{run.name:18}{run.note}")
            continue
        micros = 1e6 * run.optimiser / run.steps
        times = f"{run.backprop:9.2f} s{run.optimiser:9.3f} s{micros:11.1f} us"
        ratio = run.optimiser / runs[0].optimiser
        print(f"{run.name:18}{run.accuracy:9.4f}{times}{ratio:7.1f}x  {run.note}")
    for run in runs[1:]:
        if run.steps:
            apart = largest_difference(runs[0].params, run.params)
            print(
                f"max relative difference of final parameters, gradmill to {run.name}: "
                f"{run.difference:.1e} from the same gradients, {apart:.1e} from their own"
            )
    print("(from their own gradients, networks drift apart: training magnifies each rounding)")


def save_plot(runs: list[Run], path: str) -> None:
    """Loss curves, and where the time went."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'gradmill[demo]')")
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    runs = [run for run in runs if run.steps]
    figure, (curves, bars) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for run, (style, width) in zip(runs, (("-", 4.0), ("--", 2.0), (":", 2.0)), strict=False):
        window = max(1, len(run.losses) // 100)
        smooth = np.convolve(run.losses, np.full(window, 1 / window), mode="valid")
        curves.plot(smooth, style, linewidth=width, alpha=0.8, label=run.name)
    curves.set(xlabel="step", ylabel="training loss", yscale="log", title="Same loss")
    curves.legend()
    names = [run.name for run in runs]
    backprop = [run.backprop for run in runs]
    optimiser = [run.optimiser for run in runs]
    bars.barh(names, backprop, color="lightgray", label="backprop")
    bars.barh(names, optimiser, left=backprop, color="tab:red", label="optimiser")
    for row, (left, seconds) in enumerate(zip(backprop, optimiser, strict=True)):
        bars.text(left + seconds, row, f" {seconds:.2f} s", va="center", color="tab:red")
    bars.invert_yaxis()
    bars.set(xlabel="seconds", title="Time split")
    bars.margins(x=0.15)
    bars.legend(loc="upper right")
    figure.savefig(path, dpi=150)
    print(f"saved {path}")


def processor() -> str:
    """The name of this machine's processor, without which times mean little."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        if name := next(names, ""):
            return name
    return platform.processor() or platform.machine()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", choices=SETTINGS, default="small", help="large: 10M parameters")
    parser.add_argument("--epochs", type=int, help="default: 60, or 8 for large")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="digits.png", help="where the plot goes")
    return parser.parse_args()


def main() -> int:
    """Train with each optimiser, then compare."""
    options = parse()
    setting = SETTINGS[options.size]
    if options.epochs:
        setting = Setting(setting.hidden, options.epochs, setting.batch, setting.peak)
    data = Data.load(options.seed)
    steps = setting.epochs * -(-len(data.train_x) // setting.batch)
    peak = gm.warmup_cosine_decay_schedule(0.0, setting.peak, steps // 10, steps)

    def schedule(count: int) -> float:
        return -peak(count)

    def fresh() -> Params:
        return init_params(setting.hidden, options.seed)

    info = gm.build_info()
    print(f"gradmill {info['version']}, {info['simd']}, {info['threads']} threads, {processor()}")
    tx = make_chain(gm, schedule)
    print(tx.explain(fresh()))

    runs = [train("gradmill", gm.Optimizer(tx, fresh()), data, setting, options.seed)]
    by_hand, shadow = NumpyAdam(fresh(), schedule), gm.Optimizer(tx, fresh())
    runs.append(train("NumPy, by hand", by_hand, data, setting, options.seed, shadow))
    try:
        jitted = JittedOptax(fresh(), schedule, steps)
    except ImportError:
        runs.append(Run("optax, jitted", note="not installed: pip install 'gradmill[optax]'"))
    else:
        shadow = gm.Optimizer(tx, fresh())
        runs.append(train("optax, jitted", jitted, data, setting, options.seed, shadow))
    print_table(runs)
    save_plot(runs, options.output)
    if options.size == "small" and not options.epochs and runs[0].accuracy < TARGET:
        print(f"test accuracy {runs[0].accuracy:.4f} is below {TARGET}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
