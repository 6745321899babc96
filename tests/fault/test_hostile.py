"""Hostile input at every door.

Arrays in odd guises, leaves that are no arrays, shared memory, trees without end, and arrays that
change behind the optimizer's back. Each either raises an error that names the leaf, with nothing
changed, or gives what the same values in a plain array give. Nothing panics: a panic is a
``BaseException`` and so passes all that is expected here. What may end the interpreter runs in one
of its own.
"""

from __future__ import annotations

import array
import ctypes
import decimal
import fractions
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections import OrderedDict, defaultdict
from contextlib import contextmanager
from multiprocessing import shared_memory
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import optree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmill as gm
from gradmill._tree import flatten
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.trees import bits, copy_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F32 = np.float32
bad: Any = gm  # without its types, for arguments that break them

CHAINS: dict[str, Any] = {
    "sgd": gm.sgd(0.1),
    "adamw": gm.adamw(0.1),
    "clipped": gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1)),
    "carried": gm.chain(gm.scale_by_adam(), gm.clip_by_global_norm(1.0), gm.scale(-0.1)),
    "centralized": gm.chain(gm.centralize(), gm.sgd(0.1, 0.9)),
    "block clip": gm.chain(gm.clip_by_block_rms(0.5), gm.sgd(0.1)),
    "adaptive clip": gm.chain(gm.adaptive_grad_clip(0.01), gm.sgd(0.1)),
    "trust ratio": gm.chain(gm.scale_by_adam(), gm.scale_by_trust_ratio(), gm.scale(-0.1)),
    "multi steps": gm.MultiSteps(gm.adam(0.1), 2),
    "masked": gm.masked(gm.adamw(0.1), lambda path, leaf: path == "w"),
    "partition": gm.partition(
        {"a": gm.adamw(0.1), "s": gm.sgd(0.1)}, lambda path, leaf: "a" if path == "w" else "s"
    ),
}
READS_PARAMS = ("adamw", "clipped", "adaptive clip", "trust ratio", "masked", "partition")
FEW = ("sgd", "clipped", "carried", "multi steps")


each_chain = pytest.mark.parametrize("chain", CHAINS)
each_of_few = pytest.mark.parametrize("chain", FEW)


def plain_leaf(scale: float = 1.0) -> Any:
    """Rows that are all alike, so that a row of stride zero has the same values."""
    return np.tile(np.array([0.5, -2.0, 3.0, 0.25], F32) * F32(scale), (3, 1))


def tree(scale: float = 1.0) -> dict[str, Any]:
    return {"b": np.arange(4, dtype=F32) * F32(scale), "w": plain_leaf(scale)}


def with_w(value: Any) -> dict[str, Any]:
    return {**tree(), "w": value}


@pytest.fixture(autouse=True)
def _knows_bfloat16() -> None:
    """Which arrays are taken depends on whether one of bfloat16 was seen; see the test of bools."""
    gm.global_norm(np.ones(1, ml_dtypes.bfloat16))


@contextmanager
def refused(*places: str, cause: str = "", unchanged: Any = ()) -> Iterator[None]:
    """An error that begins with one of these places, says why, and has changed not a bit."""
    __tracebackhide__ = True
    before = bits(unchanged)
    pattern = "|".join(map(re.escape, places))
    with pytest.raises((ValueError, TypeError), match=rf"^({pattern}).*({cause})") as caught:
        yield
    assert isinstance(caught.value, (LeafValueError, LeafTypeError, TreeError))
    assert bits(unchanged) == before


@contextmanager
def old_ways() -> Iterator[None]:
    """NumPy warns of some of what is done to arrays here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


# The same values in other guises.


class Plain(np.ndarray[Any, Any]):
    """A subclass that adds nothing."""


class Prickly(np.ndarray[Any, Any]):
    """A subclass that takes part in nothing."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("__array__")

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("__array_ufunc__")

    def __array_function__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("__array_function__")


class Offers:
    """Not an array, but it offers one, another each time; the last for ever."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


class Raises:
    """Offers an array and then does not."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self.error


def into(buffer: Any, values: Any) -> Any:
    buffer[...] = values
    return buffer


def misaligned(values: Any) -> Any:
    raw = np.zeros(values.nbytes + 1, np.uint8)[1:]
    return into(raw.view(values.dtype).reshape(values.shape), values)


def mapped(values: Any) -> Any:
    with tempfile.TemporaryFile() as file:
        return into(np.memmap(file, values.dtype, "w+", shape=values.shape), values)


def read_only(values: Any) -> Any:
    copy = values.copy()
    copy.setflags(write=False)
    return copy


def as_jax(values: Any) -> Any:
    return pytest.importorskip("jax.numpy").asarray(values)


