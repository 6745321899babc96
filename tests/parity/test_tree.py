"""gradmill.tree on NumPy arrays against optax.tree on arrays of JAX, in its 64-bit mode."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from tests.trees import copy_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[Any, Any, Any], Any]


class Pair(NamedTuple):
    first: Any
    second: Any


DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.complex64, np.int32]
NUMBERS = [1.5, -2.0, 0.25, 3.0, -0.5, 1.0]


def trees(dtype: Any) -> tuple[Any, Any]:
    """Two trees with a dict, a list, a NamedTuple, None, a 0-d leaf and one in Fortran's order."""
    values = np.array(NUMBERS).astype(dtype)
    if values.dtype.kind == "c":
        values = (values * (1 + 0.5j)).astype(dtype)

    def tree(leaf: Any) -> Any:
        matrix = np.asfortranarray(leaf.reshape(2, 3))
        return {"b": Pair(matrix, None), "a": [np.array(leaf[1])]}

    return tree(values), tree(values[::-1] + np.array(1, dtype))


# Programs that run once are not worth much compilation.
FAST = partial(jax.jit, compiler_options={"xla_backend_optimization_level": "0"})
REAL = "fViu"
ALL = "fViuc"
ONE = np.array([True, False, True])

# A name, what to call, and the kinds of dtypes that optax has it for.
CALLS: list[tuple[str, Call, str]] = [
    ("add", lambda t, x, y: t.add(x, y), ALL),
    ("add of three", lambda t, x, y: t.add(x, y, x), ALL),
    ("sub", lambda t, x, y: t.sub(x, y), ALL),
    ("mul", lambda t, x, y: t.mul(x, y), ALL),
    ("div", lambda t, x, y: t.div(x, y), "fVc"),
    ("div of integers", lambda t, x, y: t.div(t.add(t.mul(x, x), t.ones_like(x)), y), "i"),
    ("scale", lambda t, x, y: t.scale(0.5, x), ALL),
    ("scale by an int", lambda t, x, y: t.scale(3, x), ALL),
    ("scale by a complex", lambda t, x, y: t.scale(2j, x), ALL),
    ("add_scale", lambda t, x, y: t.add_scale(x, -0.5, y), ALL),
    ("where", lambda t, x, y: t.where(True, x, y), ALL),
    ("where with mixed dtypes", lambda t, x, y: t.where(False, x, t.cast(y, "f4")), REAL),
    ("clip", lambda t, x, y: t.clip(x, -1.25, 2), REAL),
    ("clip below", lambda t, x, y: t.clip(x, min_value=0), REAL),
    ("clip at nothing", lambda t, x, y: t.clip(x), REAL),
    ("real", lambda t, x, y: t.real(x), ALL),
    ("conj", lambda t, x, y: t.conj(x), ALL),
    ("zeros_like", lambda t, x, y: t.zeros_like(x), ALL),
    ("ones_like", lambda t, x, y: t.ones_like(x, "f4"), ALL),
    ("full_like", lambda t, x, y: t.full_like(x, 2), ALL),
    ("batch_shape", lambda t, x, y: t.batch_shape(x, (2, 1)), ALL),
    ("cast", lambda t, x, y: t.cast(x, "f2"), REAL),
    ("cast to a complex", lambda t, x, y: t.cast(x, "c8"), ALL),
    ("cast_like", lambda t, x, y: t.cast_like(t.cast(x, "f4"), y), REAL),
    ("size", lambda t, x, y: t.size(x), ALL),
    ("sum", lambda t, x, y: t.sum(x), ALL),
    ("max", lambda t, x, y: t.max(x), REAL),
    ("min", lambda t, x, y: t.min(x), REAL),
    ("norm", lambda t, x, y: t.norm(x), ALL),
    ("norm squared", lambda t, x, y: t.norm(x, squared=True), ALL),
    ("norm of order 1", lambda t, x, y: t.norm(x, ord=1), ALL),
    ("norm of order inf", lambda t, x, y: t.norm(x, ord="inf"), ALL),
    ("norm of order inf, squared", lambda t, x, y: t.norm(x, ord=np.inf, squared=True), ALL),
    ("vdot", lambda t, x, y: t.vdot(x, y), ALL),
    ("allclose", lambda t, x, y: [t.allclose(x, x), t.allclose(x, y)], ALL),
    ("update_moment", lambda t, x, y: t.update_moment(x, y, 0.9, 2), ALL),
    ("update_moment of order 3", lambda t, x, y: t.update_moment(x, y, 0.9, 3), ALL),
    ("update_moment of mixed", lambda t, x, y: t.update_moment(x, t.cast(y, "f4"), 0.9, 1), REAL),
    ("per_elem_norm", lambda t, x, y: t.update_moment_per_elem_norm(x, t.real(y), 0.9, 2), ALL),
    ("per_elem_norm 3", lambda t, x, y: t.update_moment_per_elem_norm(x, t.real(y), 0.9, 3), ALL),
    ("infinity", lambda t, x, y: t.update_infinity_moment(x, t.real(y), 0.9, 0.125), ALL),
    ("bias_correction", lambda t, x, y: t.bias_correction(x, 0.9, 3), "fVc"),
]


