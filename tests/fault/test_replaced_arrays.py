"""A step notices arrays that are no longer the ones it writes to; ``load`` puts it right."""

from __future__ import annotations

import itertools
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optree
import pytest

import gradmill as gm
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.cases import CASES
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

ANOTHER = r"was replaced by another array; write into the original"


class Layer(NamedTuple):
    w: Any
    b: Any


class Model:
    """A class of the user's."""

    def __init__(self, w: Any) -> None:
        self.w = w


register: Any = optree.register_pytree_node
register(Model, lambda model: ((model.w,), None), lambda _, w: Model(*w), namespace="gradmill")


def arrays(*shape: int) -> Any:
    return np.arange(float(np.prod(shape))).reshape(shape)


TREES: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], None], str]] = {
    "dict": (lambda: {"w": arrays(3)}, lambda tree, new: tree.update(w=new), r"params\['w'\]"),
    "dict of dicts": (
        lambda: {"a": {"w": arrays(3), "b": arrays(2)}, "c": arrays(4)},
        lambda tree, new: tree["a"].update(w=new),
        r"params\['a'\]\['w'\]",
    ),
    "a new inner dict": (
        lambda: {"a": {"w": arrays(3)}},
        lambda tree, new: tree.update(a={"w": new}),
        r"params\['a'\]\['w'\]",
    ),
    "ordered": (
        lambda: OrderedDict(w=arrays(3), b=arrays(2)),
        lambda tree, new: tree.update(w=new),
        r"params\['w'\]",
    ),
    "defaultdict": (
        lambda: defaultdict(list, w=arrays(3)),
        lambda tree, new: tree.update(w=new),
        r"params\['w'\]",
    ),
    "list": (
        lambda: [arrays(2), arrays(3)],
        lambda tree, new: tree.__setitem__(1, new),
        r"params\[1\]",
    ),
    "namedtuple": (
        lambda: Layer([arrays(3)], None),
        lambda tree, new: tree.w.__setitem__(0, new),
        r"params\.w\[0\]",
    ),
    "class": (lambda: Model(arrays(3)), lambda tree, new: setattr(tree, "w", new), "params"),
    "one element": (
        lambda: {"w": arrays(3), "s": np.zeros(())},
        lambda tree, new: tree.update(s=tree["s"].copy()),
        r"params\['s'\]",
    ),
    "no element": (
        lambda: {"w": arrays(3), "s": np.zeros((0, 2))},
        lambda tree, new: tree.update(s=tree["s"].copy()),
        r"params\['s'\]",
    ),
    "many of one element": (
        lambda: [np.zeros(1) for _ in range(40)],
        lambda tree, new: tree.__setitem__(39, np.zeros(1)),
        r"params\[39\]",
    ),
    "deep": (
        lambda: nested(200, {"w": arrays(3)}),
        lambda tree, new: innermost(tree).update(w=new),
        "params",
    ),
}


def nested(levels: int, tree: Any) -> Any:
    return nested(levels - 1, [tree]) if levels else tree


def innermost(tree: Any) -> Any:
    return innermost(tree[0]) if isinstance(tree, list) else tree


TRANSFORMATIONS: dict[str, Callable[[], Any]] = {
    "simple": lambda: gm.adam(0.1),
    "gated": lambda: gm.MultiSteps(gm.adam(0.1), 2),
    "python": lambda: gm.chain(gm.stateless(lambda updates, params: updates), gm.adam(0.1)),
}


@pytest.mark.parametrize("make", TRANSFORMATIONS)
@pytest.mark.parametrize("name", TREES)
def test_another_array(name: str, make: str) -> None:
    build, replace, path = TREES[name]
    params = build()
    grads = copy_tree(params)
    opt = gm.Optimizer(TRANSFORMATIONS[make](), params)
    opt.step(grads)
    before = bits((params, opt.state))
    # Of the same values, so that nothing but the object tells them apart.
    replace(params, arrays(3))
    held = bits((params, opt.state))
    for _ in range(2):
        with pytest.raises(LeafValueError, match=f"{path}.*: {ANOTHER}"):
            opt.step(grads)
    assert bits((params, opt.state)) == held
    opt.load(opt.params)
    assert bits((params, opt.state)) == held
    assert opt.step(grads).step == 2
    assert bits(params) != before
    whole = gm.Optimizer(TRANSFORMATIONS[make](), build())
    whole.step(grads)
    whole.load(copy_tree(opt.params), opt.state)
    for each in (opt, whole):
        each.step(grads)
    assert bits((opt.params, opt.state)) == bits((whole.params, whole.state))


@pytest.mark.parametrize(
    "other",
    [None, 1.0, "w", np.zeros(1), np.zeros(3, bool), np.ma.zeros(3), np.zeros((2, 3)), [arrays(3)]],
    ids=lambda other: type(other).__name__,
)
def test_whatever_stands_there(other: Any) -> None:
    params: Any = {"w": arrays(3), "v": arrays(2)}
    opt = gm.Optimizer(gm.sgd(0.1), params)
    params["w"] = other
    with pytest.raises(LeafValueError, match=rf"params\['w'\]: {ANOTHER}"):
        opt.step({"w": arrays(3), "v": arrays(2)})
    with pytest.raises((LeafValueError, LeafTypeError, TreeError), match=r"params\['w'\]: "):
        opt.load(opt.params)


