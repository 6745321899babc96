"""An optimizer goes on from a file as if it had not stopped."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import gradmill as gm
from gradmill import _core
from gradmill._data.trees import flatten
from gradmill.errors import LeafValueError, TreeError
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BF16 = ml_dtypes.bfloat16
RANDOM: dict[str, Any] = {"master": True, "rounding": "stochastic", "seed": 7}


@pytest.fixture(params=[".npz", ".safetensors"])
def path(request: Any, tmp_path: Path) -> Path:
    return tmp_path / f"run{request.param}"


def adam(start: int, dtype: Any = np.float32, **settings: Any) -> gm.Optimizer:
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1))
    return gm.Optimizer(tx, random_tree(start, dtype), **settings)


def go(opt: gm.Optimizer, seeds: range, dtype: Any = np.float32) -> Any:
    reports = [opt.step(random_tree(seed, dtype)) for seed in seeds]
    return reports, gm.state_digest((opt.params, opt.master, opt.state))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, BF16])
@pytest.mark.parametrize("settings", [{}, {"master": True}, RANDOM], ids=str)
def test_it_goes_on_with_the_same_bits(path: Path, dtype: Any, settings: dict[str, Any]) -> None:
    first = adam(0, dtype, **settings)
    go(first, range(1, 4), dtype)
    gm.save(path, optimizer=first)
    # What it rounds with is found in the file as well.
    second = adam(9, dtype, **{**settings, "rounding": "stochastic", "seed": 1})
    arrays = flatten((second.params, second.master))[0]
    assert gm.load(path, optimizer=second) == {}
    after = flatten((second.params, second.master))[0]
    assert all(a is b for a, b in zip(arrays, after, strict=True))
    assert go(second, range(0), dtype)[1] == go(first, range(0), dtype)[1]
    assert go(second, range(4, 7), dtype) == go(first, range(4, 7), dtype)


def test_a_parameter_that_is_not_its_copy_rounded(path: Path) -> None:
    first, second = adam(0, BF16, **RANDOM), adam(1, BF16, **RANDOM)
    go(first, range(1, 6), BF16)
    nearest = first.master["kernel"].astype(BF16)
    assert first.params["kernel"].tobytes() != nearest.tobytes()
    gm.save(path, optimizer=first)
    gm.load(path, optimizer=second)
    assert bits(second.params) == bits(first.params)


def test_steps_that_no_state_counts(path: Path) -> None:
    """Rounding draws with them."""

    def made(start: int) -> gm.Optimizer:
        return gm.Optimizer(gm.sgd(0.1), random_tree(start, BF16), **RANDOM)

    first, second = made(0), made(1)
    go(first, range(1, 4), BF16)
    gm.save(path, optimizer=first)
    gm.load(path, optimizer=second)
    assert go(second, range(4, 6), BF16) == go(first, range(4, 6), BF16)
    assert second.step(random_tree(6, BF16)).step == 6


def test_other_numbers_of_threads(path: Path) -> None:
    wide = {"w": np.ones((600, 700), np.float32)}

    def made() -> gm.Optimizer:
        return gm.Optimizer(gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1)), copy_tree(wide))

    digests = []
    for before, after in ((1, 4), (4, 1)):
        first, second = made(), made()
        _core.set_num_threads(before)
        first.step(wide)
        gm.save(path, optimizer=first)
        _core.set_num_threads(after)
        gm.load(path, optimizer=second)
        second.step(wide)
        digests.append(gm.state_digest((second.params, second.state)))
    assert digests[0] == digests[1]


def test_keys_in_another_order(path: Path) -> None:
    tree = random_tree(0)
    first = gm.Optimizer(gm.adam(0.1), OrderedDict(copy_tree(tree)))
    first.step(random_tree(1))
    gm.save(path, optimizer=first)
    turned = OrderedDict(reversed(random_tree(5).items()))
    second = gm.Optimizer(gm.adam(0.1), turned)
    gm.load(path, optimizer=second)
    third = gm.Optimizer(gm.adam(0.1), random_tree(6))
    gm.load(path, optimizer=third)
    for opt in (first, second, third):
        opt.step(random_tree(2))
    assert bits(dict(second.params)) == bits(dict(first.params)) == bits(third.params)


def test_out_of_the_functional_door_and_into_it(path: Path) -> None:
    tx = gm.adam(0.1)
    opt, params, state = gm.Optimizer(tx, random_tree(0)), random_tree(0), tx.init(random_tree(0))
    for seed in (1, 2):
        updates, state = tx.update(random_tree(seed), state, params)
        params = gm.apply_updates(params, updates)
        opt.step(random_tree(seed))
    gm.save(path, optimizer=opt)
    found = gm.load(path, params=params, state=tx.init(params))
    assert bits(found) == bits({"params": params, "state": state})
    assert type(found["state"][0]) is gm.ScaleByAdamState
    gm.save(path, params=params, state=state)
    again = gm.Optimizer(tx, random_tree(9))
    gm.load(path, optimizer=again)
    assert again.step(random_tree(3)) == opt.step(random_tree(3))
    assert bits((again.params, again.state)) == bits((opt.params, opt.state))


def test_copies_are_made_of_a_functional_run(path: Path) -> None:
    params, state = random_tree(0, BF16), gm.sgd(0.1).init(None)
    gm.save(path, params=params, state=state)
    opt = gm.Optimizer(gm.sgd(0.1), random_tree(1, BF16), master=True)
    gm.load(path, optimizer=opt)
    assert bits(opt.params) == bits(params)
    assert opt.master["kernel"].tolist() == params["kernel"].tolist()


def test_numbers_that_were_assigned(path: Path) -> None:
    def made() -> gm.Optimizer:
        return gm.Optimizer(gm.inject_hyperparams(gm.adam)(0.1), random_tree(0))

    first, second = made(), made()
    first.step(random_tree(1))
    first.state.hyperparams["learning_rate"] = 0.3
    gm.save(path, optimizer=first)
    gm.load(path, optimizer=second)
    assert go(second, range(2, 4)) == go(first, range(2, 4))
    second.state.hyperparams["learning_rate"] = 0.5
    gm.load(path, optimizer=second)
    second.state.hyperparams["learning_rate"] = "x"
    with pytest.raises(TreeError, match=r"hyperparams\['learning_rate'\]: a float in .*a str"):
        gm.load(path, optimizer=second)


def test_parameters_that_no_step_looks_at(path: Path) -> None:
    def mask(tree: Any) -> Any:
        return {name: name == "w" for name in tree}

    def made(params: Any) -> gm.Optimizer:
        return gm.Optimizer(gm.masked(gm.adam(0.1), mask), params)

    first = made({"w": np.ones(2), "n": np.array([3]), "call": abs, "name": "relu"})
    second = made({"w": np.zeros(2), "n": np.array([0]), "call": max, "name": "tanh"})
    gm.save(path, optimizer=first)
    gm.load(path, optimizer=second)
    assert second.params["n"].tolist() == [3]
    assert second.params["call"] is max
    assert bits(second.params["w"]) == bits(np.ones(2))
    assert gm.load(path)["params"]["call"] is None


def test_leaves_that_are_kept(path: Path) -> None:
    def made(count: int, **settings: Any) -> gm.Optimizer:
        params = {"w": np.full(2, count, BF16), "count": np.array(count), "flags": np.ones(2, bool)}
        tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1))
        return gm.Optimizer(tx, params, others="keep", maximize=True, **settings)

    grads = {"w": np.ones(2, BF16), "count": None, "flags": None}
    for settings in ({}, RANDOM):
        first, second = made(3, **settings), made(0, **settings)
        first.step(grads)
        gm.save(path, optimizer=first)
        gm.load(path, optimizer=second)
        assert second.params["count"] == 3
        assert second.step(grads) == first.step(grads)
        assert bits((second.params, second.state)) == bits((first.params, first.state))


def test_arrays_that_have_been_replaced(path: Path) -> None:
    first, second = adam(0), adam(1)
    go(first, range(2, 4))
    gm.save(path, optimizer=first)
    fresh = np.zeros((9, 7), np.float32)
    second.params["kernel"] = fresh
    gm.load(path, optimizer=second)
    assert second.params["kernel"] is fresh
    assert go(second, range(4, 6)) == go(first, range(4, 6))


def test_a_subclass_and_beside_it_a_tree(path: Path) -> None:
    class Own(gm.Optimizer):
        pass

    first, average = Own(gm.sgd(0.1), random_tree(0)), random_tree(3)
    gm.save(path, optimizer=first, average=average, epoch=7, rng=[1, None, "x"])
    second = Own(gm.sgd(0.1), random_tree(1))
    found = gm.load(path, optimizer=second, average=random_tree(2), epoch=0)
    assert bits(found) == bits({"average": average, "epoch": 7})
    assert gm.load(path)["rng"] == [1, None, "x"]
    assert bits(second.params) == bits(first.params)


def shapes_of(opt: gm.Optimizer) -> str:
    return gm.state_digest((opt.params, opt.master, opt.state, repr(opt)))


OTHERS: dict[str, tuple[Callable[[], gm.Optimizer], type[Exception], str]] = {
    "another chain": (
        lambda: gm.Optimizer(gm.sgd(0.1, momentum=0.9), {"w": np.ones(2, BF16)}, master=True),
        TreeError,
        r"state\[0\]: ScaleByAdamState in .*, expected TraceState",
    ),
    "another parameter": (
        lambda: gm.Optimizer(gm.adam(0.1), {"v": np.ones(2, BF16)}, master=True),
        TreeError,
        r"params\['w'\]: is in .*\nparams\['v'\]: missing in",
    ),
    "another shape": (
        lambda: gm.Optimizer(gm.adam(0.1), {"w": np.ones(3, BF16)}, master=True),
        LeafValueError,
        r"params\['w'\]: bfloat16 of shape \(2,\) in .*, expected bfloat16 of shape \(3,\)",
    ),
    "another dtype": (
        lambda: gm.Optimizer(gm.adam(0.1), {"w": np.ones(2, np.float16)}, master=True),
        LeafValueError,
        r"params\['w'\]: bfloat16 of shape \(2,\) in .*, expected float16 of shape \(2,\)",
    ),
    "no copies": (
        lambda: gm.Optimizer(gm.adam(0.1), {"w": np.ones(2, BF16)}),
        TreeError,
        r"master\['w'\]: is in .* and not expected",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_optimizer(path: Path, name: str) -> None:
    gm.save(path, optimizer=gm.Optimizer(gm.adam(0.1), {"w": np.ones(2, BF16)}, master=True))
    made, kind, message = OTHERS[name]
    opt = made()
    before = shapes_of(opt)
    with pytest.raises(kind, match=message):
        gm.load(path, optimizer=opt)
    assert shapes_of(opt) == before


def test_no_copies_in_the_file(path: Path) -> None:
    gm.save(path, optimizer=gm.Optimizer(gm.adam(0.1), {"w": np.ones(2, BF16)}))
    opt = gm.Optimizer(gm.adam(0.1), {"w": np.ones(2, BF16)}, master=True)
    with pytest.raises(TreeError, match=r"master: .* has no such tree; it has params, state"):
        gm.load(path, optimizer=opt)


def test_other_hyperparameters(path: Path) -> None:
    """The transformation is the optimizer's own, as after a change of the learning rate."""
    first, second = adam(0), gm.Optimizer(gm.chain(gm.identity(), gm.adamw(0.3)), random_tree(1))
    go(first, range(1, 3))
    gm.save(path, optimizer=first)
    gm.load(path, optimizer=second)
    assert bits(second.state) == bits(first.state)
    assert second.step(random_tree(3)).step == 3
