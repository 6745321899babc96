"""GaLore against optax on two problems of matrices, and what it makes of their axes."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import GaLoreDimensionNumbers

import gradmill as gm
from gradmill.errors import LeafValueError, TreeError
from gradmill.jax import from_optax_state
from tests.on_jax import to_jax
from tests.parity.test_optax import same_kind
from tests.problems import Problem
from tests.trees import assert_close, bits

F32, F64 = np.float32, np.float64
STEPS = 10
# optax takes singular vectors in float32.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-5}


def parabola(params: Any) -> Any:
    wide, high, bias = params["wide"], params["high"], params["bias"]
    return jnp.sum((wide @ high - 1) ** 2) + jnp.sum(bias**2) + jnp.sum(wide**2)


def rosenbrock(params: Any) -> Any:
    """One in each row of two matrices."""

    def of_rows(x: Any) -> Any:
        return jnp.sum(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2)

    return of_rows(params["wide"]) + of_rows(params["high"]) + jnp.sum(params["bias"] ** 2)


RNG = np.random.default_rng(5)
START = {"wide": RNG.normal(size=(3, 5)), "high": RNG.normal(size=(5, 3)), "bias": [1.0, -1.0]}
PROBLEMS = [Problem("parabola", parabola, START), Problem("rosenbrock", rosenbrock, START)]

MASK = {"wide": True, "high": True, "bias": False}
KINDS: dict[str, Any] = {
    "adam": lambda m: m.contrib.galore(0.05, 2),
    "decay": lambda m: m.contrib.galore(0.05, 1, 20, 0.5, m.trace(0.9), 0.01, MASK),
    "often": lambda m: m.contrib.galore(1e-3, 2, 3, 0.5, m.scale(0.5)),
    "all": lambda m: m.contrib.scale_by_galore(
        2, weight_dimension_numbers=GaLoreDimensionNumbers(1, 0)
    ),
}


@cache
def optaxs(kind: str, dtype: Any) -> tuple[Any, Any]:
    """optax's transformation and its compiled update, the same for both problems."""
    theirs = KINDS[kind](optax)
    return theirs, jax.jit(theirs.update)


