"""Steps whose host is written down for the core do what those do that Python takes."""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import optree
import pytest

import gradmill as gm
from gradmill import _core
from gradmill._data.tape import Tape, UnwritableError
from gradmill._data.trees import Flattener
from gradmill._plan.scalars import _curve_of
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 11
OUT_OF_RANGE = {"b1": 1.5, "eps": -1.0, "b2": np.nan, "learning_rate": np.nan}


def tree(seed: int, dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(seed)
    shapes: Any = {"z": {"w": (3, 4), "b": (4,)}, "a": [(5,), ()]}
    return optree.tree_map(
        lambda shape: np.asarray(rng.standard_normal(shape), dtype),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def gradients(step: int, dtype: Any = np.float32) -> Any:
    """In some steps not finite."""
    grads = tree(100 + step, dtype)
    if step % 4 == 1:
        grads["a"][0][2] = np.inf
    return grads


def warmup() -> Any:
    return gm.warmup_cosine_decay_schedule(0.0, 0.1, 3, 9)


QUICK: dict[str, Callable[[], Any]] = {
    "mean": lambda: gm.MultiSteps(gm.adamw(0.1), 4).gradient_transformation(),
    "sum": lambda: gm.MultiSteps(gm.adamw(0.1), 3, use_grad_mean=False).gradient_transformation(),
    "every": lambda: gm.apply_every(3, gm.adam(0.1)),
    "every alone": lambda: gm.chain(gm.apply_every(2), gm.sgd(0.1, momentum=0.9)),
    "finite": lambda: gm.apply_if_finite(gm.adamw(0.1), 1),
    "condition": lambda: gm.conditionally_transform(gm.adam(0.1), lambda step: step % 3 != 1),
    "mask": lambda: gm.conditionally_mask(gm.adam(0.1), lambda step: step % 2 == 0),
    "gates": lambda: gm.apply_if_finite(
        gm.MultiSteps(gm.apply_every(2, gm.adamw(warmup())), 2).gradient_transformation(), 2
    ),
    "injected": lambda: gm.inject_hyperparams(gm.adamw)(learning_rate=0.1),
    "injected schedule": lambda: gm.inject_hyperparams(gm.adam)(learning_rate=warmup(), b1=0.8),
    "injected function": lambda: gm.inject_hyperparams(gm.sgd)(lambda count: 0.1 / (count + 1)),
    "injected inside": lambda: gm.MultiSteps(
        gm.inject_hyperparams(gm.adam)(learning_rate=warmup()), 2
    ).gradient_transformation(),
    "gate injected": lambda: gm.inject_hyperparams(gm.apply_if_finite)(
        gm.adam(0.1), max_consecutive_errors=None
    ),
    "averaged": lambda: gm.contrib.schedule_free_adamw(0.1, warmup_steps=3),
    "averaged behind a gate": lambda: gm.apply_if_finite(gm.contrib.schedule_free_sgd(0.1), 1),
    "own factory": lambda: gm.inject_hyperparams(lambda rate: gm.adam(rate / 3))(rate=0.3),
}


def plain() -> Any:
    return gm.adamw(warmup())


def general(opt: gm.Optimizer) -> gm.Optimizer:
    """The same with steps that Python takes."""
    opt._quick = None
    return opt


def without_quick(tx: Any) -> Any:
    tx.update.__self__.quick = None
    return tx


@pytest.mark.parametrize("report", [(), ("update_norm", "param_norm")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", QUICK)
def test_in_place(name: str, dtype: Any, report: tuple[str, ...]) -> None:
    quick = gm.Optimizer(QUICK[name](), tree(0, dtype))
    usual = general(gm.Optimizer(QUICK[name](), tree(0, dtype)))
    assert quick._quick is not None
    for step in range(STEPS):
        found, expected = (o.step(gradients(step, dtype), report=report) for o in (quick, usual))
        assert repr(found) == repr(expected)
        assert (found.update_norm is None) == (not report)
        assert bits((quick.params, quick.state)) == bits((usual.params, usual.state))
    # Steps that Python takes are noted there.
    assert quick._at_step[0] == 0
    assert usual._at_step[0] == STEPS


@pytest.mark.parametrize("name", [*QUICK, "plain"])
def test_functional(name: str) -> None:
    make = plain if name == "plain" else QUICK[name]
    quick, usual = make(), without_quick(make())
    assert quick.update.__self__.quick is not None
    params = tree(0)
    mine, theirs = quick.init(params), usual.init(params)
    for step in range(STEPS):
        before = bits((params, mine))
        arguments = gradients(step), mine, params
        if step:
            assert quick.update.__self__.quick(*arguments) is not None
        updates, new = quick.update(*arguments)
        expected, theirs = usual.update(gradients(step), theirs, params)
        assert bits((params, mine)) == before
        assert bits((updates, new)) == bits((expected, theirs))
        assert type(new) is type(mine)
        params, mine = gm.apply_updates(params, updates), new


def numbers(state: Any) -> Any:
    return state.hyperparams


@pytest.mark.parametrize(
    "value", [0.3, np.float64(0.7), np.float32(0.7), np.array(0.7), jnp.float32(0.7), 2, 0.1]
)
@pytest.mark.parametrize("is_in_place", [True, False])
def test_an_assigned_number_is_that_of_a_new_call(value: Any, is_in_place: bool) -> None:
    """As the state holds it: in float32 for parameters of float32, unless it is an array."""
    tx = gm.inject_hyperparams(gm.adam)(learning_rate=0.1)
    wide = isinstance(value, np.ndarray)
    held = 0.1 if value == 0.1 else float(value if wide else np.float32(value))
    other, params = gm.Optimizer(gm.adam(held), tree(0)), tree(0)
    grads = tree(1)
    other.step(grads)
    if is_in_place:
        opt = gm.Optimizer(tx, params)
        opt.state.hyperparams["learning_rate"] = value
        opt.step(grads)
        state = opt.state
    else:
        state = tx.init(params)
        state.hyperparams["learning_rate"] = value
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
    assert bits(params) == bits(other.params)
    stored = state.hyperparams["learning_rate"]
    assert stored.dtype == (np.float64 if wide else np.float32)
    assert stored.shape == ()


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_a_number_out_of_range(name: str) -> None:
    """The error is the factory's, and nothing has changed."""
    opt = gm.Optimizer(gm.inject_hyperparams(gm.adam)(learning_rate=0.1), tree(0))
    opt.step(tree(1))
    opt.state.hyperparams[name] = OUT_OF_RANGE[name]
    before = bits((opt.params, opt.state.inner_state, opt.state.count))
    with pytest.raises(ValueError, match=name if name != "learning_rate" else "number"):
        opt.step(tree(1))
    assert bits((opt.params, opt.state.inner_state, opt.state.count)) == before
    opt.state.hyperparams[name] = 0.1
    opt.step(tree(1))


FACTORIES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "adam": (gm.adam, {"learning_rate": 0.1}),
    "partial": (functools.partial(gm.adam, b1=0.5), {"learning_rate": 0.1}),
    "adamw": (gm.adamw, {"learning_rate": 0.1, "nesterov": True}),
    "sgd": (gm.sgd, {"learning_rate": 0.1, "momentum": 0.9}),
    "rmsprop": (gm.rmsprop, {"learning_rate": 0.1, "momentum": 0.5}),
    "lamb": (gm.lamb, {"learning_rate": 0.1}),
    "lars": (gm.lars, {"learning_rate": 0.1}),
    "clip": (gm.clip_by_global_norm, {"max_norm": 0.7}),
    "ema": (gm.ema, {"decay": 0.9}),
    "trust": (gm.scale_by_trust_ratio, {"trust_coefficient": 0.9}),
    "agc": (gm.adaptive_grad_clip, {"clipping": 0.1}),
    "stddev": (gm.scale_by_stddev, {"decay": 0.8}),
    "ascent": (gm.scale_by_learning_rate, {"learning_rate": 0.5, "flip_sign": False}),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_with_other_numbers_in_each_step(name: str) -> None:
    factory, arguments = FACTORIES[name]
    tx = gm.inject_hyperparams(factory)(**arguments)
    quick, usual = gm.Optimizer(tx, tree(0)), general(gm.Optimizer(tx, tree(0)))
    assert quick._quick is not None
    rng = np.random.default_rng(0)
    for step in range(6):
        for held in quick.state.hyperparams:
            value = rng.uniform(0.1, 0.9)
            quick.state.hyperparams[held] = usual.state.hyperparams[held] = value
        params, copies, grads = quick.params, quick._copies, tree(step)
        taken = quick._quick(params, copies, grads, quick._leaves_of, quick._states())
        assert taken is not None
        usual.step(tree(step))
        assert bits((quick.params, quick.state)) == bits((usual.params, usual.state))


def test_a_tree_in_the_place_of_a_gradient() -> None:
    opt = gm.Optimizer(gm.apply_if_finite(gm.adam(0.1)), {"w": np.ones(2)})
    with pytest.raises(gm.errors.TreeError, match=r"updates\['w'\]"):
        opt.step({"w": {"x": np.ones(2)}})


def test_whose_arrays_hyperparameters_are() -> None:
    opt = gm.Optimizer(gm.inject_hyperparams(gm.sgd)(learning_rate=1.0), np.zeros(1))
    mine = np.array(0.5)
    opt.state.hyperparams["learning_rate"] = mine
    opt.step(np.ones(1))
    mine[...] = 7.0
    opt.step(np.ones(1))
    np.testing.assert_array_equal(opt.params, [-1.0])
    opt.state.hyperparams["learning_rate"][...] = 2.0
    opt.step(np.ones(1))
    np.testing.assert_array_equal(opt.params, [-3.0])


@pytest.mark.parametrize("make", [int, jnp.asarray, np.int64, lambda count: np.array(count, "i8")])
def test_counts_of_any_kind(make: Callable[[int], Any]) -> None:
    tx = gm.MultiSteps(gm.adam(0.1), 2).gradient_transformation()
    params, state = tree(0), tx.init(tree(0))
    given = state._replace(mini_step=make(1), gradient_step=make(3))
    usual = state._replace(mini_step=np.array(1, "i4"), gradient_step=np.array(3, "i4"))
    (updates, new), (expected, old) = (tx.update(tree(1), one, params) for one in (given, usual))
    assert bits(updates) == bits(expected)
    assert int(new.gradient_step) == int(old.gradient_step) == 4
    assert type(new.mini_step) is not int


def test_counts_that_are_locked_or_negative() -> None:
    opt = gm.Optimizer(gm.MultiSteps(gm.sgd(1.0), 2), np.zeros(1))
    opt.state.mini_step.flags.writeable = False
    opt.step(np.ones(1))
    opt.step(np.ones(1))
    np.testing.assert_array_equal(opt.params, [-1.0])
    opt.state.gradient_step[...] = -1
    with pytest.raises(gm.errors.LeafValueError, match=r"state\.gradient_step: -1 is negative"):
        opt.step(np.ones(1))


def test_a_condition_that_fails() -> None:
    def condition(step: Any) -> bool:
        if step == 1:
            raise ZeroDivisionError
        return True

    opt = gm.Optimizer(gm.conditionally_transform(gm.adam(0.1), condition), tree(0))
    opt.step(tree(1))
    before = bits((opt.params, opt.state))
    with pytest.raises(ZeroDivisionError):
        opt.step(tree(1))
    assert bits((opt.params, opt.state)) == before


SCHEDULES = {
    "constant": gm.constant_schedule(0.5),
    "polynomial": gm.polynomial_schedule(1.0, 0.1, 2.5, 30, 4),
    "linear": gm.linear_schedule(3, 1, 7),
    "cosine": gm.cosine_decay_schedule(2.0, 40, 0.1, 1.5),
    "warmup": gm.warmup_cosine_decay_schedule(0.0, 0.3, 10, 70, 1e-3),
    "constants": gm.piecewise_constant_schedule(1.0, {3: 0.1, 20: 0.5}),
    "interpolated": gm.piecewise_interpolate_schedule("cosine", 1.0, {5: 0.3, 50: 0.01}),
    "onecycle": gm.cosine_onecycle_schedule(60, 0.1),
    "restarts": gm.sgdr_schedule(
        [{"init_value": 0, "peak_value": 1, "warmup_steps": 3, "decay_steps": n} for n in (10, 30)]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_curves_have_the_bits_of_their_schedules(name: str) -> None:
    schedule = SCHEDULES[name]
    curve = _curve_of(schedule)
    assert isinstance(curve, _core.Curve)
    counts = [*range(90), 2**31 - 1, 2**53, 2**62]
    assert [curve(count) for count in counts] == [float(schedule(count)) for count in counts]


def test_a_curve_leaves_to_its_schedule_what_it_cannot() -> None:
    """A power of zero that Python has an error for, and numbers that are not finite."""
    schedule = gm.polynomial_schedule(1.0, 0.0, -1.0, 2)
    curve = _curve_of(schedule)
    assert isinstance(curve, _core.Curve)
    assert (curve(1), curve(2)) == (schedule(1), schedule(2)) == (2.0, np.inf)
    rate = gm.exponential_decay(0.1, 10, 0.5)
    assert _curve_of(rate) is rate


def test_numbers_of_a_tape_have_no_value() -> None:
    number = Tape().input()
    looks: list[Any] = [bool, float, int, np.asarray, lambda x: x != 1, lambda x: x**2]
    for look in looks:
        with pytest.raises((UnwritableError, TypeError)):
            look(number)


Pair = namedtuple("Pair", ["second", "first"])  # noqa: PYI024


@pytest.mark.parametrize(
    "make",
    [
        lambda one: {"b": one, "a": [one, (one, None)], 3: Pair(one, {})},
        lambda one: Pair({"z": one, "y": one}, ()),
        lambda one: [one, [], {"k": {"j": one}}],
        lambda one: one,
    ],
)
def test_nests(make: Callable[[Any], Any]) -> None:
    first, again = (make(np.ones(2)) for _ in range(2))
    flattener = Flattener()
    _, structure = flattener(first)
    leaves, same = flattener(again)
    assert same is structure
    assert structure.nest is not None
    expected, spec = optree.tree_flatten(again, none_is_leaf=True)
    assert all(mine is theirs for mine, theirs in zip(leaves, expected, strict=True))
    built = structure.nest.build(leaves)
    assert optree.tree_structure(built, none_is_leaf=True) == spec
    assert repr(built) == repr(spec.unflatten(leaves))
    more: Any = {**again, "more": 1} if isinstance(again, dict) else (again,)
    others: list[Any] = [[], {"b": 1}, more]
    for other in others:
        assert structure.nest.take(other, (np.ndarray, type(None))) is None
    with pytest.raises(ValueError, match="another number of leaves"):
        structure.nest.build([*leaves, None])
