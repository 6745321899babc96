"""Rounds of several steps: what they hand on, and that nothing bad outlives them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import tree_map
from gradmill.errors import LeafValueError
from tests.trees import bits, copy_tree, random_tree


def collect(tx: Any, rows: list[Any]) -> tuple[list[Any], Any]:
    params = np.zeros_like(rows[0])
    state, seen = tx.init(params), []
    for row in rows:
        updates, state = tx.update(row, state, params)
        seen.append(updates)
    return seen, state


ROUNDS = {
    "apply_every": gm.apply_every(2),
    "apply_every_inner": gm.apply_every(2, gm.scale(1.0)),
    "multi_steps": gm.MultiSteps(2),
    "multi_steps_sum": gm.MultiSteps(2, False),
    "multi_steps_inner": gm.MultiSteps(gm.scale(1.0), 2),
}


@pytest.mark.parametrize("name", ROUNDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nothing_bad_outlives_its_round(name: str, bad: float) -> None:
    rows = [np.array([bad, 1.0]), *[np.array([1.0, 1.0])] * 3]
    seen, _ = collect(ROUNDS[name], rows)
    np.testing.assert_array_equal(seen[0], np.zeros(2))
    assert not np.isfinite(seen[1][0])
    np.testing.assert_array_equal(seen[2], np.zeros(2))
    assert np.isfinite(seen[3]).all()
    assert seen[3][0] == seen[3][1]


def test_nothing_bad_gets_through_apply_if_finite() -> None:
    tx = gm.apply_if_finite(gm.trace(0.5))
    rows = [np.array([1.0, 1.0]), np.array([np.nan, 1.0]), np.array([1.0, np.inf]), np.ones(2)]
    seen, state = collect(tx, rows)
    np.testing.assert_array_equal(seen, [[1, 1], [0, 0], [0, 0], [1.5, 1.5]])
    assert (state.notfinite_count, state.last_finite, state.total_notfinite) == (0, True, 2)


def test_apply_if_finite_gives_up() -> None:
    tx = gm.apply_if_finite(gm.scale(1.0), 2)
    seen, state = collect(tx, [np.array([np.nan])] * 4)
    assert [np.isnan(row[0]) for row in seen] == [False, False, True, True]
    assert state.notfinite_count == 4


def test_apply_every_of_the_identity_is_apply_every() -> None:
    rows = [np.array([float(row)]) for row in range(7)]
    plain, inner = (
        collect(tx, rows)[0] for tx in (ROUNDS["apply_every"], gm.apply_every(2, gm.identity()))
    )
    assert bits(plain) == bits(inner)


def test_apply_every_is_multi_steps_of_sums() -> None:
    rows = [np.array([float(row), 1.0]) for row in range(7)]
    every = collect(gm.apply_every(3, gm.adam(0.1)), rows)[0]
    multi = collect(gm.MultiSteps(gm.adam(0.1), 3, use_grad_mean=False), rows)[0]
    assert bits(every) == bits(multi)


def test_mean_and_schedule() -> None:
    tx = gm.MultiSteps(gm.sgd(1.0), lambda done: 1 if done == 0 else 3)
    seen, state = collect(tx, [np.array([float(row)]) for row in range(1, 6)])
    np.testing.assert_allclose(np.ravel(seen), [-1.0, 0.0, 0.0, -3.0, 0.0])
    assert (state.gradient_step, state.mini_step) == (2, 1)
    assert not tx.has_updated(state)
    assert tx.has_updated(collect(tx, [np.ones(1)])[1])
    assert not tx.has_updated(tx.init(np.zeros(1)))


def returning(value: Any, done: int) -> Any:
    return value


def test_schedules_that_give_no_number_of_steps() -> None:
    for wrong in (0, 1.5, None):
        tx = gm.MultiSteps(partial(returning, wrong))
        params = np.ones(1)
        opt = gm.Optimizer(tx, params)
        before = bits((opt.state, params))
        with pytest.raises(ValueError, match="every_k_schedule must give positive integers"):
            opt.step(np.ones(1))
        assert bits((opt.state, params)) == before


def test_predicates_that_return_no_bool() -> None:
    tx = gm.MultiSteps(2, should_skip_update_fn=lambda updates, step, params: (1, ()))
    with pytest.raises(ValueError, match="should_skip_update_fn must return a bool"):
        tx.init(np.ones(1))


def test_accumulators_are_not_narrower_than_parameters() -> None:
    for dtype in (np.float32, np.float64):
        assert gm.MultiSteps(2).init(np.ones(1, dtype)).acc_grads.dtype == dtype
    single = gm.MultiSteps(2, accumulator_dtype=np.float32)
    assert single.init(np.ones(1)).acc_grads.dtype == np.float32


def test_silent_steps_leave_the_inner_state_alone() -> None:
    tx = gm.MultiSteps(gm.adam(0.1), 3)
    _, state = collect(tx, [np.ones(1)] * 5)
    assert state.inner_opt_state[0].count == 1
    around = gm.chain(gm.MultiSteps(3), gm.adam(0.1))
    _, state = collect(around, [np.ones(1)] * 5)
    assert state[1][0].count == 5


def test_gates_within_gates() -> None:
    """The inner counters stand still where the outer gate is closed."""
    tx = gm.conditionally_mask(
        gm.MultiSteps(gm.apply_if_finite(gm.ema(0.5)), 2), lambda step: step != 1
    )
    rows = [np.array([value]) for value in (1.0, 5.0, 3.0, np.nan, 1.0, 2.0, 4.0)]
    seen, state = collect(tx, rows)
    np.testing.assert_allclose(np.ravel(seen), [0, 0, 2, 0, 0, 0, 3 - 1 / 3], atol=1e-12)
    inner = state.inner_state.inner_opt_state
    assert (state.step, state.inner_state.gradient_step) == (7, 3)
    assert (inner.total_notfinite, inner.inner_state.count) == (1, 2)


def test_python_inside_gates_and_masks() -> None:
    calls = []

    def update(updates: Any, state: Any, params: Any = None, *, tag: Any = None, **_: Any) -> Any:
        calls.append((updates, tag))
        return tree_map(lambda leaf: leaf * 10, updates), state + 1

    slow = gm.GradientTransformationExtraArgs(lambda params: 0, update)
    tx = gm.chain(
        gm.apply_every(2, gm.chain(gm.trace(0.5), slow, gm.scale(2.0))),
        gm.masked(slow, lambda path, _: path == "a", mask_compatible_extra_args=True),
    )
    params = {"a": np.zeros(1), "b": np.zeros(1)}
    grads = {"a": np.ones(1), "b": np.ones(1)}
    opt, state = gm.Optimizer(tx, copy_tree(params)), tx.init(params)
    for _ in range(4):
        tag = {"a": "x", "b": "y"}
        updates, state = tx.update(grads, state, params, tag=tag)
        params = gm.apply_updates(params, updates)
        opt.step(grads, tag=tag)
    assert bits((params, opt.params)) == bits((opt.params, params))
    assert (state[0].inner_state[1], state[1].inner_state) == (2, 4)
    np.testing.assert_allclose([params["a"], params["b"]], [[1000.0], [100.0]])
    masked_calls = [call for call in calls if isinstance(call[0]["b"], gm.MaskedNode)]
    assert len(masked_calls) == 8
    assert masked_calls[0][1] == {"a": "x", "b": gm.MaskedNode()}


def test_conditions_see_extra_arguments() -> None:
    tx = gm.conditionally_transform(
        gm.scale(-1.0), lambda step, loss: loss > step, forward_extra_args=True
    )
    state = tx.init(np.zeros(1))
    up, state = tx.update(np.ones(1), state, loss=0.5)
    down, _ = tx.update(np.ones(1), state, loss=0.5)
    assert (up, down) == (-1.0, 1.0)


def test_injected_hyperparameters() -> None:
    tx = gm.inject_hyperparams(gm.adamw)(
        learning_rate=0.1, weight_decay=gm.linear_schedule(1, 0, 4)
    )
    params = random_tree(0)
    opt, state = gm.Optimizer(tx, copy_tree(params)), tx.init(params)
    assert sorted(state.hyperparams) == [
        "b1",
        "b2",
        "eps",
        "eps_root",
        "learning_rate",
        "weight_decay",
    ]
    assert state.hyperparams["b2"].dtype == np.float32
    for seed in range(1, 5):
        grads = random_tree(seed)
        rate = 0.1 / seed
        opt.state.hyperparams["learning_rate"] = rate
        state.hyperparams["learning_rate"] = rate
        opt.step(grads)
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
    assert bits((opt.params, opt.state)) == bits((params, state))
    assert state.hyperparams["weight_decay"] == 0.25
    wide = gm.inject_hyperparams(gm.sgd)(0.1).init(np.ones(1))
    assert wide.hyperparams["learning_rate"].dtype == np.float64


def test_hyperparameters_travel_with_a_state() -> None:
    tx = gm.inject_hyperparams(gm.sgd)(learning_rate=1.0)
    first, second = (gm.Optimizer(tx, np.zeros(1, np.float32)) for _ in range(2))
    first.step(np.ones(1, np.float32))
    first.state.hyperparams["learning_rate"] = 0.5
    second.init_from(first.state)
    second.step(np.ones(1, np.float32))
    np.testing.assert_array_equal(second.params, [-0.5])
    second.state.hyperparams["learning_rate"] = 2.0
    second.init_from(tx.init(np.zeros(1, np.float32)))
    second.step(np.ones(1, np.float32))
    np.testing.assert_array_equal(second.params, [-1.5])


def test_injected_gates_and_neighbours() -> None:
    """What a gate was built with holds for its bookkeeping, too; links around it keep their own."""
    every: Any = gm.inject_hyperparams(gm.apply_every)
    tx = gm.chain(gm.scale(2.0), every(k=2), gm.trace(0.5))
    opt = gm.Optimizer(tx, np.zeros(1))
    seen = []
    for step in range(7):
        if step == 2:
            opt.state[1].hyperparams["k"] = 3
        before = opt.params.copy()
        opt.step(np.ones(1))
        seen.append(float((opt.params - before)[0]))
    np.testing.assert_allclose(seen, [0.0, 4.0, 2.0, 1.0, 6.5, 3.25, 1.625])
    noisy = gm.inject_hyperparams(gm.noisy_sgd, "key")(0.1, key=3)
    plain = gm.noisy_sgd(0.1, key=3)
    wide = np.zeros(9)
    noise = noisy.update(wide, noisy.init(wide))[0]
    np.testing.assert_allclose(noise, plain.update(wide, plain.init(wide))[0], rtol=1e-12)


def test_injection_that_changes_the_ops() -> None:
    def factory(rate: float) -> Any:
        return gm.scale(rate) if rate > 0 else gm.trace(0.9)

    opt = gm.Optimizer(gm.inject_hyperparams(factory)(rate=1.0), np.zeros(1))
    opt.step(np.ones(1))
    opt.state.hyperparams["rate"] = -1.0
    before = bits((opt.params, opt.state))
    with pytest.raises(ValueError, match="depends on the value of a hyperparameter"):
        opt.step(np.ones(1))
    assert bits((opt.params, opt.state)) == before


def test_zero_nans_tells_the_leaves() -> None:
    params = {"a": np.zeros(2), "b": np.zeros(2), "c": None}
    opt = gm.Optimizer(gm.chain(gm.zero_nans(), gm.sgd(1.0)), params)
    opt.step({"a": np.array([np.nan, 1.0]), "b": np.array([np.inf, 1.0]), "c": None})
    flags = opt.state[0].found_nan
    assert (bool(flags["a"]), bool(flags["b"]), flags["c"]) == (True, False, None)
    np.testing.assert_array_equal(params["a"], [0.0, -1.0])
    opt.step({"a": np.zeros(2), "b": None, "c": None})
    assert not opt.state[0].found_nan["a"]


def test_axes_of_units() -> None:
    params, grads = np.ones((2, 3)), np.arange(6.0).reshape(2, 3)
    rows = gm.adaptive_grad_clip(0.5, axis=-1)
    updates, _ = rows.update(grads, rows.init(params), params)
    bound = 0.5 * np.sqrt(3)
    np.testing.assert_allclose(np.linalg.norm(updates, axis=1), [bound, bound])
    whole = gm.adaptive_grad_clip(0.5, axis=(0, 1))
    updates, _ = whole.update(grads, whole.init(params), params)
    np.testing.assert_allclose(np.linalg.norm(updates), 0.5 * np.sqrt(6))
    tx = gm.adaptive_grad_clip(0.5)
    deep = {"w": np.ones((2,) * 6)}
    with pytest.raises(LeafValueError, match=r"updates\['w'\]: has 6 axes; say with `axis`"):
        tx.update(deep, tx.init(deep), deep)
    with pytest.raises(LeafValueError, match="none is axis 2"):
        gm.Optimizer(gm.adaptive_grad_clip(0.5, axis=2), np.ones((2, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_norms_do_not_overflow(dtype: Any) -> None:
    huge = 1e30 if dtype == np.float32 else 1e200
    for scale in (huge, 1 / huge):
        grads = np.full((3, 4), scale, dtype)
        clip = gm.clip_by_block_rms(scale / 2)
        np.testing.assert_allclose(clip.update(grads, clip.init(grads))[0], grads / 2, rtol=1e-6)
        ratio = gm.scale_by_trust_ratio()
        np.testing.assert_allclose(
            ratio.update(grads, ratio.init(grads), np.ones_like(grads))[0], 1.0, rtol=1e-6
        )
