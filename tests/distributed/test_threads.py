"""Shards of a tree, with threads in the place of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import gradmill as gm
from gradmill.distributed import Sharded
from tests.distributed.together import (
    CHAINS,
    LARGE,
    SMALL,
    alone,
    grads_of,
    kernels_alone,
    params_of,
    together,
)
from tests.trees import bits

if TYPE_CHECKING:
    from pathlib import Path


def run(name: str, shapes: Any, size: int, steps: int = 3, **options: Any) -> list[Any]:
    """Parameters and reports of each process; only the first has gradients other than zero."""

    def work(engine: Any) -> Any:
        params = params_of(shapes)
        opt = Sharded(CHAINS[name](), params, engine, average=False, **options)
        reports = []
        for step in range(steps):
            grads = grads_of(shapes, step)
            share = {key: leaf * (engine.rank == step % size) for key, leaf in grads.items()}
            reports.append(str(opt.step(share)))
        return bits(params), reports

    return together(size, work)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("name", CHAINS)
def test_as_a_single_process(name: str, size: int) -> None:
    assert run(name, SMALL, size) == [alone(name, SMALL, 3)] * size


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", ["clip", "finite", "lamb", "estimates", "quantized"])
def test_leaves_that_are_cut(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leaf larger than a shard, uneven shards, and counts that travel in pieces."""
    monkeypatch.setattr(Sharded, "most", 100_000)
    assert run(name, LARGE, size, check_every=2) == [alone(name, LARGE, 3)] * size


def test_shards_are_about_even() -> None:
    def work(engine: Any) -> Any:
        opt = Sharded(gm.adam(0.1), params_of(LARGE), engine)
        return [leaf.size for leaf in opt.shard.params.values()]

    sizes = [sum(own) for own in together(4, work)]
    assert sum(sizes) == sum(int(np.prod(shape)) for shape in LARGE.values())
    assert max(sizes) < 0.5 * sum(sizes)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("master", [False, True])
def test_other_dtypes(dtype: Any, master: bool) -> None:
    """Two dtypes side by side; gradients of half precision are added up in float32."""

    def make() -> Any:
        params = {**params_of(SMALL), "other": np.ones(100, dtype)}
        return params, gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1))

    def grads(size: int) -> Any:
        return {**grads_of(SMALL, 1), "other": np.full(100, 1 / size, dtype)}

    params, tx = make()
    opt = gm.Optimizer(tx, params, master=master)
    summed = np.float64 if dtype == np.float64 else np.float32
    whole = {**grads_of(SMALL, 1), "other": np.ones(100, summed)}
    for _ in range(3):
        opt.step(whole)

    def work(engine: Any) -> Any:
        params, tx = make()
        opt = Sharded(tx, params, engine, master=master)
        for _ in range(3):
            opt.step({**grads_of(SMALL, 1), "other": np.ones(100, dtype)})
        return bits(params)

    assert together(2, work) == [bits(params)] * 2


def test_gradients_are_averaged() -> None:
    def work(engine: Any) -> Any:
        params = {"w": np.zeros(3, np.float32)}
        Sharded(gm.sgd(1.0), params, engine).step({"w": np.full(3, engine.rank, np.float32)})
        return params["w"].tolist()

    assert together(3, work) == [[-1.0] * 3] * 3


def test_masks_see_whole_leaves() -> None:
    seen: list[Any] = []

    def mask(path: str, leaf: Any) -> bool:
        seen.append((path, leaf.shape))
        return kernels_alone(path, leaf)

    def work(engine: Any) -> None:
        Sharded(gm.adamw(0.1, mask=mask), params_of(LARGE), engine)

    together(2, work)
    assert {shape for path, shape in seen if path == "wide"} == {(2, 80_000)}


def test_what_is_frozen_needs_no_gradient() -> None:
    def work(engine: Any) -> Any:
        params: Any = {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32), "n": None}
        tx = gm.partition({"t": gm.sgd(1.0), "f": gm.set_to_zero()}, {"a": "t", "b": "f", "n": "t"})
        opt = Sharded(tx, params, engine)
        opt.step({"a": np.ones(2, np.float32), "b": None, "n": None})
        return params["a"].tolist(), params["b"].tolist()

    assert together(2, work) == [([-1.0, -1.0], [0.0, 0.0])] * 2