WRITABLE: dict[str, Callable[[Any], Any]] = {
    "Fortran": lambda v: np.array(v, order="F"),
    "reversed": lambda v: np.array(v[::-1, ::-1])[::-1, ::-1],
    "every third": lambda v: into(np.zeros((3, 12), v.dtype)[:, 1::3], v),
    "transposed window": lambda v: into(np.zeros((9, 9), v.dtype)[2:6, 1:8:3].T, v),
    "field": lambda v: into(np.zeros(v.shape, [("x", v.dtype), ("y", v.dtype)])["y"], v),
    "imaginary part": lambda v: into(np.zeros(v.shape, np.complex64).imag, v),
    "matrix": lambda v: v.copy().view(np.matrix),
    "recarray": lambda v: v.copy().view(np.recarray),
    "subclass": lambda v: v.copy().view(Plain),
    "prickly subclass": lambda v: v.copy().view(Prickly),
    "memory map": mapped,
    "bytearray": lambda v: np.frombuffer(bytearray(v.tobytes()), v.dtype).reshape(v.shape),
    "array.array": lambda v: np.frombuffer(array.array("f", v.ravel()), F32).reshape(v.shape),
    "ctypes": lambda v: into(np.ctypeslib.as_array((ctypes.c_float * 4 * 3)()), v),
    "metadata": lambda v: v.astype(np.dtype(v.dtype, metadata={"unit": "m"})),
}
GUISES: dict[str, Callable[[Any], Any]] = {
    **WRITABLE,
    "read-only": read_only,
    "broadcast": lambda v: np.broadcast_to(v[0], v.shape),
    "byte-swapped": lambda v: v.astype(v.dtype.newbyteorder()),
    "misaligned": misaligned,
    "packed field": lambda v: into(np.zeros(v.shape, [("x", "i2"), ("y", v.dtype)])["y"], v),
    "bytes": lambda v: np.frombuffer(v.tobytes(), v.dtype).reshape(v.shape),
    "memoryview": lambda v: memoryview(v.copy()),
    "offered": lambda v: Offers(v.copy()),
    "offered first": lambda v: Offers(v.copy(), np.ones(7)),
    "half": lambda v: v.astype(np.float16),
    "jax": as_jax,
}
each_guise = pytest.mark.parametrize("guise", GUISES)


def same_values(guise: Any) -> Any:
    """A plain array with the values of ``guise``."""
    values = guise.values[0] if isinstance(guise, Offers) else guise
    if isinstance(values, Prickly):
        values = values.view(np.ndarray)
    values = np.asarray(values)
    return np.array(values, values.dtype.newbyteorder("="), order="C")


def updated(tx: Any, grads: Any, state: Any, params: Any) -> list[Any]:
    updates, state = tx.update(grads, state, params)
    return bits((updates, state))


@each_guise
def test_a_guise_is_taken_for_what_it_shows(guise: str) -> None:
    make = GUISES[guise]
    for tx in CHAINS.values():
        one = same_values(make(plain_leaf()))
        _, state = tx.update(tree(), tx.init(tree()), tree(2.0))

        expected = updated(tx, with_w(one), state, tree())
        assert updated(tx, with_w(make(plain_leaf())), state, tree()) == expected

        expected = updated(tx, tree(), state, with_w(one))
        assert updated(tx, tree(), state, with_w(make(plain_leaf()))) == expected

        leaves, treespec = flatten(state)
        for at, leaf in enumerate(leaves):
            if np.shape(leaf) == (3, 4):
                changed, same = list(leaves), list(leaves)
                changed[at], same[at] = make(leaf), same_values(make(leaf))
                expected = updated(tx, tree(), treespec.unflatten(same), tree())
                found = updated(tx, tree(), treespec.unflatten(changed), tree())
                assert found == expected

        first, second = gm.Optimizer(tx, tree()), gm.Optimizer(tx, tree())
        for _ in range(2):
            first.step(with_w(one))
            second.step(with_w(make(plain_leaf())))
        assert bits((first.params, first.state)) == bits((second.params, second.state))


@each_guise
def test_a_guise_in_functions_of_trees(guise: str) -> None:
    make = GUISES[guise]
    one = same_values(make(plain_leaf()))
    functions: list[Callable[[Any], Any]] = [
        lambda leaf: gm.apply_updates(with_w(leaf), tree(0.5)),
        lambda leaf: gm.apply_updates(tree(), with_w(leaf)),
        lambda leaf: np.array(gm.global_norm(with_w(leaf))),
        lambda leaf: bad.per_example_global_norm_clip([leaf], 1.0)[0],
        lambda leaf: gm.per_example_layer_norm_clip([leaf], 1.0)[0],
    ]
    if guise != "offered first":  # it is asked twice there
        functions += [
            lambda leaf: gm.incremental_update(with_w(leaf), tree(0.5), 0.25),
            lambda leaf: gm.incremental_update(tree(0.5), with_w(leaf), 0.25),
        ]
    for function in functions:
        assert bits(function(make(plain_leaf()))) == bits(function(one))


