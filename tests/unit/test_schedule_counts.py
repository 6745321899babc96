"""What a schedule of the user's is called with, and what becomes of that which it returns."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._data.tape import Number
from gradmill.jax import step, to_optax
from gradmill.schedules._named import NamedSchedule, named
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

PARAMS = np.linspace(-1, 1, 5, dtype=np.float32)
GRADS = np.linspace(2, 3, 5, dtype=np.float32)


def inverse_root(count: Any) -> Any:
    """Infinite at 0."""
    return count**-0.5


def by_astype(count: Any) -> Any:
    return 0.1 / (1 + count.astype(np.float32))


def by_dtype(count: Any) -> Any:
    return np.asarray(0.25, np.result_type(count.dtype, np.float32)) * (count.shape == ())


def by_where(count: Any) -> Any:
    return jnp.where(count < 3, 0.5, 0.25)


def by_choice(count: Any) -> Any:
    return np.where(count < 3, 0.5, 0.25)


def of_tokens(count: Any) -> Any:
    """More than an int32 holds."""
    return 1.0 / (1 + count * 3_000_000_000)


def by_table(count: Any) -> Any:
    return {0: 0.5, 1: 0.25, 2: 0.125}[count] + [0.0, 1.0, 2.0][count]


def switch(count: Any) -> Any:
    return count >= 1


USERS = [inverse_root, by_astype, by_dtype, by_where, by_choice, of_tokens, by_table, switch]

PLACES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "scale_by_schedule": ("step_size_fn", gm.scale_by_schedule),
    "by name": ("schedule", lambda function: gm.scale_by_schedule(schedule=function)),
    "learning_rate": ("learning_rate", gm.adam),
    "up": (
        "learning_rate",
        lambda function: gm.scale_by_learning_rate(function, flip_sign=False),
    ),
    "weight_decay": ("weight_decay", gm.add_decayed_weights),
    "decay of adamw": ("weight_decay", lambda function: gm.adamw(0.1, weight_decay=function)),
    "in a chain": ("learning_rate", lambda function: gm.chain(gm.trace(0.9), gm.sgd(function))),
    "behind a gate": ("learning_rate", lambda function: gm.apply_if_finite(gm.sgd(function))),
    "injected": ("learning_rate", gm.inject_hyperparams(gm.sgd)),
    "injected decay": (
        "decay",
        gm.inject_hyperparams(gm.trace),
    ),
    "stateful": (
        "learning_rate",
        lambda function: gm.inject_hyperparams(gm.sgd)(gm.WrappedSchedule(function)),
    ),
    "joined": (
        "learning_rate",
        lambda function: gm.sgd(gm.join_schedules([function, gm.constant_schedule(1.0)], [9])),
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", USERS)
def test_counts_are_arrays(place: str, function: Any) -> None:
    """No warning either: in these tests, warnings are errors."""
    tx = PLACES[place][1](function)
    opt, state, params = gm.Optimizer(tx, PARAMS.copy()), tx.init(PARAMS), PARAMS
    for _ in range(3):
        opt.step(GRADS)
        updates, state = tx.update(GRADS, state, params)
        params = gm.apply_updates(params, updates)
    assert bits((opt.params, opt.state)) == bits((params, state))


@pytest.mark.parametrize("function", [by_where, by_choice, switch])
def test_the_values_are_optaxs(function: Any) -> None:
    ours, theirs = gm.sgd(function), optax.sgd(function)
    state, their_state = ours.init(PARAMS), theirs.init(PARAMS)
    for _ in range(4):
        updates, state = ours.update(GRADS, state)
        their_updates, their_state = theirs.update(GRADS, their_state)
        np.testing.assert_allclose(updates, their_updates, rtol=1e-6)


def test_an_infinite_rate_at_step_zero() -> None:
    updates, _ = gm.sgd(inverse_root).update(GRADS, gm.sgd(inverse_root).init(PARAMS))
    assert np.isneginf(updates).all()


class Recorder:
    """Remembers the types of what it is called with."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.seen: list[type] = []

    def __call__(self, count: Any, *args: Any) -> Any:
        self.seen.append(type(count))
        return self.value


