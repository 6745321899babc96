"""Schedules in programs of JAX: the values of the host, and of optax."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._plan.scalars import next_count
from gradmill.jax import to_optax, to_optax_state
from tests.jax.versions import enable_x64
from tests.parity.test_schedules import COUNTS, CYCLE, SCHEDULES

INTEGERS = [count for count in COUNTS if isinstance(count, int)]
# Powers of a negative number where there should be none: 1 - 10 / 10 < 0, 21 / 7 is not 3.
INEXACT_IN_OPTAX = {"polynomial", "polynomial_negative", "exponential_negative_rate"}
LATE = [10**6, 2**31 - 1]

each_schedule = pytest.mark.parametrize("name", SCHEDULES)
# optax logs about empty transitions.
quiet_optax = pytest.mark.filterwarnings("ignore")


def on_host(schedule: Any, counts: list[Any]) -> Any:
    return np.array([schedule(count) for count in counts], float)


@cache
def jitted(module: Any, counts: tuple[Any, ...], wide: bool = False) -> dict[str, list[Any]]:
    """Values of all schedules, from one program: what is compiled once serves each of them."""

    def every(count: Any) -> dict[str, Any]:
        return {name: make(module)(count) for name, make in SCHEDULES.items()}

    with enable_x64(wide):
        program = jax.jit(every)
        found = [program(count) for count in counts]
    return {name: [values[name] for values in found] for name in SCHEDULES}


@each_schedule
@quiet_optax
def test_values_under_jit(name: str) -> None:
    ours, values = SCHEDULES[name](gm), jitted(gm, tuple(COUNTS))[name]
    assert all(value.shape == () and value.dtype == jnp.float32 for value in values)
    np.testing.assert_allclose(values, on_host(ours, COUNTS), rtol=2e-6, atol=3e-7)
    if name not in INEXACT_IN_OPTAX:
        expected = jitted(optax, tuple(COUNTS))[name]
        np.testing.assert_allclose(values, expected, rtol=2e-6, atol=3e-7)


@pytest.mark.full
@each_schedule
def test_values_of_arrays(name: str) -> None:
    schedule = SCHEDULES[name](gm)
    counts = jnp.array(INTEGERS, jnp.int32)
    expected = on_host(schedule, INTEGERS)
    values, mapped = jax.jit(lambda counts: (schedule(counts), jax.vmap(schedule)(counts)))(counts)
    np.testing.assert_allclose(values, expected, rtol=2e-6, atol=3e-7)
    np.testing.assert_allclose(mapped, expected, rtol=2e-6, atol=3e-7)


@each_schedule
def test_values_in_float64(name: str) -> None:
    schedule = SCHEDULES[name](gm)
    counts = INTEGERS + LATE
    values = jitted(gm, tuple(map(np.int32, counts)), wide=True)[name]
    fractions = jitted(gm, (0.5, 4.75, 19.5), wide=True)[name]
    assert {value.dtype.name for value in values} == {"float64"}
    np.testing.assert_allclose(values, on_host(schedule, counts), rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(
        fractions, on_host(schedule, [0.5, 4.75, 19.5]), rtol=1e-12, atol=1e-16
    )


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_values_in_scan(name: str) -> None:
    schedule = SCHEDULES[name](gm)

    def body(count: Any, _: Any) -> Any:
        return gm.safe_increment(count), jnp.asarray(schedule(count))

    last, values = jax.lax.scan(body, jnp.int32(0), length=30)
    assert last == 30
    np.testing.assert_allclose(values, on_host(schedule, list(range(30))), rtol=2e-6, atol=3e-7)


@pytest.mark.parametrize("steps", [10, 41, 47, 55, 61])
def test_steps_are_divided_exactly(steps: int) -> None:
    """The inverses of these, rounded, times themselves are not 1."""
    stairs = jax.jit(gm.exponential_decay(1.0, steps, 0.5, staircase=True))
    assert [stairs(periods * steps) for periods in range(9)] == [0.5**n for n in range(9)]
    end = jax.jit(gm.polynomial_schedule(0.5, 0.0, 0.5, steps))
    assert end(steps) == 0.0
    counts = jnp.arange(9) * steps
    np.testing.assert_array_equal(stairs(counts), 0.5 ** np.arange(9))
    np.testing.assert_array_equal(jax.jit(jax.vmap(stairs))(counts), 0.5 ** np.arange(9))
    np.testing.assert_array_equal(jax.vmap(end)(counts[1:]), np.zeros(8))


def test_counts_of_jax_known_or_not_give_the_same() -> None:
    schedule: Any = gm.sgdr_schedule([CYCLE, CYCLE])
    assert isinstance(schedule(np.int32(3)), float)
    value = schedule(jnp.int32(3))
    assert isinstance(value, jax.Array)
    np.testing.assert_allclose(value, jax.jit(schedule)(3), rtol=1e-6)
    np.testing.assert_allclose(value, schedule(3), rtol=1e-6)


def test_more_steps_than_an_int32() -> None:
    for schedule in (
        gm.linear_schedule(1.0, 0.0, 10**10),
        gm.cosine_decay_schedule(1.0, 10**10),
        gm.exponential_decay(1.0, 10**10, 0.5),
    ):
        np.testing.assert_allclose(jax.jit(schedule)(10**9), schedule(10**9), rtol=1e-6)


def test_joined_members_of_any_kind() -> None:
    line = optax.linear_schedule(1.0, 0.0, 4)
    members: list[Any] = [lambda count: 0.1 * count, line, lambda _: 0.25]
    schedule = gm.join_schedules(members, [3, 9])
    counts = list(range(12))
    np.testing.assert_allclose(
        jax.vmap(schedule)(jnp.arange(12)), on_host(schedule, counts), rtol=1e-6
    )


def test_only_the_member_in_force_is_called_on_the_host() -> None:
    def never(count: int) -> float:
        raise AssertionError

    members: list[Any] = [never, float, never]
    assert gm.join_schedules(members, [3, 9])(5) == 2.0


def test_gradients_of_joined_members_where_others_have_none() -> None:
    def rate(peak: Any, count: Any) -> Any:
        members: list[Any] = [gm.linear_schedule(0.0, peak, 4), lambda c: peak / jnp.sqrt(c + 1.0)]
        return gm.join_schedules(members, [4])(count)

    gradient = jax.jit(jax.grad(rate))
    np.testing.assert_allclose([gradient(2.0, c) for c in (1, 3, 4, 7)], [0.25, 0.75, 1.0, 0.5])


MAKES: dict[str, Any] = {
    "constant": lambda m, value: m.constant_schedule(value),
    "linear": lambda m, value: m.linear_schedule(value, 0.1, 10),
    "linear_end": lambda m, value: m.linear_schedule(0.1, value, 10),
    "polynomial": lambda m, value: m.polynomial_schedule(0.3, 0.1, value, 10),
    "cosine": lambda m, value: m.cosine_decay_schedule(value, 10, 0.1, 1.5),
    "cosine_alpha": lambda m, value: m.cosine_decay_schedule(0.3, 10, value),
    "cosine_exponent": lambda m, value: m.cosine_decay_schedule(0.3, 10, 0.1, value),
    "exponential": lambda m, value: m.exponential_decay(value, 7, 0.5, end_value=0.1),
    "exponential_end": lambda m, value: m.exponential_decay(1.0, 7, 0.5, end_value=value),
    "piecewise": lambda m, value: m.piecewise_constant_schedule(value, {3: 0.5, 7: 0.1}),
    "interpolate": lambda m, value: m.piecewise_interpolate_schedule("cosine", value, {3: 0.5}),
    "onecycle": lambda m, value: m.linear_onecycle_schedule(20, value),
    "warmup": lambda m, value: m.warmup_cosine_decay_schedule(0.0, 1.0, 5, 20, value),
    "warmup_start": lambda m, value: m.warmup_exponential_decay_schedule(value, 1.0, 5, 7, 0.5),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if at < 4 else pytest.mark.full) for at, name in enumerate(MAKES)],
)
def test_gradients_of_hyperparameters(name: str) -> None:
    """In a jitted program, at counts that are traced and at numbers."""
    for count in (0, 2, 5, 12):
        expected = jax.grad(lambda value, c=count: MAKES[name](optax, value)(jnp.int32(c)))(0.7)
        traced = jax.jit(jax.grad(lambda value, c: MAKES[name](gm, value)(c)))(0.7, count)
        known = jax.jit(jax.grad(lambda value, c=count: MAKES[name](gm, value)(c) * 1.0))(0.7)
        np.testing.assert_allclose([traced, known], [expected] * 2, rtol=1e-5, atol=1e-6)


def test_gradient_of_the_count() -> None:
    schedule = gm.linear_schedule(1.0, 0.0, 4)
    np.testing.assert_allclose(jax.grad(schedule)(1.5), -0.25)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int32", "uint32", "float16", "bfloat16", "float32"]
)
def test_increments_end_at_the_largest(dtype: str) -> None:
    limits = jnp.finfo(dtype) if "float" in dtype else jnp.iinfo(dtype)
    top = np.asarray(limits.max, dtype)
    for count in (np.zeros((), dtype), np.asarray(5, dtype), top):
        expected = gm.safe_increment(count)
        for found in (
            gm.safe_increment(jnp.asarray(count)),
            jax.jit(gm.safe_increment)(jnp.asarray(count)),
        ):
            assert isinstance(found, jax.Array)
            assert (found.dtype, found.shape) == (expected.dtype, ())
            assert found == expected
    if "int" in dtype:
        for count in (np.asarray(5, dtype), np.asarray(min(int(top), 2**31 - 1), dtype)):
            after = jax.jit(next_count)(jnp.asarray(count))
            assert after.dtype == dtype
            assert after == next_count(count)


@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_what_cannot_be_counted_in(dtype: str) -> None:
    for module, count in (
        (gm, np.ones((), dtype)),
        (gm, jnp.ones((), dtype)),
        (optax, jnp.ones((), dtype)),
    ):
        with pytest.raises(ValueError, match=r"dtype|integer"):
            module.safe_increment(count)


class SumOfExtra:
    """A schedule whose state begins as an integer, and is none after a step."""

    def init(self) -> Any:
        return np.zeros((), np.int32)

    def update(self, state: Any, *, by: Any, **_: Any) -> Any:
        return state + by

    def __call__(self, state: Any, **_: Any) -> Any:
        return state + 0


def test_states_of_schedules_may_become_fractions() -> None:
    tx, params = gm.inject_hyperparams(gm.sgd)(SumOfExtra()), np.ones(2, np.float32)
    lowered = to_optax(tx)
    update = jax.jit(lowered.update)
    state, traced = tx.init(params), lowered.init(params)
    for _ in range(3):
        updates, state = tx.update(params, state, params, by=0.25)
        others, traced = update(params, traced, params, by=0.25)
        np.testing.assert_array_equal(others, updates)
        for name in ("hyperparams", "hyperparams_states"):
            np.testing.assert_array_equal(
                getattr(traced, name)["learning_rate"], getattr(state, name)["learning_rate"]
            )
    np.testing.assert_array_equal(updates, [-0.5, -0.5])


def test_wrapped_schedule() -> None:
    schedule = gm.WrappedSchedule(gm.linear_schedule(1.0, 0.0, 4))

    def update(count: Any) -> Any:
        state = gm.schedules.WrappedScheduleState(count)
        return schedule(state, loss=1.0), schedule.update(state, loss=1.0).count

    step = jax.jit(update)
    count = jnp.int32(0)
    for expected in (1.0, 0.75, 0.5, 0.25, 0.0, 0.0):
        value, count = step(count)
        assert value == expected
        assert count.dtype == jnp.int32
    known = gm.schedules.WrappedScheduleState(jnp.int32(1))
    assert schedule(known) == 0.75
    assert step(jnp.int32(2**31 - 1))[1] == 2**31 - 1


def test_injected_integers() -> None:
    """They are int32, with NumPy as well, so that states go to a program and back."""
    for number in (3, np.int64(3), jnp.int32(3)):
        tx = gm.inject_hyperparams(gm.adamw)(0.1, weight_decay=number)
        state = tx.init(np.ones(2, np.float32))
        own = to_optax(tx).init(jnp.ones(2)), to_optax_state(state)
        for one in (state, *own):
            assert one.hyperparams["weight_decay"].dtype == np.int32
    large = gm.inject_hyperparams(gm.sgd)(2**40).init(np.ones(2, np.float32))
    assert large.hyperparams["learning_rate"] == 2**40
