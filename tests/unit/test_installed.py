"""A little of everything, for wheels on machines where the other tests do not run."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import gradmill as gm

HERE = Path(__file__).parents[2]
INSTALLED = os.environ.get("GRADMILL_INSTALLED") == "1"
LARGE = 1_000_000
"""More than one thread takes."""


@pytest.mark.skipif(not INSTALLED, reason="the sources are tested")
def test_what_was_installed_is_tested() -> None:
    package = Path(gm.__file__)
    assert package.is_relative_to(sys.prefix)
    assert not package.is_relative_to(HERE / "python")
    assert shutil.which("cargo") is shutil.which("rustc") is None
    assert importlib.metadata.version("gradmill") == gm.build_info()["version"]
    assert gm.build_info()["profile"] == "release"


def test_types_come_along() -> None:
    package = Path(gm.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_in_place_and_functional_steps_agree(dtype: type[np.floating]) -> None:
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(1e-2))
    params = {"w": np.linspace(-1, 1, 12).astype(dtype).reshape(3, 4), "b": np.zeros((), dtype)}
    state, opt = (
        tx.init(params),
        gm.Optimizer(tx, {key: leaf.copy() for key, leaf in params.items()}),
    )
    for _ in range(5):
        grads = {key: (3 * leaf + 1).astype(dtype) for key, leaf in params.items()}
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        opt.step(grads)
    assert gm.state_digest((params, state)) == gm.state_digest((opt.params, opt.state))


def test_threads_change_no_bit() -> None:
    def digest(threads: int) -> str:
        opt = gm.Optimizer(gm.adam(1e-3), np.linspace(-1, 1, LARGE))
        with gm.num_threads(threads):
            for _ in range(3):
                opt.step(opt.params.copy())
        return gm.state_digest((opt.params, opt.state))

    assert digest(1) == digest(2) == digest(5)


def test_steps_in_several_threads() -> None:
    optimizers = [gm.Optimizer(gm.lion(1e-3), np.ones(1000)) for _ in range(4)]
    threads = [threading.Thread(target=opt.step, args=(np.ones(1000),)) for opt in optimizers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({gm.state_digest(opt.params) for opt in optimizers}) == 1


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_checkpoints(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run.{suffix}"
    opt, other = (gm.Optimizer(gm.adam(0.1), {"w": np.ones(3)}) for _ in range(2))
    opt.step({"w": np.ones(3)})
    gm.save(path, optimizer=opt)
    gm.load(path, optimizer=other)
    assert gm.state_digest((opt.params, opt.state)) == gm.state_digest((other.params, other.state))


def test_errors_name_the_leaf() -> None:
    opt = gm.Optimizer(gm.sgd(0.1), {"dense": {"w": np.ones((2, 3))}})
    with pytest.raises(gm.errors.LeafValueError, match=r"\['dense'\]\['w'\]"):
        opt.step({"dense": {"w": np.ones((3, 2))}})
