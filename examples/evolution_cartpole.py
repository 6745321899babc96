"""Balance CartPole with evolution strategies: a gradient from returns alone, a step by gradmill.

A population of small networks, one flat float32 vector each, plays CartPole in one vectorised
environment. How well each did, and in which direction it lay, estimates a gradient that Adam
follows; no backward pass is needed. Noise is drawn from seeds, once to perturb and once more to sum
up, and never stored. The script stops when the mean return of the unperturbed
network over 100 fresh episodes is at least 475, which counts as solved.

The method is that of Salimans, Ho, Chen, Sidor and Sutskever, "Evolution Strategies as a Scalable
Alternative to Reinforcement Learning" (https://arxiv.org/abs/1703.03864): mirrored perturbations,
fitness shaped by ranks, weight decay and Adam.

    python examples/evolution_cartpole.py
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gradmill as gm
from gradmill import evolution

try:
    import gymnasium
    from tqdm import tqdm
except ImportError as error:
    sys.exit(f"{error}; install what this needs with: pip install 'gradmill[evolution]'")

Array = np.ndarray[Any, np.dtype[Any]]

SOLVED, EPISODES, DECAY = 475.0, 100, 1e-3
SHAPES = ((4, 16), (16,), (16, 2), (2,))  # weights and biases of a network with one hidden layer
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)


class CartPoles:
    """Many carts that move at once, each driven by a network of its own."""

    def __init__(self, count: int, seed: int) -> None:
        mode = "vector_entry_point"  # steps all carts as NumPy arrays
        self._env: Any = gymnasium.make_vec("CartPole-v1", count, vectorization_mode=mode)
        self._env.reset(seed=seed)

    def returns(self, networks: Array) -> Array:
        """The return of one new episode for each row of weights."""
        env, layers = self._env, unflatten(networks)
        observations, _ = env.reset()
        returns, alive = np.zeros(len(networks)), np.ones(len(networks), bool)
        while alive.any():
            observations, rewards, terminated, truncated, _ = env.step(act(layers, observations))
            # A cart whose episode is over starts another by itself; that one must not count.
            returns += rewards * alive
            alive &= ~(terminated | truncated)
        return returns


def unflatten(networks: Array) -> list[Array]:
    """Views of rows of weights, as one stack of arrays for each of ``SHAPES``."""
    parts = np.split(networks, np.cumsum([np.prod(shape) for shape in SHAPES])[:-1], axis=1)
    return [part.reshape(-1, *shape) for part, shape in zip(parts, SHAPES, strict=True)]


def act(layers: list[Array], observations: Array) -> Array:
    """The action that each network prefers for its observation."""
    w1, b1, w2, b2 = layers
    hidden = np.tanh(np.einsum("ni,nij->nj", observations, w1) + b1)
    logits = np.einsum("ni,nij->nj", hidden, w2) + b2
    return np.asarray(logits.argmax(axis=1))


def centred_ranks(returns: Array) -> Array:
    """Ranks scaled to [-0.5, 0.5]; equal returns share the mean of their ranks.

    Were ties broken by position, a population that reaches the largest return everywhere would
    still give a gradient, of noise alone.
    """
    _, place, counts = np.unique(returns, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts + 1) / 2
    centred: Array = (ranks / (len(returns) - 1) - 0.5).astype(np.float32)
    return centred[place]


@dataclass
class History:
    """What each generation did, and where the time went."""

    mean: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    evaluated: list[float] = field(default_factory=list)
    env_steps: int = 0
    seconds: float = 0.0
    optimiser: float = 0.0

    @property
    def solved(self) -> bool:
        """Whether the last evaluation reached the mark."""
        return bool(self.evaluated) and self.evaluated[-1] >= SOLVED


def train(options: argparse.Namespace) -> History:
    """Evolve until solved, or for all generations."""
    rng = np.random.default_rng(options.seed)
    size, sigma = options.population, options.sigma
    population = CartPoles(size, options.seed)
    test = CartPoles(EPISODES, options.seed + 1_000_000)
    theta = np.zeros(SIZE, np.float32)
    tx = gm.chain(gm.add_decayed_weights(DECAY), gm.adam(options.learning_rate))
    opt = gm.Optimizer(tx, theta, maximize=True)  # overwrites `theta`
    networks = np.empty((size, SIZE), np.float32)

    history, start = History(), time.perf_counter()
    with tqdm(total=options.generations, unit="gen") as bar:
        while not history.solved and len(history.mean) < options.generations:
            seeds = rng.integers(2**32, size=size // 2)
            members = [(seed, sign) for sign in (1, -1) for seed in seeds]
            for row, (seed, sign) in zip(networks, members, strict=True):
                evolution.perturb(theta, seed, sign * sigma, out=row)
            returns = population.returns(networks)
            ranks = centred_ranks(returns)
            before = time.perf_counter()
            opt.step(evolution.gradient(theta, seeds, ranks, sigma, antithetic=True))
            history.optimiser += time.perf_counter() - before
            tested = test.returns(np.broadcast_to(theta, (EPISODES, SIZE)))
            history.mean.append(returns.mean())
            history.best.append(returns.max())
            history.evaluated.append(tested.mean())
            history.env_steps += int(returns.sum() + tested.sum())
            bar.set_postfix(mean=f"{returns.mean():.0f}", evaluated=f"{tested.mean():.0f}")
            bar.update()
    history.seconds = time.perf_counter() - start
    return history


def print_summary(history: History) -> None:
    """How it went, and what it cost."""
    generations, rate = len(history.mean), history.env_steps / history.seconds
    micros, share = 1e6 * history.optimiser / generations, history.optimiser / history.seconds
    outcome = "solved" if history.solved else f"not solved (below {SOLVED:.0f})"
    print(f"{outcome}: mean return {history.evaluated[-1]:.1f} over {EPISODES} fresh episodes")
    print(f"{history.seconds:.2f} s, {generations} generations, {rate:,.0f} environment steps/s")
    print(f"optimiser: {micros:.0f} us a step for {SIZE} parameters, {share:.2%} of the time")


def save_plot(history: History, path: str) -> None:
    """Returns by generation."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'gradmill[evolution]')")
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    generations = range(1, len(history.mean) + 1)
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(generations, history.best, color="lightgray", label="population, best")
    axes.plot(generations, history.mean, color="tab:blue", label="population, mean")
    axes.plot(generations, history.evaluated, color="tab:red", label="unperturbed network")
    axes.axhline(SOLVED, color="black", linestyle=":", label=f"solved ({SOLVED:.0f})")
    axes.set(xlabel="generation", ylabel="return", title="CartPole by evolution strategies")
    figure.legend(loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=150)
    print(f"saved {path}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    as_is = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_is)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--population", type=int, default=64, help="even; default: 64")
    parser.add_argument("--sigma", type=float, default=0.1, help="of the noise; default: 0.1")
    parser.add_argument("--learning-rate", type=float, default=0.05, help="default: 0.05")
    parser.add_argument("--generations", type=int, default=200, help="at most; default: 200")
    plot = parser.add_mutually_exclusive_group()
    plot.add_argument("--plot", default="evolution_cartpole.png", help="where the plot goes")
    plot.add_argument("--no-plot", dest="plot", action="store_const", const="")
    options = parser.parse_args()
    if options.population < 2 or options.population % 2:
        parser.error("--population must be even and at least 2: perturbations come in pairs")
    if options.generations < 1 or options.sigma <= 0:
        parser.error("--generations and --sigma must be positive")
    return options


def main() -> int:
    """Train, report, plot."""
    options = parse()
    history = train(options)
    print_summary(history)
    if options.plot:
        save_plot(history, options.plot)
    return 0 if history.solved else 1


if __name__ == "__main__":
    sys.exit(main())
