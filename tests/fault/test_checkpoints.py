"""A file is the old one or the new one, and one that is neither is an error that says so."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill.checkpoints import _header, header
from gradmill.errors import CheckpointError, GradmillError, LeafValueError
from tests.processes import ROOT, python
from tests.trees import bits, random_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=[".npz", ".safetensors"])
def path(request: Any, tmp_path: Path) -> Path:
    return tmp_path / f"run{request.param}"


def stepped(seed: int) -> gm.Optimizer:
    opt = gm.Optimizer(gm.adam(0.1), random_tree(seed))
    opt.step(random_tree(seed + 1))
    return opt


def everything(opt: gm.Optimizer) -> Any:
    return bits((opt.params, opt.state)), repr(opt)


WRITER = """
import sys
import numpy as np
import gradmill as gm

params = {"w": np.zeros(100_000)}
while True:
    params["w"] += 1.0
    for path in sys.argv[1:]:
        gm.save(path, params=params)
    print(flush=True)
"""


def test_a_writer_that_is_killed(tmp_path: Path) -> None:
    """At any moment there is one whole file, and a draft at most."""
    paths = [tmp_path / f"run{suffix}" for suffix in (".npz", ".safetensors")]
    for delay in (0.0, 0.002, 0.005):
        writer = subprocess.Popen(  # noqa: S603  (the code stands here)
            [sys.executable, "-c", WRITER, *map(str, paths)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for path in paths:
            found = gm.load(path)["params"]["w"]
            assert found.shape == (100_000,)
            assert (found == found[0]).all()
        for other in set(tmp_path.iterdir()) - {*paths}:
            assert other.name.startswith(".gradmill-")
            other.unlink()


IN_THE_MIDDLE = """
import os, signal, sys
import numpy as np
import gradmill as gm
from gradmill.checkpoints import _files

def killed(handle):
    os.kill(os.getpid(), signal.SIGKILL)

_files.os.fsync = killed
gm.save(sys.argv[1], params=np.ones(1000))
"""


def test_a_writer_that_is_killed_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    gm.save(path, params=np.zeros(3))
    whole = path.read_bytes()
    python(IN_THE_MIDDLE, path, fails=True)
    assert path.read_bytes() == whole
    (draft,) = set(tmp_path.iterdir()) - {path}
    assert draft.name.startswith(".gradmill-")
    gm.save(path, params=np.ones(4))
    assert gm.load(path)["params"].tolist() == [1.0] * 4


FULL = """
import resource, signal, sys
import numpy as np
import gradmill as gm

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for path in sys.argv[1:]:
    try:
        gm.save(path, params=np.ones(100_000))
    except OSError as error:
        print(error.errno)
