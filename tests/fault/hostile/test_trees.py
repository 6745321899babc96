"""Trees that are deep, endless, large, or another at each look."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import optree
import pytest

import gradmill as gm
from gradmill.errors import TreeError
from tests.fault.hostile.inputs import CHAINS, F32, bad, each_chain, refused
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable


def nested(depth: int, leaf: Any, kind: type[Any]) -> Any:
    for _ in range(depth):
        leaf = {"k": leaf} if kind is dict else kind([leaf])
    return leaf


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_a_tree_of_a_thousand_levels_in_place(kind: type[Any]) -> None:
    params = nested(1000, np.ones(2), kind)
    opt = gm.Optimizer(gm.adam(0.1), params)
    assert opt.step(nested(1000, np.ones(2), kind)).step == 1
    path = ("['k']" if kind is dict else "[0]") * 1000
    with refused(f"updates{path}: shape (3,)", unchanged=params):
        opt.step(nested(1000, np.ones(3), kind))
    assert gm.global_norm(params) > 0.0


def test_a_tree_of_a_thousand_levels_in_functions() -> None:
    for kind in (list, tuple, dict):
        tx, params = gm.adam(0.1), nested(1000, np.ones(2), kind)
        updates, _ = tx.update(params, tx.init(params), params)
        assert gm.global_norm(gm.apply_updates(params, updates)) > 0.0


def endless(kind: type[Any]) -> Any:
    if kind is dict:
        node: Any = {"a": np.ones(2)}
        node["b"] = node
    else:
        node = [np.ones(2)]
        node.append(node)
    return node


@pytest.mark.parametrize("kind", [list, dict])
def test_trees_that_contain_themselves(kind: type[Any]) -> None:
    tx, loop = gm.adam(0.1), endless(kind)
    opt = gm.Optimizer(tx, [np.ones(2), np.ones(2)])
    held = (opt.params, opt.state)
    before = bits(held)
    calls: list[Callable[[], Any]] = [
        lambda: gm.global_norm(loop),
        lambda: tx.init(loop),
        lambda: tx.update(loop, opt.state, opt.params),
        lambda: tx.update(opt.params, loop, opt.params),
        lambda: gm.chain(gm.add_decayed_weights(0.1)).update(held[0], (gm.EmptyState(),), loop),
        lambda: gm.Optimizer(tx, loop),
        lambda: gm.apply_updates(loop, loop),
        lambda: gm.apply_updates(opt.params, loop),
        lambda: gm.incremental_update(loop, loop, 0.5),
        lambda: bad.per_example_global_norm_clip(loop, 1.0),
        lambda: opt.step(loop),
        lambda: opt.init_from(loop),
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError, RecursionError), match=r"\w"):
            call()
    assert bits(held) == before


def test_ten_thousand_leaves() -> None:
    count, tx = 10_000, CHAINS["clipped"]
    params = [np.ones(2, F32) for _ in range(count)]
    updates, _ = tx.update([np.ones(2, F32)] * count, tx.init(params), params)
    opt = gm.Optimizer(tx, params)
    grads: list[Any] = [np.ones(2, F32)] * count
    with refused("updates[9999]", unchanged=params[:3]):
        opt.step([*grads[1:], 1.0])
    opt.step(grads)
    new = gm.apply_updates([np.ones(2, F32)] * count, updates)
    assert bits(params[::99]) == bits(new[::99])


class Unsortable:
    """A key that no other is less than."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


KEYS: dict[str, list[Any]] = {
    "mixed": [1, "a", None, 2.5, b"a", (1, "b")],
    "equal numbers": [0, 1.5, 2j, True],
    "NaN": [float("nan"), "a"],
    "sets": [frozenset(), frozenset({1})],
    "unsortable": [Unsortable("x"), Unsortable("y")],
    "NumPy": [np.int64(1), np.float64(0.5), np.str_("s")],
    "empty": [""],
    "quotes": ["'", '"', "\\", "\n", "\0"],
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("kind", [dict, OrderedDict, lambda x: defaultdict(list, x)])
def test_keys_of_any_kind_in_any_order(kind: Any, name: str) -> None:
    keys = KEYS[name]
    params = kind({key: np.full(2, float(at)) for at, key in enumerate(keys)})
    grads = {key: np.full(2, at - 1.5) for at, key in reversed(list(enumerate(keys)))}
    one_by_one = [np.full(2, float(at)) for at in range(len(keys))]
    tx, opt = gm.adam(0.1), gm.Optimizer(gm.adam(0.1), one_by_one)
    opt.step([np.full(2, at - 1.5) for at in range(len(keys))])

    updates, _ = tx.update(grads, tx.init(params), params)
    new = gm.apply_updates(params, updates)
    assert type(new) is type(params)
    gm.Optimizer(tx, params).step(grads)
    for found in (new, params):
        assert bits([found[key] for key in keys]) == bits(one_by_one)
    for key in keys:
        with refused(f"updates[{key!r}]", unchanged=params):
            gm.apply_updates(params, {**grads, key: np.ones(3)})


class MyDict(dict[str, Any]):
    pass


class MyList(list[Any]):
    pass


@pytest.mark.parametrize("node", [MyDict(a=np.ones(2)), MyList([np.ones((2,)), 1]), {"a"}])
def test_containers_that_are_no_nodes(node: Any) -> None:
    tx = gm.sgd(0.1)
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("updates['x']", lambda: gm.global_norm({"x": node})),
        ("updates['x']", lambda: tx.update({"x": node}, tx.init(None))),
        ("params['x']", lambda: gm.Optimizer(tx, {"x": node})),
        ("params['x']", lambda: gm.apply_updates({"x": node}, {"x": np.ones(2)})),
        ("updates['x']", lambda: gm.apply_updates({"x": np.ones(2)}, {"x": node})),
        ("updates: ", lambda: gm.apply_updates([np.ones(2)], node)),
    ]
    for place, call in calls:
        with refused(place):
            call()


