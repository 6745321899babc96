"""Trees that hold what is bound, and trees like the last ones, as the core recognises them."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optree
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from gradmill._run.bound import ANYTHING, check_bound
from gradmill.errors import GradmillError, LeafValueError
from tests.trees import bits, copy_tree

if TYPE_CHECKING:
    from collections.abc import Callable


class Pair(NamedTuple):
    first: Any
    second: Any


class Model:
    """A class of the user's."""

    def __init__(self, w: Any) -> None:
        self.w = w


register: Any = optree.register_pytree_node
register(Model, lambda model: ((model.w,), None), lambda _, w: Model(*w), namespace="gradmill")


def arrays() -> Any:
    return [np.arange(3.0), np.arange(4.0).reshape(2, 2), np.zeros(()), np.zeros((0, 2))]


def is_soon(opt: gm.Optimizer, grads: Any) -> bool:
    """Take a step if the core recognises all trees; whether it did."""
    return opt._bound.step_soon(opt.params, opt._copies, grads, int) is not None


TREES: dict[str, Callable[[], Any]] = {
    "array": lambda: arrays()[0],
    "list": arrays,
    "tuple": lambda: tuple(arrays()),
    "dict": lambda: dict(zip("badc", arrays(), strict=True)),
    "ordered": lambda: OrderedDict(zip("badc", arrays(), strict=True)),
    "default": lambda: defaultdict(list, zip("badc", arrays(), strict=True)),
    "numbers as keys": lambda: dict(zip((3, 1, 2, 0), arrays(), strict=True)),
    "named": lambda: Pair(arrays(), {"w": arrays()}),
    "nested": lambda: {"a": {"w": arrays(), "b": ()}, "c": [[], {}, (arrays(),)]},
    "with None": lambda: {"w": arrays(), "n": None, "p": Pair(None, arrays())},
}


@pytest.mark.parametrize("name", TREES)
def test_the_second_tree_is_recognised(name: str) -> None:
    """With gradients in the same arrays, in others, and in containers of the same kinds."""
    params = TREES[name]()
    opt = gm.Optimizer(gm.adam(0.1), params)
    usual = gm.Optimizer(gm.adam(0.1), copy_tree(params))
    grads = TREES[name]()
    assert not is_soon(opt, grads)
    opt.step(grads)
    usual.step(grads)
    for given in (grads, grads, TREES[name](), copy_tree(grads)):
        assert is_soon(opt, given)
        usual._bound.step(usual._leaves_of(given))
    assert bits((opt.params, opt.state)) == bits((usual.params, usual.state))


def test_keys_in_another_order_and_made_anew() -> None:
    params = {f"layer {at}": np.full(3, at, np.float32) for at in range(5)}
    opt = gm.Optimizer(gm.sgd(1.0), params)
    grads = {f"layer {at}": np.full(3, at, np.float32) for at in reversed(range(5))}
    opt.step(grads)
    assert is_soon(opt, {f"layer {at}": np.full(3, float(at)) for at in reversed(range(5))})
    assert not is_soon(opt, params)
    for at in range(5):
        np.testing.assert_array_equal(params[f"layer {at}"], np.full(3, -at))


def test_gradients_where_there_is_no_parameter() -> None:
    opt = gm.Optimizer(gm.sgd(1.0), {"w": np.zeros(2), "n": None})
    opt.step({"w": np.ones(2), "n": None})
    assert is_soon(opt, {"w": None, "n": None})
    assert not is_soon(opt, {"w": np.ones(2), "n": np.ones(2)})
    np.testing.assert_array_equal(opt.params["w"], [-1, -1])


W = np.ones((2, 3), np.float32)
LATER: dict[str, Any] = {
    "the same": W,
    "another": W * 2,
    "of another dtype": W.astype(np.float64),
    "of half precision": W.astype(np.float16),
    "Fortran's order": np.asfortranarray(W),
    "strided": np.ones((2, 6), np.float32)[:, ::2],
    "read-only": np.broadcast_to(np.float32(1), (2, 3)),
    "swapped": W.astype(">f4"),
    "of another shape": np.ones((3, 2), np.float32),
    "flat": W.reshape(6),
    "longer": np.ones((2, 4), np.float32),
    "integers": W.astype(np.int32),
    "a list": W.tolist(),
    "a number": 1.0,
    "masked": np.ma.array(W),
    "none": None,
}


@pytest.mark.parametrize("name", LATER)
@pytest.mark.parametrize("first", ["the same", "Fortran's order"])
def test_arrays_that_come_later(name: str, first: str) -> None:
    """A step that knows the trees takes what another takes, with the same bits and errors."""

    def step(opt: gm.Optimizer, grads: Any) -> Any:
        try:
            return opt.step(grads)
        except GradmillError as error:
            return type(error), str(error)

    known, fresh = (gm.Optimizer(gm.adam(0.1), {"w": np.ones((2, 3), np.float32)}) for _ in "ab")
    for grads in (LATER[first], LATER[name], LATER[first], LATER[name]):
        fresh._bound.learn([], [], [])
        assert step(known, {"w": grads}) == step(fresh, {"w": grads})
        assert bits((known.params, known.state)) == bits((fresh.params, fresh.state))


