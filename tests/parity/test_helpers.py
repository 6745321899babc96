"""Norms, eigenvalues and roots, old spellings and types, against optax."""

from __future__ import annotations

import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.transforms import unitwise_clip, unitwise_norm

GRAD: Any = jax.grad
X = np.array([[3.0, 4.0], [0.0, 0.5]], np.float32)


@pytest.mark.parametrize("min_norm", [0.25, 4.5])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"axis": 1},
        {"axis": 0, "keepdims": True},
        {"keepdims": True},
        {"axis": (0, 1)},
        {"ord": 1},
        {"ord": 1, "axis": 1},
        {"ord": np.inf, "axis": -1},
        {"ord": "fro"},
        {"ord": 2},
    ],
)
def test_safe_norms(given: dict[str, Any], min_norm: float) -> None:
    expected = np.asarray(optax.safe_norm(X, min_norm, **given))
    for found in (
        gm.safe_norm(X, min_norm, **given),
        gm.safe_norm(jnp.asarray(X), min_norm, **given),
    ):
        assert np.shape(found) == expected.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, 1e-6)


def test_safe_norms_of_other_arrays() -> None:
    for x in (np.array([1 + 1j, 2], np.complex64), np.array(3.0, np.float32), np.ones((2, 2, 2))):
        np.testing.assert_allclose(gm.safe_norm(x, 1.0), optax.safe_norm(x, 1.0), 1e-6)
        ours, theirs = gm.safe_root_mean_squares(x, 0.1), optax.safe_root_mean_squares(x, 0.1)
        np.testing.assert_allclose(ours, theirs, 1e-6)
    assert gm.safe_norm(np.array([], np.float32), 0.5) == 0.5
    assert math.isnan(gm.safe_norm(np.array([math.nan, 2.0]), 1.0))
    large = np.array([[1e4, 1e4]], np.float16)
    assert np.isinf(optax.safe_norm(large, 1.0, axis=1)).all()
    assert gm.safe_norm(large, 1.0, axis=1) == np.float16(14142)
    assert gm.safe_norm(np.array([3, 4]), 1.0) == 5.0
    with pytest.raises(ValueError, match="min_norm"):
        gm.safe_norm(X, math.nan)


def test_derivatives_of_norms_of_zeros() -> None:
    zeros = jnp.zeros(3)
    assert (GRAD(lambda x: gm.safe_norm(x, 0.1))(zeros) == 0).all()
    assert (GRAD(lambda x: gm.safe_root_mean_squares(x, 0.1))(zeros) == 0).all()
    theirs = GRAD(lambda x: optax.safe_norm(x, 0.1))(jnp.ones(3))
    np.testing.assert_allclose(GRAD(lambda x: gm.safe_norm(x, 0.1))(jnp.ones(3)), theirs)


def test_root_mean_squares() -> None:
    for least in (1.0, 10.0):
        ours, theirs = gm.safe_root_mean_squares(X, least), optax.safe_root_mean_squares(X, least)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, 1e-6)
    assert math.isnan(optax.safe_root_mean_squares(np.array([]), 1.0))
    assert gm.safe_root_mean_squares(np.array([]), 1.0) == 1.0


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (3, 1), (2, 2, 2), (2, 2, 3, 4)])
def test_norms_of_units(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = np.asarray(optax.transforms.unitwise_norm(x))
    for found in (unitwise_norm(x), unitwise_norm(jnp.asarray(x))):
        np.testing.assert_allclose(found, np.broadcast_to(expected, shape), 1e-6)
    limits = np.full(shape, 0.5, np.float32)
    ours = unitwise_clip(unitwise_norm(x), limits, x)
    theirs = optax.transforms.unitwise_clip(jnp.broadcast_to(expected, shape), limits, x)
    np.testing.assert_allclose(ours, theirs, 1e-6)
    if len(shape) == 2:
        by_row = optax.transforms.unitwise_norm(x, axis=1)
        np.testing.assert_allclose(unitwise_norm(x, axis=1), by_row, 1e-6)
    if shape:
        with pytest.raises(ValueError, match="expected equal ones"):
            unitwise_clip(np.ones(()), limits, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_iters", [0, 1, 2, 100])
def test_power_iteration(num_iters: int, dtype: Any) -> None:
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]], dtype)
    with jax.enable_x64(dtype is np.float64):
        start = np.ones(2, dtype)
        wanted = optax.power_iteration(
            jnp.asarray(matrix), v0=jnp.asarray(start), num_iters=num_iters
        )
    found = gm.power_iteration(matrix, v0=start, num_iters=num_iters)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, 2e-6, 2e-6)


def test_power_iteration_of_functions_and_from_random_vectors() -> None:
    double = lambda v: {"a": 2 * v["a"], "b": 0.5 * v["b"]}
    value, vector = gm.power_iteration(double, v0={"a": np.ones(2), "b": np.ones(1)})
    assert value == pytest.approx(2)
    np.testing.assert_allclose(vector["a"], math.sqrt(0.5), 1e-5)
    matrix = np.diag([1.0, -5.0, 2.0])
    for key in (None, 3):
        value, vector = gm.power_iteration(matrix, key=key)
        assert value == pytest.approx(-5)
        np.testing.assert_allclose(np.abs(vector), [0, 1, 0], atol=1e-5)
    assert np.isnan(optax.power_iteration(jnp.zeros((2, 2)))[0])
    value, vector = gm.power_iteration(np.zeros((2, 2)))
    assert value == 0
    assert np.linalg.norm(vector) == pytest.approx(1)
    with pytest.raises(ValueError, match="v0 is required"):
        gm.power_iteration(double)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected a square one"):
        gm.power_iteration(np.ones((2, 3)))