def tolerance(dtype: Any) -> float:
    """JAX rounds half precision after each operation, and corrects biases in float32."""
    by_size = {1: 1e-6, 2: 2e-3 if np.dtype(dtype) == np.float16 else 2e-2}
    return by_size.get(np.dtype(dtype).itemsize, 1e-6)


def leaves_of(tree: Any) -> list[Any]:
    return list(jax.tree.leaves(tree))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_numbers_and_dtypes_of_optax(dtype: Any) -> None:
    x, y = trees(dtype)
    kept = copy_tree((x, y))
    with jax.enable_x64(True):
        calls = [(name, call) for name, call, kinds in CALLS if np.dtype(dtype).kind in kinds]
        program = FAST(lambda x, y: [call(optax.tree, x, y) for _, call in calls])
        for (name, call), theirs in zip(calls, program(x, y), strict=True):
            ours = call(gm.tree, x, y)
            assert jax.tree.structure(ours) == jax.tree.structure(theirs), name
            for mine, other in zip(leaves_of(ours), leaves_of(theirs), strict=True):
                assert not isinstance(mine, jax.Array), name
                expected = np.asarray(other)
                assert np.shape(mine) == expected.shape, name
                assert np.asarray(mine).dtype == expected.dtype, name
                assert not isinstance(mine, np.ndarray) or mine.flags.c_contiguous, name
                wide = np.complex128 if expected.dtype.kind == "c" else np.float64
                np.testing.assert_allclose(
                    np.asarray(mine).astype(wide),
                    expected.astype(wide),
                    rtol=tolerance(dtype),
                    atol=tolerance(dtype),
                    err_msg=name,
                )
                for leaf in leaves_of((x, y)):
                    assert not np.shares_memory(mine, leaf), name
    for before, after in zip(leaves_of(kept), leaves_of((x, y)), strict=True):
        np.testing.assert_array_equal(before, after)


MIXED = [
    ("f2", "i4"),
    ("f2", "bfloat16"),
    ("f4", "i8"),
    ("c8", "i4"),
    ("u1", "i1"),
    ("c8", "f8"),
    ("bfloat16", "c8"),
    ("?", "i4"),
    ("?", "?"),
    ("u8", "i8"),
]


@pytest.mark.parametrize(("first", "second"), MIXED)
def test_dtypes_meet_as_in_jax(first: str, second: str) -> None:
    x, y = np.ones(2, first), np.ones(2, second)
    calls: list[Call] = [
        lambda t, x, y: t.add(x, y),
        lambda t, x, y: t.mul(x, y),
        lambda t, x, y: t.sum([x, y]),
        lambda t, x, y: t.norm([x, y]),
    ]
    with jax.enable_x64(True):
        jx, jy = jnp.asarray(x), jnp.asarray(y)
        theirs = jax.eval_shape(lambda x, y: [call(optax.tree, x, y) for call in calls], jx, jy)
        assert [call(gm.tree, x, y).dtype for call in calls] == [one.dtype for one in theirs]
        for handler in ("promote", "highest", "lowest"):
            try:
                expected = optax.tree.dtype([jx, jy], handler)
            except ValueError:
                with pytest.raises(gm.errors.LeafValueError, match=r"tree\[1\]: dtype"):
                    gm.tree.dtype([x, y], handler)
            else:
                assert gm.tree.dtype([x, y], handler) == expected