@pytest.mark.parametrize("guise", WRITABLE)
def test_parameters_in_a_guise_are_written_where_they_are(guise: str) -> None:
    for tx in CHAINS.values():
        params, twin = with_w(WRITABLE[guise](plain_leaf())), tree()
        opt, reference = gm.Optimizer(tx, params), gm.Optimizer(tx, twin)
        for scale in (0.5, -2.0, 1.0):
            opt.step(tree(scale))
            reference.step(tree(scale))
        assert opt.params["w"] is params["w"]
        found = params["w"].view(np.ndarray)
        assert bits((found, opt.state)) == bits((twin["w"], reference.state))


def test_steps_reach_the_file_of_a_memory_map(tmp_path: Path) -> None:
    params = np.memmap(tmp_path / "params", F32, "w+", shape=(1000,))
    params[:] = 1.0
    opt = gm.Optimizer(gm.sgd(0.5), params)
    opt.step(np.ones(1000, F32))
    opt.step(np.memmap(tmp_path / "grads", F32, "w+", shape=(1000,)))
    params.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "params", F32), np.full(1000, 0.5, F32))

    private = np.memmap(tmp_path / "params", F32, "c")
    gm.Optimizer(gm.sgd(0.5), private).step(np.ones(1000, F32))
    assert (private[0], np.fromfile(tmp_path / "params", F32)[0]) == (0.0, 0.5)

    fixed = np.memmap(tmp_path / "params", F32, "r")
    with refused("params: is read-only", unchanged=(opt.params, opt.state)):
        gm.Optimizer(gm.sgd(0.5), fixed)


def test_steps_reach_shared_memory() -> None:
    block = shared_memory.SharedMemory(create=True, size=64)
    try:
        assert block.buf is not None
        params = np.frombuffer(block.buf, np.float64, 8)
        opt = gm.Optimizer(gm.sgd(1.0), params)
        opt.step(np.ones(8))
        other = shared_memory.SharedMemory(block.name)
        assert other.buf is not None
        assert np.frombuffer(bytes(other.buf), np.float64, 8).tolist() == [-1.0] * 8
        other.close()
        del opt, params
    finally:
        block.close()
        block.unlink()


FIXED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bytes": (GUISES["bytes"], "read-only"),
    "broadcast": (GUISES["broadcast"], "read-only"),
    "packed field": (GUISES["packed field"], "misaligned"),
    "memoryview": (GUISES["memoryview"], "not a NumPy array"),
    "jax": (GUISES["jax"], "not a NumPy array"),
    "offered": (GUISES["offered"], "not a NumPy array"),
    "tuple": (lambda v: tuple(map(tuple, v.tolist())), "not a NumPy array"),
}


@pytest.mark.parametrize("guise", FIXED)
def test_parameters_that_could_only_be_copied(guise: str) -> None:
    for chain in FEW:
        make, cause = FIXED[guise]
        value = make(plain_leaf())
        with refused("params['w']", cause=cause):
            gm.Optimizer(CHAINS[chain], with_w(value))


# Leaves that are refused.

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


def state_leaves(state: Any) -> list[int]:
    return [at for at, leaf in enumerate(flatten(state)[0]) if np.shape(leaf) == (3, 4)]


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


# Shared memory.


SHARED: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "itself": (12, lambda a: a, lambda a: a),
    "reversed": (12, lambda a: a, lambda a: a[::-1]),
    "other dtype and back": (12, lambda a: a, lambda a: a.view(np.int32).view(F32)),
    "half of it": (12, lambda a: a, lambda a: a.view(np.float16)[1::2]),
    "memoryview": (12, lambda a: a, memoryview),
    "offered": (12, lambda a: a, Offers),
    "subclass": (12, lambda a: a, lambda a: a.view(Prickly)),
    "one element": (12, lambda a: a, lambda a: np.broadcast_to(a[-1:], 12)),
    "shifted": (99, lambda a: a[:-1], lambda a: a[1:]),
    "shifted back": (99, lambda a: a[1:], lambda a: a[:-1]),
    "transposed": ((3, 3), lambda a: a, lambda a: a.T),
    "next columns": ((3, 4), lambda a: a[:, :3], lambda a: a[:, 1:]),
    "other strides": (40, lambda a: a[:20:2], lambda a: a[1:31:3]),
    "bytes that are not its own": (40, lambda a: a[2:32:3], lambda a: a[0:20:2]),
}


@pytest.mark.parametrize("how", SHARED)
def test_gradients_in_the_memory_of_parameters(how: str) -> None:
    shape, of_params, of_grads = SHARED[how]
    for tx in CHAINS.values():
        base = np.ones(shape, F32)
        params, grads = of_params(base), of_grads(base)
        opt = gm.Optimizer(tx, {"w": params})
        with refused("updates['w']: shares memory", unchanged=(opt.params, opt.state)):
            opt.step({"w": grads})


