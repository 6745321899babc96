"""Every row of the table that optax has, against optax itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from tests.cases import IN_OPTAX, Case
from tests.on_jax import to_jax, words_of_keys
from tests.optax_runs import steps_of, usual_steps, without_compilation
from tests.oracle import Oracle, squared_error
from tests.trees import assert_close, random_tree, special_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE = {
    # optax forms `1 - b**t` in float32, which is off by 1.3e-5 for b2 = 0.999 and t = 1.
    np.dtype(np.float32): {"rtol": 3e-5, "atol": 1e-7},
    # Both compute in float64; XLA contracts products and sums, and orders reductions its own way.
    np.dtype(np.float64): {"rtol": 1e-11, "atol": 1e-13},
}
# Rows that are partly single precision in optax whatever the leaves are: it evaluates linear
# schedules and decays float32 slots in float32, where gradmill has float64.
SINGLE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(autouse=True)
def no_compilation(case: Case) -> Iterator[None]:
    with without_compilation(case):
        yield


pytestmark = pytest.mark.parametrize("case", IN_OPTAX, ids=lambda case: case.name)


@pytest.mark.parametrize(
    ("grads_of", "dtype"),
    [
        (random_tree, np.float32),
        pytest.param(special_tree, np.float32, marks=pytest.mark.full),
        pytest.param(random_tree, np.float64, marks=pytest.mark.full),
        pytest.param(special_tree, np.float64, marks=pytest.mark.full),
    ],
)
def test_updates_and_state(case: Case, dtype: Any, grads_of: Any) -> None:
    if case.selects and grads_of is special_tree:
        pytest.skip("optax multiplies a NaN by zero; see test_accumulation")
    with jax.enable_x64(dtype == np.float64):
        ours = case.make(gm)
        is_single = case.single and dtype == np.float64
        tolerance = SINGLE if is_single else TOLERANCE[np.dtype(dtype)]
        tolerance = {name: bound * case.loose for name, bound in tolerance.items()}
        params = random_tree(0, dtype)
        state = ours.init(params)
        is_usual = grads_of is random_tree and dtype == np.float32
        for step in usual_steps(case) if is_usual else steps_of(case, grads_of, dtype):
            same_kind(state, words_of_keys(step.before))
            updates, state = ours.update(step.grads, state, params)
            assert_close(updates, step.updates, **tolerance)
            known = [case.known(one) for one in (state, words_of_keys(step.after))]
            assert_close(*known, **tolerance)
            same_kind(state, words_of_keys(step.after))


def same_kind(ours: Any, theirs: Any) -> None:
    """The same containers, field names, shapes and dtypes."""
    if hasattr(theirs, "dtype"):
        assert isinstance(ours, np.ndarray)
        # With 64 bits enabled, JAX counts elements in int64.
        expected = np.int32 if theirs.dtype == np.int64 else theirs.dtype
        assert (ours.dtype, ours.shape) == (expected, theirs.shape)
    elif isinstance(theirs, dict):
        assert sorted(ours) == sorted(theirs)
        for key, value in theirs.items():
            same_kind(ours[key], value)
    elif isinstance(theirs, (list, tuple)):
        assert type(ours).__name__ == type(theirs).__name__
        assert getattr(ours, "_fields", None) == getattr(theirs, "_fields", None)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same_kind(a, b)
    else:
        assert ours is None
        assert theirs is None


@pytest.mark.full
def test_without_params(case: Case) -> None:
    """The same numbers where parameters do not matter, and a ValueError where they do."""
    ours, theirs = case.make(gm), case.make(optax)
    params, grads = random_tree(0), random_tree(1)
    state, their_state = ours.init(params), theirs.init(to_jax(params))
    try:
        their_updates, _ = theirs.update(to_jax(grads), their_state, None)
    except ValueError:
        with pytest.raises(ValueError, match="needs the current parameters"):
            ours.update(grads, state)
        return
    tolerance = TOLERANCE[np.dtype(np.float32)]
    assert_close(ours.update(grads, state)[0], their_updates, **tolerance)


@pytest.mark.full
def test_late_steps(case: Case) -> None:
    """Counts of a long run: corrections are close to one, schedules at their end."""
    if case.early:
        pytest.skip("optax forms the decay in float32; see test_deviations")
    ours, theirs = case.make(gm), case.make(optax)
    params, grads = random_tree(0), random_tree(1)
    state, their_state = ours.init(params), theirs.init(to_jax(params))
    for count in (999, 123_456, 2**31 - 1):
        late = late_state(state, np.asarray(count, np.int32))
        their_late = late_state(their_state, jax.numpy.asarray(count, "int32"))
        updates, after = ours.update(grads, late, params)
        their_updates, their_after = theirs.update(to_jax(grads), their_late, to_jax(params))
        assert_close(updates, their_updates, rtol=1e-4, atol=1e-6)
        same_kind(after, words_of_keys(their_after))


def late_state(state: Any, count: Any) -> Any:
    if isinstance(state, tuple):
        fields = [late_state(value, count) for value in state]
        if not hasattr(state, "_fields"):
            return tuple(fields)
        named = dict(zip(state._fields, fields, strict=True))
        counts = {name: count for name in named if name.startswith("count")}
        return type(state)(**{**named, **counts})
    return state


def test_error_is_at_most_that_of_optax(case: Case) -> None:
    """The float64 formula is the oracle: over ten steps in float32 we are no further from it."""
    if case.python:
        pytest.skip("no formula for what is written in Python")
    ours, params = case.make(gm), random_tree(0)
    state = ours.init(params)
    oracle = Oracle(ours, params, state)
    errors: list[tuple[float, float]] = []
    for step in usual_steps(case):
        exact = oracle.update(step.grads, state)
        updates, state = ours.update(step.grads, state, params)
        errors.append((squared_error(updates, exact), squared_error(step.updates, exact)))
    mine, optaxs = np.sqrt(np.mean(errors, axis=0))
    assert mine <= 1.05 * optaxs