"""


def test_no_room_for_the_file(tmp_path: Path) -> None:
    paths = [tmp_path / f"run{suffix}" for suffix in (".npz", ".safetensors")]
    for path in paths:
        gm.save(path, params=np.zeros(3))
    whole = [path.read_bytes() for path in paths]
    assert python(FULL, *paths).split() == [str(errno.EFBIG)] * 2
    assert [path.read_bytes() for path in paths] == whole
    assert set(tmp_path.iterdir()) == {*paths}


def test_a_save_that_is_interrupted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gm.save(path, params=np.zeros(3))

    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gm.save(path, params=np.ones(3))
    assert list(path.parent.iterdir()) == [path]
    assert gm.load(path)["params"].tolist() == [0.0] * 3


def test_a_folder_that_is_not_there(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        gm.save(path.parent / "none" / path.name, params=np.ones(3))


def test_the_mode_and_the_link_stay(path: Path) -> None:
    real = path.with_name(f"real{path.suffix}")
    gm.save(real, params=np.zeros(3))
    usual = path.parent / "usual"
    usual.touch()
    assert real.stat().st_mode == usual.stat().st_mode
    real.chmod(0o640)
    path.symlink_to(real)
    gm.save(path, params=np.ones(3))
    assert path.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert gm.load(real)["params"].tolist() == [1.0] * 3


def test_files_that_are_cut_off(path: Path) -> None:
    opt = stepped(0)
    gm.save(path, optimizer=opt)
    whole, other = path.read_bytes(), stepped(5)
    before = everything(other)
    for length in [0, 1, 7, 8, 9, 30, *range(40, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="run"):
            gm.load(path, optimizer=other)
        with pytest.raises(CheckpointError, match="run"):
            gm.load(path)
    assert everything(other) == before


def test_any_byte_that_is_changed(path: Path) -> None:
    """It is an error, or a byte that stands for nothing."""
    opt = stepped(0)
    gm.save(path, optimizer=opt)
    expected, whole = everything(opt), path.read_bytes()
    seen = 0
    for at in range(0, len(whole), 61):
        changed = bytearray(whole)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        other = stepped(5)
        before = everything(other)
        try:
            gm.load(path, optimizer=other)
        except GradmillError as error:
            assert str(path) in str(error)  # noqa: PT017  (one of two ways out)
            assert everything(other) == before
            seen += 1
        else:
            assert everything(other) == expected
    assert seen > len(whole) / 61 / 2


def test_damage_is_where_it_is(path: Path) -> None:
    gm.save(path, a=np.zeros(500), b={"w": np.full(500, 7.0)})
    whole = path.read_bytes()
    at = whole.index(np.full(9, 7.0).tobytes())
    path.write_bytes(whole[: at + 5] + b"?" + whole[at + 6 :])
    with pytest.raises(CheckpointError, match=r"^b\['w'\]: .*run") as error:
        gm.load(path)
    assert ("digest" in str(error.value)) == (path.suffix == ".safetensors")
    assert gm.load(path, a=np.zeros(500))["a"].tolist() == [0.0] * 500


def test_files_of_others(path: Path) -> None:
    arrays: dict[str, Any] = {"w": np.ones(3), "b": np.zeros((2, 2), np.float32)}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        numpy = pytest.importorskip("safetensors.numpy", reason="writes .safetensors")
        numpy.save_file(arrays, path)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint written by gradmill\.save"):
        gm.load(path)
    for content in (b"", b"PK\x03\x04", b"\x80\x04N.", b"x" * 1000, b"\xff" * 100, b"{}"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="run"):
            gm.load(path)
        with pytest.raises(CheckpointError, match="run"):
            header(path)


def test_files_that_were_written_anew_by_others(path: Path) -> None:
    """As long as they keep the header."""
    gm.save(path, tree=random_tree(0), n=3)
    if path.suffix == ".npz":
        with np.load(path) as archive:
            np.savez_compressed(path, **archive)
    else:
        safetensors = pytest.importorskip("safetensors.numpy", reason="writes .safetensors")
        arrays = safetensors.load_file(path)
        text = {"gradmill": json.dumps(header(path), separators=(",", ":"))}
        safetensors.save_file(arrays, path, metadata=text)
    assert bits(gm.load(path, tree=random_tree(1))["tree"]) == bits(random_tree(0))


def with_header(path: Path, content: Any) -> None:
    """Write a file that has this content for a header, with a digest that fits."""
    if isinstance(content, dict):
        content = {**content, "digest": _header._digest(content)}
    text = content if isinstance(content, str) else json.dumps(content)
    if path.suffix == ".npz":
        np.savez(path, __gradmill__=np.array(text.encode()), tree=np.ones(3))
    else:
        array = {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}
        start = json.dumps({"__metadata__": {"gradmill": text}, "tree": array}).encode()
        path.write_bytes(len(start).to_bytes(8, "little") + start + np.ones(3).tobytes())


DIGEST = gm.checkpoints._arrays.digest_of(np.ones(3))
ENTRY = {"dtype": "float64", "shape": [3], "digest": DIGEST}
GOOD = {"gradmill": 1, "trees": {"tree": {"array": "tree"}}, "arrays": {"tree": ENTRY}}
HEADERS: dict[str, Any] = {
    "no JSON": "{",
    "a list": [],
    "a number": 3,
    "null": None,
    "deep": "[" * 100_000,
    "not a number": '{"gradmill": 1, "digest": "", "trees": NaN}',
    "empty": {},
    "no version": {"trees": {}, "arrays": {}},
    "another version": {**GOOD, "gradmill": 2},
    "no trees": {"gradmill": 1, "arrays": {}},
    "trees of another kind": {**GOOD, "trees": 3},
    "an unknown node": {**GOOD, "trees": {"tree": {"set": []}}},
    "two kinds": {**GOOD, "trees": {"tree": {"list": [], "dict": []}}},
    "no pairs": {**GOOD, "trees": {"tree": {"dict": [3]}}},
    "a list in a tree": {**GOOD, "trees": {"tree": [3]}},
    "keys that no dict takes": {**GOOD, "trees": {"tree": {"dict": [[{"tuple": [[]]}, 1]]}}},
    "an array that is nowhere": {**GOOD, "trees": {"tree": {"array": "other"}}},
    "an array without a name": {**GOOD, "trees": {"tree": {"array": [1]}}},
    "no entry": {**GOOD, "arrays": {"tree": 3}},
    "an unknown dtype": {**GOOD, "arrays": {"tree": {**ENTRY, "dtype": "object"}}},
    "a dtype of another kind": {**GOOD, "arrays": {"tree": {**ENTRY, "dtype": [["x"]]}}},
    "another dtype": {**GOOD, "arrays": {"tree": {**ENTRY, "dtype": "float32"}}},
    "another shape": {**GOOD, "arrays": {"tree": {**ENTRY, "shape": [4]}}},
    "a negative shape": {**GOOD, "arrays": {"tree": {**ENTRY, "shape": [-3]}}},
    "a huge shape": {**GOOD, "arrays": {"tree": {**ENTRY, "shape": [2**62, 2**62]}}},
    "half a shape": {**GOOD, "arrays": {"tree": {**ENTRY, "shape": [1.5]}}},
    "another digest": {**GOOD, "arrays": {"tree": {**ENTRY, "digest": None}}},
    "an optimizer of another kind": {**GOOD, "optimizer": 3},
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers(path: Path, name: str) -> None:
    with_header(path, GOOD)
    assert gm.load(path)["tree"].tolist() == [1.0] * 3
    with_header(path, HEADERS[name])
    with pytest.raises(GradmillError, match="run") as error:
        gm.load(path)
    assert len(str(error.value)) < 400
    with pytest.raises(GradmillError, match="run"):
        gm.load(path, tree=np.ones(3))


@pytest.mark.parametrize(
    "change", [{"steps": -1}, {"steps": "x"}, {"seed": 2**64}, {"rounding": 3}]
)
def test_hostile_optimizers(path: Path, change: Any) -> None:
    opt = gm.Optimizer(gm.identity(), np.zeros(3))
    about = {"transformation": "", "steps": 1, "rounding": "nearest", "seed": 0}
    state = {"fields": ["EmptyState", []]}
    content = {**GOOD, "trees": {"params": {"array": "tree"}, "state": state}, "optimizer": about}
    with_header(path, content)
    gm.load(path, optimizer=opt)
    opt = gm.Optimizer(gm.identity(), np.zeros(3))
    with_header(path, {**content, "optimizer": {**about, **change}})
    with pytest.raises(CheckpointError, match="run"):
        gm.load(path, optimizer=opt)
    assert opt.params.tolist() == [0.0] * 3


OFFSETS: list[Any] = [[-24, 0], [24, 48], [0, 23], [0, 2**70], ["a", "b"], None, [0], [1, 25]]


@pytest.mark.parametrize("offsets", OFFSETS, ids=str)
def test_hostile_offsets(tmp_path: Path, offsets: Any) -> None:
    path = tmp_path / "run.safetensors"
    with_header(path, GOOD)
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    content = json.loads(whole[8 : 8 + length])
    content["tree"]["data_offsets"] = offsets
    start = json.dumps(content).encode()
    path.write_bytes(len(start).to_bytes(8, "little") + start + whole[8 + length :])
    with pytest.raises(CheckpointError, match=r"tree: .*run"):
        gm.load(path)


def test_hostile_members(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    gm.save(path, tree=np.ones((2, 3)))
    with zipfile.ZipFile(path) as archive:
        text = archive.read("__gradmill__.npy")
        tree = archive.read("tree.npy")
    others = {
        "a pickle": tree.replace(b"'<f8'", b"'|O' "),
        "another order": tree.replace(b"False", b"True "),
        "another version": tree.replace(b"NUMPY\x01", b"NUMPY\x03"),
        "code": tree.replace(b"'<f8'", b"exit()"[:5]),
        "cut off": tree[:-1],
        "longer": tree + b"x",
        "nothing": b"",
    }
    for content in others.values():
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("__gradmill__.npy", text)
            archive.writestr("tree.npy", content)
        with pytest.raises(CheckpointError, match=r"tree: .*run"):
            gm.load(path)


def test_an_optimizer_that_cannot_be_written(path: Path) -> None:
    gm.save(path, optimizer=stepped(0))
    opt = stepped(5)
    opt.state[0].nu["kernel"].setflags(write=False)
    before = everything(opt)
    with pytest.raises(LeafValueError, match=r"state\[0\].nu\['kernel'\]: was made read-only"):
        gm.load(path, optimizer=opt)
    assert everything(opt) == before


def test_an_optimizer_that_lost_an_array(path: Path) -> None:
    gm.save(path, optimizer=stepped(0))
    whole, opt = path.read_bytes(), stepped(5)
    opt.params["kernel"] = np.zeros((9, 7), np.float32)
    with pytest.raises(LeafValueError, match=r"params\['kernel'\]: was replaced by another array"):
        gm.save(path, optimizer=opt)
    assert path.read_bytes() == whole


BROKEN = """
import sys
import numpy as np
import gradmill as gm
from gradmill import _core

def made():
    return gm.Optimizer(gm.adam(0.1), {"a": np.zeros(10, np.float32), "b": np.zeros(3)})

grads = {"a": np.ones(10, np.float32), "b": np.ones(3)}
whole, opt = made(), made()
whole.step(grads)
path = sys.argv[1]
gm.save(path, optimizer=whole)
_core.plant_panic(1)
try:
    opt.step(grads)
except RuntimeError as error:
    assert "planted" in str(error)
_core.plant_panic(-1)
try:
    gm.save(path, optimizer=opt)
except RuntimeError as error:
    print(type(error).__name__)
gm.load(path, optimizer=opt)
assert opt.step(grads) == whole.step(grads)
assert gm.state_digest((opt.params, opt.state)) == gm.state_digest((whole.params, whole.state))
"""


def test_a_step_that_broke_off(tmp_path: Path) -> None:
    """Its optimizer is not saved, and goes on from a file."""
    assert python(BROKEN, tmp_path / "run.npz", planted=True) == "RuntimeError"