@each_chain
def test_gradients_in_the_memory_of_other_leaves_and_of_state(chain: str) -> None:
    params = tree()
    opt = gm.Optimizer(CHAINS[chain], params)
    for _ in range(2):
        opt.step(tree(0.5))
    held = (opt.params, opt.state)
    with refused("updates['b']: shares memory", unchanged=held):
        opt.step({"b": params["w"][1], "w": plain_leaf()})
    leaves, _ = flatten(opt.state)
    for at in state_leaves(opt.state):
        with refused("updates['w']: shares memory", unchanged=held):
            opt.step(with_w(leaves[at]))
        with refused("updates['b']: shares memory", unchanged=held):
            opt.step({"b": leaves[at][2, ::-1], "w": plain_leaf()})


def test_gradients_in_the_memory_of_masters() -> None:
    params = {"w": np.ones(8, np.float16)}
    opt = gm.Optimizer(gm.adam(0.1), params, master=True)
    opt.step({"w": np.ones(8, np.float16)})
    for grads in (opt.master, params, opt.state[0].nu):
        with refused("updates['w']: shares memory", unchanged=(params, opt.master, opt.state)):
            opt.step(grads)


@each_chain
def test_one_gradient_for_many_leaves(chain: str) -> None:
    tx, one = CHAINS[chain], plain_leaf()
    opt = gm.Optimizer(tx, {"v": plain_leaf(), "w": plain_leaf()})
    twin = gm.Optimizer(tx, {"v": plain_leaf(), "w": plain_leaf()})
    opt.step({"v": one[::-1], "w": one})
    twin.step({"v": plain_leaf(), "w": plain_leaf()})
    assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))


@each_chain
def test_functions_read_one_array_in_all_places(chain: str) -> None:
    tx = CHAINS[chain]
    one = plain_leaf()
    shared = {"b": one[0], "w": one}
    apart = {"b": one[0].copy(), "w": one.copy()}
    leaves, treespec = flatten(tx.init(apart))
    places = state_leaves(tx.init(apart))

    def filled(value: Any) -> Any:
        return treespec.unflatten([value if i in places else x for i, x in enumerate(leaves)])

    before = bits(one)
    expected = updated(tx, apart, filled(plain_leaf()), copy_tree(apart))
    assert updated(tx, shared, filled(one), shared) == expected
    assert bits(gm.apply_updates(shared, shared)) == bits(gm.apply_updates(apart, apart))
    assert bits(one) == before


def test_parameters_that_overlap_in_other_dtypes() -> None:
    base = np.ones(8)
    for other in (base.view(F32), base.view(np.float16)[1::4], base[::-1], base.view(Prickly)[:1]):
        with refused("params[1]: shares memory with params[0]", unchanged=base):
            gm.Optimizer(gm.sgd(1.0), [base, other])
    parts = np.zeros(4, np.complex64)
    opt = gm.Optimizer(gm.sgd(1.0), [parts.real, parts.imag])
    opt.step([np.ones(4, F32), np.full(4, 2.0, F32)])
    assert parts.tolist() == [-1.0 - 2.0j] * 4


@pytest.mark.parametrize("columns", [40, 2500])
def test_leaves_that_are_columns_of_one_array(columns: int) -> None:
    code = f"""
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
        table = np.ones((2, {2 * columns}), np.float32)
        opt = gm.Optimizer(gm.sgd(0.5), [table[:, i] for i in range({columns})])
        opt.step([table[:, i] for i in range({columns}, {2 * columns})])
        assert (table[:, :{columns}] == 0.5).all() and (table[:, {columns}:] == 1.0).all()
    """
    assert alone(code) == ""


# Arrays that change between steps, and during one.


