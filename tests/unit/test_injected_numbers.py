"""``inject_hyperparams``: the bits of what it wraps, and what it takes for a hyperparameter."""

from __future__ import annotations

import collections.abc
import inspect
from typing import TYPE_CHECKING, Any, Optional, Union

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.jax import step
from gradmill.transforms._arguments import _takes_schedule
from tests.cases import CASES, Case
from tests.on_jax import to_jax
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

INJECTED = {
    name
    for module in (gm, gm.contrib)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if str(inspect.signature(function).return_annotation).startswith("GradientTransformation")
    and not {"args", "pairs"} & inspect.signature(function).parameters.keys()
    # It calls schedules with a count that is one more.
    and name != "schedule_free"
}
"""The factories, but for those with arguments in any number."""


class Injecting:
    """Stands for the module: each factory comes with its hyperparameters in the state."""

    def __init__(self, module: Any = gm) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        own = getattr(self.module, name)
        if inspect.ismodule(own):
            return Injecting(own)
        return gm.inject_hyperparams(own) if name in INJECTED else own


ROWS = [case for case in CASES if case.name != "inject_hyperparams"]
"""An injection in an injection follows its own state, as in optax."""


def test_the_walk_finds_the_factories() -> None:
    assert {"adamw", "scale", "noisy_sgd", "add_decayed_weights", "apply_every"} <= INJECTED


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_the_bits_are_those_of_what_is_wrapped(case: Case, dtype: Any) -> None:
    """For all factories of the table, with schedules and with masks that are functions."""
    params = random_tree(0, dtype)
    plain, injected = case.make(gm), case.make(Injecting())
    opts = [gm.Optimizer(tx, copy_tree(params)) for tx in (plain, injected)]
    states = [tx.init(params) for tx in (plain, injected)]
    for seed in range(1, 5):
        grads = random_tree(seed, dtype)
        expected, states[0] = plain.update(grads, states[0], params)
        updates, states[1] = injected.update(grads, states[1], params)
        if not case.python:
            # What no run looks at keeps its dtype.
            assert bits(updates) == bits(expected)
        assert bits(gm.apply_updates(params, updates)) == bits(gm.apply_updates(params, expected))
        for opt in opts:
            opt.step(grads)
        assert bits(opts[0].params) == bits(opts[1].params)
        params = gm.apply_updates(params, expected)


PARAMS = {"w": np.linspace(-1, 1, 9, dtype=np.float32), "b": np.ones(2, np.float32)}
GRADS = {"w": np.linspace(2, -3, 9, dtype=np.float32), "b": np.full(2, 0.3, np.float32)}


def first_update(tx: Any, **hyperparams: Any) -> Any:
    state = tx.init(PARAMS)
    if hyperparams:
        state.hyperparams.update(hyperparams)
    return bits(tx.update(GRADS, state, PARAMS)[0])


def test_the_state_shows_what_optaxs_does() -> None:
    ours = gm.inject_hyperparams(gm.adamw)(0.1).init(PARAMS).hyperparams
    theirs = optax.inject_hyperparams(optax.adamw)(0.1).init(PARAMS).hyperparams
    for name, value in ours.items():
        assert (value.dtype, value.shape) == (np.float32, ())
        np.testing.assert_array_equal(value, theirs[name])


def test_numbers_that_are_assigned() -> None:
    """One that is the given one, rounded, is the given one; another is what float32 holds of it."""
    tx = gm.inject_hyperparams(gm.adam)(0.1)
    for same in (0.1, np.float32(0.1), jnp.float32(0.1), np.asarray(0.1, np.float32)):
        assert first_update(tx, learning_rate=same) == first_update(gm.adam(0.1))
    rounded = float(np.float32(0.3))
    assert rounded != 0.3
    for other in (0.3, np.float32(0.3), np.asarray(0.3, np.float32)):
        assert first_update(tx, learning_rate=other) == first_update(gm.adam(rounded))
    state = tx.init(PARAMS)
    state.hyperparams["learning_rate"] = 1
    _, state = tx.update(GRADS, state, PARAMS)
    assert state.hyperparams["learning_rate"].dtype == np.float32


def test_the_custom_call_has_the_same_bits() -> None:
    makes: list[Callable[[Any, Any], Any]] = [
        lambda module, rate: module.adamw(rate),
        lambda module, rate: module.sgd(rate, momentum=0.9),
    ]
    for make in makes:
        for rate in (0.1, gm.cosine_decay_schedule(0.1, 7)):
            plain, injected = make(gm, rate), make(Injecting(), rate)
            opt = gm.Optimizer(plain, copy_tree(PARAMS))
            fused = step(injected)
            program = jax.jit(fused)
            params, state = to_jax(PARAMS), fused.init(PARAMS)
            for _ in range(3):
                opt.step(GRADS)
                params, state = program(GRADS, state, params)
            if callable(rate):  # XLA's cosine may differ in its last bit.
                np.testing.assert_allclose(params["w"], opt.params["w"], rtol=1e-6)
            else:
                assert bits({k: np.asarray(v) for k, v in params.items()}) == bits(opt.params)


