"""Trees in programs of JAX: matched by key, beneath masks, and with leaves of any kind."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafTypeError, TreeError
from gradmill.jax import from_optax_state, step, to_optax
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

MASK = {"w": True, "b": False}


def values(kind: Any, order: str, sign: float = 1.0) -> Any:
    numbers = {"w": [[1.0, -2.0], [3.0, 0.5]], "b": [0.25, -4.0], "g": 2.0}
    return kind([(key, np.asarray(numbers[key], np.float32) * np.float32(sign)) for key in order])


def make(order: str, kind: Any) -> Any:
    mask = kind([(key, key != "b") for key in order])
    labels = kind([(key, "x" if key == "w" else "y") for key in order])
    return gm.chain(
        gm.add_decayed_weights(0.1, mask=mask),
        gm.masked(gm.trace(0.9), lambda _: mask),
        gm.partition({"x": gm.adam(0.1), "y": gm.sgd(0.1, 0.9)}, labels),
    )


def in_order(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: in_order(child) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        return tuple(map(in_order, tree))
    return np.asarray(tree) if isinstance(tree, jax.Array) else tree


KINDS: list[tuple[str, Any]] = [
    ("gbw", OrderedDict),
    ("wgb", OrderedDict),
    ("wbg", lambda pairs: defaultdict(list, pairs)),
    ("bgw", dict),
]


@pytest.mark.parametrize("how", ["update", "step"])
def test_all_that_meets_is_matched_by_key(how: str) -> None:
    """Each tree in another order and of another kind, all in one program."""
    plain = make("bgw", dict)
    params, state = values(dict, "bgw"), plain.init(values(dict, "bgw"))
    updates, state = plain.update(values(dict, "bgw", -1.0), state, params)
    expected = bits(in_order((gm.apply_updates(params, updates), state)))
    for at in range(len(KINDS)):
        of_params, of_grads, of_state, of_masks = KINDS[at:] + KINDS[:at]
        tx = make(*of_masks)
        grads = values(of_grads[1], of_grads[0], -1.0)
        mine = values(of_params[1], of_params[0])
        if how == "step":
            update = step(tx)
            new, after = update(grads, update.init(values(of_state[1], of_state[0])), mine)
        else:
            lowered = to_optax(tx)
            own = lowered.init(values(of_state[1], of_state[0]))
            changes, after = lowered.update(grads, own, mine)
            assert type(changes) is type(grads)
            assert jax.tree.structure(after) == jax.tree.structure(own)
            new = {key: np.asarray(mine[key] + changes[key]) for key in mine}
        found = bits(in_order((new, from_optax_state(after))))
        for one, other in zip(found, expected, strict=True):
            assert one[:2] == other[:2]
            numbers, right = (np.frombuffer(row[2], row[0]) for row in (one, other))
            np.testing.assert_allclose(numbers, right, rtol=1e-6)


def trees(own: Any, rest: Any) -> Any:
    return {"own": own, "rest": rest}


PLACES = {"own": True, "rest": False}
RESTS: dict[str, Any] = {
    "int": (jnp.arange(3), jnp.arange(3)),
    "bool": (jnp.array([True, False]), None),
    "uint32": (jnp.array([1, 2], jnp.uint32), jnp.array([1, 2], jnp.uint32)),
    "float0": (jnp.arange(3), np.zeros(3, jax.dtypes.float0)),
}


@pytest.mark.parametrize("name", RESTS)
def test_leaves_that_masks_leave_out_may_be_anything(name: str) -> None:
    rest, grad = RESTS[name]
    params = trees(jnp.ones(2), {"r": rest})
    grads = trees(jnp.ones(2), {"r": grad})
    for tx in (
        gm.masked(gm.adam(0.5), PLACES),
        gm.selective_transform(gm.adam(0.5), freeze_mask={"own": False, "rest": True}),
    ):
        update = step(tx)
        for call in (update, jax.jit(update)):
            new, _ = call(grads, update.init(params), params)
            np.testing.assert_allclose(new["own"], 0.5, rtol=1e-6)
            assert new["rest"]["r"].dtype == rest.dtype
            np.testing.assert_array_equal(new["rest"]["r"], rest)
        lowered = to_optax(tx)
        updates, _ = lowered.update(grads, lowered.init(params), params)
        np.testing.assert_allclose(updates["own"], -0.5, rtol=1e-6)
        passed = updates["rest"]["r"]
        assert (passed is None) if grad is None else passed.dtype == grad.dtype


def test_integers_that_are_to_be_stepped_are_told_what_to_do() -> None:
    params = {"n": jnp.arange(3)}
    calls: list[Callable[[], Any]] = [
        lambda: to_optax(gm.adam(0.1)).init(params),
        lambda: step(gm.sgd(0.1))(params, step(gm.sgd(0.1)).init(params), params),
    ]
    for call in calls:
        with pytest.raises(LeafTypeError, match=r"\['n'\]: dtype int32.*leave it out with masked"):
            call()


def test_a_function_that_skips_sees_what_the_mask_leaves() -> None:
    inner = gm.MultiSteps(gm.sgd(1.0), 2, should_skip_update_fn=gm.skip_not_finite)
    tx = gm.masked(inner, {"w": True, "b": False})
    params = {"w": jnp.zeros(2), "b": jnp.zeros(2)}
    grads = {"w": jnp.ones(2), "b": jnp.full(2, jnp.nan)}
    lowered, update = to_optax(tx), step(tx)
    state, other, here = lowered.init(params), update.init(params), params
    for _ in range(2):
        updates, state = lowered.update(grads, state, params)
        here, other = update(grads, other, here)
    np.testing.assert_array_equal(updates["w"], [-1.0, -1.0])
    np.testing.assert_array_equal(here["w"], [-1.0, -1.0])
    assert int(state.inner_state.gradient_step) == int(other.inner_state.gradient_step) == 1


def test_a_hole_where_an_array_is_needed_is_named() -> None:
    params = {"w": jnp.ones(2)}
    state = to_optax(gm.masked(gm.trace(0.9), False)).init(params)
    with pytest.raises(LeafTypeError, match=r"trace\['w'\]: is a MaskedNode"):
        to_optax(gm.masked(gm.trace(0.9), True)).update(params, state, params)


def test_the_first_difference_is_named() -> None:
    lowered = to_optax(gm.adamw(0.1))
    params = {"a": {"w": jnp.ones(2), "b": jnp.ones(2)}}
    state = lowered.init(params)
    with pytest.raises(TreeError, match=r"^updates\['a'\]: missing key 'b'$"):
        lowered.update({"a": {"w": jnp.ones(2)}}, state, params)
    with pytest.raises(TreeError, match=r"^updates: an array, params has a dict"):
        step(gm.adamw(0.1))(jnp.ones(2), state, params)