def test_one_program_of_all_functions_on_arrays_of_jax() -> None:
    """What it computes is compared with NumPy, its structure and dtypes with optax."""
    given = [trees(np.float32), trees(np.float16)]

    def all_of(t: Any, given: Any) -> list[Any]:
        return [[call(t, x, y) for _, call, kinds in CALLS if "f" in kinds] for x, y in given]

    found = FAST(partial(all_of, gm.tree))(jax.tree.map(jnp.asarray, given))
    theirs = jax.eval_shape(partial(all_of, optax.tree), given)
    assert jax.tree.structure(found) == jax.tree.structure(theirs)
    assert [one.dtype for one in leaves_of(found)] == [one.dtype for one in leaves_of(theirs)]
    expected = all_of(gm.tree, given)
    for ours, numpys, dtype in zip(found, expected, (np.float32, np.float16), strict=True):
        for one, other in zip(leaves_of(ours), leaves_of(numpys), strict=True):
            assert isinstance(one, jax.Array)
            wide = np.asarray(one, np.complex64), np.asarray(other, np.complex64)
            np.testing.assert_allclose(*wide, rtol=tolerance(dtype), atol=tolerance(dtype))


def test_counts_and_numbers_that_a_program_computes() -> None:
    moment = {"w": np.array([0.5, 1.0], np.float32)}

    @jax.jit  # type: ignore[untyped-decorator]
    def program(count: Any, decay: Any) -> Any:
        given = moment, decay, count
        corrected = [t.bias_correction(*given) for t in (gm.tree, optax.tree)]
        return corrected, gm.tree.scale(decay, moment), gm.tree.where(count > 2, moment, moment)

    (mine, theirs), scaled, chosen = program(3, 0.9)
    np.testing.assert_allclose(mine["w"], theirs["w"], rtol=1e-6)
    np.testing.assert_allclose(scaled["w"], [0.45, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(chosen["w"], moment["w"])


def test_values_in_states() -> None:
    params = {"w": np.ones(2, np.float32), "b": np.zeros(1, np.float32)}
    ours, theirs = [
        lib.chain(lib.clip(1.0), lib.adam(lib.linear_schedule(0.1, 0.2, 3))).init(params)
        for lib in (gm, optax)
    ]
    for key in ("mu", "nu", "ScaleByAdamState", "w", "EmptyState", 0, "nothing"):
        mine = gm.tree.get_all_with_path(ours, key)
        other = optax.tree.get_all_with_path(theirs, key)
        assert [repr(path) for path, _ in mine] == [repr(path) for path, _ in other]
    of_adam = lambda path, _: path[-1].tuple_name == "ScaleByAdamState"
    assert gm.tree.get(ours, "count", filtering=of_adam) == 0
    assert gm.tree.get(ours, "nothing", default=5) == 5
    with pytest.raises(KeyError, match=r"tree\[1\]\[0\].count, tree\[1\]\[1\].count"):
        gm.tree.get(ours, "count")
    for values, chosen in (
        ({"count": 5}, None),
        ({"count": 5}, of_adam),
        ({"mu": 1, "nu": 2}, None),
    ):
        mine = gm.tree.set(ours, chosen, **values)
        other = optax.tree.set(theirs, chosen, **values)
        for one, two in zip(leaves_of(mine), leaves_of(other), strict=True):
            np.testing.assert_array_equal(one, two)
    assert gm.tree.set(ours, ScaleByAdamState=7)[1][0] == 7
    with pytest.raises(KeyError, match="found no value of 'nothing'"):
        gm.tree.set(ours, nothing=1)


class Couple(NamedTuple):
    first: Any
    second: Any


def nest(rng: np.random.Generator, depth: int) -> Any:
    """A tree of nodes of all kinds, in which names come again at any depth."""
    kind = rng.integers(4) if depth else 3
    children = [nest(rng, depth - 1) for _ in range(2)] if kind < 3 else []
    if kind == 0:
        names = sorted(rng.choice(["first", "second", "c"], 2, replace=False))
        return dict(zip(map(str, names), children, strict=True))
    if kind == 1:
        return tuple(children)
    return Couple(*children) if kind == 2 else float(rng.integers(100))


@pytest.mark.parametrize("seed", range(40))
def test_values_of_a_name_come_in_the_order_of_optax(seed: int) -> None:
    tree = nest(np.random.default_rng(seed), 5)
    for key in ("first", "c", "Couple"):
        for chosen in (None, lambda _, value: isinstance(value, float)):
            mine = gm.tree.get_all_with_path(tree, key, chosen)
            other = optax.tree.get_all_with_path(tree, key, chosen)
            assert list(map(repr, mine)) == list(map(repr, other))


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.adam(0.1),
        lambda lib: lib.chain(lib.clip_by_global_norm(1.0), lib.sgd(0.1, momentum=0.9)),
        lambda lib: lib.masked(lib.adam(0.1), {"w": True, "b": False}),
        lambda lib: lib.partition(
            {"x": lib.adam(0.1), "y": lib.sgd(0.1, 0.9)}, {"w": "x", "b": "y"}
        ),
        lambda lib: lib.MultiSteps(lib.adam(0.1), 2),
        lambda lib: lib.inject_hyperparams(lib.adam)(learning_rate=0.1),
        lambda lib: lib.apply_if_finite(lib.rmsprop(0.1), 3),
        lambda lib: lib.zero_nans(),
    ],
)
def test_parts_of_states_that_are_like_parameters(make: Any) -> None:
    params = {"w": np.ones(2, np.float32), "b": np.zeros(1, np.float32)}
    tx, other = make(gm), make(optax)
    for given in (tx, tx.init):
        mine = gm.tree.map_params(
            given, lambda _: "P", tx.init(params), transform_non_params=lambda _: "N"
        )
        theirs = optax.tree.map_params(
            other, lambda _: "P", other.init(params), transform_non_params=lambda _: "N"
        )
        assert leaves_of(mine) == leaves_of(theirs)


