"""What a step reports on demand, and gradients that it zeroes, change no bit of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._run.bound import ANYTHING
from gradmill.errors import LeafTypeError, LeafValueError
from tests.cases import CASES
from tests.trees import bits, copy_tree, random_tree

NORMS = ("update_norm", "param_norm")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_norms_are_those_of_updates_and_parameters(case: Any) -> None:
    tx = case.make(gm)
    plain, asked = (gm.Optimizer(case.make(gm), random_tree(0)) for _ in range(2))
    state = tx.init(plain.params)
    for seed in range(1, 4):
        grads = random_tree(seed)
        before = copy_tree(asked.params)
        updates, state = tx.update(grads, state, before)
        plain.step(copy_tree(grads))
        report = asked.step(grads, report=NORMS, zero_grads=True)
        assert report.update_norm == pytest.approx(gm.global_norm(updates), rel=1e-9)
        written = [leaf for leaf in asked._leaves if leaf is not ANYTHING and leaf is not None]
        own = [old for name, old in before.items() if any(asked.params[name] is x for x in written)]
        assert report.param_norm == pytest.approx(gm.global_norm(own), rel=1e-9)
        assert not any(leaf.any() for leaf in grads.values() if leaf is not None)
    assert bits((asked.params, asked.state)) == bits((plain.params, plain.state))


def arrays(layout: str, dtype: Any) -> Any:
    rng = np.random.default_rng(0)
    leaves = [rng.normal(size=(301, 307)), rng.normal(size=(5, 7))]
    if layout == "strided":
        return [np.repeat(leaf, 2, axis=1).astype(dtype)[:, ::2] for leaf in leaves]
    return [np.array(leaf, dtype, order="F" if layout == "fortran" else "C") for leaf in leaves]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layout", ["dense", "fortran", "strided"])
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (np.float32, {}),
        (np.float64, {}),
        (np.float16, {}),
        (np.float16, {"master": True}),
        (np.float16, {"rounding": "stochastic", "seed": 3}),
    ],
)
def test_in_any_layout(dtype: Any, options: Any, layout: str, threads: int) -> None:
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1))
    plain, asked = (gm.Optimizer(tx, arrays(layout, dtype), **options) for _ in range(2))
    for _ in range(2):
        before = [np.array(leaf, np.float64) for leaf in asked.master]
        grads = arrays(layout, dtype)
        with gm.num_threads(threads):
            plain.step(grads)
            report = asked.step(grads, report=NORMS)
        size = np.sqrt(sum((leaf**2).sum() for leaf in before))
        assert report.param_norm == pytest.approx(size, rel=1e-9)
        pairs = zip(asked.master, before, strict=True)
        moved = np.sqrt(sum(((np.float64(new) - old) ** 2).sum() for new, old in pairs))
        loose = 1e-2 if dtype == np.float16 and "master" not in options else 1e-5
        assert report.update_norm == pytest.approx(moved, rel=loose)
    assert bits((asked.params, asked.master, asked.state)) == bits(
        (plain.params, plain.master, plain.state)
    )


@pytest.mark.parametrize(
    ("tx", "rates"),
    [
        (gm.adamw(0.1), [0.1, 0.1]),
        (gm.chain(gm.clip(1.0), gm.sgd(gm.linear_schedule(1.0, 0.0, 4))), [1.0, 0.75]),
        (gm.inject_hyperparams(gm.adam)(gm.linear_schedule(1.0, 0.0, 4)), [1.0, 0.75]),
        (gm.chain(gm.scale_by_adam(), gm.scale_by_learning_rate(0.5, flip_sign=False)), [0.5, 0.5]),
        (gm.scale_by_adam(), [None, None]),
        (gm.contrib.muon(0.2), [0.2, 0.2]),
    ],
)
def test_the_learning_rate_of_a_step(tx: Any, rates: Any) -> None:
    opt = gm.Optimizer(tx, np.ones(3))
    reports = [opt.step(np.ones(3), report=["learning_rate"]) for _ in rates]
    assert [report.learning_rate for report in reports] == pytest.approx(rates)
    assert opt.step(np.ones(3)).learning_rate is None


def test_a_ratio_over_nothing() -> None:
    opt = gm.Optimizer(gm.sgd(1.0), np.zeros(2))
    ratio = ["update_ratio"]
    assert opt.step(np.zeros(2), report=ratio).update_ratio == 0.0
    assert opt.step(np.ones(2), report=ratio).update_ratio == np.inf
    assert opt.step(np.ones(2), report=ratio).update_ratio == 1.0
    assert opt.step(np.ones(2)).update_ratio is None


def test_names_that_no_step_reports() -> None:
    opt = gm.Optimizer(gm.sgd(1.0), np.zeros(2))
    for report in (["update_norm", "loss"], "loss"):
        with pytest.raises(ValueError, match="unknown in report: 'loss'"):
            opt.step(np.ones(2), report=report)
    assert opt.step(np.ones(2), report="update_norm").update_norm == pytest.approx(2**0.5)


def test_gradients_that_cannot_be_zeroed() -> None:
    opt = gm.Optimizer(gm.sgd(1.0), {"a": np.zeros(2), "b": np.zeros(2)})
    fixed = np.ones(2)
    fixed.flags.writeable = False
    other: Any = memoryview(bytearray(16))
    for grad, error in (
        (fixed, LeafValueError),
        ([1.0, 1.0], Exception),
        (other, LeafTypeError),
    ):
        with pytest.raises(error):
            opt.step({"a": np.ones(2), "b": grad}, zero_grads=True)
    assert not opt.params["a"].any()
    assert not opt.params["b"].any()
    opt.step({"a": np.ones(2), "b": None}, zero_grads=True)