@pytest.mark.parametrize("change", ["added", "removed", "nested"])
def test_another_structure(change: str) -> None:
    params: Any = {"w": arrays(3), "b": arrays(3)}
    grads = copy_tree(params)
    opt = gm.Optimizer(gm.sgd(0.1), params)
    match change:
        case "added":
            params["c"] = arrays(3)
        case "removed":
            del params["b"]
        case "nested":
            opt.params = [params]
    for call in (lambda: opt.step(grads), lambda: opt.load(opt.params)):
        with pytest.raises(TreeError, match="needs a new Optimizer"):
            call()


def test_the_same_arrays_may_move() -> None:
    """In another order, or in another container of the same kind."""
    params: Any = {"w": arrays(3), "b": [arrays(2)], "s": np.zeros(())}
    grads = copy_tree(params)
    opt = gm.Optimizer(gm.sgd(0.1), params)
    params["b"] = list(params["b"])
    params["w"] = params.pop("w")
    opt.step(grads)
    opt.params = dict(params)
    assert opt.step(grads).step == 2


def test_master_copies() -> None:
    opt = gm.Optimizer(gm.sgd(0.1), {"w": np.ones(3, np.float16)}, master=True)
    opt.master["w"] = opt.master["w"].copy()
    with pytest.raises(LeafValueError, match=rf"master\['w'\]: {ANOTHER}"):
        opt.step({"w": np.ones(3)})
    with pytest.raises(AttributeError):
        opt.master = {}  # type: ignore[misc]  # what it is about


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_load_is_exact(case: Any) -> None:
    """Into an optimizer that is somewhere else, with master copies and without."""
    for dtype, master in ((np.float32, False), (np.float16, True)):
        first, second = (
            gm.Optimizer(case.make(gm), random_tree(seed, dtype), master=master) for seed in (0, 9)
        )
        for seed in range(1, 4):
            first.step(random_tree(seed, dtype))
        second.step(random_tree(8, dtype))
        bound = second.params["kernel"]
        kept = copy_tree((first.master, first.state))
        second.load(*kept, steps=3)
        assert second.params["kernel"] is bound
        for seed in range(4, 7):
            assert first.step(random_tree(seed, dtype)) == second.step(random_tree(seed, dtype))
        for name in ("params", "master", "state"):
            assert bits(getattr(first, name)) == bits(getattr(second, name))


def test_load_writes_master_copies() -> None:
    opt = gm.Optimizer(gm.sgd(1.0), np.zeros(2, np.float16), master=True)
    opt.load(np.array([1.0001, 2.0], np.float32))
    np.testing.assert_array_equal(opt.master, np.array([1.0001, 2.0], np.float32))
    np.testing.assert_array_equal(opt.params, [1, 2])
    opt.load(np.array([3, 4], np.float16))
    np.testing.assert_array_equal(opt.master, [3, 4])
    opt.params = np.array([5, 6], np.float16)
    opt.load(opt.params)
    np.testing.assert_array_equal(opt.master, [5, 6])


def test_overlapping_values() -> None:
    params = {"w": arrays(6)}
    opt = gm.Optimizer(gm.sgd(1.0), params)
    opt.load({"w": params["w"][::-1]})
    np.testing.assert_array_equal(params["w"], np.arange(6.0)[::-1])


W, B = arrays(3), arrays(2)
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"params": {"w": W}}, TreeError, "params: missing key 'b'"),
    ({"params": {"w": W, "b": arrays(3)}}, LeafValueError, r"params\['b'\]: float64 of shape"),
    ({"params": {"w": W, "b": B.astype(np.float32)}}, LeafValueError, "expected float64"),
    ({"params": {"w": W, "b": None}}, LeafTypeError, r"params\['b'\]: "),
    ({"params": {"w": W, "b": ["b"]}}, TreeError, r"params\['b'\]: "),
    ({"params": {"w": W + 1, "b": B}, "state": ()}, TreeError, "state"),
    ({"state": None, "steps": 3}, ValueError, "steps needs a state"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), REFUSED)
def test_load_refuses_as_a_whole(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    opt = gm.Optimizer(gm.adam(0.1), {"w": W.copy(), "b": B.copy()})
    opt.step({"w": W, "b": B})
    before = bits((opt.params, opt.state))
    with pytest.raises(kind, match=message):
        opt.load(**arguments)
    assert bits((opt.params, opt.state)) == before


def test_load_refuses_arrays_that_cannot_be_written_to() -> None:
    params = {"w": W.copy(), "b": B.copy()}
    opt = gm.Optimizer(gm.adam(0.1), params)
    params["b"].flags.writeable = False
    before = bits((opt.params, opt.state))
    with pytest.raises(LeafValueError, match=r"params\['b'\]: was made read-only"):
        opt.load({"w": W + 1, "b": B + 1})
    assert bits((opt.params, opt.state)) == before
    buffer = np.zeros(4)
    for overlapping in itertools.permutations([buffer[:3], buffer[2:]]):
        parts = gm.Optimizer(gm.adam(0.1), [np.zeros(part.size) for part in overlapping])
        parts.params[:] = overlapping
        with pytest.raises(LeafValueError, match="memory"):
            parts.load(parts.params)
