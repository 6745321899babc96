"""Transformations made of functions, and extra arguments that are left out."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._run.native import NativeRun
from gradmill._run.runs import runs_of
from tests.on_jax import to_jax
from tests.trees import assert_close, bits, random_tree


def weighted(update: Any, param: Any) -> Any:
    return update if param is None else update * 2.0 + param


def on_tree(updates: Any, params: Any) -> Any:
    if params is None:
        return {"w": -updates["w"], "b": updates["b"]}
    return {"w": updates["w"] + params["b"], "b": params["w"]}


def negate(updates: Any, state: Any, params: Any) -> Any:
    """As an update whose parameters have no default."""
    assert params is None or isinstance(params, np.ndarray)
    return -updates, state


PLAIN = gm.GradientTransformation(gm.init_empty_state, negate)


@pytest.mark.parametrize("has_params", [True, False])
def test_stateless_as_optax(has_params: bool) -> None:
    grads = {"w": np.arange(3.0, dtype=np.float32), "b": np.ones(3, np.float32)}
    params = {"w": np.full(3, 4.0, np.float32), "b": np.full(3, 5.0, np.float32)}
    given = [params] if has_params else []
    ours, theirs = gm.stateless(on_tree), optax.stateless(on_tree)
    updates, state = ours.update(grads, ours.init(params), *given)
    expected, _ = theirs.update(to_jax(grads), theirs.init(params), *to_jax(given))
    assert_close(updates, expected, rtol=0.0)
    assert state == gm.EmptyState()


@pytest.mark.parametrize("has_params", [True, False])
def test_stateless_with_tree_map_as_optax(has_params: bool) -> None:
    grads, params = random_tree(0), random_tree(1)
    given = [params] if has_params else []
    ours, theirs = (m.stateless_with_tree_map(weighted) for m in (gm, optax))
    updates, state = ours.update(grads, ours.init(params), *given)
    expected, _ = theirs.update(to_jax(grads), theirs.init(params), *to_jax(given))
    assert_close(updates, expected, rtol=1e-6, atol=1e-6)
    assert updates["none"] is None
    assert state == gm.EmptyState()


def test_none_among_the_parameters_reaches_the_function() -> None:
    pairs = [m.stateless_with_tree_map(lambda u, p: (u, p)) for m in (gm, optax)]
    ours, theirs = (tx.update({"a": 1, "b": 2}, (), {"a": None, "b": 3})[0] for tx in pairs)
    assert ours == theirs == {"a": (1, None), "b": (2, 3)}


def test_none_among_the_updates_stays_none() -> None:
    tx = gm.stateless_with_tree_map(weighted)
    assert tx.update([None, 1.0], gm.EmptyState(), [np.ones(2), 3.0])[0] == [None, 5.0]


@pytest.mark.parametrize("make", [gm.stateless, gm.stateless_with_tree_map])
def test_state_is_always_a_new_one(make: Any) -> None:
    tx = make(weighted)
    assert type(tx) is gm.GradientTransformation
    assert tx.description is None
    assert tx.init(random_tree(0)) == gm.EmptyState()
    updates, state = tx.update(np.ones(2), "some other state")
    np.testing.assert_array_equal(updates, np.ones(2))
    assert state == gm.EmptyState()
    with pytest.raises(TypeError, match="loss"):
        tx.update(np.ones(2), gm.EmptyState(), loss=1.0)
    with pytest.raises(TypeError, match=f"^{make.__name__} takes a function, got 2.0$"):
        make(2.0)


def test_parameters_of_another_structure_raise() -> None:
    tx = gm.stateless_with_tree_map(weighted)
    with pytest.raises(gm.errors.TreeError, match=r"^updates: key 'b' is not in params$"):
        tx.update({"a": 1.0, "b": 2.0}, gm.EmptyState(), {"a": 1.0})


def test_chained_and_in_place() -> None:
    double = gm.stateless_with_tree_map(weighted)
    tx = gm.chain(gm.scale(3.0), double, gm.scale(-1.0))
    params, grads = {"w": np.ones(2)}, {"w": np.full(2, 0.5)}
    updates, _ = tx.update(grads, tx.init(params), params, loss=1.0)
    np.testing.assert_array_equal(updates["w"], [-4.0, -4.0])
    opt = gm.Optimizer(tx, params)
    opt.step(grads)
    np.testing.assert_array_equal(opt.params["w"], [-3.0, -3.0])


@pytest.mark.parametrize(
    "tx",
    [
        gm.stateless(weighted),
        gm.stateless_with_tree_map(weighted),
        gm.with_extra_args_support(PLAIN),
        gm.with_extra_args_support(gm.trace(0.9)),
    ],
    ids=["tree", "leaf", "python", "native"],
)
def test_pickled_does_the_same(tx: Any) -> None:
    params, grads = np.ones(3), np.arange(3.0)
    again = pickle.loads(pickle.dumps(tx))
    for one in (tx, again):
        assert type(one) is type(tx)
        assert (one.description is None) == (tx.description is None)
    expected = tx.update(grads, tx.init(params), params)
    assert bits(again.update(grads, again.init(params), params)) == bits(expected)


def test_extra_args_are_left_out() -> None:
    tx = gm.with_extra_args_support(PLAIN)
    assert isinstance(tx, gm.GradientTransformationExtraArgs)
    state = tx.init(np.ones(2))
    # Also those that have the name of a parameter inside.
    updates, _ = tx.update(np.ones(2), state, None, loss=1.0, tx=2.0, f=3.0)
    np.testing.assert_array_equal(updates, [-1.0, -1.0])
    updates, _ = tx.update(updates=np.ones(2), state=state, params=np.ones(2), loss=1.0)
    np.testing.assert_array_equal(updates, [-1.0, -1.0])


def test_what_takes_them_is_returned_as_it_is() -> None:
    for module in (gm, optax):
        tx = module.chain(module.scale(2.0))
        assert module.with_extra_args_support(tx) is tx
        once = module.with_extra_args_support(module.scale(2.0))
        assert module.with_extra_args_support(once) is once


def test_missing_parameters_reach_the_transformation_as_none() -> None:
    tx = gm.with_extra_args_support(gm.add_decayed_weights(0.1))
    with pytest.raises(ValueError, match="needs the current parameters"):
        tx.update(np.ones(2), tx.init(np.ones(2)), loss=1.0)


def test_native_stays_native() -> None:
    tx = gm.chain(gm.clip(1.0), gm.with_extra_args_support(gm.scale_by_adam()), gm.scale(-0.1))
    plain = gm.chain(gm.clip(1.0), gm.scale_by_adam(), gm.scale(-0.1))
    (run,) = runs_of(tx)
    assert isinstance(run, NativeRun)
    params, grads = random_tree(0), random_tree(1)
    result = tx.update(grads, tx.init(params), params, loss=1.0)
    assert bits(result) == bits(plain.update(grads, plain.init(params), params))
    theirs = optax.chain(
        optax.clip(1.0), optax.with_extra_args_support(optax.scale_by_adam()), optax.scale(-0.1)
    )
    expected, _ = theirs.update(to_jax(grads), theirs.init(to_jax(params)), loss=1.0)
    assert_close(result[0], expected, rtol=3e-5, atol=1e-7)
    expected = gm.apply_updates(params, result[0])
    opt = gm.Optimizer(tx, params)
    opt.step(grads)
    assert bits(opt.params) == bits(expected)


def test_replaced_update_is_the_one_that_runs() -> None:
    tx = gm.with_extra_args_support(gm.scale(2.0))._replace(update=negate)
    assert tx.description is None
    assert gm.chain(tx).update(np.ones(1), (gm.EmptyState(),))[0] == -1.0


@pytest.mark.parametrize("value", [None, 0.1, (np.ones(1), np.ones(1)), gm.scale])
def test_no_transformation_raises(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^with_extra_args_support takes a transformation"):
        gm.with_extra_args_support(value)