def test_own_schedules_take_ints() -> None:
    class Own(type(gm.constant_schedule(1.0))):  # type: ignore[misc]
        def __call__(self, count: Any) -> Any:
            seen.append(type(count))
            return super().__call__(count)

    seen: list[type] = []
    own = Own(0.5)
    assert named("learning_rate", own) is own
    for tx in (gm.sgd(own), gm.sgd(gm.join_schedules([own, own], [2]))):
        opt = gm.Optimizer(tx, PARAMS.copy())
        for _ in range(3):
            opt.step(GRADS)
    # A tape is written once, with numbers of its own.
    assert set(seen) <= {int, Number}
    assert isinstance(named("rate", gm.join_schedules([own, by_where], [2])), NamedSchedule)


def test_all_functions_of_counts_take_the_same() -> None:
    rate, condition, rounds = Recorder(0.5), Recorder(True), Recorder(2)
    tx = gm.chain(
        gm.sgd(rate),
        gm.conditionally_transform(gm.scale(2.0), condition),
        gm.MultiSteps(gm.identity(), rounds),
    )
    gm.Optimizer(tx, PARAMS.copy()).step(GRADS)
    assert {*rate.seen, *condition.seen, *rounds.seen} == {np.int64}


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "none": (None, TypeError, "returned None, expected a real number"),
    "complex": (0.5j, TypeError, "returned 0.5j, expected a real number"),
    "one axis": (np.ones(1), TypeError, r"returned shape \(1,\), expected a real number without"),
    "of jax": (jnp.ones((2, 3)), TypeError, r"returned shape \(2, 3\), expected a real number"),
    "string": ("0.1", TypeError, "returned '0.1', expected a real number"),
    "list": ([0.1], TypeError, r"returned \[0.1\], expected a real number"),
    "nan": (np.float32(np.nan), ValueError, "returned nan, expected a real number"),
    "nan of jax": (jnp.asarray(jnp.nan), ValueError, "returned nan, expected a real number"),
}