def alone(code: str, seconds: float = 20.0) -> str:
    """What ``code`` prints in an interpreter of its own, which must end well and in time."""
    __tracebackhide__ = True
    head = "import numpy as np, gradmill as gm\n"
    root = str(Path(gm.__file__).parents[1])
    path = os.pathsep.join([root, *sys.path])
    done = subprocess.run(  # noqa: S603  (this interpreter, and code from this file)
        [sys.executable, "-c", head + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-400:]
    return done.stdout


BOOLS = {
    "norm": "gm.global_norm([mask])",
    "update": "gm.sgd(0.1).update([mask], gm.sgd(0.1).init(None))",
    "gradient": "gm.Optimizer(gm.adam(0.1), [np.zeros(64)]).step([mask])",
    "parameter": "gm.Optimizer(gm.sgd(0.1), [mask])",
    "new parameter": "gm.apply_updates([mask], [np.zeros(64)])",
    "state": "tx.update([np.ones(64)], gm.TraceState([mask]))",
    "per example": "gm.per_example_layer_norm_clip([mask], 1.0)",
}


@pytest.mark.parametrize("call", BOOLS)
def test_bools_before_any_array_of_bfloat16(call: str) -> None:
    code = f"""
        mask, tx = np.zeros(64, bool), gm.trace(0.9)
        try:
            {BOOLS[call]}
        except TypeError as error:
            print(error)
    """
    assert "[0]: dtype bool, expected" in alone(code)


DURING = {
    "parameter in place": """
        opt = gm.Optimizer(gm.sgd(1.0), given)
        call = lambda evil: opt.step([np.ones(n), evil])
    """,
    "state in place": """
        opt = gm.Optimizer(gm.trace(0.9), [np.zeros(n), np.zeros(3)])
        given = opt.state.trace
        call = lambda evil: opt.step([np.ones(n), evil])
    """,
    "gradient in place": """
        opt = gm.Optimizer(gm.sgd(1.0), [np.zeros(n), np.zeros(3)])
        call = lambda evil: opt.step([given[0], evil])
    """,
    "gradient": "call = lambda evil: gm.sgd(1.0).update([given[0], evil], gm.sgd(1.0).init(None))",
    "parameter": """
        call = lambda evil: gm.add_decayed_weights(0.1).update(
            [np.ones(n), evil], gm.EmptyState(), given)
    """,
    "state": """
        call = lambda evil: gm.trace(0.9).update([np.ones(n), evil], gm.TraceState(given))
    """,
    "new parameter": "call = lambda evil: gm.apply_updates(given, [np.ones(n), evil])",
    "norm": "call = lambda evil: gm.global_norm([given[0], evil])",
    "finite": "call = lambda evil: gm.skip_not_finite([given[0], evil], 0, None)",
    "example": """
        other = np.ones((n, 1))
        call = lambda evil: gm.per_example_layer_norm_clip([given[0], evil], 1.0)
    """,
}


@pytest.mark.parametrize("what", DURING)
def test_an_array_that_shrinks_while_a_later_leaf_is_converted(what: str) -> None:
    code = f"""
        n = 1 << 20
        given, other = [np.ones(n), np.ones(3)], np.ones(3)

        class Evil:
            def __array__(self, dtype=None, copy=None):
                given[0].resize((2,), refcheck=False)
                return other

        {textwrap.indent(textwrap.dedent(DURING[what]), " " * 8).strip()}
        try:
            call(Evil())
            print("read the array as it was, or as it is")
        except (ValueError, TypeError) as error:
            print(error)
    """
    assert re.search(r"\[0\]" if "in place" in what else r"\[0\]|read", alone(code))


def test_a_parameter_that_is_locked_while_a_later_leaf_is_converted() -> None:
    params = [np.ones(3), np.ones(3)]

    class Evil:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            params[0].setflags(write=False)
            return np.ones(3)

    opt = gm.Optimizer(gm.sgd(1.0), params)
    with refused("params[0]", cause="read-only", unchanged=params):
        opt.step([np.ones(3), Evil()])


def test_a_step_within_a_step() -> None:
    opt = gm.Optimizer(gm.adam(0.1), tree())

    class Evil:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            opt.step(tree())
            return plain_leaf()

    before = bits((opt.params, opt.state))
    with pytest.raises((RuntimeError, TypeError), match="inside a step of this optimizer"):
        opt.step(with_w(Evil()))
    assert bits((opt.params, opt.state)) == before
    assert opt.step(tree()).step == 1


@pytest.mark.parametrize("dtype", [np.int64, ">f8", np.complex64, "f4,f4", "M8[s]", "S8"])
@pytest.mark.parametrize("what", ["params", "state[0].mu"])
def test_a_dtype_that_changes_between_steps(what: str, dtype: Any) -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.ones(4))
    opt.step(np.ones(4))
    array_ = opt.params if what == "params" else opt.state[0].mu
    with old_ways():
        array_.dtype = dtype
        with refused(f"{what}: was resized", unchanged=opt.state[0].nu):
            opt.step(np.ones(4))
        array_.dtype = float
    assert opt.step(np.ones(4)).step == 2


CHANGES: dict[str, Callable[[Any], None]] = {
    "other strides": lambda a: setattr(a, "strides", (24,)),
    "no strides": lambda a: setattr(a, "strides", (0,)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_strides_that_change_between_steps(change: str) -> None:
    base = np.zeros(20)
    params = [base[0:8:2], base[1:8:2]]
    opt = gm.Optimizer(gm.sgd(1.0), params)
    with old_ways():
        CHANGES[change](params[0])
    with refused("params[0]", unchanged=base):
        opt.step([np.ones(4), np.ones(4)])


def test_a_shape_that_changes_between_steps() -> None:
    params = np.ones((3, 4))
    opt = gm.Optimizer(gm.adam(0.1), params)
    with old_ways():
        params.shape = (12,)
    with refused("params: was resized", unchanged=(params, opt.state)):
        opt.step(np.ones(12))
    with old_ways():
        params.shape = (4, 3)
    with refused("updates: shape (3, 4), params has (4, 3)", unchanged=(params, opt.state)):
        opt.step(np.ones((3, 4)))


@pytest.mark.parametrize("chain", ["centralized", "adaptive clip"])
def test_a_shape_that_changes_between_steps_and_has_other_units(chain: str) -> None:
    tx, params, grads = CHAINS[chain], np.ones((3, 4)), np.arange(12.0).reshape(4, 3)
    opt = gm.Optimizer(tx, params)
    with old_ways():
        params.shape = (4, 3)
    try:
        opt.step(grads)
    except LeafValueError:
        return
    twin = gm.Optimizer(tx, np.ones((4, 3)))
    twin.step(grads)
    assert bits(params) == bits(twin.params)


def test_values_that_change_between_steps_are_those_that_count() -> None:
    opt, twin = gm.Optimizer(gm.adam(0.1), np.ones(4)), gm.Optimizer(gm.adam(0.1), np.full(4, 2.0))
    opt.params[...] = 2.0
    opt.step(np.ones(4))
    twin.step(np.ones(4))
    assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))


