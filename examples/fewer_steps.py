"""Count the steps that optimizers need for a matrix whose loss is steep along hidden directions.

The loss is ``tr((W - W*)' A (W - W*) B) / 2``. The eigenvalues of A and B lie a factor of 300 apart
and their eigenvectors anywhere, as those of inputs and outputs of a layer do. Adam rescales the
elements of W, which are the wrong directions; SOAP does what Adam does in the eigenvectors, which
it learns from gradients, and a cautious optimizer leaves out what would go against the gradient.
All have the same decays. Each runs with all of some learning rates, and its best one counts.

The effects are those of Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam"
(https://arxiv.org/abs/2409.11321) and Liang et al., "Cautious Optimizers: Improving Training with
One Line of Code" (https://arxiv.org/abs/2411.16085).

    python examples/fewer_steps.py
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

import gradmill as gm

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[np.float64]]

OPTIMIZERS: dict[str, Callable[[float], Any]] = {
    "adamw": lambda rate: gm.adamw(rate, weight_decay=0.0),
    "cautious_adamw": lambda rate: gm.contrib.cautious_adamw(rate, weight_decay=0.0),
    "soap": lambda rate: gm.contrib.soap(rate, 0.9, 0.999, 0.95, precondition_frequency=5),
}
RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
CONDITION = 300.0


class Problem:
    """A quadratic loss of a matrix, and its gradient."""

    def __init__(self, size: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.left, self.right = (self._curvature(size, rng) for _ in range(2))
        self.goal = rng.normal(size=(size, size))

    @staticmethod
    def _curvature(size: int, rng: np.random.Generator) -> Array:
        basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
        made: Array = (basis * np.geomspace(1.0, 1.0 / CONDITION, size)) @ basis.T
        return made

    def gradient(self, weights: Array) -> Array:
        """The gradient at some weights."""
        return self.left @ (weights - self.goal) @ self.right

    def loss(self, weights: Array) -> float:
        """The loss at some weights."""
        return float(np.sum((weights - self.goal) * self.gradient(weights)) / 2)


def steps_of(tx: Any, problem: Problem, share: float, most: int) -> int:
    """How many steps it takes until this share of the loss is left; ``most`` if it takes more."""
    opt = gm.Optimizer(tx, np.zeros_like(problem.goal))
    enough = share * problem.loss(opt.params)
    for step in range(most):
        if problem.loss(opt.params) <= enough:
            return step
        opt.step(problem.gradient(opt.params))
    return most


def main() -> None:
    """Print a row for each optimizer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=16, help="rows and columns")
    parser.add_argument("--share", type=float, default=1e-4, help="of the loss that is enough")
    parser.add_argument("--most", type=int, default=1000, help="steps to give up after")
    parser.add_argument("--seeds", type=int, default=3, help="problems to take the mean of")
    options = parser.parse_args()
    problems = [Problem(options.size, seed) for seed in range(options.seeds)]
    print(f"{'optimizer':<16}{'learning rate':>14}{'steps':>8}")
    for name, make in OPTIMIZERS.items():
        means = {
            rate: np.mean(
                [steps_of(make(rate), each, options.share, options.most) for each in problems]
            )
            for rate in RATES
        }
        best = min(means, key=lambda rate: means[rate])
        print(f"{name:<16}{best:>14g}{means[best]:>8.0f}")


if __name__ == "__main__":
    main()
