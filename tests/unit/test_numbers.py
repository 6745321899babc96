"""Numbers that users hand over: of any library, wherever one may stand."""

from __future__ import annotations

import inspect
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import gradmill as gm
from gradmill._data.checks import is_integer, is_real, number_of
from gradmill.transforms._arguments import _members
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

BF16 = ml_dtypes.bfloat16


class Convertible:
    """Has a real value, and no array."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return float(self.value)


class Tensor:
    """Of a library that gives arrays, as PyTorch does."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.value, dtype)


REALS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "numpy": np.float64,
    "half": np.float16,
    "array": lambda value: np.asarray(value, np.float32),
    "big-endian": lambda value: np.asarray(value, ">f8"),
    "long double": np.longdouble,
    "bfloat16": BF16,
    "array of bfloat16": lambda value: np.asarray(value, BF16),
    "jax": jnp.float32,
    "bfloat16 of jax": jnp.bfloat16,
    "tensor": Tensor,
    "fraction": lambda value: Fraction(float(value)),
    "decimal": lambda value: Decimal(float(value)),
    "convertible": Convertible,
}
INTEGERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "int8": np.int8,
    "uint64": np.uint64,
    "array": lambda value: np.asarray(value, np.int16),
    "jax": jnp.int32,
    "tensor": Tensor,
}

NO_NUMBERS: dict[str, Any] = {
    "bool": True,
    "bool of numpy": np.bool_(True),
    "bool of jax": jnp.asarray(True),
    "complex": 0.5j,
    "complex of jax": jnp.asarray(0.5j),
    "string": "0.5",
    "bytes": b"0.5",
    "string of numpy": np.str_("0.5"),
    "none": None,
    "list": [0.5],
    "type": np.float32,
    "object": np.asarray(0.5, object),
    "date": np.datetime64("2020"),
    "key": jax.random.key(0),
    "masked": np.ma.masked,
}
WITH_AXES: dict[str, Any] = {
    "numpy": np.ones(1),
    "bfloat16": np.ones(1, BF16),
    "jax": jnp.ones(1),
    "empty": np.ones(0),
    "matrix": np.ones((2, 3)),
}

PARAMS = {"w": np.linspace(-1, 1, 6, dtype=np.float32), "b": np.ones(2, np.float32)}
GRADS = {"w": np.linspace(3, -2, 6, dtype=np.float32), "b": np.full(2, 0.25, np.float32)}
BATCH = {"w": np.linspace(3, -2, 6).reshape(2, 3)}

REQUIRED: dict[str, dict[str, Any]] = {
    "incremental_update": {"new_tensors": PARAMS, "old_tensors": GRADS},
    "per_example_layer_norm_clip": {"grads": BATCH},
    "per_example_global_norm_clip": {"grads": BATCH},
    "skip_large_updates": {"updates": GRADS, "state": 1, "params": None},
    "periodic_update": {"new_tensors": PARAMS, "old_tensors": GRADS},
    "piecewise_interpolate_schedule": {"interpolate_type": "linear"},
    "apply_if_finite": {"inner": gm.scale(2.0)},
    "measure_with_ema": {"measure": gm.tree.norm},
    "lookahead": {"fast_optimizer": gm.scale(2.0)},
    "quantized_state": {"inner": gm.trace(0.9)},
    "safe_root_mean_squares": {"x": GRADS["w"]},
}
"""Arguments that are no numbers."""

MORE: dict[str, set[str]] = {
    "per_example_global_norm_clip": {"l2_norm_clip"},
    "skip_large_updates": {"max_squared_norm"},
}
"""Arguments that are numbers, though their annotations do not say so."""

VALUES = {
    "decay_steps": 6,
    "transition_steps": 4,
    "warmup_steps": 2,
    "k": 2,
    "power": 2,
    "axis": 0,
    "increase_factor": 2,
}
SCHEDULES = ("learning_rate", "scaling", "weight_decay", "weight_decay_rate")
MAY_BE_NONE = ("approx_dec_rtol", "clipping_threshold", "learning_rate")
SKIPPED = {
    *("set_num_threads", "num_threads", "build_info"),
    # Functions of arrays, whose numbers may be arrays as well or do not matter.
    *("bias_correction", "matrix_inverse_pth_root", "power_iteration", "safe_norm"),
    *("update_infinity_moment", "update_moment", "update_moment_per_elem_norm"),
}