# Counts.

COUNTING: dict[str, tuple[Any, str]] = {
    "adam": (gm.adam(0.1), "state[0].count"),
    "multi steps": (gm.MultiSteps(gm.trace(0.9), 3), "state.mini_step"),
    "rounds": (gm.MultiSteps(gm.trace(0.9), 2), "state.gradient_step"),
    "apply if finite": (gm.apply_if_finite(gm.trace(0.9)), "state.notfinite_count"),
    "every": (gm.apply_every(2), "state.count"),
    "noise": (gm.add_noise(0.1, 0.5, 3), "state.count"),
    "injected": (gm.inject_hyperparams(gm.sgd)(0.1), "state.count"),
}
each_counting = pytest.mark.parametrize("chain", COUNTING)


def field(state: Any, path: str) -> Any:
    leaves, treespec = flatten(state)
    paths = [accessor.codify("state") for accessor in treespec.accessors()]
    return leaves[paths.index(path)]


def with_field(state: Any, path: str, value: Any) -> Any:
    leaves, treespec = flatten(state)
    paths = [accessor.codify("state") for accessor in treespec.accessors()]
    leaves[paths.index(path)] = value
    return treespec.unflatten(leaves)


@each_counting
def test_counts_that_are_as_high_as_they_go(chain: str) -> None:
    tx, path = COUNTING[chain]
    top = np.array(np.iinfo(np.int32).max, np.int32)
    state = with_field(tx.init(np.ones(3)), path, top)
    updates, state = tx.update(np.ones(3), state, np.ones(3))
    assert np.isfinite(updates).all()
    assert field(state, path).dtype == np.int32
    assert field(state, path) >= 0
    opt = gm.Optimizer(tx, np.ones(3))
    opt.init_from(with_field(tx.init(np.ones(3)), path, top))
    for _ in range(3):
        opt.step(np.ones(3))
    assert np.isfinite(opt.params).all()
    assert field(opt.state, path) >= 0


BAD_COUNTS = {
    "negative": np.array(-5, np.int32),
    "two": np.array([1, 2], np.int32),
    "with an axis": np.array([1], np.int32),
    "no element": np.zeros(0, np.int32),
    "NaN": np.array(np.nan),
    "text": np.array("x"),
    "object": np.array(None),
    "None": None,
    "list": [1],
    "complex": 1j,
}


@pytest.mark.parametrize("count", BAD_COUNTS)
def test_counts_that_are_none(count: str) -> None:
    for tx, path in COUNTING.values():
        state = with_field(tx.init(np.ones(3)), path, BAD_COUNTS[count])
        with refused(path):
            tx.update(np.ones(3), state, np.ones(3))


def test_a_count_that_is_too_high() -> None:
    tx = gm.adam(0.1)
    state = with_field(tx.init(np.ones(3)), "state[0].count", np.array(2**64 - 1, np.uint64))
    try:
        updates, _ = tx.update(np.ones(3), state, np.ones(3))
    except (ValueError, TypeError):
        return
    assert np.isfinite(updates).all()


def test_a_negative_count_in_a_checkpoint() -> None:
    for tx, path in COUNTING.values():
        opt = gm.Optimizer(tx, np.ones(3))
        state = with_field(tx.init(np.ones(3)), path, np.array(-5, np.int32))
        with refused(path, unchanged=opt.state):
            opt.init_from(state)


def locked_counts(opt: gm.Optimizer) -> None:
    for leaf in flatten(opt.state)[0]:
        if leaf.ndim == 0:
            leaf.setflags(write=False)


def test_a_count_that_is_locked_between_steps() -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.ones(3))
    opt.step(np.ones(3))
    locked_counts(opt)
    with refused("state[0].count", cause="read-only", unchanged=(opt.params, opt.state)):
        opt.step(np.ones(3))


