"""Line searches against optax on two problems, and where they are to be safer."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from tests.on_jax import to_jax
from tests.parity.test_optax import same_kind
from tests.problems import PROBLEMS, Problem
from tests.trees import assert_close

F32, F64 = np.float32, np.float64
STEPS = 10
TOLERANCE = {F32: {"rtol": 2e-3, "atol": 2e-5}, F64: {"rtol": 1e-8, "atol": 1e-12}}


def after_sgd(search: Any) -> Any:
    return lambda m: m.chain(m.sgd(1.0), search(m))


SOLVERS: dict[str, Any] = {
    "backtracking": after_sgd(lambda m: m.scale_by_backtracking_linesearch(20)),
    "backtracking_grad": after_sgd(
        lambda m: m.scale_by_backtracking_linesearch(
            15, 0.1, 0.5, 3.0, 0.5, 1e-3, 1e-2, store_grad=True
        )
    ),
    "backtracking_few": after_sgd(lambda m: m.scale_by_backtracking_linesearch(9, 0.5, 0.6)),
    "zoom": after_sgd(lambda m: m.scale_by_zoom_linesearch(15)),
    # Three points of a parabola lie on no cubic but for what rounding makes of it, so begin where
    # none is asked for.
    "zoom_one": lambda m: m.chain(
        m.sgd(0.06), m.scale_by_zoom_linesearch(20, initial_guess_strategy="one")
    ),
    "zoom_steep": after_sgd(
        lambda m: m.scale_by_zoom_linesearch(
            15,
            tol=1e-3,
            slope_rtol=1e-2,
            curv_rtol=0.1,
            approx_dec_rtol=None,
            stepsize_precision=1e-4,
        )
    ),
    "zoom_short": after_sgd(
        lambda m: m.scale_by_zoom_linesearch(
            6, max_learning_rate=0.1, increase_factor=3.0, curv_rtol=1e-3
        )
    ),
    "lbfgs": lambda m: m.lbfgs(),
    "lbfgs_args": lambda m: m.lbfgs(0.5, 3, False, m.scale_by_backtracking_linesearch(30)),
}


COMBINATIONS = [
    pytest.param(
        name,
        problem,
        dtype,
        marks=pytest.mark.full if (solver + at + width) % 2 else [],
        id=f"{name}-{problem.name}-{dtype.__name__}",
    )
    for solver, name in enumerate(SOLVERS)
    for at, problem in enumerate(PROBLEMS)
    for width, dtype in enumerate((F32, F64))
]
"""Each costs a compilation; each two of solver, problem and dtype meet in one that always runs."""


@pytest.mark.parametrize(("name", "problem", "dtype"), COMBINATIONS)
def test_ten_steps(name: str, problem: Problem, dtype: Any) -> None:
    """Both see the parameters that optax makes; the state is each one's own."""
    with jax.enable_x64(dtype == F64):
        ours, theirs = map(SOLVERS[name], (gm, optax))

        def step(state: Any, params: Any, value: Any, grad: Any) -> Any:
            extra = {"value": value, "grad": grad, "value_fn": problem.value}
            return theirs.update(grad, state, params, **extra)

        compiled = jax.jit(step)
        params = problem.params(dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        same_kind(state, their_state)
        for _ in range(STEPS):
            value, grads = problem.value_and_grad(params)
            expected, their_state = compiled(their_state, *to_jax((params, value, grads)))
            updates, state = ours.update(
                grads,
                state,
                params,
                value=value,
                grad=grads,
                value_and_grad_fn=problem.value_and_grad,
            )
            assert_close(updates, expected, **TOLERANCE[dtype])
            assert_close(state, their_state, **TOLERANCE[dtype])
            same_kind(state, their_state)
            params = jax.tree.map(np.asarray, optax.apply_updates(to_jax(params), expected))


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.scale_by_backtracking_linesearch(5),
        lambda m: m.scale_by_zoom_linesearch(5),
    ],
    ids=["backtracking", "zoom"],
)
def test_a_value_of_nan_ends_with_its_step(make: Any) -> None:
    """optax goes on with a learning rate of zero for good."""
    ours, theirs = make(gm), make(optax)
    params = {"w": np.ones(2, F32)}
    states = [ours.init(params), theirs.init(params)]
    for value in (np.nan, 1.0):
        for at, (tx, extra) in enumerate(
            [
                (ours, {"value_and_grad_fn": lambda p: (np.sum(p["w"] ** 2) / 2, p)}),
                (theirs, {"value_fn": lambda p: jax.numpy.sum(p["w"] ** 2) / 2}),
            ]
        ):
            updates = {"w": -params["w"]}
            given = {"value": np.float32(value), "grad": params, **extra}
            _, states[at] = tx.update(updates, states[at], params, **given)
    assert [float(state.learning_rate) for state in states] == [1.0, 0.0]


def test_updates_of_nan_make_no_step() -> None:
    """optax multiplies them by zero, which leaves NaN."""
    ours, theirs = (m.scale_by_backtracking_linesearch(5) for m in (gm, optax))
    params, updates = np.ones(2, F32), np.array([np.nan, 1.0], F32)
    given = {"value": np.float32(1.0), "grad": params, "value_fn": lambda p: (p**2).sum()}
    expected, _ = theirs.update(to_jax(updates), theirs.init(params), to_jax(params), **given)
    found, _ = ours.update(updates, ours.init(params), params, **given)
    assert np.isnan(expected[0])
    assert found.tolist() == [0.0, 0.0]