@pytest.mark.parametrize("what", ["function", "update"])
def test_containers_are_those_of_the_call_at_hand(what: str) -> None:
    tx = gm.sgd(0.1)

    def run(tree: Any) -> Any:
        if what == "function":
            return gm.apply_updates(tree, tree)
        return tx.update(tree, tx.init(tree))[0]

    for factory in (list, int, None):
        assert run(defaultdict(factory, a=np.ones(2))).default_factory is factory
    for keys in ("ab", "ba"):
        assert list(run(OrderedDict((key, np.ones(2)) for key in keys))) == list(keys)


def test_keys_that_cannot_be_shown_do_not_harm_later_calls() -> None:
    class Shy(Unsortable):
        def __repr__(self) -> str:
            raise RuntimeError("shy")

    params = {Shy("x"): np.ones(2)}
    gm.apply_updates(params, params)
    gm.apply_updates({"a": np.ones(2)}, {"a": np.ones(2)})


class Fickle:
    """A node that has one leaf and two in turns."""

    looks = 0


def _look(node: Any) -> tuple[list[Any], None]:
    Fickle.looks += 1
    return [np.ones(2) for _ in range(1 + Fickle.looks % 2)], None


any_kind: Any = Fickle  # whose type optree is stricter about than need be
optree.register_pytree_node(any_kind, _look, lambda *_: any_kind(), namespace="gradmill")


@pytest.mark.parametrize("looks", range(2))
@each_chain
def test_a_node_that_is_another_at_each_look(chain: str, looks: int) -> None:
    tx = gm.masked(gm.adam(0.1), True) if chain == "masked" else CHAINS[chain]
    if chain == "partition":
        tx = gm.partition({"a": gm.adam(0.1)}, "a")
    calls: list[Callable[[], Any]] = [
        lambda: tx.update(Fickle(), tx.init(Fickle()), Fickle()),
        lambda: gm.Optimizer(tx, Fickle()).step(Fickle()),
        lambda: gm.apply_updates(Fickle(), Fickle()),
        lambda: bad.per_example_global_norm_clip(Fickle(), 1.0),
    ]
    for call in calls:
        Fickle.looks = looks
        try:
            call()
        except (ValueError, TypeError) as error:
            assert str(error)  # noqa: PT017  (it depends on the number of looks)


LOOKALIKES = {
    "adam": (gm.scale_by_adam(), SimpleNamespace(count=np.int32(0), mu=np.ones(3), nu=np.ones(3))),
    "trace": (gm.trace(0.9), SimpleNamespace(trace=np.ones(3))),
    "every": (gm.apply_every(2), SimpleNamespace(count=np.int32(0), grad_acc=np.ones(3))),
}


def test_states_that_have_the_fields_and_are_no_tuples() -> None:
    for tx, state in LOOKALIKES.values():
        with pytest.raises(TreeError, match="state: expected a"):
            tx.update(np.ones(3), state, np.ones(3))


NOISE_KEYS = {
    "three": np.ones(3, np.uint32),
    "column": np.ones((2, 1), np.uint32),
    "negative": np.array([-1, 2]),
    "fractions": np.array([1.5, 2.0]),
    "too large": np.array([2**40, 1]),
    "text": np.array(["x", "y"]),
    "None": None,
}


def test_keys_of_random_numbers_that_are_none() -> None:
    for key in NOISE_KEYS.values():
        tx = gm.add_noise(0.1, 0.5, 3)
        state = tx.init(np.ones(3))._replace(rng_key=key)
        with refused("state.rng_key"):
            tx.update(np.ones(3), state)
