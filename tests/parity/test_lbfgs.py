"""L-BFGS against optax on two problems, and against the matrix that it stands for."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from tests.on_jax import to_jax
from tests.parity.test_optax import same_kind
from tests.problems import PARABOLA, PROBLEMS, Problem
from tests.trees import assert_close

F32, F64 = np.float32, np.float64
STEPS = 10
TOLERANCE = {F32: {"rtol": 2e-3, "atol": 2e-5}, F64: {"rtol": 1e-8, "atol": 1e-12}}
# Without a scale the first steps on Rosenbrock's function are as long as its gradients.
KINDS: dict[str, tuple[tuple[Any, ...], float]] = {
    "long": ((), -0.05),
    "short": ((2,), -0.05),
    "unscaled": ((3, False), -1e-3),
}


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_ten_steps(problem: Problem, kind: str, dtype: Any) -> None:
    """Both see the parameters that optax makes."""
    arguments, rate = KINDS[kind]
    with jax.enable_x64(dtype == F64):
        ours, theirs = (m.chain(m.scale_by_lbfgs(*arguments), m.scale(rate)) for m in (gm, optax))
        # One program, as optax would compile its loops anew in each step.
        update, params = jax.jit(theirs.update), problem.params(dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        same_kind(state, their_state)
        for _ in range(STEPS):
            _, grads = problem.value_and_grad(params)
            expected, their_state = update(to_jax(grads), their_state, to_jax(params))
            updates, state = ours.update(grads, state, params)
            assert_close(updates, expected, **TOLERANCE[dtype])
            assert_close(state, their_state, **TOLERANCE[dtype])
            same_kind(state, their_state)
            params = jax.tree.map(np.asarray, optax.apply_updates(to_jax(params), expected))


def test_the_matrix_of_the_formula() -> None:
    """That of the docstring, formed anew from the changes of the last steps."""
    rng, size, memory = np.random.default_rng(0), 5, 3
    root = rng.normal(size=(size, size))
    hessian = root @ root.T + np.eye(size)
    tx, params = gm.scale_by_lbfgs(memory), rng.normal(size=size)
    state = tx.init(params)
    changes: list[Any] = []
    for _ in range(7):
        grads = hessian @ params
        updates, state = tx.update(grads, state, params)
        if changes:
            s, y = changes[-1]
            matrix = np.eye(size) * (y @ s) / (y @ y)
            for s, y in changes[-memory:]:
                half = np.eye(size) - np.outer(s, y) / (y @ s)
                matrix = half @ matrix @ half.T + np.outer(s, s) / (y @ s)
            np.testing.assert_allclose(updates, matrix @ grads, rtol=1e-9)
        step = -0.1 * updates
        changes.append((step, hessian @ step))
        params = params + step


@pytest.mark.parametrize(
    ("size", "curvature", "theirs"), [(1e-25, 4.0, 4e-25), (1e-3, 4.0, 1e-3), (1e15, 4e10, np.nan)]
)
def test_changes_whose_product_is_no_float32(size: float, curvature: float, theirs: float) -> None:
    """The Hessian shows in their ratio."""
    nothing, params = np.zeros(2, F32), np.full(2, size, F32)
    results = []
    for tx in (gm.scale_by_lbfgs(), optax.scale_by_lbfgs()):
        _, state = tx.update(nothing, tx.init(nothing), nothing)
        updates, state = tx.update(curvature * params, state, params)
        results.append((updates, state.weights_memory))
    (ours, weights), (expected, _) = results
    np.testing.assert_allclose(ours, params, rtol=1e-6)
    np.testing.assert_allclose(expected, np.full(2, theirs, F32), rtol=1e-6)
    assert np.isfinite(weights).all()


def test_state_holds_no_array_of_the_user() -> None:
    tx, params, grads = gm.scale_by_lbfgs(), np.ones(2), np.ones(2)
    _, state = tx.update(grads, tx.init(params), params)
    assert not np.shares_memory(state.params, params)
    assert not np.shares_memory(state.updates, grads)


def test_a_parabola_in_place_is_solved_soon() -> None:
    params = PARABOLA.params(F64)
    opt = gm.Optimizer(gm.chain(gm.scale_by_lbfgs(), gm.scale(-1.0)), params)
    for _ in range(25):
        opt.step(PARABOLA.value_and_grad(params)[1])
    assert PARABOLA.value_and_grad(params)[0] < 1e-9


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (2.5, TypeError), ("3", TypeError)])
def test_sizes_that_are_none(size: Any, error: Any) -> None:
    with pytest.raises(error, match="memory_size must be"):
        gm.scale_by_lbfgs(size)
