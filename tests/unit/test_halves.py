"""Steps in halves: how parts are named, and what is refused."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import gradmill as gm
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

CLIPPED = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1))
PLAIN = gm.adamw(0.1)


class Layer(NamedTuple):
    """A node that optree knows by itself."""

    w: Any
    b: Any


def whole(opt: gm.Optimizer) -> list[Any]:
    return bits((opt.params, opt.state, opt.master))


def nested(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    layers = [Layer(rng.standard_normal((3, 2)), rng.standard_normal(2)) for _ in range(2)]
    return {"layers": layers, 7: rng.standard_normal(3), "scale": rng.standard_normal(())}


@pytest.mark.parametrize("tx", [CLIPPED, PLAIN], ids=["clipped", "plain"])
def test_parts_are_subtrees(tx: Any) -> None:
    params, grads = nested(0), nested(1)
    one, other = gm.Optimizer(tx, copy_tree(params)), gm.Optimizer(tx, params)
    other.measure(grads["layers"][1].b, at=("layers", 1, "b"))
    other.measure(grads["layers"][0], at=("layers", 0))
    other.measure(grads["layers"][1].w, at=("layers", 1, "w"))
    other.measure({7: grads[7]})
    other.measure(grads["scale"], at="scale")
    assert other.apply(grads["layers"], at="layers") is None
    assert other.apply(grads[7], at=(7,)) is None
    report = other.apply()
    assert report == one.step(grads)
    assert whole(other) == whole(one)


def test_a_single_array_is_a_part() -> None:
    opt = gm.Optimizer(CLIPPED, np.zeros(3))
    opt.measure(np.ones(3))
    report = opt.apply()
    assert report is not None
    assert report.global_norm == np.sqrt(3)


def test_paths_are_those_that_masks_see() -> None:
    """A path as functions of masks and labels are given it leads to its leaf."""
    seen: list[Any] = []

    def notes(path: Any, _: Any) -> bool:
        seen.append(path)
        return True

    params: Any = {"a": {"b": np.zeros(2)}, "c": np.zeros(2)}
    grads = {"a/b": np.ones(2), "c": np.ones(2)}
    opt = gm.Optimizer(gm.masked(gm.sgd(1.0), notes), params)
    for path in dict.fromkeys(seen):
        opt.apply(grads[str(path)], at=path)
    np.testing.assert_array_equal(params["a"]["b"], [-1.0, -1.0])


@pytest.mark.parametrize(
    ("part", "at", "message"),
    [
        ({"x": np.ones(2)}, (), "updates: key 'x' is not in params"),
        ({"x": np.ones(2)}, "bias", r"updates\['bias'\]: a dict, params has an array"),
        (np.ones(2), "x", r"updates\['x'\]: params has nothing there"),
        (np.ones(2), ("bias", 0), r"updates\['bias'\]\[0\]: params has nothing there"),
        ({"bias": [np.ones(5)]}, (), r"updates\['bias'\]: a list, params has an array"),
        ([np.ones(5)], (), "updates: a list, params has a dict"),
        ({"none": np.ones(2)}, (), r"updates\['none'\]: an array, params has None"),
        ({"bias": np.ones(4)}, (), r"updates\['bias'\]: shape \(4,\), \w+ has \(5,\)"),
        (np.ones(4), "bias", r"updates\['bias'\]: shape \(4,\), \w+ has \(5,\)"),
        ({"bias": "ones"}, (), r"updates\['bias'\]: "),
        ({"kernel": np.ones((9, 7), int)}, (), r"updates\['kernel'\]: dtype int64"),
    ],
)
@pytest.mark.parametrize("half", ["measure", "apply"])
@pytest.mark.parametrize("tx", [CLIPPED, PLAIN], ids=["clipped", "plain"])
def test_a_bad_part_is_named(tx: Any, half: str, part: Any, at: Any, message: str) -> None:
    opt = gm.Optimizer(tx, random_tree(0))
    grads = random_tree(1)
    before = whole(opt)
    if half == "apply" and tx is CLIPPED:
        opt.measure(grads)
    with pytest.raises(
        (gm.errors.TreeError, gm.errors.LeafValueError, gm.errors.LeafTypeError), match=message
    ):
        getattr(opt, half)(part, at)
    assert whole(opt) == before
    opt.abort()
    opt.measure(grads)
    other = gm.Optimizer(tx, random_tree(0))
    assert opt.apply() == other.step(grads)
    assert whole(opt) == whole(other)


def test_a_gradient_may_not_share_memory() -> None:
    params = {"w": np.zeros(3)}
    opt = gm.Optimizer(CLIPPED, params)
    with pytest.raises(gm.errors.LeafValueError, match=r"updates\['w'\]: shares memory"):
        opt.measure({"w": params["w"]})


def test_parts_come_once() -> None:
    opt = gm.Optimizer(CLIPPED, random_tree(0))
    grads = random_tree(1)
    opt.measure({"bias": grads["bias"]})
    with pytest.raises(gm.errors.TreeError, match=r"updates\['bias'\]: was measured before"):
        opt.measure(grads)
    opt.measure({key: grads[key] for key in grads if key != "bias"})
    opt.apply({"bias": grads["bias"]})
    with pytest.raises(gm.errors.TreeError, match=r"updates\['bias'\]: was applied before"):
        opt.apply(grads)
    other = gm.Optimizer(CLIPPED, random_tree(0))
    assert opt.apply() == other.step(grads)
    assert whole(opt) == whole(other)


@pytest.mark.parametrize("tx", [CLIPPED, PLAIN], ids=["clipped", "plain"])
def test_parts_that_are_missing_are_named(tx: Any) -> None:
    opt = gm.Optimizer(tx, random_tree(0))
    grads = random_tree(1)
    before = whole(opt)
    with pytest.raises(gm.errors.TreeError, match=r"updates\['bias'\]: is missing"):
        opt.apply()
    opt.measure({key: grads[key] for key in ("bias", "scalar")})
    with pytest.raises(gm.errors.TreeError, match=r"updates\['conv'\]: is missing"):
        opt.apply()
    if tx is CLIPPED:
        with pytest.raises(gm.errors.TreeError, match=r"updates\['conv'\]: is missing"):
            opt.apply({"bias": grads["bias"]})
    assert whole(opt) == before


def test_none_is_a_gradient_that_is_not_there() -> None:
    params = {"a": np.ones(2), "b": np.ones(2)}
    opt = gm.Optimizer(CLIPPED, params)
    opt.measure(None, at="a")
    opt.measure({"b": np.ones(2)})
    with pytest.raises(gm.errors.TreeError, match=r"updates\['a'\]: is None in one half"):
        opt.apply({"a": np.ones(2)})
    with pytest.raises(gm.errors.TreeError, match=r"updates\['b'\]: is None in one half"):
        opt.apply(None, at="b")
    opt.apply()
    np.testing.assert_array_equal(params["a"], np.ones(2))
    assert opt.state[1][0].count == 1


def test_a_none_that_comes_too_late_for_random_numbers() -> None:
    params = {"a": np.ones(2), "b": np.ones(2)}
    opt = gm.Optimizer(gm.add_noise(0.1, 0.5, 0), params)
    opt.apply({"b": np.ones(2)})
    with pytest.raises(gm.errors.TreeError, match=r"updates\['a'\]: is None, and random numbers"):
        opt.apply(None, at="a")
    opt.apply({"a": np.ones(2)})


def test_abort_leaves_all_as_it_was() -> None:
    opt, other = (gm.Optimizer(CLIPPED, random_tree(0)) for _ in range(2))
    before = whole(opt)
    opt.abort()
    opt.measure(random_tree(1))
    opt.abort()
    assert whole(opt) == before
    assert opt.step(random_tree(2)) == other.step(random_tree(2))
    assert whole(opt) == whole(other)


def test_a_step_in_between() -> None:
    opt, other = (gm.Optimizer(CLIPPED, random_tree(0)) for _ in range(2))
    opt.measure(random_tree(1))
    opt.step(random_tree(2))
    other.step(random_tree(2))
    with pytest.raises(RuntimeError, match="a step was taken since"):
        opt.apply()
    opt.abort()
    assert whole(opt) == whole(other)
    opt.measure(random_tree(3))
    assert opt.apply() == other.step(random_tree(3))


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda opt: opt.step(random_tree(1)),
        lambda opt: opt.step(random_tree(1), report=["update_norm"]),
        copy.deepcopy,
        lambda opt: opt.abort(),
    ],
    ids=["step", "report", "copy", "abort"],
)
@pytest.mark.parametrize(
    "tx", [PLAIN, gm.inject_hyperparams(gm.adamw)(0.1)], ids=["plain", "injected"]
)
def test_half_a_step_is_no_whole_one(tx: Any, meanwhile: Callable[[Any], Any]) -> None:
    opt, other = (gm.Optimizer(tx, random_tree(0)) for _ in range(2))
    grads = random_tree(1)
    opt.apply({"bias": grads["bias"]})
    before = whole(opt)
    with pytest.raises(RuntimeError, match="a step has parts that are not applied yet"):
        meanwhile(opt)
    assert whole(opt) == before
    opt.apply({key: grads[key] for key in grads if key != "bias"})
    other.step(grads)
    assert whole(opt) == whole(other)
    assert whole(copy.deepcopy(opt)) == whole(other)


def test_load_ends_half_a_step() -> None:
    opt, other = (gm.Optimizer(PLAIN, random_tree(0)) for _ in range(2))
    opt.apply({"bias": random_tree(1)["bias"]})
    opt.load(random_tree(0), copy_tree(other.state))
    assert whole(opt) == whole(other)
    assert opt.step(random_tree(2)) == other.step(random_tree(2))
    assert whole(opt) == whole(other)


def test_what_was_measured_is_in_no_copy() -> None:
    opt = gm.Optimizer(CLIPPED, random_tree(0))
    opt.measure(random_tree(1))
    other = copy.deepcopy(opt)
    assert opt.apply() == other.step(random_tree(1))
    assert whole(other) == whole(opt)


def test_extra_arguments_come_with_the_first_part() -> None:
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1), gm.contrib.reduce_on_plateau())
    opt, other = (gm.Optimizer(tx, random_tree(0)) for _ in range(2))
    grads = random_tree(1)
    with pytest.raises(ValueError, match="reduce_on_plateau needs the loss"):
        opt.measure(grads)
    opt.measure({"bias": grads["bias"]}, value=2.0)
    rest = {key: grads[key] for key in grads if key != "bias"}
    with pytest.raises(TypeError, match="value came too late"):
        opt.measure(rest, value=2.0)
    opt.measure(rest)
    assert opt.apply() == other.step(grads, value=2.0)
    assert whole(opt) == whole(other)


def test_several_threads() -> None:
    params = {f"p{at}": np.zeros(1000) for at in range(40)}
    rng = np.random.default_rng(0)
    grads = {key: rng.standard_normal(1000) for key in params}
    one, other = gm.Optimizer(CLIPPED, copy_tree(params)), gm.Optimizer(CLIPPED, params)
    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: other.measure(grads[key], at=key), grads))
            reports = list(pool.map(lambda key: other.apply(grads[key], at=key), grads))
        assert [report for report in reports if report is not None] == [one.step(grads)]
        assert whole(other) == whole(one)


def test_master_copies() -> None:
    params = random_tree(0, np.float16)
    one = gm.Optimizer(CLIPPED, copy_tree(params), master=True)
    other = gm.Optimizer(CLIPPED, params, master=True)
    for step in range(3):
        grads = random_tree(step, np.float16)
        other.measure(grads)
        assert other.apply() == one.step(grads)
        assert whole(other) == whole(one)


def test_what_no_step_writes_need_not_come() -> None:
    params = {"a": np.zeros(2), "b": np.zeros(2)}
    tx = gm.partition({"train": CLIPPED, "freeze": gm.set_to_zero()}, {"a": "train", "b": "freeze"})
    opt = gm.Optimizer(tx, params)
    opt.measure({"a": np.ones(2)})
    assert opt.apply() is not None
    opt.measure({"b": "anything"})
    opt.measure({"a": np.ones(2)})
    assert opt.apply() is not None
    np.testing.assert_array_equal(params["b"], np.zeros(2))
