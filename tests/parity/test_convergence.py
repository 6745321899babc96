"""Optimizers reach a minimum in as many steps as optax's."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradmill as gm

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 1500

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "adabelief": lambda m: m.adabelief(1e-2),
    "adagrad": lambda m: m.adagrad(1.0),
    "adam": lambda m: m.adam(1e-1),
    "adamax": lambda m: m.adamax(1e-1),
    "adamaxw": lambda m: m.adamaxw(1e-1, weight_decay=0.0),
    "adamw": lambda m: m.adamw(1e-1, weight_decay=0.0),
    "adan": lambda m: m.adan(1e-1),
    "amsgrad": lambda m: m.amsgrad(1e-1),
    "lion": lambda m: m.lion(1e-2, b1=0.99, weight_decay=0.0),
    "nadam": lambda m: m.nadam(5e-2),
    "nadamw": lambda m: m.nadamw(5e-2, weight_decay=0.0),
    "novograd": lambda m: m.novograd(1e-3),
    "optimistic_gradient_descent": lambda m: m.optimistic_gradient_descent(3e-3, 0.7, 0.1),
    "radam": lambda m: m.radam(5e-2),
    "rmsprop": lambda m: m.rmsprop(5e-3, momentum=0.9),
    "rprop": lambda m: m.rprop(1e-2),
    "sgd": lambda m: m.sgd(1e-3, momentum=0.9),
    "sign_sgd": lambda m: m.sign_sgd(1e-2),
    "yogi": lambda m: m.yogi(1e-1, b1=0.99),
    "acprop": lambda m: m.contrib.acprop(1e-2),
    "adopt": lambda m: m.contrib.adopt(5e-2),
    "madgrad": lambda m: m.contrib.madgrad(1e-2),
    "prodigy": lambda m: m.contrib.prodigy(1e-1),
    "schedule_free_adamw": lambda m: m.contrib.schedule_free_adamw(1e-1, warmup_steps=5),
}


class Problem(NamedTuple):
    """A loss with a single minimum."""

    loss: Callable[[Any], Any]
    gradient: Callable[[Any], Any]
    first: list[float]
    least: list[float]


def _parabola(x: Any) -> Any:
    return ((x - jnp.asarray([1.0, -1.0, 1.0])) ** 2).sum()


def _rosenbrock(x: Any) -> Any:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def _slope_of_parabola(x: Any) -> Any:
    return 2 * (x - np.array([1.0, -1.0, 1.0]))


def _slope_of_rosenbrock(x: Any) -> Any:
    steep = 200 * (x[1] - x[0] ** 2)
    return np.array([-2 * (1 - x[0]) - 2 * x[0] * steep, steep])


PROBLEMS = {
    "parabola": Problem(_parabola, _slope_of_parabola, [-1.0, 10.0, 1.0], [1.0, -1.0, 1.0]),
    "rosenbrock": Problem(_rosenbrock, _slope_of_rosenbrock, [0.0, 0.0], [1.0, 1.0]),
}


@functools.cache
def distances_of_optax(name: str) -> dict[str, Any]:
    """How far each optimizer is from the minimum after each step, from one program for all."""
    problem = PROBLEMS[name]
    with jax.enable_x64(True):
        txs = {each: make(optax) for each, make in OPTIMIZERS.items()}
        first = jnp.asarray(problem.first)

        def step(carry: Any, _: Any) -> Any:
            new = {}
            for each, (params, state) in carry.items():
                grads = jax.grad(problem.loss)(params)
                updates, after = txs[each].update(grads, state, params)
                new[each] = optax.apply_updates(params, updates), after
            way = {each: _distance(params, problem) for each, (params, _) in new.items()}
            return new, way

        carry = {each: (first, tx.init(first)) for each, tx in txs.items()}
        found = jax.jit(lambda carry: jax.lax.scan(step, carry, length=STEPS)[1])(carry)
        return {each: np.asarray(way) for each, way in found.items()}


def _distance(params: Any, problem: Problem) -> Any:
    return abs(params - jnp.asarray(problem.least)).max()


def arrival(distances: Any) -> int | None:
    """The first step that leads near the minimum."""
    near = np.flatnonzero(np.asarray(distances) < 0.1)
    return int(near[0]) if near.size else None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_as_many_steps_as_optax(optimizer: str, name: str) -> None:
    problem = PROBLEMS[name]
    opt = gm.Optimizer(OPTIMIZERS[optimizer](gm), np.array(problem.first))
    distances = []
    for _ in range(STEPS):
        opt.step(problem.gradient(opt.params))
        distances.append(abs(opt.params - np.array(problem.least)).max())
    expected, found = arrival(distances_of_optax(name)[optimizer]), arrival(distances)
    if expected is None:
        # Some need more steps to come through the valley.
        assert found is None
        assert name == "rosenbrock"
    else:
        assert found is not None
        assert abs(found - expected) <= max(1, expected / 100)
