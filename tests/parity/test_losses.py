"""Transformations that look at the loss, against optax's, with parameters that move."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._data.trees import flatten, tree_map
from gradmill.jax import to_optax
from tests.on_jax import to_jax
from tests.parity.test_optax import same_kind
from tests.trees import assert_close, bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree


@dataclass(frozen=True)
class Row:
    """One of them.

    Attributes:
        name: The test's name.
        make: Builds it from a module that has optax's names.
        loss: The loss of a step, of the mean square of the distance from the goal.
    """

    name: str
    make: Callable[[Any], Any]
    loss: Callable[[int, float], float] = lambda _, square: square


def rate(count: Any) -> Any:
    return 1.0 / (count + 1)


def noisy(at: int, _: float) -> float:
    return 1.0 + at * 7 % 5 - (at == 6) * 3


ROWS = [
    Row("momo", lambda m: m.contrib.momo()),
    Row("momo_low", lambda m: m.contrib.momo(rate, 0.5, 0.1, 0.01)),
    Row("momo_adapts", lambda m: m.contrib.momo(0.2, 0.8, -1.0, 0.1, adapt_lower_bound=True)),
    Row("momo_bounded", lambda m: m.contrib.momo(2.0, 0.5, 30.0, adapt_lower_bound=True)),
    Row("momo_adam", lambda m: m.contrib.momo_adam()),
    Row("momo_adam_low", lambda m: m.contrib.momo_adam(rate, 0.5, 0.9, 1e-3, 0.1, 0.01)),
    Row(
        "momo_adam_adapts",
        lambda m: m.contrib.momo_adam(0.2, 0.8, 0.9, 1e-3, -1.0, 0.1, adapt_lower_bound=True),
    ),
    Row(
        "momo_adam_bounded",
        lambda m: m.contrib.momo_adam(2.0, lower_bound=30.0, adapt_lower_bound=True),
    ),
    Row("reduce_on_plateau", lambda m: m.contrib.reduce_on_plateau(0.5, 2), noisy),
    Row(
        "reduce_on_plateau_args",
        lambda m: m.chain(
            m.sgd(0.1), m.contrib.reduce_on_plateau(0.3, 1, 0.0, 0.1, 2, 2, 0.05), m.scale(2.0)
        ),
        noisy,
    ),
    Row("momo_below", lambda m: m.contrib.momo(lower_bound=2.0), lambda at, _: 1.0 + at),
]

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)

TOLERANCE = {
    np.float32: {"rtol": 1e-4, "atol": 2e-6},
    np.float64: {"rtol": 1e-9, "atol": 1e-12},
}
STEPS = 10


def problem(row: Row, at: int, params: PyTree, goal: PyTree) -> tuple[PyTree, float]:
    """Gradients and the loss of a step."""
    grads = gm.tree.sub(params, goal)
    return grads, row.loss(at, float(gm.tree.norm(grads, squared=True)) / 2)


@each_row
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_ten_steps(row: Row, dtype: Any) -> None:
    # Branches as plain Python: optax would compile them anew in each step.
    with jax.enable_x64(dtype == np.float64), jax.disable_jit():
        ours, theirs = row.make(gm), row.make(optax)
        goal, params = random_tree(1, dtype), random_tree(0, dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        same_kind(state, their_state)
        for at in range(STEPS):
            grads, loss = problem(row, at, params, goal)
            updates, state = ours.update(grads, state, params, value=loss)
            expected, their_state = theirs.update(
                to_jax(grads), their_state, to_jax(params), value=loss
            )
            assert_close(updates, expected, **TOLERANCE[dtype])
            assert_close(state, their_state, **TOLERANCE[dtype])
            same_kind(state, their_state)
            params = gm.apply_updates(params, jax.tree.map(np.asarray, expected))


@each_row
def test_all_ways_give_the_same(row: Row) -> None:
    """In place, in a chain, beside a mask, from a pickle: the same bits; in JAX, the numbers."""
    tx, goal = row.make(gm), random_tree(1)
    params = random_tree(0)
    loaded = pickle.loads(pickle.dumps(tx))
    assert repr(loaded) == repr(tx)
    masked = gm.masked(gm.chain(tx, gm.identity()), tree_map(lambda _: True, params))
    opts = [gm.Optimizer(each, copy_tree(params)) for each in (tx, loaded, masked)]
    lowered = to_optax(tx)
    state, in_jax = tx.init(params), lowered.init(to_jax(params))
    update = jax.jit(lowered.update)
    for at in range(3):
        grads, loss = problem(row, at, params, goal)
        updates, state = tx.update(grads, state, params, value=loss)
        made, in_jax = update(to_jax(grads), in_jax, to_jax(params), value=loss)
        assert_close(made, updates, rtol=1e-4, atol=2e-6)
        assert_close(in_jax, state, rtol=1e-4, atol=2e-6)
        params = gm.apply_updates(params, updates)
        for opt in opts:
            opt.step(grads, value=loss)
            assert bits(opt.params) == bits(params)
            assert bits(flatten(opt.state)[0]) == bits(flatten(state)[0])


@each_row
def test_a_step_without_a_loss(row: Row) -> None:
    opt = gm.Optimizer(row.make(gm), random_tree(0))
    before = bits((opt.params, opt.state))
    with pytest.raises(ValueError, match="needs the loss"):
        opt.step(random_tree(1))
    with pytest.raises(TypeError, match="value must be a real number"):
        opt.step(random_tree(1), value="small")
    assert bits((opt.params, opt.state)) == before


@each_row
def test_gradients_of_zero(row: Row) -> None:
    tx, params = row.make(gm), random_tree(0)
    updates, _ = tx.update(tree_map(np.zeros_like, params), tx.init(params), params, value=1.0)
    assert all(np.isfinite(leaf).all() for leaf in flatten(updates)[0] if leaf is not None)
