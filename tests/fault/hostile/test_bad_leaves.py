"""Leaves that are refused, by name and cause, with nothing changed."""

from __future__ import annotations

import decimal
import fractions
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmill as gm
from gradmill._data.trees import flatten
from gradmill.errors import LeafTypeError
from tests.fault.hostile.inputs import (
    CHAINS,
    F32,
    GUISES,
    READS_PARAMS,
    Offers,
    Raises,
    bad,
    each_of_few,
    plain_leaf,
    refused,
    same_values,
    state_leaves,
    tree,
    with_w,
)
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

EMPTY = np.zeros((0, 3), F32)
BAD_KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "uint8": (lambda: np.ones((3, 4), np.uint8), "dtype uint8"),
    "bool": (lambda: np.ones((3, 4), np.bool_), "dtype bool"),
    "complex64": (lambda: np.ones((3, 4), np.complex64), "dtype complex64"),
    "dates": (lambda: np.zeros((3, 4), "M8[s]"), r"dtype datetime64\[s\]"),
    "durations": (lambda: np.zeros((3, 4), "m8[s]"), r"dtype timedelta64\[s\]"),
    "bytes of an array": (lambda: np.zeros((3, 4), "S4"), "dtype"),
    "letters of an array": (lambda: np.zeros((3, 4), "U4"), "dtype"),
    "void": (lambda: np.zeros((3, 4), "V4"), "dtype"),
    "one field": (lambda: np.ones((3, 4), [("x", F32)]), "dtype"),
    "float8": (lambda: np.ones((3, 4), ml_dtypes.float8_e4m3fn), "dtype float8_e4m3fn"),
    "int4": (lambda: np.ones((3, 4), ml_dtypes.int4), "dtype int4"),
    "arrays in an array": (lambda: np.array([np.ones(2), np.ones(3)], object), "ndarray|object"),
    "integer": (lambda: 3, "int"),
    "truth": (lambda: True, "bool"),
    "complex": (lambda: 1j, "complex"),
    "text": (lambda: "abc", "<U3|str"),
    "bytes": (lambda: b"abc", r"\|S3|bytes"),
    "bytearray": (lambda: bytearray(48), "uint8|bytearray"),
    "set": (lambda: {1.0}, "set"),
    "range": (lambda: range(12), "int64|range"),
    "object": (object, "object"),
    "function": (lambda: abs, "builtin_function_or_method"),
    "generator": (lambda: (x for x in [1.0]), "generator"),
    "type": (lambda: np.ndarray, "type"),
    "fraction": (lambda: fractions.Fraction(1, 2), "Fraction"),
    "decimal": (lambda: decimal.Decimal(1), "Decimal"),
    "masked": (lambda: np.ma.masked_less(plain_leaf(), 0), "masked array|MaskedArray"),
    "offers no array": (lambda: Offers(3), "Offers"),
    "offers integers": (lambda: Offers(np.ones((3, 4), int)), "int64|Offers"),
}
BAD_SHAPES: dict[str, Callable[[], Any]] = {
    "float": lambda: 3.0,
    "NumPy scalar": lambda: np.float64(3.0),
    "offered": lambda: Offers(np.ones((4, 3), F32)),
    "no axes": lambda: np.ones((), F32),
    "empty": lambda: EMPTY,
    "one more axis": lambda: np.ones((1, 3, 4), F32),
    "many axes": lambda: np.ones((1,) * 30 + (3, 4), F32),
    "row": lambda: np.ones(4, F32),
    "column": lambda: np.ones((3, 1), F32),
}
BAD_LEAVES = {**BAD_KINDS, **{name: (make, "shape .* has ") for name, make in BAD_SHAPES.items()}}
each_bad_kind = pytest.mark.parametrize("leaf", BAD_KINDS)
each_bad_leaf = pytest.mark.parametrize("leaf", BAD_LEAVES)


def refuses_gradient(tx: Any, make: Callable[[], Any], cause: str) -> None:
    opt, params = gm.Optimizer(tx, tree()), tree()
    opt.step(tree(0.5))
    held = (opt.params, opt.state, params)
    with refused("updates['w']", cause=cause, unchanged=held):
        opt.step(with_w(make()))
    with refused("updates['w']", cause=cause, unchanged=held):
        gm.apply_updates(params, with_w(make()))