@pytest.mark.parametrize(
    ("tx", "message"),
    [
        (gm.chain(gm.adam(0.1), gm.clip_by_global_norm(1.0)), "clip_by_global_norm has to know"),
        (gm.contrib.muon(0.1), "runs in Python"),
        (gm.add_noise(0.1, 0.5, 0), "add_noise draws random numbers"),
    ],
)
def test_what_cannot_be_sharded_says_so(tx: Any, message: str) -> None:
    errors = together(2, lambda engine: Sharded(tx, params_of(SMALL), engine))
    assert all(isinstance(error, ValueError) and message in str(error) for error in errors)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"bias": np.ones(4, np.float32)}, "updates['bias']: shape (4,), params has (33,)"),
        ({"bias": None}, "updates['bias']: is None, expected an array"),
        ({"other": np.ones(4)}, "updates: key 'other' is not in params"),
    ],
)
def test_all_raise_where_one_does(bad: Any, message: str) -> None:
    def work(engine: Any) -> Any:
        params = params_of(SMALL)
        opt = Sharded(CHAINS["clip"](), params, engine, average=False)
        before = bits((params, opt.shard.state))
        grads = grads_of(SMALL, 1)
        try:
            opt.step({**grads, **bad} if engine.rank == 1 else grads)
        except (ValueError, TypeError, RuntimeError) as error:
            told = str(error)
        assert bits((params, opt.shard.state)) == before
        opt.step({key: leaf * (engine.rank == 0) for key, leaf in grads.items()})
        return type(opt).__name__, told, bits(params)

    first, second, third = together(3, work)
    assert second[1] == message
    assert "rank 1 raised" in first[1]
    assert message in first[1]
    assert first[1] == third[1]
    params = params_of(SMALL)
    gm.Optimizer(CHAINS["clip"](), params).step(grads_of(SMALL, 1))
    assert first[2] == second[2] == third[2] == bits(params)


def test_a_chain_that_raises_in_one_process() -> None:
    """In the middle of a step, after gradients were added up."""

    def work(engine: Any) -> Any:
        def schedule(count: Any) -> float:
            if engine.rank == 1 and count == 1:
                raise ZeroDivisionError("of the schedule")
            return 0.1

        params = params_of(SMALL)
        tx = gm.chain(gm.clip_by_global_norm(1.0), gm.scale_by_learning_rate(schedule))
        opt = Sharded(tx, params, engine)
        opt.step(grads_of(SMALL, 1))
        before = bits((params, opt.shard.state))
        try:
            opt.step(grads_of(SMALL, 2))
        except Exception as error:  # noqa: BLE001  (what it is is what the test is about)
            return str(error), bits((params, opt.shard.state)) == before
        return "nothing was raised"

    first, second = together(2, work)
    assert first == ("rank 1 raised ZeroDivisionError: of the schedule", True)
    assert second == ("of the schedule", True)


def test_parameters_that_differ() -> None:
    def from_the_start(engine: Any) -> Any:
        return Sharded(gm.sgd(0.1), {"w": np.full(3, float(engine.rank > 1))}, engine)

    assert {str(error) for error in together(4, from_the_start)} == {
        "rank 2 has other parameters than rank 0"
    }

    def later(engine: Any) -> Any:
        params = {"w": np.ones(3)}
        opt = Sharded(gm.sgd(0.1), params, engine, check_every=2)
        opt.step({"w": np.ones(3)})
        params["w"][0] = engine.rank
        # Not looked at before this step, and shared out by it, but for the shard of the first.
        opt.step({"w": np.ones(3)})
        params["w"][0] = engine.rank
        opt.step({"w": np.ones(3)})

    assert {str(error) for error in together(2, later)} == {
        "rank 1 has other parameters than rank 0"
    }


@pytest.mark.parametrize("sizes", [(1, 3), (3, 2), (2, 2)])
@pytest.mark.parametrize("name", ["finite", "lamb", "injected", "factored", "quantized"])
def test_checkpoints(name: str, sizes: tuple[int, int], tmp_path: Path) -> None:
    """Another number of processes goes on with the same bits."""
    before, after = sizes
    shapes = {**SMALL, "long": (300_000,)}

    def first(engine: Any) -> None:
        opt = Sharded(CHAINS[name](), params_of(shapes), engine, average=False)
        for step in range(2):
            grads = grads_of(shapes, step)
            opt.step({key: leaf * (engine.rank == 0) for key, leaf in grads.items()})
            opt.save(tmp_path / "run")

    def second(engine: Any) -> Any:
        params = {key: np.zeros_like(leaf) for key, leaf in params_of(shapes).items()}
        opt = Sharded(CHAINS[name](), params, engine, average=False)
        opt.load(tmp_path / "run")
        grads = grads_of(shapes, 2)
        report = opt.step({key: leaf * (engine.rank == 0) for key, leaf in grads.items()})
        return bits(params), str(report)

    assert together(before, first) == [None] * before
    assert len(list((tmp_path / "run").glob("shard-*"))) == before
    expected, reports = alone(name, shapes, 3)
    assert together(after, second) == [(expected, reports[2])] * after


def test_a_checkpoint_of_others(tmp_path: Path) -> None:
    def save(engine: Any) -> None:
        Sharded(gm.sgd(0.1), {"w": np.zeros(3)}, engine).save(tmp_path)

    together(2, save)

    def load(engine: Any) -> None:
        Sharded(gm.sgd(0.1), {"w": np.zeros(4)}, engine).load(tmp_path)

    errors = together(2, load)
    assert all(isinstance(error, gm.errors.CheckpointError) for error in errors)
    assert "has other shapes" in str(errors[0])
    (tmp_path / "index.json").unlink()
    assert "is no index" in str(together(2, load)[0])
