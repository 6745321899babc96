"""gradmill.projections against optax.projections, and against what a nearest point is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gradmill as gm
from gradmill import projections as ours
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.on_jax import to_jax
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

theirs: Any = optax.projections
JIT: Any = jax.jit
GRAD: Any = jax.grad
TREE = random_tree(1, np.float64)
OTHER = random_tree(2, np.float64)

# Of a module, a tree, another of the same structure, and numbers as bounds for all leaves.
CALLS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "non_negative": lambda m, x, a, like: m.projection_non_negative(x),
    "box": lambda m, x, a, like: m.projection_box(x, like(-0.5), like(0.25)),
    "hypercube": lambda m, x, a, like: m.projection_box(x, like(0.0), like(0.75)),
    "linf_ball": lambda m, x, a, like: m.projection_linf_ball(x, 0.5),
    "simplex": lambda m, x, a, like: m.projection_simplex(x),
    "simplex of 20": lambda m, x, a, like: m.projection_simplex(x, 20.0),
    "l1_sphere": lambda m, x, a, like: m.projection_l1_sphere(x, 3.0),
    "l1_sphere outside": lambda m, x, a, like: m.projection_l1_sphere(x, 1000.0),
    "l1_ball": lambda m, x, a, like: m.projection_l1_ball(x, 3.0),
    "l1_ball inside": lambda m, x, a, like: m.projection_l1_ball(x, 1000.0),
    "l2_sphere": lambda m, x, a, like: m.projection_l2_sphere(x, 2.0),
    "l2_ball": lambda m, x, a, like: m.projection_l2_ball(x, 2.0),
    "l2_ball inside": lambda m, x, a, like: m.projection_l2_ball(x, 1000.0),
    "vector": lambda m, x, a, like: m.projection_vector(x, a),
    "hyperplane": lambda m, x, a, like: m.projection_hyperplane(x, a, 0.5),
    "halfspace": lambda m, x, a, like: m.projection_halfspace(x, a, -100.0),
    "halfspace inside": lambda m, x, a, like: m.projection_halfspace(x, a, 100.0),
}


def filled(tree: Any) -> Callable[[float], Any]:
    return lambda number: gm.tree.full_like(tree, number)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_optax(dtype: Any) -> None:
    x, a = gm.tree.cast(TREE, dtype), gm.tree.cast(OTHER, dtype)
    kept = copy_tree((x, a))
    like = filled(x)
    with jax.enable_x64(dtype is np.float64):
        every = lambda x, a: [call(theirs, x, a, like) for call in CALLS.values()]
        program = JIT(every)
        expected = program(to_jax(x), to_jax(a))
        for (name, call), wanted in zip(CALLS.items(), expected, strict=True):
            found = call(ours, x, a, like)
            assert jax.tree.structure(found) == jax.tree.structure(wanted), name
            for key, leaf in found.items():
                if leaf is None:
                    continue
                assert leaf.dtype == dtype
                assert leaf.shape == wanted[key].shape
                assert not np.shares_memory(leaf, x[key])
                rtol = 1e-5 if dtype is np.float32 else 1e-12
                np.testing.assert_allclose(leaf, wanted[key], rtol, rtol, err_msg=name)
    assert bits((x, a)) == bits(kept)


def test_arrays_of_jax_in_a_program() -> None:
    x, a = gm.tree.cast(TREE, np.float32), gm.tree.cast(OTHER, np.float32)

    def every(m: Any, x: Any, a: Any) -> list[Any]:
        return [call(m, x, a, filled(x)) for call in CALLS.values()]

    program = JIT(lambda x, a: every(ours, x, a))
    found = program(to_jax(x), to_jax(a))
    for name, one, other in zip(CALLS, found, every(ours, x, a), strict=True):
        for leaf, wanted in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert isinstance(leaf, jax.Array)
            assert leaf.dtype == np.float32
            np.testing.assert_allclose(leaf, wanted, 1e-5, 1e-5, err_msg=name)


def test_sizes_and_derivatives_that_a_program_computes() -> None:
    zeros = jnp.zeros(3)

    def total(scale: Any) -> Any:
        found = [ours.projection_l2_ball(zeros, scale), ours.projection_l1_ball(zeros, scale)]
        return gm.tree.sum(found) + gm.tree.sum(ours.projection_simplex(zeros, scale))

    assert JIT(total)(2.0) == pytest.approx(2.0)
    assert np.isfinite(GRAD(total)(2.0))
    of_zeros = GRAD(lambda x: gm.tree.sum(ours.projection_l2_ball(x * 2.0, 1.0)))(zeros)
    assert np.isfinite(of_zeros).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_leaves_keep_their_dtypes(dtype: Any) -> None:
    x = {"one": np.array([300.0, -400.0], dtype), "two": np.array([1.0, -0.5])}
    for name, call in CALLS.items():
        found = call(ours, x, x, filled(x))
        assert {key: leaf.dtype for key, leaf in found.items()} == {
            "one": np.dtype(dtype),
            "two": np.dtype(np.float64),
        }, name
        assert np.isfinite(np.asarray(found["one"], np.float64)).all()
    # The square of the norm is more than float16 holds.
    unit = ours.projection_l2_sphere(x["one"])
    np.testing.assert_allclose(np.asarray(unit, np.float64), [0.6, -0.8], 1e-2)


def test_integers() -> None:
    whole = np.array([-2, 0, 3], np.int32)
    np.testing.assert_array_equal(ours.projection_box(whole, -1, 2), [-1, 0, 2])
    assert ours.projection_box(whole, -1, 2).dtype.kind == "i"
    assert ours.projection_non_negative(whole).dtype == np.int32
    np.testing.assert_array_equal(ours.projection_linf_ball(whole, 2.5), [-2.0, 0.0, 2.5])
    assert ours.projection_l2_ball(whole, 1.0).dtype == np.float32
    assert ours.projection_simplex(whole.astype(np.int64)).dtype == np.float64


def test_bounds_as_numbers_and_as_trees() -> None:
    x = {"w": np.array([-2.0, 0.5, 3.0]), "b": np.array(4.0), "none": None}
    low = {"w": np.array([-1.0, 1.0, -1.0]), "b": -1.0, "none": None}
    found = ours.projection_box(x, low, 2)
    np.testing.assert_array_equal(found["w"], [-1, 1, 2])
    assert found["b"] == 2
    assert found["none"] is None
    size = {"w": 0.25, "b": 8.0, "none": None}
    found = ours.projection_linf_ball(x, size)
    np.testing.assert_array_equal(found["w"], [-0.25, 0.25, 0.25])
    assert found["b"] == 4
    found = ours.projection_hypercube(x, 3)
    np.testing.assert_array_equal(found["w"], [0, 0.5, 3])
    np.testing.assert_array_equal(
        ours.projection_hypercube(x["w"], 3), theirs.projection_hypercube(x["w"], 3)
    )
    with pytest.raises(TreeError, match="lower: missing keys 'b', 'none'"):
        ours.projection_box(x, {"w": 0.0}, 1.0)


NUMBER = st.floats(-1e3, 1e3).map(lambda x: x if abs(x) > 1e-3 else 0.0)
VECTOR = arrays(np.float64, st.integers(1, 8), elements=NUMBER)
SIZE = st.floats(0.01, 100.0)

CONVEX: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "simplex": (
        ours.projection_simplex,
        lambda y, size: (y >= 0).all() and math.isclose(y.sum(), size, rel_tol=1e-9),
    ),
    "l1_ball": (ours.projection_l1_ball, lambda y, size: np.abs(y).sum() <= size * (1 + 1e-9)),
    "l2_ball": (ours.projection_l2_ball, lambda y, size: np.sum(y * y) <= size**2 * (1 + 1e-9)),
    "linf_ball": (ours.projection_linf_ball, lambda y, size: np.abs(y).max() <= size),
    "hypercube": (ours.projection_hypercube, lambda y, size: y.min() >= 0 and y.max() <= size),
}


@pytest.mark.parametrize("name", CONVEX)
@given(x=VECTOR, size=SIZE, seed=st.integers(0, 99))
def test_nearest_points_of_convex_sets(name: str, x: Any, size: float, seed: int) -> None:
    """The way to any point of the set leads away from where the projection came from."""
    project, lies_in = CONVEX[name]
    y = project(x, size)
    assert lies_in(y, size)
    np.testing.assert_allclose(project(y, size), y, 1e-9, 1e-9)
    other = project(np.random.default_rng(seed).normal(0, 2 * size, x.shape), size)
    assert (x - y) @ (other - y) <= 1e-7 * (1 + np.abs(x).max()) * size


@given(x=VECTOR, size=SIZE, seed=st.integers(0, 99))
def test_nearest_points_of_spheres(x: Any, size: float, seed: int) -> None:
    other = np.random.default_rng(seed).normal(0, 2 * size, x.shape)
    for project, order in ((ours.projection_l1_sphere, 1), (ours.projection_l2_sphere, 2)):
        y, away = project(x, size), project(other, size)
        assert math.isclose(np.linalg.norm(y, order), size, rel_tol=1e-9)
        assert np.linalg.norm(x - y) <= np.linalg.norm(x - away) + 1e-7


@given(x=VECTOR, b=NUMBER, seed=st.integers(0, 99))
def test_nearest_points_of_planes(x: Any, b: float, seed: int) -> None:
    a = np.random.default_rng(seed).normal(0, 1, x.shape)
    assume(np.linalg.norm(a) > 0.1)
    scale = 1 + np.abs(x).max() + abs(b)
    on = ours.projection_hyperplane(x, a, b)
    assert math.isclose(a @ on, b, abs_tol=1e-8 * scale)
    beside = ours.projection_halfspace(x, a, b)
    np.testing.assert_array_equal(beside, x if a @ x <= b else on)
    along = ours.projection_vector(x, a)
    np.testing.assert_allclose((x - along) @ a, 0, atol=1e-8 * scale)


@pytest.mark.parametrize("size", [1e-300, 1e-12, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e8, -1e300])
def test_sums_of_large_numbers(size: float, offset: float) -> None:
    x = np.array([0.0, 1.0, 2.0]) + offset
    assert math.isclose(ours.projection_simplex(x, size).sum(), size, rel_tol=1e-9)
    assert np.isfinite(ours.projection_l1_ball(x, size)).all()


def test_spheres_around_zeros() -> None:
    zeros = [np.zeros(3, np.float32), np.zeros((), np.float32)]
    assert all(np.isnan(leaf).all() for leaf in theirs.projection_l2_sphere(to_jax(zeros)))
    np.testing.assert_allclose(gm.tree.norm(ours.projection_l2_sphere(zeros, 2.0)), 2.0)
    x = np.array([0.0, -0.5], np.float32)
    assert np.abs(theirs.projection_l1_sphere(x, 2.0)).sum() == 1.25
    np.testing.assert_array_equal(ours.projection_l1_sphere(x, 2.0), [0.75, -1.25])


def test_sets_of_one_point() -> None:
    x = np.array([1.0, -2.0], np.float32)
    for name in ("simplex", "l1_ball", "l1_sphere"):
        project = f"projection_{name}"
        assert np.isnan(getattr(theirs, project)(x, 0.0)).all()
        np.testing.assert_array_equal(getattr(ours, project)(x, 0.0), [0.0, 0.0])
    zeros = np.zeros(2, np.float32)
    assert np.isnan(theirs.projection_l2_sphere(zeros, 0.0)).all()
    np.testing.assert_array_equal(ours.projection_l2_sphere(zeros, 0.0), zeros)
    np.testing.assert_array_equal(ours.projection_l2_ball(zeros, 0.0), zeros)
    assert np.isnan(theirs.projection_vector(x, zeros)).all()
    np.testing.assert_array_equal(ours.projection_vector(x, zeros), zeros)


def test_sets_without_a_point() -> None:
    x, zeros = np.array([1.0, -2.0], np.float32), np.zeros(2, np.float32)
    assert theirs.projection_simplex(x, -1.0).min() < 0
    for name in ("simplex", "l1_ball", "l1_sphere", "l2_ball", "l2_sphere", "linf_ball"):
        with pytest.raises(ValueError, match=r"scale must be at least 0\.0, got -1\.0"):
            getattr(ours, f"projection_{name}")(x, -1.0)
    for name in ("hyperplane", "halfspace"):
        assert np.isnan(getattr(theirs, f"projection_{name}")(x, zeros, -1.0)).all()
        with pytest.raises(ValueError, match="a must have a nonzero element"):
            getattr(ours, f"projection_{name}")(x, zeros, -1.0)


def test_projections_of_complex_numbers() -> None:
    x, a = np.array([1 + 2j, -1j, 3]), np.array([2 - 1j, 1 + 1j, 0.5j])
    assert abs(np.vdot(a, x - np.asarray(theirs.projection_vector(x, a)))) > 1
    assert abs(np.vdot(a, x - ours.projection_vector(x, a))) < 1e-12
    assert abs(np.vdot(a, np.asarray(theirs.projection_hyperplane(x, a, 1.0))) - 1) > 1
    assert abs(np.vdot(a, ours.projection_hyperplane(x, a, 1.0)) - 1) < 1e-12
    for name in ("l1_ball", "l1_sphere", "l2_ball", "l2_sphere"):
        both = [getattr(module, f"projection_{name}")(x, 2.0) for module in (ours, theirs)]
        np.testing.assert_allclose(both[0], both[1], 1e-5)
    for project in (ours.projection_simplex, ours.projection_non_negative):
        with pytest.raises(LeafValueError, match=r"tree\['w'\]: is complex"):
            project({"w": x})


@pytest.mark.parametrize("size", [1.0, math.inf])
def test_numbers_that_are_none(size: float) -> None:
    x = np.array([math.nan, 1.0])
    for name in ("simplex", "l1_ball", "l1_sphere", "l2_ball", "l2_sphere", "linf_ball"):
        assert np.isnan(getattr(ours, f"projection_{name}")(x, size)[0]), name


def test_trees_that_are_no_numbers() -> None:
    for project in (ours.projection_simplex, ours.projection_l2_ball, ours.projection_linf_ball):
        with pytest.raises(LeafTypeError, match=r"tree\['w'\]"):
            project({"w": "text"})
        assert project({}) == {}
        assert project({"none": None}) == {"none": None}
    with pytest.raises(TreeError, match="a: missing key 'w'"):
        ours.projection_vector({"w": np.ones(2)}, {})
    with pytest.raises(LeafValueError, match=r"a\['w'\]: shape \(1,\), x has \(2,\)"):
        ours.projection_hyperplane({"w": np.ones(2)}, {"w": np.ones(1)}, 1.0)


def test_names_are_those_of_optax() -> None:
    assert set(ours.__all__) == {name for name in dir(theirs) if not name.startswith("_")}
