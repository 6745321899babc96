"""State in files: the same bits as in memory, next to no memory, and a run that goes on."""

from __future__ import annotations

import copy
import json
import mmap
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafValueError
from tests.processes import python
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHAINS: dict[str, Callable[[], Any]] = {
    "adamw": lambda: gm.adamw(gm.cosine_decay_schedule(0.1, 9), weight_decay=0.01),
    "clipped": lambda: gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1)),
    "not_zero_at_first": lambda: gm.adagrad(0.1),
    "parameters_at_first": gm.contrib.prodigy,
    "rows_and_columns": lambda: gm.adafactor(0.1, min_dim_size_to_factor=2),
    "drawn": lambda: gm.chain(gm.add_noise(0.1, 0.5, 3), gm.sgd(0.1, 0.9)),
    "injected": lambda: gm.inject_hyperparams(gm.adam)(0.1),
    "gated": lambda: gm.apply_if_finite(gm.MultiSteps(gm.adam(0.1), 2), 5),
    "masked": lambda: gm.masked(gm.adam(0.1), {"bias": False, "kernel": True, "none": False}),
    "partly_numpy": lambda: gm.contrib.apollo_mini(0.1),
    "half": lambda: gm.adam(0.1, mu_dtype=ml_dtypes.bfloat16),
    "codes": lambda: gm.quantized_state(gm.adam(0.1), min_size=100),
    "none": lambda: gm.sgd(0.1),
}


def tree_of(seed: int, dtype: Any = np.float32) -> Any:
    return random_tree(seed, dtype, shapes={"bias": (5,), "kernel": (40, 30)})


def of(opt: gm.Optimizer) -> Any:
    return bits((opt.params, opt.state, opt.master))


def in_file(array: Any) -> bool:
    while isinstance(array, (np.ndarray, memoryview)):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, mmap.mmap)