def test_keys_and_numbers_of_jax() -> None:
    tree = {"w": np.zeros((3, 2), np.float32), "none": None, "b": np.zeros((3, 2), np.float32)}
    with jax.enable_x64(False):
        key = jax.random.key(7)
        words = jax.random.key_data(key)
        expected = jax.tree.map(jax.random.key_data, optax.tree.split_key_like(key, tree))
        for given in (key, words, np.asarray(words), 7):
            keys = gm.tree.unwrap_random_key_data(gm.tree.split_key_like(given, tree))
            jax.tree.map(np.testing.assert_array_equal, keys, expected)
        drawn = optax.tree.random_like(key, tree)
        for given in (key, np.asarray(words), 7):
            mine = gm.tree.random_like(given, tree)
            assert isinstance(mine["w"], jax.Array) == (given is key)
            for name in ("w", "b"):
                assert mine[name].dtype == drawn[name].dtype
                np.testing.assert_allclose(mine[name], drawn[name], rtol=1e-6)
        bits = lambda key, shape, dtype: jax.random.bits(key, shape)
        uniform = gm.tree.random_like(np.asarray(words), tree, bits)
        jax.tree.map(
            np.testing.assert_array_equal, uniform, optax.tree.random_like(key, tree, bits)
        )
        traced = jax.eval_shape(lambda k: gm.tree.random_like(k, tree), key)
        assert traced["w"].shape == (3, 2)


def test_names_are_those_of_optax() -> None:
    public = {name for name in dir(optax.tree) if not name.startswith("_")}
    assert set(gm.tree.__all__) == public
    assert {name for name in gm.tree_utils.__all__ if name.startswith("tree_")} == {
        f"tree_{name}" for name in public
    }
    for name in public:
        assert getattr(gm.tree_utils, f"tree_{name}") is getattr(gm.tree, name)