class Late:
    """Returns something wrong in its third step."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, count: Any) -> Any:
        return self.value if count == 2 else 0.1


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_number_names_the_hyperparameter(place: str, wrong: str) -> None:
    """Nothing is written, and without it all goes on."""
    name, make = PLACES[place]
    value, kind, message = WRONG[wrong]
    schedule = Late(value)
    tx = make(schedule)
    opt, state = gm.Optimizer(tx, PARAMS.copy()), tx.init(PARAMS)
    for _ in range(2):
        opt.step(GRADS)
        _, state = tx.update(GRADS, state, PARAMS)
    before = bits((opt.params, opt.state, state))
    with pytest.raises(kind, match=f"^{name}: the schedule {message}"):
        opt.step(GRADS)
    with pytest.raises(kind, match=f"^{name}: the schedule {message}"):
        tx.update(GRADS, state, PARAMS)
    assert bits((opt.params, opt.state, state)) == before
    schedule.value = 0.1
    assert opt.step(GRADS).step == 3


@pytest.mark.parametrize("place", ["scale_by_schedule", "weight_decay", "injected"])
def test_inside_of_programs(place: str) -> None:
    name, make = PLACES[place]
    for wrong in (jnp.ones(1), None, 1j):

        def returns(count: Any, wrong: Any = wrong) -> Any:
            return None if wrong is None else wrong * count

        state = make(lambda count: 0.1).init(PARAMS)
        with pytest.raises(TypeError, match=f"^{name}: the schedule returned"):
            jax.jit(to_optax(make(returns)).update)(GRADS, state, PARAMS)
    good = to_optax(make(by_where))
    updates, _ = jax.jit(good.update)(GRADS, good.init(PARAMS), PARAMS)
    expected, _ = make(by_where).update(GRADS, make(by_where).init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates, expected, rtol=1e-6)


@pytest.mark.parametrize("function", [by_where, by_astype, inverse_root])
def test_the_fused_step_takes_them(function: Any) -> None:
    fused = step(gm.sgd(function))
    params, _ = jax.jit(fused)(GRADS, fused.init(PARAMS), PARAMS)
    opt = gm.Optimizer(gm.sgd(function), PARAMS.copy())
    opt.step(GRADS)
    np.testing.assert_allclose(params, opt.params, rtol=1e-6)


@pytest.mark.parametrize("wrong", [None, "yes", np.ones(2), [True]], ids=str)
def test_conditions_return_bools(wrong: Any) -> None:
    for make in (gm.conditionally_transform, gm.conditionally_mask):
        opt = gm.Optimizer(make(gm.sgd(0.1), lambda count: wrong), PARAMS.copy())
        with pytest.raises(TypeError, match=f"^{make.__name__}: the condition returned"):
            opt.step(GRADS)
        assert bits(opt.params) == bits(PARAMS)
        for right in (True, np.bool_(True), np.asarray(True), jnp.asarray(True), 1):
            opt = gm.Optimizer(make(gm.sgd(0.1), lambda count, value=right: value), PARAMS.copy())
            opt.step(GRADS)
            assert bits(opt.params) != bits(PARAMS)


@pytest.mark.parametrize("k", [2, 2.0, np.int8(2), ml_dtypes.bfloat16(2), jnp.asarray(2)], ids=type)
def test_rounds_may_be_any_numbers(k: Any) -> None:
    """As those of a piecewise constant schedule, whose values are floats."""
    tx = gm.MultiSteps(gm.sgd(1.0), lambda done: k)
    updates, state = tx.update(GRADS, tx.init(PARAMS))
    assert not updates.any()
    assert bits(tx.update(GRADS, state)[0]) == bits(-GRADS)


def test_rounds_by_a_schedule() -> None:
    tx = gm.MultiSteps(gm.sgd(1.0), gm.piecewise_constant_schedule(1, {1: 2.0}))
    state, seen = tx.init(PARAMS), []
    for _ in range(5):
        updates, state = tx.update(GRADS, state)
        seen.append(bool(updates.any()))
    assert seen == [True, False, True, False, True]


def test_schedules_travel_and_tell_themselves_apart() -> None:
    """What stands around a user's function pickles with it, and has a digest of its own."""
    tx = gm.adamw(by_where, weight_decay=by_choice)
    again = pickle.loads(pickle.dumps(tx))
    assert gm.state_digest(again) == gm.state_digest(tx)
    assert gm.state_digest(gm.adamw(by_choice, weight_decay=by_choice)) != gm.state_digest(tx)
    state = tx.init(PARAMS)
    ours, theirs = tx.update(GRADS, state, PARAMS), again.update(GRADS, state, PARAMS)
    assert bits(ours) == bits(theirs)


def test_stateful_schedules_return_numbers() -> None:
    class OnPlateau:
        def init(self) -> Any:
            return np.zeros((), np.int32)

        def update(self, state: Any, **extra: Any) -> Any:
            return state + np.int32(1)

        def __call__(self, state: Any, *, loss: Any = None, **extra: Any) -> Any:
            return state**-0.5 if loss is None else loss

    tx = gm.inject_hyperparams(gm.sgd)(OnPlateau())
    state = tx.init(PARAMS)
    assert np.isinf(state.hyperparams["learning_rate"])
    with pytest.raises(TypeError, match=r"^learning_rate: the schedule returned 'low'"):
        tx.update(GRADS, state, loss="low")
    updates, _ = tx.update(GRADS, state, loss=ml_dtypes.bfloat16(0.5))
    assert bits(updates) == bits(GRADS * np.float32(-0.5))