@each_bad_leaf
def test_a_bad_leaf_in_any_place(leaf: str) -> None:
    make, cause = BAD_LEAVES[leaf]
    for chain, tx in CHAINS.items():
        refuses_gradient(tx, make, cause)
        params = tree()
        state = tx.init(params)
        is_kind = leaf in BAD_KINDS
        if is_kind or state_leaves(state) or chain in READS_PARAMS:
            cause_here = cause if is_kind else "shape .* has | axes"
            with refused("updates['w']", cause=cause_here, unchanged=(params, state)):
                tx.update(with_w(make()), state, params)
        if chain in READS_PARAMS:
            places = ("params['w']", "updates['w']")
            with refused(*places, cause=cause, unchanged=(params, state)):
                tx.update(tree(), state, with_w(make()))
        if is_kind:
            with refused("params['w']", cause=cause):
                gm.Optimizer(tx, with_w(make()))


@each_bad_leaf
def test_a_bad_leaf_in_the_state(leaf: str) -> None:
    for chain in ("carried", "centralized", "multi steps", "masked", "partition"):
        tx, (make, cause) = CHAINS[chain], BAD_LEAVES[leaf]
        params = tree()
        opt = gm.Optimizer(tx, tree())
        opt.step(tree())
        leaves, treespec = flatten(tx.init(params))
        for at in state_leaves(tx.init(params)):
            state = treespec.unflatten([make() if i == at else one for i, one in enumerate(leaves)])
            paths = (treespec.accessors()[at].codify("state"), "updates['w']")
            with refused(*paths, cause=cause, unchanged=(params, leaves)):
                tx.update(tree(), state, params)
            if leaf not in {"masked", "offers no array"}:  # tests of their own, below
                with refused(paths[0], unchanged=(opt.params, opt.state)):
                    opt.init_from(state)


@each_bad_leaf
def test_a_bad_leaf_in_functions_of_trees(leaf: str) -> None:
    make, cause = BAD_LEAVES[leaf]
    params = tree()
    places = ("params['w']", "updates['w']")
    with refused(*places, cause=cause, unchanged=params):
        gm.apply_updates(with_w(make()), params)
    if leaf in BAD_SHAPES:
        assert gm.global_norm([make(), EMPTY]) >= 0.0
        return
    with refused("updates[1]", cause=cause):
        gm.global_norm([EMPTY, make()])
    with refused("grads[1]", cause=cause):
        bad.per_example_global_norm_clip([np.ones((3, 2)), make()], 1.0)
    with refused("grads[1]", cause=cause):
        gm.per_example_layer_norm_clip([np.ones((3, 2)), make()], 1.0)


@settings(max_examples=150, deadline=None)
@given(
    chain=st.sampled_from(sorted(CHAINS)),
    leaf=st.sampled_from(sorted(BAD_LEAVES)),
    guises=st.lists(st.sampled_from(sorted({*GUISES} - {"jax"})), min_size=1, max_size=3),
    before=st.integers(0, 4),
)
def test_a_bad_leaf_among_leaves_in_guises(
    chain: str, leaf: str, guises: list[str], before: int
) -> None:
    tx, (make, cause) = CHAINS[chain], BAD_LEAVES[leaf]
    names = [f"k{at}" for at in range(len(guises))]
    before = min(before, len(names))
    names.insert(before, "w")
    kinds = [*guises[:before], "", *guises[before:]]

    def grads(value: Any) -> dict[str, Any]:
        return {
            name: GUISES[kind](plain_leaf(0.5)) if kind else value
            for name, kind in zip(names, kinds, strict=True)
        }

    opt = gm.Optimizer(tx, {name: plain_leaf() for name in names})
    twin = gm.Optimizer(tx, {name: plain_leaf() for name in names})
    with refused("updates['w']", cause=cause, unchanged=(opt.params, opt.state)):
        opt.step(grads(make()))
    opt.step(grads(plain_leaf()))
    twin.step({name: same_values(leaf) for name, leaf in grads(plain_leaf()).items()})
    assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))


def test_the_new_strings_of_numpy() -> None:
    kind = getattr(np.dtypes, "StringDType", None)
    if kind is None:
        pytest.skip("this NumPy has none")
    with pytest.raises(LeafTypeError, match=r"updates\[0\]: dtype StringDType"):
        gm.global_norm([np.array(["a"], kind())])


@pytest.mark.parametrize(
    "call",
    [
        lambda leaf: gm.Optimizer(gm.sgd(0.1), np.ones(3)).step(leaf),
        lambda leaf: gm.sgd(0.1).update(leaf, gm.sgd(0.1).init(None)),
        lambda leaf: gm.global_norm([leaf]),
    ],
)
def test_an_interrupt_while_a_leaf_is_converted_stays_one(call: Any) -> None:
    for error in (KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)):
            call(Raises(error))


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("boom"), OSError("boom")])
@each_of_few
def test_a_leaf_whose_conversion_raises(chain: str, error: Exception) -> None:
    refuses_gradient(CHAINS[chain], lambda: Raises(error), "boom")
