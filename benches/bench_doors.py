"""What gates, injected numbers, schedules and the functional door cost: ``make bench-doors``.

Steps over the small network on one thread, each as a multiple of the plain step in place, taken in
turn with it.
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import _machine
import gradmill as gm
from _contenders import Contender
from _measure import Effort, measure
from _report import _aligned, duration, head
from _settings import DECAY, DECAY_STEPS, RATE, WARMUP_STEPS
from _trees import SIZES

if TYPE_CHECKING:
    from collections.abc import Callable

    from _settings import Step
    from _trees import Size

PLAIN, PLAIN_ADAM = "adamw", "adam"


def _adamw(rate: Any = RATE) -> Any:
    return gm.adamw(rate, weight_decay=DECAY)


def _schedule() -> Any:
    return gm.warmup_cosine_decay_schedule(0.0, RATE, WARMUP_STEPS, DECAY_STEPS)


def _injected(rate: Any) -> Any:
    return gm.inject_hyperparams(gm.adam)(learning_rate=rate)


TRANSFORMATIONS: dict[str, Callable[[], Any]] = {
    PLAIN: _adamw,
    "schedule": lambda: _adamw(_schedule()),
    "MultiSteps(4)": lambda: gm.MultiSteps(_adamw(), 4).gradient_transformation(),
    "MultiSteps, collecting": lambda: gm.MultiSteps(_adamw(), 2**30).gradient_transformation(),
    "MultiSteps, emitting": lambda: gm.MultiSteps(_adamw(), 1).gradient_transformation(),
    "apply_if_finite": lambda: gm.apply_if_finite(_adamw(), 3),
    "conditionally_transform": lambda: gm.conditionally_transform(_adamw(), lambda step: step >= 0),
    "apply_every(4)": lambda: gm.apply_every(4, _adamw()),
    PLAIN_ADAM: lambda: gm.adam(RATE),
    "injected": lambda: _injected(RATE),
    "injected schedule": lambda: _injected(_schedule()),
}

BOUNDS = {
    "schedule": 1.1,
    "MultiSteps(4)": 1.5,
    "MultiSteps, collecting": 1.5,
    "MultiSteps, emitting": 1.5,
    "apply_if_finite": 1.5,
    "conditionally_transform": 1.5,
    "apply_every(4)": 1.5,
    "injected": 2.0,
    "injected schedule": 2.0,
    "injected, assigned": 2.0,
    "injected, written": 2.0,
}
"""What a step in place is to take at most, in plain steps."""

BOUND_OF_PURE = 3.0
"""The same of a functional step without anything in front of the chain."""


def in_place(tx: Any, size: Size) -> Step:
    """Steps through the door in place."""
    return partial(gm.Optimizer(tx, size.normal(1, 1.0)).step, size.normal(2, 0.1))


def functional(tx: Any, size: Size) -> Step:
    """Steps through the functional door, each from what the one before has made."""
    params, grads = size.normal(1, 1.0), size.normal(2, 0.1)
    state = tx.init(params)

    def step() -> None:
        nonlocal params, state
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)

    return step


def assigned(size: Size) -> Step:
    """Steps in place with another learning rate each, assigned to the state."""
    opt, grads = gm.Optimizer(_injected(RATE), size.normal(1, 1.0)), size.normal(2, 0.1)
    rates = itertools.cycle(RATE * np.linspace(1.0, 0.5, 1000))

    def step() -> None:
        opt.state.hyperparams["learning_rate"] = next(rates)
        opt.step(grads)

    return step


def written(size: Size) -> Step:
    """The same with learning rates that are written into the state's arrays."""
    opt, grads = gm.Optimizer(_injected(RATE), size.normal(1, 1.0)), size.normal(2, 0.1)
    rates = itertools.cycle(RATE * np.linspace(1.0, 0.5, 1000))

    def step() -> None:
        opt.state.hyperparams["learning_rate"][...] = next(rates)
        opt.step(grads)

    return step


def contenders(size: Size) -> list[Contender]:
    """The plain step, and all others by what they are called."""
    steps = {name: in_place(build(), size) for name, build in TRANSFORMATIONS.items()}
    steps["injected, assigned"], steps["injected, written"] = assigned(size), written(size)
    for name, build in TRANSFORMATIONS.items():
        steps[f"{name}, functional"] = functional(build(), size)
    return [Contender(name, step, list) for name, step in steps.items()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="mlp")
    parser.add_argument("--rounds", type=int, default=51)
    options = parser.parse_args()
    print(head(_machine.facts()), flush=True)
    effort = Effort(least=options.rounds, most=options.rounds, seconds=0.0)
    with gm.num_threads(1):
        found = measure(contenders(SIZES[options.size]), effort)
    rows = []
    for name in [*TRANSFORMATIONS, "injected, assigned", "injected, written"]:
        cells = [name]
        bounds = [BOUNDS.get(name), BOUND_OF_PURE if name == PLAIN else None]
        for column, bound in zip((name, f"{name}, functional"), bounds, strict=True):
            timing = found.get(column)
            cells += (
                ["-", "-", "-"]
                if timing is None
                else [
                    duration(timing.median),
                    f"{timing.ratio:.2f}",
                    "-" if bound is None else f"{bound:.1f}",
                ]
            )
        rows.append(cells)
    heading = [options.size, "in place", "ratio", "at most", "functional", "ratio", "at most"]
    print("\n".join(_aligned([heading, *rows])))


if __name__ == "__main__":
    main()