def keeps_times(folder: Path) -> bool:
    """Whether the file system notes when a map is written to."""
    array = np.memmap(folder / "times", np.uint8, "w+", shape=(1,))
    array.flush()
    before = (folder / "times").stat().st_mtime_ns
    array[0] = 1
    array.flush()
    return (folder / "times").stat().st_mtime_ns != before


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=["f32", "master"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_run_goes_on_with_the_bits_of_one_in_memory(
    tmp_path: Path, name: str, dtype: Any
) -> None:
    master = dtype != np.float32
    one = gm.Optimizer(CHAINS[name](), tree_of(0, dtype), master=master)
    params = tree_of(0, dtype)
    two = gm.Optimizer(CHAINS[name](), params, master=master, state_dir=tmp_path / "state")
    for step in range(1, 7):
        grads = tree_of(step, dtype)
        assert two.step(grads) == one.step(grads)
        assert of(two) == of(one)
        if step % 2 == 0:
            two.flush()
            params = copy_tree(params)
            two = gm.Optimizer(CHAINS[name](), params, master=master, state_dir=tmp_path / "state")
            assert of(two) == of(one)


def test_what_steps_overwrite_is_in_the_file(tmp_path: Path) -> None:
    half = {"w": np.ones((4, 3), ml_dtypes.bfloat16)}
    opt = gm.Optimizer(gm.adam(0.1), half, master=True, state_dir=tmp_path)
    for array in (opt.state[0].mu["w"], opt.state[0].nu["w"], opt.master["w"]):
        assert in_file(array)
        assert array.flags.writeable
        assert array.flags.aligned
    opt.step({"w": np.ones((4, 3), ml_dtypes.bfloat16)})
    opt.flush()
    places = json.loads((tmp_path / "index.json").read_text())["arrays"]
    offset, dtype, shape = places["state[0].mu['w']"]
    stored = np.fromfile(tmp_path / "arrays.bin", dtype, 12, offset=offset).reshape(shape)
    assert bits(stored) == bits(opt.state[0].mu["w"])


def test_copies_are_in_memory(tmp_path: Path) -> None:
    opt = gm.Optimizer(gm.adam(0.1), tree_of(0), state_dir=tmp_path)
    opt.step(tree_of(1))
    for other in (copy.copy(opt), copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        assert of(other) == of(opt)
        assert not in_file(other.state[0].mu["kernel"])
        other.step(tree_of(2))
        other.flush()
        assert not (tmp_path / "index.json").exists()
        assert of(other) != of(opt)


def test_flush_brings_parameters_to_the_disk(tmp_path: Path) -> None:
    params = np.memmap(tmp_path / "params", np.float32, "w+", shape=(100,))
    opt = gm.Optimizer(gm.sgd(0.5), {"w": params[:60], "b": params[60:], "none": None})
    opt.step({"w": np.ones(60), "b": np.ones(40), "none": None})
    opt.flush()
    assert (np.fromfile(tmp_path / "params", np.float32) == -0.5).all()


def test_no_other_state_takes_the_place(tmp_path: Path) -> None:
    gm.Optimizer(gm.adam(0.1), np.ones((3, 2)), state_dir=tmp_path).flush()
    for tx, params, message in (
        (gm.adam(0.1), np.ones((2, 3)), r"mu: float64 of shape \(3, 2\) in .*, expected float64 "),
        (gm.sgd(0.1, 0.9), np.ones((3, 2)), r"trace: nothing in .*, expected float64 of shape"),
        (gm.sgd(0.1), np.ones((3, 2)), r"mu: float64 of shape \(3, 2\) in .*, expected nothing"),
    ):
        with pytest.raises(LeafValueError, match=message):
            gm.Optimizer(tx, params, state_dir=tmp_path)
    assert gm.Optimizer(gm.adam(0.1), np.ones((3, 2)), state_dir=tmp_path).state[0].count == 0


def test_a_state_that_was_written_to_after_its_flush_is_refused(tmp_path: Path) -> None:
    if not keeps_times(tmp_path):
        pytest.skip("the file system does not note when a map is written to")
    opt = gm.Optimizer(gm.adam(0.1), np.ones(3), state_dir=tmp_path / "state")
    opt.step(np.ones(3))
    opt.flush()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    opt.step(np.ones(3))
    with pytest.raises(LeafValueError, match="was written to after its last flush"):
        gm.Optimizer(gm.adam(0.1), np.ones(3), state_dir=tmp_path / "state")
    again = gm.Optimizer(gm.adam(0.1), np.ones(3), state_dir=tmp_path / "copy")
    assert again.state[0].count == 1
    again.step(np.ones(3))
    assert bits(again.state) == bits(opt.state)


def test_a_state_that_was_never_flushed_begins_anew(tmp_path: Path) -> None:
    """Be it one of other arrays, or one that another optimizer still has."""
    first = gm.Optimizer(gm.adam(0.1), np.ones(3), state_dir=tmp_path)
    first.step(np.ones(3))
    second = gm.Optimizer(gm.sgd(0.1, 0.9), np.ones(2), state_dir=tmp_path)
    assert not second.state[0].trace.any()
    second.step(np.ones(2))
    assert first.step(np.ones(3)).step == 2


def test_parameters_that_are_refused_leave_a_state_as_it_was(tmp_path: Path) -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.ones(3), state_dir=tmp_path)
    opt.step(np.ones(3))
    opt.flush()
    fixed = np.ones(3)
    fixed.flags.writeable = False
    with pytest.raises(LeafValueError, match="read-only"):
        gm.Optimizer(gm.adam(0.1), fixed, state_dir=tmp_path)
    assert gm.Optimizer(gm.adam(0.1), np.ones(3), state_dir=tmp_path).state[0].count == 1


LARGE = """
import os, sys
import numpy as np
import gradmill as gm

folder, size = sys.argv[1], 24_000_000

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

def on_disk(name):
    return os.stat(f"{folder}/{name}").st_blocks * 512

def mapped(name, count):
    return np.memmap(f"{folder}/{name}", np.float32, "w+", shape=(count,))

params = {"w": mapped("w", size), "frozen": mapped("frozen", 20 * size)}
grads = {"w": mapped("grads", size), "frozen": None}
labels = {"w": "train", "frozen": "freeze"}
tx = gm.partition({"train": gm.adamw(0.1), "freeze": gm.set_to_zero()}, labels)
before = anonymous()
opt = gm.Optimizer(tx, params, state_dir=f"{folder}/state")
assert on_disk("state/arrays.bin") < 2**16, "zeros take no room"
grads["w"][::1000] = 1
for step in range(3):
    opt.step(grads)
opt.flush()
assert anonymous() - before < 16e6, anonymous() - before
assert on_disk("frozen") < 2**16, on_disk("frozen")
small = {"w": np.zeros(2000, np.float32), "frozen": np.zeros(1, np.float32)}
other = gm.Optimizer(tx, small)
for step in range(3):
    other.step({"w": np.array(grads["w"][-2000:]), "frozen": None})
print(bool((params["w"][-2000:] == small["w"]).all()))
"""


def test_a_tree_of_two_gigabytes_in_sparse_files(tmp_path: Path) -> None:
    """Parameters, gradients and moments of which no byte is memory of the process's own."""
    assert python(LARGE, str(tmp_path)) == "True"