def _numbers_in(name: str) -> dict[str, bool]:
    """The arguments of a public function that take numbers, and whether these are integers."""
    found: dict[str, bool] = {}
    for parameter in inspect.signature(getattr(gm, name)).parameters.values():
        kinds = set(_members(parameter.annotation))
        if parameter.name in MORE.get(name, ()) or kinds & {"float", "ScalarOrSchedule"}:
            found[parameter.name] = False
        elif "int" in kinds:
            found[parameter.name] = True
    return found


PLACES = {
    name: _numbers_in(name)
    for name in dir(gm)
    if inspect.isfunction(getattr(gm, name)) and name not in SKIPPED and _numbers_in(name)
}
SINGLE = [(name, place) for name, places in PLACES.items() for place in places]


def _arguments(name: str, convert: Callable[[Any], Any], to_int: Callable[[Any], Any]) -> Any:
    """All arguments of a function, each number converted."""
    arguments = dict(REQUIRED.get(name, {}))
    for place, is_int in PLACES[name].items():
        value = VALUES.get(place, 2 if is_int else 0.5)
        arguments[place] = to_int(value) if is_int else convert(value)
    return arguments


def _half_a_square(params: Any) -> Any:
    return sum(float((leaf**2).sum()) for leaf in params.values()) / 2, params


EXTRA = {"value": 3.0, "grad": GRADS, "value_and_grad_fn": _half_a_square}
"""What line searches ask for."""


def _observed(result: Any) -> Any:
    """What can be seen of a result: the bits of two steps, or a schedule's values."""
    if callable(result):
        return [float(result(count)) for count in range(9)]
    if not hasattr(result, "init"):
        return bits(result)
    state, seen = result.init(PARAMS), []
    is_pair = isinstance(state, gm.LookaheadState)
    params = gm.LookaheadParams.init_synced(PARAMS) if is_pair else PARAMS
    extra = EXTRA if isinstance(result, gm.GradientTransformationExtraArgs) else {}
    for _ in range(2):
        updates, state = result.update(GRADS, state, params, **extra)
        seen.append(bits(updates))
    return seen


def _call(name: str, arguments: dict[str, Any]) -> Any:
    return getattr(gm, name)(**arguments)


def test_the_walk_finds_the_places() -> None:
    assert {"adam", "scale", "incremental_update", "constant_schedule"} <= PLACES.keys()
    assert len(SINGLE) > 100


@pytest.mark.parametrize("name", PLACES)
def test_numbers_of_any_library(name: str) -> None:
    """The values are such that every dtype holds them, so all results are the same."""
    expected = _observed(_call(name, _arguments(name, float, int)))
    for convert in REALS.values():
        assert _observed(_call(name, _arguments(name, convert, int))) == expected
    for to_int in INTEGERS.values():
        assert _observed(_call(name, _arguments(name, float, to_int))) == expected


@pytest.mark.parametrize(("name", "place"), SINGLE)
def test_axes_are_refused_by_name(name: str, place: str) -> None:
    arguments = _arguments(name, float, int)
    for value in WITH_AXES.values():
        if place == "axis":  # It may be several.
            continue
        with pytest.raises(TypeError) as caught:
            _observed(_call(name, {**arguments, place: value}))
        assert place in str(caught.value)
        if not PLACES[name][place] and name not in MORE:
            wanted = f"must be a real number without axes, got shape {value.shape}"
            assert wanted in str(caught.value)


@pytest.mark.parametrize(("name", "place"), SINGLE)
def test_what_is_no_number_is_refused_by_name(name: str, place: str) -> None:
    arguments = _arguments(name, float, int)
    default = inspect.signature(getattr(gm, name)).parameters[place].default
    for kind, value in NO_NUMBERS.items():
        if value is None and (default is None or place in MAY_BE_NONE):
            continue
        if kind == "type" and (
            place in SCHEDULES or (name, place) == ("parameter_average", "decay")
        ):
            continue  # It can be called, as a schedule can.
        if kind == "bytes" and place == "axis":
            continue  # They are integers.
        with pytest.raises(TypeError, match=place) as caught:
            _observed(_call(name, {**arguments, place: value}))
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_one_function_decides(kind: str) -> None:
    assert not is_real(NO_NUMBERS[kind])
    assert not is_integer(NO_NUMBERS[kind])


