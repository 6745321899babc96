"""Random optimizers, trees, threads, forks and faults, for as long as one likes.

``make soak`` runs it for ten minutes. Each round draws a chain, a tree and a way to run. A step in
place and one of functions must give the bits of an optimizer that nothing happens to, on one thread
without fusion; in between, steps are broken off by faults and interrupts, and children are forked.
Chains alone are compared with their formulas in float64 as well.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from tqdm import tqdm

import gradmill as gm
from gradmill import _core
from tests.cases import CASES
from tests.fault.test_atomic import BAD_LEAVES, ERRORS, FAILURES, Breaker, with_bad_leaf
from tests.oracle import Oracle, squared_error
from tests.tiers import available_tiers
from tests.trees import copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
ROWS = [case for case in CASES if not case.python]
# How far updates may be from the formula, over the norm of both: a few roundings of the dtype that
# the chain is computed in. Differences of nearly equal averages magnify them.
FAR = {np.float32: 1e-4, np.float64: 1e-7}
CHILD = 30.0
"""Seconds after which a child hangs."""


class Soak:
    """Rounds, and what they count."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tiers = available_tiers()
        self.count: Counter[str] = Counter()
        self.mismatches: list[str] = []

    def round(self, number: int) -> None:
        """One optimizer from its first step to its last."""
        rng = self.rng
        shapes: dict[str, tuple[int, ...]] = {
            "bias": (int(rng.integers(1, 2000)),),
            "conv": (2, 3, int(rng.integers(1, 9)), 2),
            "empty": (0, 3),
            "kernel": (int(rng.integers(1, 9)), int(rng.integers(1, 9))),
            "scalar": (),
        }
        if rng.random() < 0.2:
            shapes["kernel"] = (int(rng.integers(300, 700)), 1001)
        dtype = DTYPES[rng.integers(len(DTYPES))]
        rows = [ROWS[at] for at in rng.integers(len(ROWS), size=rng.integers(1, 4))]
        name = f"round {number}: {' | '.join(row.name for row in rows)}, {np.dtype(dtype).name}"
        tx = rows[0].make(gm) if len(rows) == 1 else gm.chain(*(row.make(gm) for row in rows))
        breaker = Breaker()
        whole = breaker.around(tx)
        seeds = iter(range(10 * number, 10 * number + 10))
        params = random_tree(next(seeds), dtype, shapes=shapes)
        plain = gm.Optimizer(whole, copy_tree(params))
        opt = gm.Optimizer(whole, copy_tree(params))
        pure, state = params, whole.init(params)
        for _ in range(int(rng.integers(2, 7))):
            grads = random_tree(next(seeds), dtype, shapes=shapes)
            if len(rows) == 1:
                self.compare_with_formula(name, tx, grads, params)
            _core.force("scalar", fuse=False)
            with gm.num_threads(1):
                expected_report = plain.step(grads)
            expected = gm.state_digest((plain.params, plain.state))
            _core.force(str(rng.choice(self.tiers)), fuse=bool(rng.random() < 0.7))
            with gm.num_threads(int(rng.choice([1, 2, 3, 7]))):
                while rng.random() < 0.4:
                    self.break_off(name, opt, grads, breaker)
                if rng.random() < 0.05:
                    self.fork(name, opt, grads, expected)
                if not (rng.random() < 0.1 and self.interrupt(name, opt, grads, expected)):
                    self.expect(name, opt.step(grads) == expected_report, "report")
                updates, state = whole.update(grads, state, pure)
                pure = gm.apply_updates(pure, updates)
            self.count["steps"] += 3
            self.expect(name, gm.state_digest((opt.params, opt.state)) == expected, "in place")
            self.expect(name, gm.state_digest((pure, state)) == expected, "functional")
        self.count["optimizers"] += 1

    def expect(self, name: str, holds: bool, what: str) -> None:
        """Note what does not hold."""
        self.count["comparisons"] += 1
        if not holds:
            self.mismatches.append(f"{name}: {what}")

    def compare_with_formula(self, name: str, tx: Any, grads: Any, params: Any) -> None:
        """The first step of the chain alone, as its formulas are in float64."""
        wide = np.float64 if params["bias"].dtype == np.float64 else np.float32
        state = tx.init(params)
        exact = Oracle(tx, params, state).update(grads, state)
        updates, _ = tx.update(grads, state, params)
        size = float(np.sqrt(sum(np.sum(leaf**2) for leaf in exact)))
        error = squared_error(updates, exact) ** 0.5
        self.expect(
            name, error <= FAR[wide] * size + 1e-30, f"formula, off by {error:g} of {size:g}"
        )
        self.count["against formulas"] += 1

    def break_off(self, name: str, opt: gm.Optimizer, grads: Any, breaker: Breaker) -> None:
        """A step that fails, and must leave no trace."""
        failure = str(self.rng.choice(FAILURES))
        bad = BAD_LEAVES.get(failure)
        leaf = int(self.rng.integers(5))
        grads = grads if bad is None else with_bad_leaf(bad, grads, leaf)
        before = gm.state_digest((opt.params, opt.state))
        breaker.fails = failure
        try:
            opt.step(grads)
        except ERRORS:
            self.count[f"fault: {failure}"] += 1
        else:
            self.expect(name, holds=False, what=f"no error from {failure}")
        breaker.fails = ""
        self.expect(name, gm.state_digest((opt.params, opt.state)) == before, failure)

    def interrupt(self, name: str, opt: gm.Optimizer, grads: Any, expected: str) -> bool:
        """Whether a step was taken although an interrupt came in it, before it, or not at all."""
        before = gm.state_digest((opt.params, opt.state))
        try:
            with interrupted_after(self.rng.random() * 2e-3):
                opt.step(grads)
                time.sleep(0.003)
        except KeyboardInterrupt:
            self.count["interrupts"] += 1
        now = gm.state_digest((opt.params, opt.state))
        self.expect(name, now in (before, expected), "interrupt")
        return now == expected

    def fork(self, name: str, opt: gm.Optimizer, grads: Any, expected: str) -> None:
        """A child that takes the step as well."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                opt.step(grads)
                code = int(gm.state_digest((opt.params, opt.state)) != expected)
            finally:
                os._exit(code)
        deadline = time.monotonic() + CHILD
        while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.002)
        if done == (0, 0):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.count["forks"] += 1
        self.expect(name, done == (pid, 0), "fork")


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """A KeyboardInterrupt after so many seconds, if the block takes as long."""

    def raises(*_: object) -> None:
        raise KeyboardInterrupt

    usual = signal.signal(signal.SIGALRM, raises)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-5))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


@contextmanager
def other_threads() -> Iterator[None]:
    """Threads that are inside steps of their own most of the time, at the moment of a fork too."""
    done = threading.Event()

    def work(seed: int) -> None:
        params = random_tree(seed, shapes={"w": (300_000,)})["w"]
        opt = gm.Optimizer(gm.adam(0.1), params)
        while not done.is_set():
            opt.step(params.copy())
            time.sleep(0.05)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def main() -> None:
    """Run for the time that was asked for; fail if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", ".*fork.*")
    np.seterr(all="ignore")
    soak, start, rounds = Soak(arguments.seed), time.monotonic(), 0
    total = arguments.minutes * 60
    layout = "{l_bar}{bar}| {n:.0f}/{total:.0f} s {postfix}"
    with other_threads(), tqdm(total=total, bar_format=layout) as bar:
        while (elapsed := time.monotonic() - start) < total:
            soak.round(rounds)
            rounds += 1
            bar.n = elapsed
            bar.set_postfix(steps=soak.count["steps"], mismatches=len(soak.mismatches))
    _core.force()
    for what, number in sorted(soak.count.items()):
        print(f"{what:>20}: {number:,}")  # noqa: T201
    print(f"{'mismatches':>20}: {len(soak.mismatches)}", *soak.mismatches[:20], sep="\n")  # noqa: T201
    sys.exit(bool(soak.mismatches))


if __name__ == "__main__":
    main()
