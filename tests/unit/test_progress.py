"""Steps that tell how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import GradmillError, TreeError
from tests.cases import CASES, Case
from tests.trees import bits, random_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradmill._optimizer._in_groups._LEAST", 20)


def of(opt: Any) -> Any:
    return bits((opt.params, opt.state))


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_bits_are_those_of_a_plain_step(case: Case) -> None:
    one, two = (gm.Optimizer(case.make(gm), random_tree(0)) for _ in range(2))
    seen: list[tuple[int, int]] = []
    for step in range(1, 4):
        seen.clear()
        grads = {**random_tree(step), "none": None}
        report = two.step(grads, progress=lambda *pair: seen.append(pair))
        assert report == one.step(grads)
        assert of(two) == of(one)
        assert seen[-1][0] == seen[-1][1]
        assert sorted(set(seen)) == seen


@pytest.mark.usefixtures("small_groups")
def test_between_groups_of_leaves() -> None:
    opt = gm.Optimizer(gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1)), random_tree(0))
    seen: list[tuple[int, int]] = []
    opt.step(random_tree(1), progress=lambda *pair: seen.append(pair))
    # bias and conv, empty and kernel, scalar
    assert seen == [(29, 93), (92, 93), (93, 93)]


@pytest.mark.usefixtures("small_groups")
def test_leaves_that_no_step_writes_do_not_count() -> None:
    params = {"a": np.ones(30), "frozen": np.ones(1000), "b": np.ones(30)}
    labels = {"a": "train", "b": "train", "frozen": "freeze"}
    tx = gm.partition({"train": gm.sgd(0.1), "freeze": gm.set_to_zero()}, labels)
    opt = gm.Optimizer(tx, params)
    seen: list[tuple[int, int]] = []
    grads = {"a": np.ones(30), "b": None, "frozen": None}
    opt.step(grads, progress=lambda *pair: seen.append(pair))
    assert seen == [(30, 60), (60, 60)]
    assert (params["b"] == 1).all()


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_progress_raises_does_not_tear_a_step(error: type[BaseException]) -> None:
    one, two = (gm.Optimizer(gm.adam(0.1), random_tree(0)) for _ in range(2))

    def fails(done: int, total: int) -> None:
        raise error(done)

    with pytest.raises(error, match="29"):
        two.step(random_tree(1), progress=fails)
    one.step(random_tree(1))
    assert of(two) == of(one)
    assert two.step(random_tree(2)) == one.step(random_tree(2))


@pytest.mark.usefixtures("small_groups")
def test_gradients_are_zeroed_where_a_step_was_taken_and_progress_raises() -> None:
    opt = gm.Optimizer(gm.adam(0.1), random_tree(0))
    grads = random_tree(1)

    def fails(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opt.step(grads, progress=fails, zero_grads=True)
    assert not any(leaf.any() for leaf in grads.values() if leaf is not None)
    refused = {**random_tree(2), "scalar": np.ones(3)}
    with pytest.raises(GradmillError):
        opt.step(refused, progress=fails, zero_grads=True)
    assert refused["kernel"].all()


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(
    "bad",
    [
        {"scalar": np.ones(3)},
        {"scalar": np.ones((), int)},
        {"another": np.ones(3)},
    ],
)
def test_all_is_validated_before_the_first_write(bad: Any) -> None:
    opt = gm.Optimizer(gm.adam(0.1), random_tree(0))
    before = of(opt)
    with pytest.raises(GradmillError):
        opt.step({**random_tree(1), **bad}, progress=lambda *_: pytest.fail("was called"))
    incomplete = random_tree(1)
    del incomplete["kernel"]
    with pytest.raises(TreeError, match="kernel"):
        opt.step(incomplete, progress=lambda *_: pytest.fail("was called"))
    assert of(opt) == before
    assert opt.step(random_tree(1)).step == 1


def test_with_what_else_steps_do() -> None:
    opt = gm.Optimizer(gm.sgd(0.5), np.ones(3))
    grads = np.ones(3)
    assert opt.step(grads, zero_grads=True, progress=lambda *_: None).step == 1
    assert not grads.any()
    with pytest.raises(ValueError, match="a step with progress has no report"):
        opt.step(grads, report=["update_norm"], progress=lambda *_: None)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("tx", [gm.adam(0.1), gm.quantized_state(gm.adam(0.1), min_size=1)])
def test_over_files(tmp_path: Path, tx: Any) -> None:
    """Each group is asked for before it is needed, where its arrays lie in files."""
    shape = (64, 64)
    params = {name: np.memmap(tmp_path / name, np.float32, "w+", shape=shape) for name in "abc"}
    grads = {
        name: np.memmap(tmp_path / f"d{name}", np.float32, "w+", shape=shape) for name in "abc"
    }
    for seed, leaf in enumerate(grads.values()):
        leaf[...] = np.random.default_rng(seed).normal(size=shape)
    opt = gm.Optimizer(tx, params, state_dir=tmp_path / "state")
    other = gm.Optimizer(tx, {name: np.zeros(shape, np.float32) for name in "abc"})
    for _ in range(3):
        assert opt.step(grads, progress=lambda *_: None) == other.step(grads)
    assert of(opt) == of(other)