def test_gradients_reshaped_where_they_are() -> None:
    opt = gm.Optimizer(gm.sgd(1.0), {"w": np.zeros((2, 3))})
    grads = {"w": np.ones((2, 3))}
    opt.step(grads)
    grads["w"].shape = (3, 2)
    with pytest.raises(LeafValueError, match=r"updates\['w'\]: shape \(3, 2\)"):
        opt.step(grads)
    grads["w"].shape = (2, 3)
    opt.step(grads)
    np.testing.assert_array_equal(opt.params["w"], np.full((2, 3), -2))


def test_gradients_that_become_the_parameters() -> None:
    """In the memory of a gradient that was apart from them, nothing changes; in theirs it does."""
    opt = gm.Optimizer(gm.sgd(1.0), {"w": np.zeros(3)})
    opt.step({"w": np.ones(3)})
    with pytest.raises(LeafValueError, match="shares memory with params or state"):
        opt.step({"w": opt.params["w"]})
    with pytest.raises(LeafValueError, match="shares memory with params or state"):
        opt.step({"w": opt.params["w"][::-1]})


def test_a_schedule_is_called_once_a_step() -> None:
    counts: list[int] = []

    def schedule(count: int) -> float:
        counts.append(int(count))
        return 0.1

    opt = gm.Optimizer(gm.sgd(schedule), {"w": np.zeros(2)})
    for grads in (np.ones(2), np.ones(2), [1.0, 1.0], np.ones(2, np.float16), np.ones(2)):
        opt.step({"w": grads} if isinstance(grads, np.ndarray) else {"w": np.array(grads, ">f8")})
    assert counts == [0, 1, 2, 3, 4]


def test_a_schedule_that_changes_the_gradients() -> None:
    """It runs before anything is looked at."""
    grads: Any = {"w": np.ones(2)}

    def schedule(count: int) -> float:
        grads["w"] = np.full(2, 10.0 * (count + 1))
        return 1.0

    opt = gm.Optimizer(gm.sgd(schedule), {"w": np.zeros(2)})
    opt.step({"w": np.ones(2)})
    opt.step(grads)
    np.testing.assert_array_equal(opt.params["w"], [-21, -21])


def test_classes_of_the_users() -> None:
    """Known or not, trees with such are looked at in each step."""
    opt = gm.Optimizer(gm.sgd(1.0), {"m": Model(np.zeros(2))})
    for _ in range(3):
        opt.step({"m": Model(np.ones(2))})
    assert not is_soon(opt, {"m": Model(np.ones(2))})
    opt.params["m"].w = np.zeros(2)
    with pytest.raises(LeafValueError, match="was replaced by another array"):
        opt.step({"m": Model(np.ones(2))})


def test_leaves_that_anything_may_replace() -> None:
    """What masks leave to nobody is not looked at, in parameters or gradients."""
    tree: Any = {"w": np.ones(3), "counts": [np.zeros((), np.int64), Pair(7, None)]}
    mask = {"w": True, "counts": [False, Pair(False, False)]}
    opt = gm.Optimizer(gm.masked(gm.sgd(1.0), mask), tree)
    grads: Any = {"w": np.ones(3), "counts": [1, Pair("one", None)]}
    opt.step(grads)
    for other in (8, np.int64(8), np.zeros(3), None, "eight"):
        tree["counts"][1] = Pair(other, None)
        grads["counts"][0] = other
        assert is_soon(opt, grads)
    tree["counts"][0] = np.zeros((), np.int64)
    tree["w"] = np.ones(3)
    assert not is_soon(opt, grads)
    leaves, spec = flatten(tree)
    bound = [ANYTHING, ANYTHING, ANYTHING, np.ones(3)]
    with pytest.raises(LeafValueError, match=r"params\['w'\]: was replaced by another array"):
        check_bound(spec, tree, "params", bound)
    check_bound(spec, tree, "params", [*bound[:3], leaves[3]])


def test_a_key_that_refers_to_the_optimizer_is_collected() -> None:
    class Key:
        opt: Any = None

        def __lt__(self, other: object) -> bool:
            return False

    key = Key()
    opt = gm.Optimizer(gm.sgd(1.0), {key: np.zeros(2)})
    key.opt = opt
    for _ in range(2):
        opt.step({key: np.ones(2)})
    gone = weakref.ref(key)
    del key, opt
    gc.collect()
    assert gone() is None