def positive_matrix(seed: int) -> Any:
    half = np.random.default_rng(seed).normal(size=(5, 5)).astype(np.float32)
    return half @ half.T + np.eye(5, dtype=np.float32)


def test_third_roots() -> None:
    matrix = positive_matrix(3)
    theirs, _ = optax.matrix_inverse_pth_root(jnp.asarray(matrix), 3)
    assert np.abs(np.linalg.matrix_power(theirs, 3) @ matrix - np.eye(5)).max() > 0.3
    ours, _ = gm.matrix_inverse_pth_root(matrix, 3)
    assert np.abs(np.linalg.matrix_power(ours, 3) @ matrix - np.eye(5)).max() < 1e-4


@pytest.mark.parametrize("p", [1, 2, 4, 8])
def test_roots_of_inverses(p: int) -> None:
    matrix = positive_matrix(p)
    theirs, _ = optax.matrix_inverse_pth_root(jnp.asarray(matrix), p)
    ours, error = gm.matrix_inverse_pth_root(matrix, p)
    assert (ours.dtype, error.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(ours, theirs, 1e-3, 1e-4)
    assert error < 1e-10


def test_roots_of_other_matrices() -> None:
    root, error = gm.matrix_inverse_pth_root(np.zeros((2, 2)), 2)
    np.testing.assert_allclose(root, 1e6 * np.eye(2))
    assert error < 1e-6
    assert np.isnan(gm.matrix_inverse_pth_root(np.full((2, 2), np.nan), 2)[0]).all()
    stiff = np.diag([1e-8, 1e8]).astype(np.float32)
    ours, theirs = gm.matrix_inverse_pth_root(stiff, 2), optax.matrix_inverse_pth_root(stiff, 2)
    np.testing.assert_allclose(ours[0], theirs[0], 1e-5)
    with pytest.raises(ValueError, match="eigenvalue -1, but must be positive semidefinite"):
        gm.matrix_inverse_pth_root(np.diag([-1.0, 1.0]), 2)
    with pytest.raises(ValueError, match="p must be at least 1"):
        gm.matrix_inverse_pth_root(np.eye(2), 0)
    with pytest.raises(TypeError, match="p must be an integer"):
        gm.matrix_inverse_pth_root(np.eye(2), 2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="matrix: dtype int64"):
        gm.matrix_inverse_pth_root(np.ones((2, 2), np.int64), 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("condition", [1e2, 1e6, 1e11, 1e16])
def test_roots_of_matrices_that_rounding_made_indefinite(dtype: Any, condition: float) -> None:
    """What is below zero by no more than that is zero, and the error says how far it is off."""
    axes, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))
    matrix = ((axes * np.geomspace(1, 1 / condition, 16)) @ axes.T).astype(dtype)
    matrix = np.maximum(matrix, matrix.T)
    root, error = gm.matrix_inverse_pth_root(matrix, 4, ridge_epsilon=1e-12)
    assert (root.dtype, error.dtype) == (dtype, dtype)
    assert np.isfinite(root.astype(float)).all()
    if condition * np.finfo(np.float32).eps < 0.2 and np.dtype(dtype).itemsize > 2:
        assert error < 1e-6
    with pytest.raises(ValueError, match="must be positive semidefinite"):
        gm.matrix_inverse_pth_root(matrix - np.asarray(0.5, dtype) * np.eye(16, dtype=dtype), 4)


def test_old_spellings() -> None:
    for name in dir(optax):
        if name.endswith("State") and getattr(optax, name) is optax.EmptyState:
            assert getattr(gm, name) is gm.EmptyState, name
    assert gm.contrib.NormalizeState is gm.EmptyState
    assert gm.MultiTransformState is gm.PartitionState
    assert gm.multi_transform is gm.partition
    assert gm.inject_stateful_hyperparams is gm.schedules.inject_hyperparams
    assert gm.InjectHyperparamsState._fields == optax.InjectHyperparamsState._fields
    assert gm.schedules.InjectStatefulHyperparamsState is gm.InjectStatefulHyperparamsState
    assert gm.safe_int32_increment(np.int32(2)) == 3
    assert gm.tree_map_params is gm.tree.map_params
    with pytest.raises(AttributeError, match=r"'gradmill\.schedules' has no attribute 'nothing'"):
        gm.schedules.nothing  # noqa: B018  (the look-up is what fails)
    assert {"inject_hyperparams", "cosine_decay_schedule"} <= set(dir(gm.schedules))
    assert gm.Schedule
    assert gm.ScalarOrSchedule


SPACES = [
    "",
    "contrib",
    "optimizers",
    "projections",
    "schedules",
    "transforms",
    "tree",
    "tree_utils",
]


@pytest.mark.parametrize("name", [*SPACES, "tree", "tree_utils"])
def test_public_names_are_listed(name: str) -> None:
    space = getattr(gm, name) if name else gm
    assert sorted(space.__all__) == sorted(set(space.__all__))
    assert all(hasattr(space, one) for one in space.__all__)
    assert not any(one.startswith("_") for one in space.__all__)
    own = {one for one, value in vars(space).items() if not inspect.ismodule(value)}
    assert {one for one in own if not one.startswith("_")} <= set(space.__all__)
