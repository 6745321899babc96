"""What goes into a file comes out of it, for us and for others."""

from __future__ import annotations

import enum
import json
import os
import sys
import tracemalloc
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np
import optree
import pytest

import gradmill as gm
from gradmill.checkpoints import header
from gradmill.errors import LeafTypeError, TreeError
from tests.property.strategies import relayout
from tests.trees import bits, random_tree

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".npz", ".safetensors")
BF16 = np.dtype(ml_dtypes.bfloat16)


@pytest.fixture(params=SUFFIXES)
def path(request: Any, tmp_path: Path) -> Path:
    return tmp_path / f"run{request.param}"


def by_others(path: Path) -> dict[str, Any]:
    """What the format's usual reader makes of a file."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive if not name.startswith("__")}
    numpy = pytest.importorskip("safetensors.numpy", reason="reads .safetensors")
    return dict(numpy.load_file(path))


DTYPES = [*"?bhiqBHIQefdFD", BF16]
LAYOUTS = ["C", "F", "strided", "reversed"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_dtype_and_layout(path: Path, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    shapes = [(), (0,), (3, 0), (1,), (5,), (3, 4), (2, 3, 5)]
    arrays = [np.asarray(rng.normal(0, 9, shape)).astype(dtype) for shape in shapes]
    tree = {how: [relayout(array, how) for array in arrays] for how in LAYOUTS}
    gm.save(path, tree=tree)
    found = gm.load(path)["tree"]
    assert list(found) == LAYOUTS
    assert gm.state_digest(found) == gm.state_digest(tree)
    assert all(array.flags.c_contiguous for arrays in found.values() for array in arrays)
    assert all(array.flags.writeable for arrays in found.values() for array in arrays)
    filled = gm.load(path, tree=tree)["tree"]
    assert gm.state_digest(filled) == gm.state_digest(tree)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_others_read_the_same(path: Path, dtype: Any) -> None:
    array = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    gm.save(path, a={"f": np.asfortranarray(array), "cut": array[:, 1::2]}, number=array[0, 0])
    there = by_others(path)
    for name, expected in {"a/f": array, "a/cut": array[:, 1::2], "number": array[0, 0]}.items():
        found = there[name]
        if np.dtype(dtype) == BF16 and path.suffix == ".npz":
            found = found.view(BF16)
        if np.dtype(dtype).kind == "c" and path.suffix == ".safetensors":
            found = (found[..., 0] + 1j * found[..., 1]).astype(dtype)
        assert (found.dtype, found.shape) == (np.dtype(dtype), expected.shape)
        assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_swapped_bytes(path: Path) -> None:
    swapped = np.arange(6, dtype=">f8").reshape(2, 3).T
    gm.save(path, a=swapped)
    assert by_others(path)["a"].tolist() == swapped.tolist()
    for found in (gm.load(path)["a"], gm.load(path, a=swapped)["a"]):
        assert found.dtype.isnative
        assert found.tolist() == swapped.tolist()


def test_every_bit_pattern_of_half_precision(path: Path) -> None:
    patterns = np.arange(2**16, dtype=np.uint16)
    tree = {"f16": patterns.view(np.float16), "bf16": patterns.view(BF16)}
    gm.save(path, tree=tree)
    found = gm.load(path)["tree"]
    assert all(found[name].tobytes() == patterns.tobytes() for name in tree)


class Pair(NamedTuple):
    first: Any
    second: Any


class Color(enum.Enum):
    RED = 1


ONE = np.ones(1)
PLAIN: list[Any] = [
    None,
    True,
    3,
    2**70,
    -1.5,
    float("inf"),
    0.1,
    1 - 2j,
    "ä/\\%\x00",
    [],
    (),
    {},
    [None, (ONE, {}), [[ONE]]],
    {"z": 1, "a": {"b": ONE}, "": None},
    {0: ONE, 1: ONE},
    {(1, "x"): ONE, (0, "y"): 3},
    {None: 1},
    {True: 1, False: ONE},
    [ONE] * 12,
    json.loads("[" * 100 + "1" + "]" * 100),
]


@pytest.mark.parametrize("tree", PLAIN, ids=repr)
def test_plain_containers_come_back_as_they_are(path: Path, tree: Any) -> None:
    gm.save(path, tree=tree)
    for found in (gm.load(path)["tree"], gm.load(path, tree=tree)["tree"]):
        assert gm.state_digest(found) == gm.state_digest(tree)
        assert type(found) is type(tree)
    if isinstance(tree, dict):
        assert list(gm.load(path)["tree"]) == list(tree)


OTHER: list[tuple[Any, Any]] = [
    (Pair(ONE, [2]), {"first": ONE, "second": [2]}),
    (OrderedDict(z=ONE, a=1), {"z": ONE, "a": 1}),
    (defaultdict(list, a=ONE), {"a": ONE}),
    (deque([ONE]), {0: ONE}),
    (gm.EmptyState(), {}),
    ({Color.RED: 1}, {"<Color.RED: 1>": 1}),
    (np.float32(2), np.array(2, np.float32)),
]


@pytest.mark.parametrize(("tree", "expected"), OTHER, ids=repr)
def test_other_classes(path: Path, tree: Any, expected: Any) -> None:
    gm.save(path, tree=tree)
    assert gm.state_digest(gm.load(path)["tree"]) == gm.state_digest(expected)
    filled = gm.load(path, tree=tree)["tree"]
    assert gm.state_digest(filled) == gm.state_digest(tree)
    assert type(filled) is type(tree)


def test_names_that_files_do_not_take(path: Path) -> None:
    keys = ["a/b", "a%2Fb", "..", "x.npy", "x", "\x00", "\ud800", "ü", "", "1", 1, "~", "1~"]
    tree = {"deep": {key: np.full(2, at) for at, key in enumerate(keys)}}
    gm.save(path, tree=tree, a=ONE)
    found = gm.load(path)["tree"]["deep"]
    assert [(key, array.tolist()) for key, array in found.items()] == [
        (key, [at, at]) for at, key in enumerate(keys)
    ]
    there = by_others(path)
    assert len(there) == len(keys) + 1
    assert there["tree/deep/ü"].tolist() == [7, 7]
    assert there["tree/deep/a%2Fb"].tolist() == [0, 0]


def test_keys_that_are_the_same_in_a_file(path: Path) -> None:
    both = {Color.RED: ONE, "<Color.RED: 1>": ONE}
    words = r"tree\[0\]: keys .*Color.RED.* are the same in a checkpoint"
    with pytest.raises(TreeError, match=words):
        gm.save(path, tree=[both])
    gm.save(path, tree=[{}])
    with pytest.raises(TreeError, match=words):
        gm.load(path, tree=[both])


class Twins:
    """Its children have one name."""

    def __init__(self, first: Any, second: Any) -> None:
        self.both = first, second


def registered(kind: Any) -> None:
    optree.register_pytree_node(
        kind,
        lambda node: (vars(node)["both"], None, ({}, {})),
        lambda _, both: kind(*both),
        namespace="gradmill",
    )


registered(Twins)


def test_children_without_names(path: Path) -> None:
    gm.save(path, tree=Twins(ONE, 2 * ONE))
    assert bits(gm.load(path)["tree"]) == bits({0: ONE, 1: 2 * ONE})
    found = gm.load(path, tree=Twins(ONE, ONE))["tree"]
    assert bits(found.both) == bits((ONE, 2 * ONE))


def test_equal_trees_make_equal_files(path: Path) -> None:
    gm.save(path, tree=random_tree(0), n=3)
    first = path.read_bytes()
    gm.save(path, tree=random_tree(0), n=3)
    assert path.read_bytes() == first
    os.fspath(path)
    gm.save(str(path), tree=random_tree(1), n=3)
    assert path.read_bytes() != first


def test_what_the_header_says(path: Path) -> None:
    opt = gm.Optimizer(gm.adam(0.1), {"w": np.ones(2, BF16)}, rounding="stochastic", seed=2**64 - 1)
    opt.step({"w": np.ones(2, BF16)})
    gm.save(path, optimizer=opt, epoch=3)
    about = header(path)
    assert about["optimizer"] == {
        "transformation": "gm.adam(0.1)",
        "steps": 1,
        "rounding": "stochastic",
        "seed": 2**64 - 1,
    }
    assert about["gradmill"] == 1
    assert about["written_by"] == f"gradmill {gm.__version__}"
    assert set(about["trees"]) == {"params", "state", "epoch"}
    assert about["arrays"]["params/w"].items() >= {"dtype": "bfloat16", "shape": [2]}.items()
    assert set(about["arrays"]) == {
        *("params/w", "state/0/count", "state/0/mu/w", "state/0/nu/w"),
    }
    json.dumps(about)
    opt.step({"w": np.ones(2, BF16)})
    gm.save(path, optimizer=opt, epoch=3)
    assert header(path)["digest"] != about["digest"]


def test_others_find_the_header(path: Path) -> None:
    gm.save(path, tree=ONE)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            text = archive["__gradmill__"].item()
    else:
        safetensors = pytest.importorskip("safetensors", reason="reads .safetensors")
        with safetensors.safe_open(path, "np") as file:
            text = file.metadata()["gradmill"]
    assert json.loads(text) == header(path)


def test_trees_are_only_looked_at(path: Path) -> None:
    gm.save(path, tree={"w": np.ones(2), "n": 3})
    like: dict[str, Any] = {"n": 0, "w": np.zeros(2)}
    like["w"].setflags(write=False)
    assert bits(gm.load(path, tree=like)["tree"]) == bits({"n": 3, "w": np.ones(2)})
    assert bits(like) == bits({"n": 0, "w": np.zeros(2)})


class Stand:
    """Has shape and dtype, and no memory."""

    shape, dtype = (2, 3), np.dtype(np.float32)


def test_what_stands_for_an_array(path: Path) -> None:
    gm.save(path, a=np.ones((2, 3), np.float32), zero=np.array(2.5), four=4, flag=np.array(True))
    found = gm.load(path, a=Stand(), zero=0.0, four=np.array(0.0), flag=False)
    assert bits(found["a"]) == bits(np.ones((2, 3), np.float32))
    assert (found["zero"], type(found["zero"])) == (2.5, float)
    assert (found["four"], found["four"].dtype) == (4.0, np.float64)
    assert found["flag"] is True
    assert type(gm.load(path, zero=np.float64(0))["zero"]) is np.float64


def test_what_is_not_asked_for_is_not_read(path: Path) -> None:
    gm.save(path, small=ONE, large=np.ones(100_000))
    whole = path.read_bytes()
    at = whole.index(np.ones(100).tobytes())
    path.write_bytes(whole[: at + 900] + b"!" + whole[at + 901 :])
    assert gm.load(path, small=ONE)["small"].tolist() == [1.0]
    with pytest.raises(gm.errors.CheckpointError, match="large"):
        gm.load(path)


def w_b(**others: Any) -> dict[str, Any]:
    return {"w": np.ones((2, 3), np.float32), "b": [np.ones(2)], **others}


DIFFERENT: dict[str, tuple[Any, list[str]]] = {
    "missing": (w_b(c=ONE, d={"x": ONE, "y": {}}), ["['c']: missing", "['d']['x']: missing"]),
    "too much": ({"w": ONE.astype("f")}, ["['b'][0]: is in", "not expected"]),
    "longer": (w_b(b=[ONE, ONE, None]), ["['b'][1]: missing", "['b'][2]: missing"]),
    "a tuple": (w_b(b=(np.ones(2),)), ["['b']: a list in", "expected a tuple"]),
    "None": (w_b(w=None), ["['w']: an array in", "expected None"]),
    "a number": (w_b(w=1.0), ["['w']: an array in", "expected a float"]),
    "a tree": (w_b(w={"x": ONE}), ["['w']: an array in", "expected a dict"]),
    "no tree": (w_b(b=ONE), ["['b']: a list in", "expected an array"]),
    "fields": (w_b(b=Pair(ONE, ONE)), ["['b']: a list in", "expected Pair"]),
    "shape": (
        w_b(w=np.ones((3, 2), np.float32)),
        ["['w']: float32 of shape (2, 3) in", "expected float32 of shape (3, 2)"],
    ),
    "axes": (w_b(b=[np.ones((2, 1))]), ["['b'][0]: float64 of shape (2,) in"]),
    "dtype": (w_b(w=np.ones((2, 3))), ["['w']: float32 of", "expected float64 of"]),
    "two": (
        {"w": np.ones(3, "f"), "b": [np.ones(3)]},
        ["['w']: float32 of shape (2, 3)", "['b'][0]: float64 of shape (2,)"],
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_differences_are_named(path: Path, name: str) -> None:
    gm.save(path, tree=w_b())
    like, parts = DIFFERENT[name]
    with pytest.raises(gm.errors.GradmillError) as error:
        gm.load(path, tree=like)
    message = str(error.value)
    assert all(part in message for part in parts), message
    assert message.startswith("tree[")
    assert str(path) in message
    is_of_arrays = name in {"shape", "axes", "dtype", "two"}
    assert type(error.value).__name__ == ("LeafValueError" if is_of_arrays else "TreeError")


def test_many_differences_are_counted(path: Path) -> None:
    gm.save(path, tree={})
    with pytest.raises(TreeError, match="and 92 more") as error:
        gm.load(path, tree=[{"x": [ONE] * 100}][0])
    assert str(error.value).count("\n") == 8


def test_states_of_another_class(path: Path) -> None:
    """Adam's and AdaBelief's have the same fields."""
    gm.save(path, state=gm.adam(0.1).init(ONE))
    with pytest.raises(TreeError, match=r"state\[0\]: ScaleByAdamState in .*BeliefState"):
        gm.load(path, state=gm.adabelief(0.1).init(ONE))


@pytest.mark.parametrize("leaf", [object(), b"x", np.array([None]), np.zeros(1, "M8[s]"), "x" * 0])
def test_what_no_file_holds(path: Path, leaf: Any) -> None:
    path.write_bytes(b"old")
    if isinstance(leaf, str):
        leaf = np.array(["x"])
    with pytest.raises(LeafTypeError, match=r"^tree\['w'\]\[1\]: .* a checkpoint cannot hold"):
        gm.save(path, tree={"w": [ONE, leaf]})
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_wrong_calls(path: Path, tmp_path: Path) -> None:
    opt = gm.Optimizer(gm.sgd(0.1), np.ones(1))
    with pytest.raises(ValueError, match=r"path must end in \.npz or \.safetensors, got"):
        gm.save(tmp_path / "run.pkl", tree=ONE)
    with pytest.raises(ValueError, match="path must end"):
        gm.load(tmp_path / "run.npz.tmp")
    with pytest.raises(ValueError, match="params was given twice: the optimizer saves"):
        gm.save(path, optimizer=opt, params=ONE)
    with pytest.raises(ValueError, match="cannot be named '__metadata__'"):
        gm.save(path, __metadata__=ONE)
    with pytest.raises(TypeError, match=r"must be a gradmill\.Optimizer, got dict"):
        gm.save(path, optimizer={})  # type: ignore[arg-type]  # what is refused
    assert not list(tmp_path.iterdir())
    gm.save(path, tree=ONE)
    with pytest.raises(TypeError, match=r"must be a gradmill\.Optimizer, got dict"):
        gm.load(path, optimizer={})  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ValueError, match="state was asked for twice: the optimizer loads it too"):
        gm.load(path, optimizer=opt, state=ONE)
    with pytest.raises(TreeError, match=r"other: .* has no such tree; it has tree"):
        gm.load(path, other=ONE)
    with pytest.raises(FileNotFoundError):
        gm.load(tmp_path / "none.npz")


def test_nothing_but_numpy_is_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    gm.save(path, tree=random_tree(0))
    assert bits(gm.load(path)["tree"]) == bits(random_tree(0))


def test_memory(path: Path) -> None:
    """Writing takes a buffer, in any layout; loading an optimizer takes what it holds once."""
    params: dict[str, Any] = {
        "f": np.asfortranarray(np.ones((1000, 1000), np.float32)),
        "b": np.ones(10**6),
    }
    opt = gm.Optimizer(gm.adam(0.1), params)
    size = 3 * sum(array.nbytes for array in params.values())
    tracemalloc.start()
    try:
        gm.save(path, optimizer=opt)
        assert tracemalloc.get_traced_memory()[1] < size / 4
        tracemalloc.reset_peak()
        gm.load(path, optimizer=opt)
        assert tracemalloc.get_traced_memory()[1] < 1.3 * size
    finally:
        tracemalloc.stop()