def test_what_the_function_returns() -> None:
    for convert in REALS.values():
        assert number_of(convert(0.5)) == 0.5
        assert type(number_of(convert(0.5))) is float
    for to_int in INTEGERS.values():
        assert type(number_of(to_int(3))) is int
        assert is_integer(to_int(3))
    assert number_of(10**30) == 10**30
    assert not any(is_real(value) for value in WITH_AXES.values())
    with pytest.raises(ValueError, match="max_norm must be within the range of float64"):
        gm.clip_by_global_norm(10**400)


def test_numbers_that_are_traced() -> None:
    seen: list[Any] = []

    def look(number: Any, row: Any, flag: Any) -> None:
        values = (number, row, flag, number * 1j, number.astype(jnp.bfloat16), jnp.int32(number))
        seen.extend((is_real(value), is_integer(value)) for value in values)

    jax.jit(look)(jnp.float32(1), jnp.ones(1), jnp.asarray(True))
    no, yes = (False, False), (True, False)
    assert seen == [yes, no, no, no, yes, (True, True)]


@pytest.mark.parametrize("kind", REALS)
def test_numbers_assigned_in_a_state(kind: str) -> None:
    tx = gm.inject_hyperparams(gm.adam)(0.25)
    plain = gm.adam(0.5)
    state = tx.init(PARAMS)
    state.hyperparams["learning_rate"] = REALS[kind](0.5)
    updates, state = tx.update(GRADS, state, PARAMS)
    assert bits(updates) == bits(plain.update(GRADS, plain.init(PARAMS), PARAMS)[0])
    assert state.hyperparams["learning_rate"] == 0.5
    opt = gm.Optimizer(tx, {key: leaf.copy() for key, leaf in PARAMS.items()})
    opt.state.hyperparams["learning_rate"] = REALS[kind](0.5)
    opt.step(GRADS)
    assert bits(opt.params) == bits(gm.apply_updates(PARAMS, updates))


@pytest.mark.parametrize("kind", ["half", "bfloat16", "numpy", "fraction", "float"])
def test_assigned_numbers_travel_with_a_state(kind: str) -> None:
    tx = gm.inject_hyperparams(gm.sgd)(0.25)
    first, second = (gm.Optimizer(tx, {"w": np.zeros(2)}) for _ in range(2))
    first.state.hyperparams["learning_rate"] = REALS[kind](0.5)
    second.init_from(first.state)
    second.step({"w": np.ones(2)})
    assert bits(second.params["w"]) == bits(np.full(2, -0.5))


@pytest.mark.parametrize("value", [*NO_NUMBERS.values(), *WITH_AXES.values()], ids=type)
def test_what_is_assigned_is_refused_by_name(value: Any) -> None:
    tx = gm.inject_hyperparams(gm.adam)(0.25)
    opt = gm.Optimizer(tx, {key: leaf.copy() for key, leaf in PARAMS.items()})
    state = opt.state
    before = bits(opt.params)
    state.hyperparams["learning_rate"] = value
    message = r"^state\.hyperparams\['learning_rate'\]: must be a real number"
    with pytest.raises(gm.errors.LeafTypeError, match=message):
        opt.step(GRADS)
    with pytest.raises(gm.errors.LeafTypeError, match=message):
        tx.update(GRADS, state, PARAMS)
    assert bits(opt.params) == before


def test_names_in_a_state_are_those_of_the_factory() -> None:
    tx = gm.inject_hyperparams(gm.adam)(0.25)
    state = tx.init(PARAMS)
    state.hyperparams["lr"] = 0.1
    with pytest.raises(gm.errors.TreeError, match=r"state\.hyperparams: unknown key 'lr'"):
        tx.update(GRADS, state, PARAMS)
    state = tx.init(PARAMS)
    del state.hyperparams["b1"]
    with pytest.raises(gm.errors.TreeError, match=r"state\.hyperparams: missing key 'b1'"):
        tx.update(GRADS, state, PARAMS)


def test_extra_arguments_may_be_any_numbers() -> None:
    tx = gm.conditionally_transform(
        gm.scale(-1.0), lambda step, loss: loss < 1, forward_extra_args=True
    )
    state = tx.init(PARAMS)
    expected = bits(tx.update(GRADS, state, PARAMS, loss=0.5)[0])
    for kind in ("half", "array", "bfloat16", "jax", "bfloat16 of jax", "fraction"):
        updates, _ = tx.update(GRADS, state, PARAMS, loss=REALS[kind](0.5))
        assert bits(updates) == expected