@each_counting
def test_counts_that_the_host_keeps_are_replaced(chain: str) -> None:
    """So it does not matter that they were locked."""
    tx, _ = COUNTING[chain]
    opt, twin = gm.Optimizer(tx, np.ones(3)), gm.Optimizer(tx, np.ones(3))
    if chain == "adam":
        pytest.skip("its count is overwritten")
    for _ in range(3):
        locked_counts(opt)
        opt.step(np.ones(3))
        twin.step(np.ones(3))
    assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))


def test_a_count_whose_dtype_changes_between_steps() -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.ones(3))
    opt.step(np.ones(3))
    with old_ways():
        opt.state[0].count.dtype = F32
    with refused("state[0].count", unchanged=(opt.params, opt.state)):
        opt.step(np.ones(3))


# What a checkpoint holds.


def nu_with(value: Any) -> Any:
    state = gm.adam(0.1).init([np.ones(3), np.ones(2)])
    return with_field(state, "state[0].nu[1]", value)


CHECKPOINTS = {
    "another shape the second time": Offers(np.ones(2), np.ones(7)),
    "a shape to broadcast the second time": Offers(np.ones(2), np.full(1, 9.0)),
    "no array": Offers(3),
    "raises": Raises(OSError("boom")),
    "masked": np.ma.array([1.0, 2.0], mask=[False, True]),
}


@pytest.mark.parametrize("value", CHECKPOINTS)
def test_hostile_checkpoints(value: str) -> None:
    opt = gm.Optimizer(gm.adam(0.1), [np.ones(3), np.ones(2)])
    opt.step([np.ones(3), np.ones(2)])
    expected = gm.adam(0.1).init(opt.params)
    offered = CHECKPOINTS[value]
    if isinstance(offered, Offers):
        offered = Offers(*offered.values)
    before = bits(opt.state)
    try:
        opt.init_from(nu_with(offered))
    except (LeafValueError, LeafTypeError) as error:
        assert str(error).startswith("state[0].nu[1]")  # noqa: PT017  (one of two ways out)
        assert bits(opt.state) == before
    else:
        assert value.endswith("second time")
        assert bits(opt.state) == bits(with_field(expected, "state[0].nu[1]", np.ones(2)))


def test_a_checkpoint_into_state_that_is_locked() -> None:
    opt = gm.Optimizer(gm.adam(0.1), [np.ones(3), np.ones(2)])
    opt.step([np.ones(3), np.ones(2)])
    opt.state[0].nu[1].setflags(write=False)
    with refused("state[0].nu[1]", cause="read-only", unchanged=opt.state):
        opt.init_from(gm.adam(0.1).init(opt.params))


def test_a_count_in_a_checkpoint_that_is_no_int32() -> None:
    for count in (2**40, -(2**40), 1.5):
        opt = gm.Optimizer(gm.adam(0.1), np.ones(3))
        state = with_field(gm.adam(0.1).init(np.ones(3)), "state[0].count", count)
        with refused("state[0].count", unchanged=opt.state):
            opt.init_from(state)


def test_a_number_of_steps_that_is_none() -> None:
    for steps in (-1, 2**64, 1.5, "x"):
        any_opt: Any = gm.Optimizer(gm.adam(0.1), np.ones(3))
        with pytest.raises((ValueError, TypeError), match="steps"):
            any_opt.init_from(any_opt.state, steps=steps)


def test_a_checkpoint_that_is_the_state_itself() -> None:
    opt = gm.Optimizer(gm.adam(0.1), [np.ones(3), np.ones(2)])
    opt.step([np.ones(3), np.ones(2)])
    before = bits(opt.state)
    opt.init_from(opt.state)
    assert bits(opt.state) == before
    assert opt.step([np.ones(3), np.ones(2)]).step == 2


@each_guise
def test_a_checkpoint_in_a_guise(guise: str) -> None:
    tx = CHAINS["carried"]
    opt = gm.Optimizer(tx, tree())
    _, state = tx.update(tree(), tx.init(tree()), tree())
    path = "state[0].nu['w']"
    disguised = GUISES[guise](field(state, path))
    if guise in {"half", "byte-swapped"}:
        with refused(path, unchanged=(opt.params, opt.state)):
            opt.init_from(with_field(state, path, disguised))
    elif guise != "offered first":
        opt.init_from(with_field(state, path, disguised))
        assert bits(opt.state) == bits(state)


MASTERS = {
    "complex": np.ones(3, np.complex64),
    "text": ["x", "y", "z"],
    "dates": np.zeros(3, "M8[s]"),
    "masked": np.ma.array([1.0, 2.0, 3.0], mask=[True, False, False]),
    "too large for float32": np.full(3, 1e300),
}