def up_to_signs(tree: Any) -> Any:
    return jax.tree.map(np.abs, tree)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_ten_steps(problem: Problem, kind: str, dtype: Any) -> None:
    """Both see the parameters that optax makes."""
    with jax.enable_x64(dtype == F64):
        ours, params = KINDS[kind](gm), problem.params(dtype)
        theirs, compiled = optaxs(kind, dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        same_kind(state, their_state)
        for _ in range(STEPS):
            _, grads = problem.value_and_grad(params)
            expected, their_state = compiled(to_jax(grads), their_state, to_jax(params))
            updates, state = ours.update(grads, state, params)
            assert_close(updates, expected, **TOLERANCE)
            assert_close(up_to_signs(state), up_to_signs(their_state), **TOLERANCE)
            same_kind(state, their_state)
            params = jax.tree.map(np.asarray, optax.apply_updates(to_jax(params), expected))


def test_states_of_optax_go_on() -> None:
    """With the basis that optax has chosen, its signs included."""
    ours, theirs = (m.contrib.galore(0.1, 2, 50) for m in (gm, optax))
    problem = PROBLEMS[0]
    params = problem.params(F32)
    _, grads = problem.value_and_grad(params)
    _, their_state = theirs.update(to_jax(grads), theirs.init(to_jax(params)), to_jax(params))
    updates, state = ours.update(grads, from_optax_state(their_state), params)
    expected, their_state = theirs.update(to_jax(grads), their_state, to_jax(params))
    assert_close(updates, expected, rtol=1e-5, atol=1e-6)
    assert_close(state, their_state, rtol=1e-5, atol=1e-6)


def test_signs_of_singular_vectors_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever a library chooses, momentum goes on in the basis that is turned least."""
    original, rng = np.linalg.svd, np.random.default_rng(0)
    problem = PROBLEMS[0]

    def run() -> Any:
        params = problem.params(F64)
        opt = gm.Optimizer(gm.contrib.galore(0.01, 2, 2, base_optimizer=gm.trace(0.9)), params)
        for _ in range(STEPS):
            opt.step(problem.value_and_grad(params)[1])
        return params

    def flipped(matrix: Any, **how: Any) -> Any:
        left, values, right = original(matrix, **how)
        signs = rng.choice([-1.0, 1.0], values.shape)
        return left * signs, values, signs[:, None] * right

    with jax.enable_x64(True):
        expected = run()
        monkeypatch.setattr(np.linalg, "svd", flipped)
        assert_close(run(), expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_what_has_low_rank_passes(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    grads = np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1]))
    tx = gm.contrib.scale_by_galore(1, base_optimizer=gm.identity())
    updates, state = tx.update(grads, tx.init(grads))
    np.testing.assert_allclose(updates, grads, rtol=1e-10, atol=1e-12)
    assert state.projector.shape == (max(shape), 1)


def test_a_nan_stays_in_its_leaf() -> None:
    grads = {"a": np.ones((3, 2), F32), "b": np.ones((3, 2), F32)}
    grads["b"][1, 1] = np.nan
    for m in (gm, optax):
        tx = m.contrib.scale_by_galore(1)
        updates, _ = tx.update(grads, tx.init(grads))
        assert np.isfinite(updates["a"]).all()
        assert np.isnan(updates["b"]).all()


def test_empty_matrices_and_leaves_without_a_gradient() -> None:
    params = {"empty": np.zeros((0, 3)), "w": np.ones((3, 2)), "none": None}
    tx = gm.contrib.scale_by_galore(2)
    updates, state = tx.update(params, tx.init(params))
    assert updates["empty"].shape == (0, 3)
    updates, after = tx.update({**params, "w": None}, state)
    assert updates["w"] is None
    assert bits(after.projector) == bits(state.projector)


def test_axes_of_one_leaf_alone() -> None:
    """As three axes seen as two, and as a matrix by itself."""
    grads = np.random.default_rng(2).normal(size=(4, 3, 2))
    axes = {"w": gm.contrib.GaLoreDimensionNumbers((0, -1), 1), "b": None}
    tx = gm.contrib.scale_by_galore(2, weight_dimension_numbers=axes)
    found, _ = tx.update({"w": grads, "b": grads}, tx.init({"w": grads, "b": grads}))
    flat, alone = grads.transpose(0, 2, 1).reshape(8, 3), gm.contrib.scale_by_galore(2)
    expected, _ = alone.update(flat, alone.init(flat))
    np.testing.assert_array_equal(found["w"].transpose(0, 2, 1).reshape(8, 3), expected)
    assert abs(found["b"]).min() > 0.99


NUMBERS = gm.contrib.GaLoreDimensionNumbers
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "vector": (
        {"b": NUMBERS()},
        LeafValueError,
        r"^params\['b'\]: has 1 axes, but a matrix has two",
    ),
    "twice": ({"w": NUMBERS(0, 0)}, LeafValueError, r"^params\['w'\]: lists an axis twice in"),
    "left": (
        {"t": NUMBERS(0, 1)},
        LeafValueError,
        r"^params\['t'\]: has axes that are neither",
    ),
    "key": ({"v": NUMBERS()}, TreeError, "^weight_dimension_numbers: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_axes_that_make_no_matrix(name: str) -> None:
    given, error, message = WRONG[name]
    params = {"w": np.ones((2, 3)), "b": np.ones(2), "t": np.ones((2, 3, 4))}
    axes = {**dict.fromkeys(params), **given}
    tx = gm.contrib.scale_by_galore(1, weight_dimension_numbers=axes)
    with pytest.raises(error, match=message):
        tx.init(params)


def test_arguments_that_are_refused() -> None:
    with pytest.raises(ValueError, match="rank must be at least 1"):
        gm.contrib.scale_by_galore(0)
    with pytest.raises(TypeError, match="update_proj_gap must be an integer"):
        gm.contrib.scale_by_galore(1, 2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="scale_by_galore takes a transformation"):
        gm.contrib.scale_by_galore(base_optimizer=gm.adam)  # type: ignore[arg-type]
