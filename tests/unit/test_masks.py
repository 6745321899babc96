"""What stands beneath a mask sees what the mask leaves; what is left out is not looked at."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import optree
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from gradmill.errors import LeafTypeError, TreeError
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

MASK = {"own": True, "rest": False}


def trees(rest: Any, own: float = 1.0) -> dict[str, Any]:
    return {"own": np.full(3, own), "rest": {"x": rest, "y": np.zeros(1)}}


def steps(tx: Any, rows: list[Any]) -> list[Any]:
    """What a functional run and one in place give, which agree."""
    params = trees(np.zeros(2), 0.0)
    opt, state, seen = gm.Optimizer(tx, trees(np.zeros(2), 0.0)), tx.init(params), []
    for grads in rows:
        updates, state = tx.update(grads, state, params)
        opt.step(grads)
        assert bits(opt.state) == bits(state)
        seen.append((updates, state))
    return seen


NAN = np.array([np.nan, 1.0])


def test_a_function_that_skips_sees_what_the_mask_leaves() -> None:
    inner = gm.MultiSteps(gm.sgd(1.0), 2, should_skip_update_fn=gm.skip_not_finite)
    (_, first), (updates, last) = steps(gm.masked(inner, MASK), [trees(NAN), trees(NAN)])
    assert int(first.inner_state.mini_step) == 1
    assert int(last.inner_state.gradient_step) == 1
    assert not last.inner_state.skip_state["should_skip"]
    np.testing.assert_array_equal(updates["own"], [-1.0] * 3)
    np.testing.assert_array_equal(updates["rest"]["x"], NAN)
    (_, skipped), _ = steps(gm.masked(inner, MASK), [trees(NAN, np.nan), trees(NAN)])
    assert int(skipped.inner_state.mini_step) == 0


def test_labels_do_as_masks_do() -> None:
    inner = gm.MultiSteps(gm.sgd(1.0), 2, should_skip_update_fn=gm.skip_not_finite)
    tx = gm.partition({"a": inner, "b": gm.set_to_zero()}, {"own": "a", "rest": "b"})
    _, (updates, _) = steps(tx, [trees(NAN), trees(NAN)])
    np.testing.assert_array_equal(updates["own"], [-1.0] * 3)
    np.testing.assert_array_equal(updates["rest"]["x"], [0.0, 0.0])


def test_a_guard_sees_what_the_mask_leaves() -> None:
    tx = gm.masked(gm.apply_if_finite(gm.trace(0.5)), MASK)
    ((updates, state),) = steps(tx, [trees(NAN)])
    assert state.inner_state.last_finite
    np.testing.assert_array_equal(updates["own"], [1.0] * 3)


def test_a_skip_function_of_ones_own_gets_holes() -> None:
    seen: list[Any] = []

    def skips(updates: Any, step: Any, params: Any) -> Any:
        seen.append((updates, params))
        return np.bool_(False), ()

    inner = gm.MultiSteps(gm.identity(), 2, should_skip_update_fn=skips)
    tx = gm.chain(gm.scale(2.0), gm.masked(gm.chain(gm.scale(3.0), inner), MASK))
    steps(tx, [trees(NAN)])
    for updates, params in seen[2:]:
        assert params["rest"] == updates["rest"] == gm.MaskedNode()
        np.testing.assert_array_equal(updates["own"], [6.0] * 3)


@pytest.mark.parametrize("masks_extra", [False, True])
def test_conditions_see_masked_extra_arguments(masks_extra: bool) -> None:
    seen: list[Any] = []

    def holds(step: Any, **extra: Any) -> bool:
        seen.append(extra)
        return True

    inner = gm.conditionally_transform(gm.scale(2.0), holds, forward_extra_args=True)
    tx = gm.masked(inner, MASK, mask_compatible_extra_args=masks_extra)
    grads = trees(NAN)
    signs = OrderedDict(rest={"y": "b", "x": "a"}, own="c")
    tx.update(grads, tx.init(grads), grads, signs=signs, loss=0.5)
    gm.Optimizer(tx, trees(np.ones(2))).step(grads, signs=signs, loss=0.5)
    for extra in seen:
        assert extra["loss"] == 0.5
        expected = {"own": "c", "rest": gm.MaskedNode()} if masks_extra else signs
        assert extra["signs"] == expected


def test_hyperparameters_take_the_dtype_of_what_the_mask_leaves() -> None:
    tx = gm.masked(gm.inject_hyperparams(gm.sgd)(0.1), MASK)
    params = {"own": np.ones(2, np.float32), "rest": np.ones(2)}
    state = tx.init(params)
    assert state.inner_state.hyperparams["learning_rate"].dtype == np.float32
    _, state = tx.update(params, state, params)
    assert state.inner_state.hyperparams["learning_rate"].dtype == np.float32
    opt = gm.Optimizer(tx, params)
    opt.step({"own": np.ones(2, np.float32), "rest": np.ones(2)})
    assert opt.state.inner_state.hyperparams["learning_rate"].dtype == np.float32


def test_counts_among_the_parameters_do_not_choose_dtypes() -> None:
    tx = gm.inject_hyperparams(lambda rate: gm.masked(gm.sgd(rate), MASK))(0.1)
    params = {"own": np.ones(2, np.float32), "rest": np.array(3)}
    assert tx.init(params).hyperparams["rate"].dtype == np.float32
    opt = gm.Optimizer(tx, params)
    opt.step({"own": np.ones(2, np.float32), "rest": None})
    np.testing.assert_allclose(params["own"], 0.9)


def test_functions_see_what_masks_around_them_leave() -> None:
    seen: list[Any] = []

    def mask(tree: Any) -> Any:
        seen.append(tree)
        return {"own": True, "rest": False}

    tx = gm.masked(gm.masked(gm.scale(2.0), mask), MASK)
    tx.init(trees(np.ones(2)))
    assert [tree["rest"] for tree in seen] == [gm.MaskedNode()]
    paths: list[str] = []

    def by_path(path: str, _: Any) -> bool:
        paths.append(path)
        return True

    gm.masked(gm.masked(gm.scale(2.0), by_path), MASK).init(trees(np.ones(2)))
    assert paths == ["own"]


def test_masks_of_mapped_trees_may_have_none_where_there_is_none() -> None:
    params = {"w": np.ones((2, 2)), "b": np.ones(2), "none": None}
    tx = gm.masked(gm.scale(0.0), lambda tree: optree.tree_map(lambda leaf: leaf.ndim > 1, tree))
    updates, _ = tx.update(params, tx.init(params), params)
    assert [float(updates[key].max()) for key in "wb"] == [0.0, 1.0]
    with pytest.raises(
        TypeError, match=r"^mask\['b'\]: the leaves of a mask must be bools, got None"
    ):
        gm.masked(gm.scale(0.0), {"w": True, "b": None, "none": None}).init(params)


INTEGERS = {
    "int64": np.array([3, 4]),
    "bool": np.array([True, False]),
    "uint32": np.array([1, 2], np.uint32),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_that_is_to_be_stepped_is_an_error_that_says_what_to_do(name: str) -> None:
    leaf, ones = INTEGERS[name], np.ones(2)
    tx, params = gm.adam(0.1), {"n": leaf, "w": np.ones(2)}
    advice = rf"\['n'\]: dtype {name}, .*; leave it out with masked, partition or freeze, or cast"
    with pytest.raises(LeafTypeError, match=f"^params{advice}"):
        tx.init(params)
    with pytest.raises(LeafTypeError, match=f"^params{advice}"):
        gm.Optimizer(gm.sgd(0.1), params)
    with pytest.raises(LeafTypeError, match=f"^updates{advice}"):
        gm.sgd(0.1).update(params, gm.sgd(0.1).init(params))
    with pytest.raises(LeafTypeError, match=f"^params{advice}"):
        gm.apply_updates(params, {"n": ones, "w": ones})
    with pytest.raises(LeafTypeError, match=f"^updates{advice}"):
        gm.apply_updates({"n": ones, "w": ones}, {"n": leaf, "w": ones})


@pytest.mark.parametrize("update", [None, np.zeros(2), np.zeros(2, int), np.zeros(2, bool)])
def test_what_no_update_touches_is_the_same_array(update: Any) -> None:
    for leaf in (*INTEGERS.values(), np.ones(2) if update is None else np.array([1, 2])):
        params = {"n": leaf, "w": np.ones(2)}
        new = gm.apply_updates(params, {"n": update, "w": np.ones(2)})
        assert new["n"] is leaf
        np.testing.assert_array_equal(new["w"], [2.0, 2.0])
        assert not np.shares_memory(new["w"], params["w"])


def test_frozen_parameters_may_be_anything() -> None:
    """Read-only, shared, without gradients, or with gradients of another kind."""
    table = np.ones((4, 2))
    table.flags.writeable = False
    params = {"tied": table.T, "table": table, "names": np.array(["a"]), "w": np.ones(2)}
    grads = {"tied": None, "table": np.ones(3, int), "names": "x", "w": np.ones(2)}
    tx = gm.selective_transform(gm.adam(0.5), freeze_mask=lambda path, _: path != "w")
    opt = gm.Optimizer(tx, params)
    assert opt.step(grads).finite
    np.testing.assert_allclose(params["w"], 0.5)
    np.testing.assert_array_equal(table, 1.0)
    updates, _ = tx.update(grads, tx.init(params), params)
    assert updates["tied"] is None
    assert updates["table"].dtype == int
    assert not updates["table"].any()


def test_a_state_with_holes_where_the_mask_has_none_is_told_where() -> None:
    params = {"a": {"x": np.ones(2)}, "w": np.ones(2)}
    state = gm.masked(gm.trace(0.9), {"a": False, "w": True}).init(params)
    tx = gm.masked(gm.trace(0.9), True)
    where = r"trace\['a'\]\['x'\]: is a MaskedNode, expected an array"
    with pytest.raises(LeafTypeError, match=where):
        tx.update(params, state, params)
    with pytest.raises(TreeError, match=r"trace\['a'\]: a MaskedNode, .* has a dict"):
        gm.Optimizer(tx, params).init_from(state)


def test_explain_passes_what_is_left_out() -> None:
    plan = gm.masked(gm.adam(0.1), MASK).explain({"own": np.ones(2), "rest": np.array(3)})
    shown = str(plan)
    assert shown.startswith("1 leaf, 2 parameters, 32 bytes of state")
    assert "warning" not in shown


def test_a_leaf_that_masks_leave_to_nobody_gets_its_gradient() -> None:
    params = {"own": np.ones(2), "rest": np.ones(2)}
    gm.Optimizer(gm.masked(gm.scale(0.0), MASK), params).step(
        {"own": np.ones(2), "rest": np.ones(2)}
    )
    assert [float(params[key][0]) for key in ("own", "rest")] == [1.0, 2.0]


def test_a_gradient_for_no_parameter_is_an_error() -> None:
    params = {"a": {"w": np.ones(2)}, "b": None}
    grads = {"a": {"w": np.ones(2)}, "b": np.full(2, np.nan)}
    message = r"^updates\['b'\]: an array, params has None$"
    for tx in (
        gm.sgd(0.1),
        gm.adam(0.1),
        gm.apply_every(2),
        gm.chain(gm.stateless(lambda u, _: u)),
    ):
        opt = gm.Optimizer(tx, params)
        with pytest.raises(TreeError, match=message):
            opt.step(grads)
        assert opt.step({**grads, "b": None}).finite
    with pytest.raises(TreeError, match=message):
        gm.apply_updates(params, grads)
    for tx in (gm.adam(0.1), gm.adamw(0.1)):
        with pytest.raises((TreeError, LeafTypeError), match=r"\['b'\]: is None"):
            tx.update(grads, tx.init(params), params)
    # Nobody looks at what is frozen.
    tx = gm.chain(
        gm.freeze({"a": False, "b": True}), gm.masked(gm.sgd(0.1), {"a": True, "b": False})
    )
    assert gm.Optimizer(tx, params).step(grads).finite


COUNT = np.array(0, np.int32)
MAPPINGS = {
    "UserDict": UserDict({"w": np.ones(2)}),
    "mappingproxy": MappingProxyType({"w": np.ones(2)}),
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_mappings_that_are_no_trees_are_named(name: str) -> None:
    tree, params, tx = MAPPINGS[name], {"w": np.ones(2)}, gm.adam(0.1)
    advice = r"; for a \w+ pass dict\(...\), or register its class with optree"
    calls: list[Callable[[], Any]] = [
        lambda: gm.Optimizer(tx, params).step(tree),
        lambda: tx.update(tree, tx.init(params), params),
        lambda: gm.apply_updates(params, tree),
        lambda: gm.scale_by_adam().update(params, gm.ScaleByAdamState(COUNT, tree, params), params),
        lambda: tx.init(tree),
        lambda: gm.Optimizer(gm.sgd(0.1), tree),
    ]
    for call in calls:
        with pytest.raises((TreeError, LeafTypeError), match=advice.replace(r"\w+", name)):
            call()
    with pytest.raises(TypeError, match=advice):
        gm.masked(tx, UserDict({"w": True})).init(params)
    with pytest.raises(ValueError, match=advice):
        gm.partition({"a": tx}, MappingProxyType({"w": "a"})).init(params)


class Sorted:
    """A node of a registered class, with keys in the order in which it was filled."""

    def __init__(self, **leaves: Any) -> None:
        self.leaves = leaves


def _children(node: Any) -> tuple[Any, ...]:
    return list(node.leaves.values()), tuple(node.leaves), tuple(node.leaves)


def _node(keys: Any, leaves: Any) -> Any:
    return any_kind(**dict(zip(keys, leaves, strict=True)))


any_kind: Any = Sorted
optree.register_pytree_node(any_kind, _children, _node, namespace="gradmill")


def test_nodes_of_registered_classes_match_by_their_entries() -> None:
    tx = gm.masked(gm.scale(-1.0), Sorted(b=False, w=True))
    params, grads = Sorted(w=np.ones(2), b=np.ones(2)), Sorted(b=np.zeros(2), w=np.ones(2))
    updates, _ = tx.update(grads, tx.init(params), params)
    assert [*updates.leaves] == ["b", "w"]
    new = gm.apply_updates(params, updates)
    assert [float(new.leaves[key][0]) for key in "wb"] == [0.0, 1.0]
    opt = gm.Optimizer(tx, params)
    opt.step(grads)
    assert bits(opt.params) == bits(new)
    with pytest.raises(TreeError, match=r"^updates: missing key 'b'; key 'c' is not in params$"):
        opt.step(Sorted(w=np.ones(2), c=np.ones(2)))


def test_errors_are_short_and_lead_to_the_first_difference() -> None:
    params = {f"l{at}": {"w": np.ones((64, 64)), "b": np.ones(64)} for at in range(250)}
    tx = gm.adamw(0.1)
    state, opt = tx.init(params), gm.Optimizer(tx, params)
    grads = {key: dict(layer) for key, layer in params.items()}
    del grads["l7"]["b"]
    wrong: Any = {**params, "l9": np.ones(64)}
    lists = {**params, "l7": [np.ones(1)]}
    for bad, message in [
        (grads, r"^updates\['l7'\]: missing key 'b'$"),
        (wrong, r"^updates\['l9'\]: an array, params has a dict$"),
        (lists, r"^updates\['l7'\]: a list, params has a dict$"),
        ({**params, "x": 1.0}, r"^updates: key 'x' is not in params$"),
        (np.ones(3), "^updates: an array, params has a dict$"),
        ({}, r"^updates: missing keys 'l0', 'l1', 'l10' and 247 more$"),
    ]:
        for call in (
            lambda bad=bad: opt.step(bad),
            lambda bad=bad: tx.update(bad, state, params),
            lambda bad=bad: gm.apply_updates(params, bad),
        ):
            with pytest.raises(TreeError, match=message):
                call()
    with pytest.raises(TreeError, match=r"^state\[0\]\.mu\['l7'\]: missing key 'b'$"):
        tx.update(params, (state[0]._replace(mu=grads), *state[1:]), params)
    with pytest.raises(TreeError, match=r"^updates\['l7'\]: missing key 'b'$"):
        gm.adam(0.1).update(grads, gm.adam(0.1).init(params))
    with pytest.raises(TreeError, match=r"^mask\['l7'\]: missing key 'b'$"):
        gm.masked(tx, flatten(grads)[1].unflatten([True] * 499)).init(params)
    with pytest.raises(TreeError, match=r"^master\['l7'\]: missing key 'b'$"):
        gm.Optimizer(tx, params, master=grads)
    with pytest.raises(TreeError, match=r"^updates: a dict, params has an array$"):
        gm.Optimizer(tx, np.ones(3)).step({"w": np.ones(3)})


def test_a_state_of_plain_tuples_is_told_where() -> None:
    opt = gm.Optimizer(gm.adam(0.1), {"w": np.ones(2)})
    plain = tuple(tuple(part) for part in opt.state)
    with pytest.raises(
        TreeError, match=r"^state\[0\]: expected a ScaleByAdamState, got a tuple of 3$"
    ):
        opt.init_from(plain)
    partitioned = gm.Optimizer(gm.partition({"a": gm.adam(0.1)}, "a"), {"w": np.ones(2)})
    inner = partitioned.state.inner_states["a"].inner_state
    state = gm.PartitionState({"a": gm.MaskedState((tuple(inner[0]), inner[1]))})
    where = r"^state\.inner_states\['a'\]\.inner_state\[0\]: expected a ScaleByAdamState, got"
    with pytest.raises(TreeError, match=where):
        partitioned.init_from(state)
