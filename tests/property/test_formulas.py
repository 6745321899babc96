"""Ops that the core does not list run by their formulas, with the numbers of the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import gradmill as gm
from gradmill._ops.op import OPS
from gradmill._run.formulas import FormulaRun
from gradmill._run.runs import runs_of
from tests.cases import CASES, Case
from tests.trees import assert_close, bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = [case for case in CASES if case.ops and not case.python]
STEPS = 4
CLOSE = {"rtol": 2e-5, "atol": 2e-7}


@pytest.fixture
def no_kernels() -> Iterator[None]:
    """The core lists no op."""
    kept = {name: vars(op).copy() for name, op in OPS.items()}
    for op in OPS.values():
        vars(op)["is_native"] = False
    yield
    for name, op in OPS.items():
        vars(op).clear()
        vars(op).update(kept[name])


def run(tx: Any, dtype: Any) -> list[Any]:
    """Updates and states of some steps, which write to no argument."""
    params, made = random_tree(0, dtype), []
    state = tx.init(params)
    for seed in range(1, STEPS + 1):
        grads = random_tree(seed, dtype)
        before = bits((params, grads, state))
        updates, new = tx.update(grads, state, params)
        assert bits((params, grads, state)) == before
        made.append((updates, new))
        state = new
    return made


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_formulas_have_the_numbers_of_kernels(case: Case, no_kernels: None) -> None:
    assert any(isinstance(one, FormulaRun) for one in runs_of(case.make(gm)))
    by_formula = run(case.make(gm), np.float32)
    opt = gm.Optimizer(case.make(gm), random_tree(0))
    for seed in range(1, STEPS + 1):
        opt.step(random_tree(seed))
    in_place = copy_tree(opt.params), copy_tree(opt.state)
    for op in OPS.values():
        del vars(op)["is_native"]
    scale = max(case.loose, 1.0)
    tolerance = {name: bound * scale for name, bound in CLOSE.items()}
    assert_close(by_formula, run(case.make(gm), np.float32), **tolerance)
    opt = gm.Optimizer(case.make(gm), random_tree(0))
    for seed in range(1, STEPS + 1):
        opt.step(random_tree(seed))
    assert_close(in_place, (opt.params, opt.state), **tolerance)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_formulas_have_the_dtypes_of_kernels(dtype: Any, no_kernels: None) -> None:
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1), gm.centralize())
    for updates, state in run(tx, dtype):
        wide = np.float64 if dtype is np.float64 else np.float32
        assert updates["kernel"].dtype == wide
        assert gm.tree.get(state, "mu")["kernel"].dtype == wide


def test_formulas_beneath_masks_labels_and_gates(no_kernels: None) -> None:
    params = random_tree(0)
    inner = gm.adam(0.1)
    for tx in (
        gm.masked(inner, lambda tree: {key: key != "bias" for key in tree}),
        gm.partition({"a": inner, "b": gm.sgd(0.1)}, lambda tree: dict.fromkeys(tree, "a")),
        gm.apply_if_finite(inner, 2),
        gm.MultiSteps(inner, 2).gradient_transformation(),
        gm.conditionally_transform(inner, lambda step: step % 2 == 0),
        gm.inject_hyperparams(gm.adamw)(0.1),
    ):
        state = tx.init(params)
        for seed in range(1, STEPS + 1):
            grads = random_tree(seed)
            if seed == 2:
                grads["bias"][0] = np.nan
            _, state = tx.update(grads, state, params)
    skipped, _ = gm.apply_if_finite(inner, 2).update(
        {**random_tree(1), "bias": np.full(5, np.nan, np.float32)},
        gm.apply_if_finite(inner, 2).init(params),
        params,
    )
    assert not skipped["kernel"].any()


def test_explain_says_what_runs_in_numpy(no_kernels: None) -> None:
    plan = gm.explain(gm.chain(gm.trace(0.9), gm.scale(-0.1)), np.ones(3))
    assert "NumPy               trace, scale: new arrays" in str(plan)


@pytest.mark.parametrize(
    ("grads", "problem"),
    [
        ({"w": np.ones(3, np.float32)}, r"updates\['w'\]: shape \(3,\), params has \(2,\)"),
        ({"w": np.ones(2, np.int64)}, r"updates\['w'\]: dtype int64, expected"),
    ],
)
def test_formulas_name_the_leaf(grads: Any, problem: str, no_kernels: None) -> None:
    params = {"w": np.ones(2, np.float32)}
    tx = gm.chain(gm.add_decayed_weights(0.1), gm.trace(0.9))
    with pytest.raises(gm.errors.GradmillError, match=problem):
        tx.update(grads, tx.init(params), params)