def only_weights(tree: Any) -> Any:
    return {key: key == "w" for key in tree}


def by_path(path: Any, leaf: Any) -> bool:
    return "w" in path


@pytest.mark.parametrize("mask", [only_weights, by_path])
def test_functions_that_are_no_schedules_are_handed_on(mask: Any) -> None:
    made: dict[str, Callable[[Any], Any]] = {
        "mask": lambda module: module.adamw(0.1, weight_decay=0.1, mask=mask),
        "masks": lambda module: module.lars(
            0.1, 0.1, weight_decay_mask=mask, trust_ratio_mask=mask
        ),
        "inner": lambda module: module.masked(mask, gm.sgd(0.1)),
        "condition": lambda module: module.conditionally_mask(gm.sgd(0.1), lambda n: n > 0),
        "f": lambda module: module.stateless_with_tree_map(lambda u, p: 2 * u),
    }
    for make in made.values():
        assert first_update(make(Injecting())) == first_update(make(gm))


def test_what_is_no_number_is_handed_on() -> None:
    rows: list[Callable[[Any], Any]] = [
        lambda module: module.noisy_sgd(0.1, key=np.array([0, 7], np.uint32)),
        lambda module: module.noisy_sgd(0.1, key=jax.random.PRNGKey(7)),
        lambda module: module.noisy_sgd(0.1, key=jax.random.key(7)),
        lambda module: module.adam(0.1, mu_dtype=np.float16),
        lambda module: module.adam(0.1, mu_dtype=jnp.bfloat16),
        lambda module: module.adam(0.1, mu_dtype="bfloat16", nu_dtype=np.dtype(np.float64)),
        lambda module: module.adaptive_grad_clip(0.1, axis=None),
        lambda module: module.adaptive_grad_clip(0.1, axis=(0,)),
    ]
    for make in rows:
        assert first_update(make(Injecting())) == first_update(make(gm))


def test_arrays_with_axes_are_handed_on() -> None:
    def factory(rates: Any, scale: float) -> Any:
        return gm.stateless(lambda updates, params: {k: u * scale for k, u in updates.items()})

    tx = gm.inject_hyperparams(factory)(np.ones(3), 0.5)
    assert tx.init(PARAMS).hyperparams.keys() == {"scale"}


def of_foreigner(kind: Any, name: str = "argument") -> bool:
    """Whether a function is a schedule, for an argument of this annotation."""
    parameter = inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind)
    return _takes_schedule(parameter)


def test_annotations_tell() -> None:
    empty = inspect.Parameter.empty
    calls = collections.abc.Callable
    for numbers in (
        *(float, int, "float", "float | None", "ScalarOrSchedule", "base.ScalarOrSchedule"),
        *("Optional[float]", "typing.Union[None, jax.Array]", "Annotated[float, 'rate']"),
        *(
            "Union[float, Callable[[int], float]]",
            "'float | Schedule'",
            float | calls[[int], float],
        ),
        *(Optional[float], Union[np.ndarray, None], jax.Array, optax.ScalarOrSchedule),  # noqa: UP007, UP045
    ):
        assert of_foreigner(numbers, "mask_fn"), numbers
    for others in (
        *(
            "Mask | None",
            "Callable[..., float]",
            "Schedule | Callable",
            "Optional[Callable[[float], float]]",
        ),
        *(calls[[float], float], calls, Optional[calls[[Any], Any]], "base.MaskOrFn"),  # noqa: UP045
        *("Optional[Union[Any, Callable[[base.Params], Any]]]",),
    ):
        assert not of_foreigner(others, "rate"), others
    for silent in (empty, Any, "Any", "no python ->", "SomeClass", "Schedule | None", object):
        assert of_foreigner(silent, "learning_rate")
        for name in ("mask", "weight_decay_mask", "mask_fn", "fn", "label_fn", "param_labels"):
            assert not of_foreigner(silent, name)


def test_annotations_of_optax() -> None:
    """Those of its aliases: masks are handed on, and all else that can be called is a schedule."""
    for alias in (optax.adamw, optax.lamb, optax.lars, optax.adafactor, optax.sgd, optax.lion):
        for name, parameter in inspect.signature(alias).parameters.items():
            takes = _takes_schedule(parameter)
            if "mask" in name:
                assert not takes, (alias, name)
            if name == "learning_rate":
                assert takes
    for name, parameter in inspect.signature(gm.adamw).parameters.items():
        assert _takes_schedule(parameter) == (name != "mask")


def test_factories_of_transformations_in_python() -> None:
    """A factory may be anybody's, and its members may be written in Python."""

    def factory(rate: Any, power: int = 2) -> Any:
        return gm.stateless_with_tree_map(lambda u, p: rate * u**power)

    for rate in (0.1, gm.linear_schedule(0.1, 0.0, 9)):
        tx = gm.inject_hyperparams(factory)(rate=rate)
        updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
        assert bits(updates["w"]) == bits(0.1 * GRADS["w"] ** 2)
        assert state.hyperparams["rate"] == np.float32(0.1)
