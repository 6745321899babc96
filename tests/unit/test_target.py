"""Targets of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from tests.on_jax import to_jax
from tests.trees import assert_close, bits, copy_tree, random_tree, special_tree

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = [np.float16, np.float32, np.float64, np.complex64]


def tree_of(seed: int, dtype: Any) -> Any:
    if np.issubdtype(dtype, np.complexfloating):
        pairs = zip(random_tree(seed).items(), random_tree(seed + 10).values(), strict=True)
        return {
            key: None if re is None else (re + 1j * im).astype(dtype) for (key, re), im in pairs
        }
    return random_tree(seed, dtype)


@pytest.mark.parametrize("new_dtype", DTYPES)
@pytest.mark.parametrize("old_dtype", DTYPES)
def test_incremental_update_as_optax(new_dtype: Any, old_dtype: Any) -> None:
    new, old = tree_of(0, new_dtype), tree_of(1, old_dtype)
    eps = max(np.finfo(dtype).eps for dtype in (new_dtype, old_dtype))
    with jax.enable_x64(True):
        for step_size in (0.0, 0.001, 1.0, 1.5):
            expected = optax.incremental_update(to_jax(new), to_jax(old), step_size)
            ours = gm.incremental_update(new, old, step_size)
            assert_close(ours, expected, rtol=4 * eps, atol=4 * eps)
            for name, leaf in expected.items():
                assert leaf is None or ours[name].dtype == leaf.dtype
            assert ours["none"] is None


@pytest.mark.filterwarnings("error")
def test_incremental_update_of_special_values() -> None:
    new, old = special_tree(0), random_tree(1)
    for step_size in (0.0, 0.3, 1.0):
        expected = optax.incremental_update(to_jax(new), to_jax(old), step_size)
        assert_close(gm.incremental_update(new, old, step_size), expected, rtol=1e-6, atol=1e-7)
    huge = np.full(2, 3e38, np.float32)
    assert np.isinf(gm.incremental_update(huge, huge, 2.0)[0])


@pytest.mark.parametrize(
    "step_size",
    [0.1, 1, np.float64(0.1), np.float32(0.1), np.array(0.1), np.int64(1), jax.numpy.array(0.1)],
)
def test_step_size_widens_nothing(step_size: Any) -> None:
    new, old = np.ones(3, np.float32), np.zeros(3, np.float32)
    result = gm.incremental_update(new, old, step_size)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.full(3, step_size, np.float32))
    scalar = gm.incremental_update(new[0], old[0], step_size)
    assert isinstance(scalar, np.ndarray)
    assert (scalar.dtype, scalar.shape) == (np.float32, ())


def test_integers_average_in_float64() -> None:
    result = gm.incremental_update(
        {"count": 3, "steps": np.array([4], np.int8), "flag": np.array(True)},
        {"count": 1, "steps": np.array([0], np.int32), "flag": np.array(False)},
        0.25,
    )
    assert {leaf.dtype for leaf in result.values()} == {np.dtype(np.float64)}
    assert [float(leaf.item()) for leaf in result.values()] == [1.5, 1.0, 0.25]


def test_jax_arrays_are_taken() -> None:
    new, old = (jax.numpy.full(3, value, "bfloat16") for value in (1.0, 0.5))
    result = gm.incremental_update(new, old, 0.5)
    assert isinstance(result, np.ndarray)
    assert result.dtype == new.dtype
    np.testing.assert_array_equal(result, optax.incremental_update(new, old, 0.5))
    np.testing.assert_array_equal(gm.periodic_update(new, old, 4, 2), new)


@pytest.mark.parametrize("layout", ["F", "reversed", "readonly", "broadcast", "swapped"])
def test_any_layout(layout: str) -> None:
    new = np.arange(12.0).reshape(3, 4)
    old = np.ones((3, 4))
    layouts: dict[str, Callable[[], Any]] = {
        "F": lambda: np.asfortranarray(new),
        "reversed": lambda: new[::-1, ::-1],
        "readonly": lambda: np.frombuffer(new.tobytes()).reshape(3, 4),
        "broadcast": lambda: np.broadcast_to(new[0], (3, 4)),
        "swapped": lambda: new.astype(">f8"),
    }
    laid_out = layouts[layout]()
    result = gm.incremental_update(laid_out, old, 0.25)
    np.testing.assert_array_equal(result, 0.25 * laid_out + 0.75)
    assert result.flags.writeable
    copied = gm.periodic_update(laid_out.astype(float), old, 0, 1)
    np.testing.assert_array_equal(copied, laid_out)


def test_arguments_are_not_written_to() -> None:
    new, old = random_tree(0), random_tree(1)
    before = bits([new, old])
    average = gm.incremental_update(new, old, 0.5)
    for target in (average, gm.periodic_update(new, old, 2, 2)):
        for leaf in target.values():
            if leaf is not None:
                leaf[...] = 7.0
    assert bits([new, old]) == before


@pytest.mark.parametrize("steps", [-3, 0, 1, 6, np.int32(6), np.array(7), jax.numpy.int32(9)])
@pytest.mark.parametrize("period", [1, np.int64(3), 0, -1, -3])
def test_periodic_update_as_optax(steps: Any, period: Any) -> None:
    new, old = random_tree(0), random_tree(1)
    expected = optax.periodic_update(to_jax(new), to_jax(old), steps, period)
    ours = gm.periodic_update(new, old, steps, period)
    assert_close(ours, expected, rtol=0.0)
    is_due = period == 0 or int(steps) % period == 0
    assert bits(ours) == bits(new if is_due else old)
    assert (ours is old) != is_due


def test_target_does_not_follow_steps_in_place() -> None:
    opt = gm.Optimizer(gm.scale(-1.0), {"w": np.zeros(2)})
    target = copy_tree(opt.params)
    seen = []
    for step in range(1, 5):
        opt.step({"w": np.ones(2)})
        target = gm.periodic_update(opt.params, target, step, 2)
        seen.append(target["w"].tolist())
    assert seen == [[0.0, 0.0], [-2.0, -2.0], [-2.0, -2.0], [-4.0, -4.0]]


def incremental(new: Any, old: Any) -> Any:
    return gm.incremental_update(new, old, 0.5)


def periodic(new: Any, old: Any) -> Any:
    return gm.periodic_update(new, old, 1, 2)


ones, two = np.ones(3), np.ones(2)


@pytest.mark.parametrize("update", [incremental, periodic])
@pytest.mark.parametrize(
    ("new", "old", "kind", "message"),
    [
        ({"w": ones}, {"v": ones}, gm.errors.TreeError, "^old_tensors: missing key 'w'"),
        ([ones], (ones,), gm.errors.TreeError, "^old_tensors: a tuple, new_tensors has a list$"),
        (
            {"w": ones},
            {"w": two},
            gm.errors.LeafValueError,
            r"^new_tensors\['w'\]: shape \(3,\), old_tensors has \(2,\)$",
        ),
        (
            [np.ones(())],
            [np.ones(1)],
            gm.errors.LeafValueError,
            r"^new_tensors\[0\]: shape \(\), old_tensors has \(1,\)$",
        ),
        (
            {"w": ones},
            {"w": None},
            gm.errors.LeafTypeError,
            r"^old_tensors\['w'\]: is None, expected an array$",
        ),
        (
            {"w": ones},
            {"w": {"v": ones}},
            gm.errors.TreeError,
            r"^old_tensors\['w'\]: a dict, new_tensors has an array$",
        ),
        (
            {"w": "abc"},
            {"w": ones},
            gm.errors.LeafTypeError,
            r"^new_tensors\['w'\]: dtype <U3, expected numbers$",
        ),
        (
            {"w": np.zeros(3, "M8[s]")},
            {"w": ones},
            gm.errors.LeafTypeError,
            r"^new_tensors\['w'\]: dtype datetime64\[s\], expected numbers$",
        ),
        (
            {"w": np.ma.masked_equal(ones, 2.0)},
            {"w": ones},
            gm.errors.LeafTypeError,
            r"^new_tensors\['w'\]: is a masked array",
        ),
    ],
)
def test_bad_trees_raise(update: Any, new: Any, old: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        update(new, old)


def test_dtypes_that_do_not_go_together_raise() -> None:
    half = np.asarray(jax.numpy.ones(3, "bfloat16"))
    with pytest.raises(
        gm.errors.LeafTypeError, match=r"^new_tensors\['w'\]: dtype bfloat16, which"
    ):
        gm.incremental_update({"w": half}, {"w": np.ones(3, np.int64)}, 0.5)
    message = r"^new_tensors\['w'\]: dtype float32, old_tensors has float64$"
    for steps in (1, 2):
        with pytest.raises(gm.errors.LeafTypeError, match=message):
            gm.periodic_update({"w": np.ones(3, np.float32)}, {"w": ones}, steps, 2)


def test_none_of_the_parameters_stays_none() -> None:
    assert gm.incremental_update({"w": None}, {"w": ones}, 0.5) == {"w": None}
    for steps in (1, 2):
        assert gm.periodic_update({"w": None}, {"w": None}, steps, 2) == {"w": None}
        with pytest.raises(gm.errors.LeafTypeError, match=r"^new_tensors\['w'\]: is None"):
            gm.periodic_update({"w": None}, {"w": ones}, steps, 2)


@pytest.mark.parametrize("step_size", [None, "0.1", np.ones(1), True, 0.1j, lambda count: 0.1])
def test_step_size_is_a_real_number(step_size: Any) -> None:
    with pytest.raises(TypeError, match=r"^step_size must be a real number"):
        gm.incremental_update(ones, ones, step_size)


def test_steps_and_period_are_integers() -> None:
    for bad in (1.5, None, True, np.ones(2, np.int32)):
        with pytest.raises(TypeError, match=r"^steps must be an integer"):
            gm.periodic_update(ones, ones, bad, 2)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(TypeError, match=r"^update_period must be an integer"):
            gm.periodic_update(ones, ones, 2, bad)  # type: ignore[arg-type]  # on purpose