@pytest.mark.parametrize("value", MASTERS)
def test_hostile_masters(value: str) -> None:
    params = {"h": np.ones(3, np.float16), "w": np.ones(2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with refused("master['h']", unchanged=params):
            gm.Optimizer(gm.sgd(0.1), params, master={"h": MASTERS[value], "w": None})


def test_masters_of_a_subclass_that_takes_part_in_nothing() -> None:
    params = np.ones(3, np.float16).view(Prickly)
    opt = gm.Optimizer(gm.sgd(0.5), params, master=True)
    opt.step(np.ones(3))
    assert params.view(np.ndarray).tolist() == [0.5] * 3


# Trees.


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
        ("updates does", lambda: gm.apply_updates([np.ones(2)], node)),
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


# Shapes at the edge.


@pytest.mark.parametrize("axes", [31, 32, 33, 64])
@each_chain
def test_as_many_axes_as_numpy_has(chain: str, axes: int) -> None:
    if axes > 32 and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("this NumPy has 32")
    if chain == "adaptive clip":
        tx: Any = gm.adaptive_grad_clip(0.01, axis=-1)
        with refused("updates", cause="axes; say with `axis`"):
            gm.Optimizer(CHAINS[chain], np.ones((2, 2, *(1,) * (axes - 2))))
    else:
        tx = CHAINS[chain]
    shape = (1,) * (axes - 3) + (2, 1, 3)
    params, twin = np.ones(shape), np.ones((2, 1, 3))
    wide: Any = np.ones((1,) * (axes - 3) + (4, 1, 6))[..., ::-2, :, ::2]
    grads = np.arange(6.0).reshape(2, 1, 3)
    if chain == "centralized":  # rows are those of the first axis
        shape, params, wide = (2, *(1,) * (axes - 2), 3), np.ones((2, *(1,) * (axes - 2), 3)), None
    opt, reference = gm.Optimizer(tx, params), gm.Optimizer(tx, twin)
    reference.step(grads)
    opt.step(np.asfortranarray(grads.reshape(shape)))
    assert bits(params.reshape(2, 1, 3)) == bits(twin)
    if wide is not None:
        gm.Optimizer(tx, wide).step(grads.reshape(shape)[..., ::-1, :, :][..., ::-1, :, :])
        assert bits(np.array(wide).reshape(2, 1, 3)) == bits(twin)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2**40, 0), (0, 2**40), (2, 0, 2**40)])
def test_arrays_without_elements(shape: tuple[int, ...]) -> None:
    params = {"b": np.ones(2), "w": np.zeros(shape)}
    for tx in CHAINS.values():
        updates, _ = tx.update(params, tx.init(params), params)
        assert updates["w"].shape == shape
        opt = gm.Optimizer(tx, {"b": np.ones(2), "w": np.zeros(shape)})
        opt.step(params)
        opt.step({"b": np.ones(2), "w": np.zeros(shape, F32)})
        assert np.isfinite(opt.params["b"]).all()
        with refused("updates['w']", unchanged=(opt.params, opt.state)):
            opt.step({"b": np.ones(2), "w": np.zeros((*shape, 1))})
        assert bits(gm.apply_updates(params, updates))[1] == ("<f8", shape, b"")


@pytest.mark.parametrize("function", ["global", "layer"])
def test_examples_without_elements_and_without_end(function: str) -> None:
    code = f"""
        try:
            sums, _ = gm.per_example_{function}_norm_clip(np.zeros((2**40, 0)), 1.0)
            assert sums.shape == (0,)
        except (ValueError, MemoryError):
            pass
    """
    assert alone(code) == ""


@pytest.mark.parametrize("shape", [(4, 3), (12,)])
def test_flattened_updates_of_other_shapes_than_parameters(shape: tuple[int, ...]) -> None:
    tx, params = gm.flatten(gm.adamw(0.1)), [np.ones(2), np.arange(12.0).reshape(3, 4)]
    with refused("updates[1]", unchanged=params):
        tx.update([np.ones(2), np.ones(shape)], tx.init(params), params)


def test_flattened_updates_of_other_shapes_in_place() -> None:
    opt = gm.Optimizer(gm.flatten(gm.adamw(0.1)), [np.ones(2), np.ones((3, 4))])
    with refused("updates[1]", unchanged=(opt.params, opt.state)):
        opt.step([np.ones(2), np.ones((4, 3))])


# Threads.


@pytest.mark.parametrize("count", [-1, "x", 1.5, None, [2]])
def test_numbers_of_threads_that_are_none(count: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        gm.set_num_threads(count)
    with pytest.raises((ValueError, TypeError)), gm.num_threads(count):
        gm.global_norm(np.ones(3))


@pytest.mark.parametrize("threads", [16, 10**9])
def test_far_more_threads_than_elements(threads: int) -> None:
    for tx in CHAINS.values():
        opt, twin = gm.Optimizer(tx, tree()), gm.Optimizer(tx, tree())
        with gm.num_threads(threads):
            opt.step(tree(0.5))
        with gm.num_threads(1):
            twin.step(tree(0.5))
        assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))


def test_far_more_threads_than_there_is_work_for() -> None:
    code = """
        gm.set_num_threads(10**9)
        assert gm.global_norm(np.ones(1 << 18)) == 512.0
    """
    assert alone(code, seconds=2.5) == ""
