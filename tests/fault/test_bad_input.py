"""Each bad input: which error, which leaf it names, and that nothing has changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.trees import bits

F32 = np.float32
bad: Any = gm  # without its types, for arguments that break them


def good() -> dict[str, Any]:
    return {"a": {"w": np.ones((3, 4), F32), "b": np.ones(4, F32)}, "c": np.ones((), F32)}


def with_leaf(value: Any) -> dict[str, Any]:
    tree = good()
    tree["a"]["w"] = value
    return tree


def overlapping(*strides: int) -> Any:
    return np.lib.stride_tricks.as_strided(np.ones(9, F32), (3, 4), strides)


def misaligned() -> Any:
    return np.zeros(4 * 12 + 1, np.uint8)[1:].view(F32).reshape(3, 4)


BAD_GRADS = {
    "shape": (
        np.ones((4, 3), F32),
        LeafValueError,
        r"updates\['a'\]\['w'\]: shape \(4, 3\), .*\(3, 4\)",
    ),
    "broadcastable": (np.ones((1, 4), F32), LeafValueError, r"\['a'\]\['w'\]: shape \(1, 4\)"),
    "scalar": (np.ones((), F32), LeafValueError, r"\['a'\]\['w'\]: shape \(\)"),
    "integer": (
        np.ones((3, 4), int),
        LeafTypeError,
        r"\['a'\]\['w'\]: dtype int64, expected float16",
    ),
    "complex": (np.ones((3, 4), complex), LeafTypeError, r"\['a'\]\['w'\]: dtype complex128"),
    "long double": (np.ones((3, 4), np.longdouble), LeafTypeError, r"\['a'\]\['w'\]: dtype"),
    "object": (np.full((3, 4), None), LeafTypeError, r"\['a'\]\['w'\]: ndarray, expected float16"),
    "structured": (np.zeros((3, 4), "f4,f4"), LeafTypeError, r"\['a'\]\['w'\]: dtype"),
    "string": ("abc", LeafTypeError, r"\['a'\]\['w'\]: dtype <U3"),
    "masked": (np.ma.ones((3, 4)), LeafTypeError, r"\['a'\]\['w'\]: is a masked array"),
}


@pytest.fixture
def tx() -> Any:
    return gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1))


@pytest.mark.parametrize("name", BAD_GRADS)
def test_bad_gradients(name: str, tx: Any) -> None:
    value, error, match = BAD_GRADS[name]
    opt = gm.Optimizer(tx, good())
    opt.step(good())
    before = bits((opt.params, opt.state))
    with pytest.raises(error, match=match):
        opt.step(with_leaf(value))
    assert bits((opt.params, opt.state)) == before

    state = tx.init(good())
    before = bits(state)
    with pytest.raises(error, match=match):
        tx.update(with_leaf(value), state, good())
    assert bits(state) == before
    undisturbed = gm.Optimizer(tx, good())
    undisturbed.step(good())
    undisturbed.step(good())
    opt.step(good())
    assert bits((opt.params, opt.state)) == bits((undisturbed.params, undisturbed.state))


@pytest.mark.parametrize("position", range(3))
def test_a_bad_leaf_at_any_position_changes_nothing(position: int, tx: Any) -> None:
    params = [np.ones(5, F32), np.ones((2, 2)), np.ones((), F32)]
    opt = gm.Optimizer(tx, params)
    grads: list[Any] = [np.ones_like(leaf) for leaf in params]
    grads[position] = np.ones(9)
    before = bits((opt.params, opt.state))
    with pytest.raises(LeafValueError, match=rf"updates\[{position}\]"):
        opt.step(grads)
    assert bits((opt.params, opt.state)) == before


@pytest.mark.parametrize(
    "grads", [{}, [], {"a": {"w": np.ones((3, 4))}, "c": 1.0}, {**good(), "d": np.ones(1)}, None]
)
def test_wrong_structure(grads: Any, tx: Any) -> None:
    opt = gm.Optimizer(tx, good())
    with pytest.raises(TreeError, match=r"^updates(\['a'\])?: .* params|missing keys?"):
        opt.step(grads)
    assert bits(opt.params) == bits(good())


def test_params_are_needed() -> None:
    tx = gm.add_decayed_weights(0.0)
    with pytest.raises(ValueError, match="update\\(updates, state, params\\)"):
        tx.update(np.ones(3), tx.init(np.ones(3)))
    with pytest.raises(TreeError, match=r"^updates: missing key 'v'; key 'w' is not in params$"):
        tx.update({"w": np.ones(3)}, tx.init(None), {"v": np.ones(3)})


def test_state_of_another_transformation(tx: Any) -> None:
    for state in (None, (), gm.adam(0.1).init(good()), (gm.EmptyState(), gm.EmptyState())):
        with pytest.raises(TreeError, match=r"state.*expected"):
            tx.update(good(), state, good())
    other = gm.scale_by_adam().init({"w": np.ones(3)})
    with pytest.raises(TreeError, match=r"^updates: missing key 'w'; key 'v' is not in state\.mu$"):
        gm.scale_by_adam().update({"v": np.ones(3)}, other)
    with pytest.raises(
        LeafValueError, match=r"updates\['w'\]: shape \(2,\), mu has \(3,\) \(scale_by_adam\)"
    ):
        gm.scale_by_adam().update({"w": np.ones(2)}, other)


BAD_PARAMS = {
    "list": ([1.0], LeafTypeError, r"params\['a'\]\['w'\]\[0\]: .*float"),
    "python float": (1.0, LeafTypeError, r"params\['a'\]\['w'\]: is a float, not a NumPy array"),
    "numpy scalar": (F32(1.0), LeafTypeError, r"\['a'\]\['w'\]: is a float32, not a NumPy array"),
    "integer": (np.ones((3, 4), int), LeafTypeError, r"\['a'\]\['w'\]: dtype int64"),
    "swapped": (np.ones((3, 4), ">f4"), LeafValueError, r"\['a'\]\['w'\]: is byte-swapped"),
    "misaligned": (misaligned(), LeafValueError, r"\['a'\]\['w'\]: is byte-swapped or misaligned"),
    "broadcast": (
        overlapping(0, 4),
        LeafValueError,
        "strides",
    ),
    "window": (
        overlapping(8, 4),
        LeafValueError,
        "strides",
    ),
}


@pytest.mark.parametrize("name", BAD_PARAMS)
def test_params_that_cannot_be_updated_in_place(name: str) -> None:
    value, error, match = BAD_PARAMS[name]
    with pytest.raises(error, match=match):
        gm.Optimizer(gm.sgd(0.1), with_leaf(value))


def test_read_only_params() -> None:
    params = good()
    params["a"]["b"].setflags(write=False)
    with pytest.raises(LeafValueError, match=r"params\['a'\]\['b'\]: is read-only"):
        gm.Optimizer(gm.sgd(0.1), params)


def test_integer_params_at_init() -> None:
    with pytest.raises(LeafTypeError, match=r"params\['n'\]: dtype int64.*\(scale_by_adam\)"):
        gm.adam(0.1).init({"n": np.arange(3)})


def test_params_that_share_memory() -> None:
    base = np.ones(10)
    with pytest.raises(LeafValueError, match=r"params\['b'\]: shares memory with params\['a'\]"):
        gm.Optimizer(gm.sgd(0.1), {"a": base[:6], "b": base[5:]})
    with pytest.raises(LeafValueError, match=r"shares memory with"):
        gm.Optimizer(gm.sgd(0.1), [base, base])
    opt = gm.Optimizer(gm.sgd(0.5), {"even": base[::2], "odd": base[1::2]})
    opt.step({"even": np.zeros(5), "odd": np.ones(5)})
    np.testing.assert_array_equal(base, [1.0, 0.5] * 5)


def test_gradients_that_share_memory_with_params() -> None:
    base = np.ones(10)
    opt = gm.Optimizer(gm.sgd(0.5), base[::2])
    before = base.copy()
    with pytest.raises(LeafValueError, match=r"updates: shares memory with params or state"):
        opt.step(base[::2])
    np.testing.assert_array_equal(base, before)
    opt.step(base[1::2])
    np.testing.assert_array_equal(base, [0.5, 1.0] * 5)


def test_params_that_change_behind_the_optimizers_back() -> None:
    params = [np.ones(4), np.ones(1000)]
    opt = gm.Optimizer(gm.adam(0.1), params)
    params[1].setflags(write=False)
    with pytest.raises(
        LeafValueError, match=r"params\[1\]: was resized, reshaped, moved or made read-only"
    ):
        opt.step([np.ones(4), np.ones(1000)])
    params[1].setflags(write=True)
    params[1].resize((2000,), refcheck=False)
    with pytest.raises(LeafValueError, match=r"params\[1\]: was resized"):
        opt.step([np.ones(4), np.ones(2000)])
    np.testing.assert_array_equal(params[0], np.ones(4))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: bad.scale("x"), "step_size"),
        (lambda: bad.scale(None), "step_size"),
        (lambda: bad.scale(np.ones(2)), "step_size"),
        (lambda: bad.clip(True), "max_delta"),
        (lambda: bad.clip_by_global_norm(1j), "max_norm"),
        (lambda: bad.trace(lambda count: 0.9), "decay"),
        (lambda: bad.scale_by_adam(b2="0.9"), "b2"),
        (lambda: bad.add_decayed_weights([1.0]), "weight_decay"),
        (lambda: bad.scale_by_schedule(0.1), "scale_by_schedule"),
        (lambda: bad.scale_by_schedule(abs, schedule=abs), "scale_by_schedule"),
        (lambda: bad.chain(bad.scale(1.0), 3), "argument 1"),
        (lambda: bad.scale_by_learning_rate("fast"), "learning_rate"),
    ],
)
def test_arguments_of_the_wrong_kind(make: Any, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        make()


def test_masks() -> None:
    params = {"a": np.ones(2), "b": np.ones(2)}
    wrong = gm.add_decayed_weights(0.1, mask={"z": True})
    with pytest.raises(TreeError, match=r"^mask: missing keys 'a', 'b'; key 'z' is not in params$"):
        wrong.update(params, wrong.init(params), params)
    not_bool = gm.add_decayed_weights(0.1, mask={"a": 1, "b": 0})
    with pytest.raises(TypeError, match="the leaves of a mask must be bools"):
        not_bool.update(params, not_bool.init(params), params)


def test_a_plain_transformation_takes_no_extra_arguments() -> None:
    tx = gm.scale(1.0)
    with pytest.raises(TypeError, match="loss"):
        tx.update(np.ones(1), tx.init(None), None, loss=1.0)


class BoomError(Exception):
    """Raised on purpose."""


@pytest.mark.parametrize("where", ["schedule", "transformation"])
def test_users_code_that_raises(where: str) -> None:
    calls = 0

    def explode() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise BoomError

    def schedule(count: int) -> float:
        explode()
        return -0.1

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        explode()
        return updates, state + 1

    if where == "schedule":
        tx = gm.chain(gm.trace(0.9), gm.scale_by_schedule(schedule))
    else:
        middle = gm.GradientTransformation(lambda params: 0, update)
        tx = gm.chain(gm.trace(0.9), middle, gm.adam(0.1))
    opt = gm.Optimizer(tx, np.ones(5))
    opt.step(np.ones(5))
    before = bits((opt.params, opt.state))
    with pytest.raises(BoomError):
        opt.step(np.ones(5))
    assert bits((opt.params, opt.state)) == before
    opt.step(np.ones(5))


def test_init_from_refuses_another_state() -> None:
    opt = gm.Optimizer(gm.adam(0.1), {"w": np.ones(3)})
    opt.step({"w": np.ones(3)})
    before = bits(opt.state)
    with pytest.raises(LeafValueError, match=r"mu\['w'\]: float64 of shape \(4,\), expected"):
        opt.init_from(gm.adam(0.1).init({"w": np.ones(4)}))
    with pytest.raises(LeafValueError, match=r"float32"):
        opt.init_from(gm.adam(0.1).init({"w": np.ones(3, F32)}))
    with pytest.raises(TreeError):
        opt.init_from(gm.sgd(0.1).init({"w": np.ones(3)}))
    assert bits(opt.state) == before


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda tx: gm.MultiSteps(tx, 2), r"state\.inner_opt_state\[0\]\.mu\['w'\]"),
        (gm.apply_if_finite, r"state\.inner_state\[0\]\.mu\['w'\]"),
        (lambda tx: gm.masked(tx, True), r"state\.inner_state\[0\]\.mu\['w'\]"),
        (
            lambda tx: gm.partition({"a": tx}, "a"),
            r"state\.inner_states\['a'\]\.inner_state\[0\]\.mu\['w'\]",
        ),
        (lambda tx: gm.named_chain(adam=tx), r"state\['adam'\]\[0\]\.mu\['w'\]"),
    ],
)
def test_paths_of_nested_states(make: Any, path: str) -> None:
    tx = make(gm.adam(0.1))
    good_state = tx.init({"w": np.ones(3)})
    leaves, treespec = flatten(good_state)
    bad_leaves = [leaf.astype(int) if np.ndim(leaf) else leaf for leaf in leaves]
    only_mu = [
        bad if accessor.codify("state").endswith("mu['w']") else leaf
        for leaf, bad, accessor in zip(leaves, bad_leaves, treespec.accessors(), strict=True)
    ]
    with pytest.raises(LeafTypeError, match=path + ": dtype int64"):
        tx.update({"w": np.ones(3)}, treespec.unflatten(only_mu), {"w": np.ones(3)})
    for wrong in ((), None, gm.EmptyState(), gm.adam(0.1).init({"w": np.ones(3)})):
        with pytest.raises(TreeError, match=r"state: expected"):
            tx.update({"w": np.ones(3)}, wrong, {"w": np.ones(3)})


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize(
    "tx",
    [
        gm.MultiSteps(gm.adam(0.1), 2),
        gm.apply_if_finite(gm.lamb(0.1)),
        gm.partition(lambda path, leaf: leaf.ndim, gm.adam(0.1), gm.sgd(0.1), gm.centralize()),
        gm.chain(gm.add_noise(0.1, 0.5, 3), gm.zero_nans()),
        gm.inject_hyperparams(gm.adamw)(gm.linear_schedule(0.1, 0.0, 5)),
    ],
)
def test_nothing_changes_behind_gates_either(position: int, tx: Any) -> None:
    params = [np.ones(5, F32), np.ones((2, 2)), np.ones((), F32)]
    opt = gm.Optimizer(tx, params)
    opt.step([np.ones_like(leaf) for leaf in params])
    grads: list[Any] = [np.ones_like(leaf) for leaf in params]
    grads[position] = np.ones(9)
    before = bits((opt.params, opt.state))
    with pytest.raises(LeafValueError, match=rf"updates\[{position}\]"):
        opt.step(grads)
    assert bits((opt.params, opt.state)) == before
