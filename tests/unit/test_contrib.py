"""Algorithms of ``contrib`` against optax's, with parameters that move."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._data.trees import flatten, tree_map
from gradmill._plan.layout import links_of
from gradmill._run.trees import formula_of
from gradmill.errors import LeafValueError, TreeError
from tests.cases import CASES, Case
from tests.on_jax import to_jax
from tests.optax_runs import without_compilation
from tests.trees import assert_close, bits, copy_tree, random_tree

ROWS = [
    case
    for case in CASES
    if any(link.spec is None and formula_of(link.tx) for link in links_of(case.make(gm)))
]
"""Those with tree formulas."""

FROM_THE_START = [
    case for case in CASES if {"scale_by_cocob", "scale_by_madgrad"}.intersection(case.ops)
]
"""Those whose steps lead away from the first parameters."""

each_row = pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)

# Updates are differences of parameters, which are rounded to seven digits.
TOLERANCE = {
    np.float32: {"rtol": 1e-3, "atol": 2e-6},
    np.float64: {"rtol": 1e-9, "atol": 1e-12},
}
STEPS = 10


def as_numpy(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


@pytest.mark.parametrize(
    "case",
    [*[case for case in ROWS if not case.beyond], *FROM_THE_START],
    ids=lambda case: case.name,
)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_ten_steps_of_moving_parameters(case: Case, dtype: Any) -> None:
    """Gradients point away from a point, which the parameters approach; both see the same ones."""
    with jax.enable_x64(dtype == np.float64), without_compilation(case):
        ours, theirs = case.make(gm), case.make(optax)
        goal, params = random_tree(1, dtype), random_tree(0, dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        for _ in range(STEPS):
            grads = tree_of(lambda p, q: p - q, params, goal)
            expected, their_state = theirs.update(to_jax(grads), their_state, to_jax(params))
            updates, state = ours.update(grads, state, params)
            tolerance = TOLERANCE[np.float32 if case.single else dtype]
            tolerance = {name: bound * case.loose for name, bound in tolerance.items()}
            assert dtypes(updates) == dtypes(params)
            assert_close(updates, expected, **tolerance)
            assert_close(case.known(state), case.known(their_state), **tolerance)
            params = as_numpy(optax.apply_updates(to_jax(params), expected))


def dtypes(tree: Any) -> list[Any]:
    return [leaf.dtype for leaf in flatten(tree)[0] if leaf is not None]


def tree_of(function: Any, *trees: Any) -> Any:
    return {
        key: None if leaf is None else np.asarray(function(*(tree[key] for tree in trees)))
        for key, leaf in trees[0].items()
    }


@each_row
def test_explain_says_numpy(case: Case) -> None:
    assert "\nNumPy  " in str(gm.explain(case.make(gm), random_tree(0)))


@each_row
def test_leaves_without_a_gradient_stay(case: Case) -> None:
    tx, params = case.make(gm), random_tree(0)
    _, state = tx.update(random_tree(1), tx.init(params), params)
    grads = {**random_tree(2), "kernel": None}
    updates, after = tx.update(grads, state, params)
    assert updates["kernel"] is None
    kept, new = (
        [leaf for leaf in flatten(tree)[0] if np.shape(leaf) == (9, 7)] for tree in (state, after)
    )
    assert len(kept) == len(new)
    assert bits(kept) == bits(new)
    nothing = tree_map(lambda _: None, params)
    assert flatten(tx.update(nothing, after, params)[0])[0] == [None] * 6


@each_row
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_for_storage(case: Case, dtype: Any) -> None:
    """Numbers are those of float32, of the state as well."""
    tx = case.make(gm)
    params, grads = random_tree(0, dtype), random_tree(1, dtype)
    wide, wide_grads = (tree_map(lambda x: x.astype(np.float32), t) for t in (params, grads))
    state, expected = tx.init(params), tx.init(wide)
    assert bits(state) == bits(expected)
    updates, state = tx.update(grads, state, params)
    exact, expected = tx.update(wide_grads, expected, wide)
    # What a mask leaves out stays as it is.
    assert bits(tree_map(lambda x: x.astype(np.float32), updates)) == bits(exact)
    assert bits(state) == bits(expected)


@each_row
def test_a_partition_and_a_mask(case: Case) -> None:
    """A part alone gets the numbers that it gets in a tree of its own."""
    if any(link.masks and not callable(link.masks[0]) for link in links_of(case.make(gm))):
        pytest.skip("has a mask for the whole tree")
    tx = case.make(gm)
    whole, grads = random_tree(0), random_tree(1)
    part = {"kernel": whole["kernel"], "bias": whole["bias"]}
    mask = {key: key in part for key in whole}
    labels = {key: "own" if key in part else "other" for key in whole}
    alone = tx.update({key: grads[key] for key in part}, tx.init(part), part)[0]
    for around in (
        gm.masked(tx, mask),
        gm.partition({"own": tx, "other": gm.set_to_zero()}, labels),
        gm.chain(gm.masked(tx, mask), gm.identity()),
    ):
        opt, state = gm.Optimizer(around, copy_tree(whole)), around.init(whole)
        updates, state = around.update(grads, state, whole)
        opt.step(grads)
        assert bits({key: updates[key] for key in part}) == bits(alone)
        assert bits((opt.params, opt.state)) == bits((gm.apply_updates(whole, updates), state))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: c.schedule_free(3, 0.1), "schedule_free takes a transformation"),
        (lambda c: c.schedule_free(gm.sgd(0.1), 0.1, b1=0.0), "b1 must be greater than 0"),
        (lambda c: c.schedule_free_eval_params(gm.EmptyState(), 1.0), "takes a ScheduleFreeState"),
        (lambda c: c.prodigy(betas=(0.9, 1.0)), r"betas\[1\] must be less than 1"),
        (lambda c: c.prodigy(estim_lr0=0.0), "estim_lr0 must be greater than 0"),
        (lambda c: c.dadapt_adamw(eps=-1.0), "eps must be at least 0"),
        (lambda c: c.dog(init_step=("other", 1.0)), "init_step must begin with one of"),
        (lambda c: c.mechanize(gm.sgd(1.0), num_betas=0), "num_betas must be at least 1"),
        (lambda c: c.mechanize(None), "mechanize takes a transformation"),
        (lambda c: c.scale_by_muon(preconditioning="none"), "preconditioning must be one of"),
        (lambda c: c.scale_by_muon((1.0, 2.0)), r"ns_coeffs must have shape \(3,\) or \(n, 3\)"),
        (lambda c: c.scale_by_muon([(1, 0, 0)] * 6), "ns_coeffs has 6 rows, and ns_steps is 5"),
        (lambda c: c.muon(0.1, "other"), "ns_coeffs must be one of standard, dion"),
    ],
)
def test_arguments(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make(gm.contrib)


def test_schedule_free_evaluates_where_optax_does() -> None:
    theirs = optax.contrib.schedule_free_sgd(0.3)
    params = random_tree(0)
    updates, state = theirs.update(
        to_jax(random_tree(1)), theirs.init(to_jax(params)), to_jax(params)
    )
    params = as_numpy(optax.apply_updates(to_jax(params), updates))
    expected = optax.contrib.schedule_free_eval_params(state, to_jax(params))
    for tree in (params, to_jax(params)):
        assert_close(gm.contrib.schedule_free_eval_params(state, tree), expected, rtol=1e-6)
    half = tree_map(lambda x: x.astype(np.float16), params)
    assert gm.contrib.schedule_free_eval_params(state, half)["bias"].dtype == np.float16


@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "aol", "schatten"])
def test_matrices_become_orthogonal(preconditioning: Any) -> None:
    """Singular values are near one, tall and wide; as in optax, which takes arrays alone."""
    arguments = {"preconditioning": preconditioning, "ns_steps": 8}
    ours, theirs = (m.contrib.scale_by_muon(**arguments) for m in (gm, optax))
    for shape in ((9, 7), (3, 8), (1, 5)):
        grads = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        updates, _ = ours.update(grads, ours.init(grads))
        expected, _ = theirs.update(to_jax(grads), theirs.init(to_jax(grads)))
        np.testing.assert_allclose(updates, expected, rtol=1e-3, atol=1e-5)
        values = np.linalg.svd(updates, compute_uv=False)
        assert 0.6 < values.min() <= values.max() < 1.3


def test_axes_of_matrices() -> None:
    """A tensor is a row of matrices; axes may come in any order, trees may be upper parts."""
    axes = gm.contrib.MuonDimensionNumbers((0, -1), 2)
    tensor = np.random.default_rng(0).normal(size=(2, 3, 5, 2))
    plain = gm.contrib.scale_by_muon()
    tx = gm.contrib.scale_by_muon(weight_dimension_numbers={"a": axes, "b": [axes, None]})
    params = {"a": {"x": tensor}, "b": [tensor, None]}
    updates, _ = tx.update(params, tx.init(params))
    for at in range(3):
        matrix = tensor[:, at].transpose(0, 2, 1).reshape(4, 5)
        expected, _ = plain.update(matrix, plain.init(matrix))
        for made in (updates["a"]["x"], updates["b"][0]):
            rows = made[:, at].transpose(0, 2, 1).reshape(4, 5)
            np.testing.assert_allclose(rows, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((3,), None, r"updates\['w'\]: has 1 axes, but a matrix has two.* \(scale_by_muon\)"),
        ((2, 3, 2), None, "has 3 axes; pass MuonDimensionNumbers"),
        ((2, 3, 2), gm.contrib.MuonDimensionNumbers((0, 1), -2), "lists an axis twice"),
        ((2, 3), {"w": None}, "has no MuonDimensionNumbers"),
        ((2, 3), {"v": None}, "weight_dimension_numbers: "),
    ],
)
def test_what_is_no_matrix_is_named(shape: Any, axes: Any, message: str) -> None:
    tx, params = gm.contrib.scale_by_muon(weight_dimension_numbers=axes), {"w": np.ones(shape)}
    with pytest.raises((LeafValueError, TreeError), match=message):
        tx.update(params, tx.init(params))


def test_muon_takes_what_has_two_axes() -> None:
    params = {"w": np.ones((2, 3)), "b": np.ones(3), "empty": np.ones((0, 3)), "none": None}
    tx = gm.contrib.muon(0.1, nesterov=False)
    updates, state = tx.update(params, tx.init(params), params)
    assert state.inner_states["adam"].inner_state[0].mu["w"] == gm.MaskedNode()
    assert state.inner_states["muon"].inner_state[0].mu["b"] == gm.MaskedNode()
    np.testing.assert_allclose(updates["b"], -0.1, rtol=1e-6)
    assert updates["empty"].shape == (0, 3)


def test_an_estimate_beyond_the_range_of_its_state_is_infinite() -> None:
    params, grads = np.ones(2, np.float32), np.full(2, 1e19, np.float32)
    tx = gm.contrib.dog()
    first, own, last = tx.init(params)
    own = own._replace(is_init_step=np.False_, sum_sq_norm_grads=np.asarray(3e38, np.float32))
    _, (_, new, _) = tx.update(grads, (first, own, last), params)
    assert np.isposinf(new.sum_sq_norm_grads)
