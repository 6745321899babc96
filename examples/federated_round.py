"""Rounds of federated learning: a server averages what its clients trained, and takes a step.

    python examples/federated_round.py

Each of ten clients has pairs of its own and descends from what the server sent; the server takes
the average of what comes back and steps towards it with Adam. The arithmetic is that of
``gradmill.adapters.flower``, without a network between. The table shows the distance from the
truth, and milliseconds a round for the server with plain NumPy and with gradmill.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

import gradmill as gm

CLIENTS, ROUNDS, STEPS = 10, 30, 5
FEATURES, OUTPUTS, EXAMPLES = 300, 1000, 400
RATE, B1, B2, EPS = 0.1, 0.9, 0.99, 1e-3

Weights = dict[str, np.ndarray]


class ByHand:
    """The server as one writes it: a temporary for each client and array."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.mu = {name: np.zeros_like(array) for name, array in weights.items()}
        self.nu = {name: np.zeros_like(array) for name, array in weights.items()}
        self.rounds = 0

    def step(self, replies: list[Weights], shares: list[float]) -> None:
        """Average and step."""
        self.rounds += 1
        size = RATE * (1 - B2**self.rounds) ** 0.5 / (1 - B1**self.rounds)
        for name, old in self.weights.items():
            arrays = [reply[name] * np.float32(s) for reply, s in zip(replies, shares, strict=True)]
            change = sum(arrays[1:], arrays[0]) - old
            self.mu[name] = np.float32(B1) * self.mu[name] + np.float32(1 - B1) * change
            self.nu[name] = np.float32(B2) * self.nu[name] + np.float32(1 - B2) * change**2
            quotient = self.mu[name] / (np.sqrt(self.nu[name]) + np.float32(EPS))
            self.weights[name] = old + np.float32(size) * quotient


class WithGradmill:
    """One read of what each client sent, one pass for the step."""

    def __init__(self, weights: Weights) -> None:
        self.average = {name: np.empty_like(array) for name, array in weights.items()}
        adam = gm.adam(RATE, B1, B2, EPS, eps_mode="hat")
        # A step towards the average goes along the difference, not against it.
        self.opt = gm.Optimizer(adam, weights, maximize=True)

    @property
    def weights(self) -> Weights:
        """What clients are sent."""
        weights: Weights = self.opt.params
        return weights

    def step(self, replies: list[Weights], shares: list[float]) -> None:
        """Average and step."""
        gm.weighted_sum(replies, shares, out=self.average)
        for name, array in self.average.items():
            np.subtract(array, self.weights[name], out=array)
        self.opt.step(self.average)


def trained(weights: Weights, x: np.ndarray, y: np.ndarray) -> Weights:
    """What a client makes of the weights, with the data that only it has."""
    w, b = weights["w"].copy(), weights["b"].copy()
    for _ in range(STEPS):
        error = (x @ w + b - y) / len(x)
        w -= 0.3 * (x.T @ error)
        b -= 0.3 * error.sum(axis=0)
    return {"w": w, "b": b}


def main() -> None:
    """Run both servers on the same clients, and print the table."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(FEATURES, OUTPUTS)).astype(np.float32)
    counts = rng.integers(EXAMPLES // 2, EXAMPLES, CLIENTS)
    xs = [rng.normal(size=(count, FEATURES)).astype(np.float32) for count in counts]
    data = [(x, x @ truth + np.float32(0.5)) for x in xs]
    shares = list(counts / counts.sum())
    start = {"w": np.zeros_like(truth), "b": np.zeros(OUTPUTS, np.float32)}
    print(f"{'':12}{'distance':>10}{'ms a round':>12}")
    for name, kind in (("by hand", ByHand), ("gradmill", WithGradmill)):
        server = kind({key: array.copy() for key, array in start.items()})
        seconds = []
        for _ in range(ROUNDS):
            replies = [trained(server.weights, *pairs) for pairs in data]
            begin = time.perf_counter()
            server.step(replies, shares)
            seconds.append(time.perf_counter() - begin)
        distance = np.abs(server.weights["w"] - truth).mean()
        print(f"{name:12}{distance:10.4f}{1e3 * statistics.median(seconds):12.2f}")


if __name__ == "__main__":
    main()
