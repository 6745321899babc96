"""Line searches as callers meet them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from gradmill.jax import to_optax
from tests.trees import bits

SEARCHES: dict[str, Any] = {
    "backtracking": lambda **more: gm.scale_by_backtracking_linesearch(25, store_grad=True, **more),
    "zoom": lambda **more: gm.scale_by_zoom_linesearch(25, **more),
}
each_search = pytest.mark.parametrize("name", SEARCHES)


def both(params: Any) -> tuple[Any, Any]:
    """A function of two leaves."""
    w, b = params["w"], params["b"]
    return (w**4).sum() + 3 * b**2, {"w": 4 * w**3, "b": 6 * b}


def start(dtype: Any = np.float32) -> dict[str, Any]:
    return {"w": np.array([1.5, -2.0], dtype), "b": np.array(1.0, dtype)}


def extra(params: Any, **more: Any) -> dict[str, Any]:
    value, grad = both(params)
    return {"value": value, "grad": grad, "value_and_grad_fn": both, **more}


def solver(name: str, **more: Any) -> Any:
    return gm.chain(gm.sgd(0.5), SEARCHES[name](**more))


@each_search
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_has_what_the_function_gives_at_the_new_parameters(name: str, dtype: Any) -> None:
    """Bit for bit, in place and not."""
    tx, params = solver(name), start(dtype)
    opt, state = gm.Optimizer(tx, start(dtype)), tx.init(params)
    value_and_grad = gm.value_and_grad_from_state(both)
    for _ in range(8):
        value, grad = value_and_grad(params, state=state)
        before = bits((params, grad, state))
        updates, after = tx.update(grad, state, params, **extra(params))
        assert bits((params, grad, state)) == before
        opt.step(grad, **extra(opt.params))
        params, state = gm.apply_updates(params, updates), after
        assert bits((opt.params, opt.state)) == bits((params, state))
        value, grad = both(params)
        assert bits((state[1].value, state[1].grad)) == bits((np.asarray(value), grad))
        assert value < both(start(dtype))[0]


def test_how_often_functions_are_called() -> None:
    calls = []

    def value(params: Any) -> Any:
        calls.append("value")
        return both(params)[0]

    def both_of(params: Any) -> Any:
        calls.append("both")
        return both(params)

    tx, params = solver("backtracking"), start()
    given = extra(params, value_fn=value, value_and_grad_fn=both_of)
    _, state = tx.update(given["grad"], tx.init(params), params, **given)
    steps = int(state[1].info.num_linesearch_steps)
    assert steps > 1
    assert calls == ["value"] * steps + ["both"]
    calls.clear()
    given = extra(params, value_and_grad_fn=both_of)
    tx.update(given["grad"], tx.init(params), params, **given)
    assert calls == ["both"] * steps
    calls.clear()
    alone = gm.chain(gm.sgd(0.5), gm.scale_by_backtracking_linesearch(25))
    given = extra(params, value_fn=value)
    del given["value_and_grad_fn"]
    _, state = alone.update(given["grad"], alone.init(params), params, **given)
    assert calls == ["value"] * steps
    assert state[1].grad is None
    with pytest.raises(TypeError, match="store_grad needs value_and_grad_fn"):
        tx.update(given["grad"], tx.init(params), params, **given)


@each_search
def test_a_function_that_overwrites_its_gradient(name: str) -> None:
    memory = {key: np.array(leaf) for key, leaf in both(start())[1].items()}

    def careless(params: Any) -> Any:
        value, grad = both(params)
        for key, leaf in grad.items():
            memory[key][...] = leaf
        return value, memory

    params = start()
    tx = solver(name)
    given = extra(params)
    expected = tx.update(given["grad"], tx.init(params), params, **given)
    given["value_and_grad_fn"] = careless
    found = tx.update(given["grad"], tx.init(params), params, **given)
    assert bits(found) == bits(expected)
    memory["w"][...] = 7
    assert bits(found) == bits(expected)


@each_search
def test_other_arguments_of_the_function(name: str) -> None:
    def scaled(params: Any, factor: Any) -> Any:
        value, grad = both(params)
        return factor * value, {key: factor * leaf for key, leaf in grad.items()}

    def anything(params: Any, **arguments: Any) -> Any:
        return scaled(params, arguments["factor"])

    tx, params, results = solver(name), start(), []
    for function in (scaled, anything):
        value, grad = function(params, factor=2)
        given = {"value": value, "grad": grad, "value_and_grad_fn": function, "factor": 2}
        results.append(bits(tx.update(grad, tx.init(params), params, **given)))
    assert results[0] == results[1]
    given = extra(params, factor=2, colour=3)
    with pytest.raises(TypeError, match="takes no argument colour, factor"):
        tx.update(given["grad"], tx.init(params), params, **given)


@each_search
def test_leaves_without_a_gradient_stay(name: str) -> None:
    tx, params = solver(name), start()
    given = extra(params)
    grads = {**given["grad"], "b": None}
    updates, state = tx.update(grads, tx.init(params), params, **given)
    assert updates["b"] is None
    moved = gm.apply_updates(params, updates)
    assert bits(state[1].grad) == bits(both(moved)[1])


@each_search
def test_half_precision_is_for_storage(name: str) -> None:
    """The function sees parameters as they are, the state is float32."""
    tx, params = solver(name), start(np.float16)
    seen = []

    def function(params: Any) -> Any:
        seen.append(params["w"].dtype)
        return both(params)

    given = extra(params, value_and_grad_fn=function)
    state = tx.init(params)
    updates, after = tx.update(given["grad"], state, params, **given)
    assert set(seen) == {np.dtype(np.float16)}
    for one in (state[1], after[1]):
        assert {leaf.dtype for leaf in (one.value, one.grad["w"])} == {np.dtype(np.float32)}
    assert updates["w"].dtype == np.float32


@each_search
def test_functions_of_jax_and_optax_transformations(name: str) -> None:
    """``jax.value_and_grad`` will do, and ``to_optax`` outside of programs."""

    def value(params: Any) -> Any:
        return jnp.sum(params["w"] ** 4) + 3 * params["b"] ** 2

    function = jax.value_and_grad(value)
    params, tx = start(), solver(name)
    given = extra(params, value_and_grad_fn=function)
    updates, state = tx.update(given["grad"], tx.init(params), params, **given)
    on_jax, theirs = to_optax(tx), jax.tree.map(jnp.asarray, params)
    first, grad = function(theirs)
    their_updates, their_state = on_jax.update(
        grad, on_jax.init(theirs), theirs, value=first, grad=grad, value_and_grad_fn=function
    )
    np.testing.assert_allclose(their_updates["w"], updates["w"], rtol=1e-5)
    np.testing.assert_allclose(their_state[1].value, state[1].value, rtol=1e-5)


@each_search
def test_programs_are_told_that_it_runs_on_the_host(name: str) -> None:
    tx, params = solver(name), start()
    given = extra(params)
    del given["value_and_grad_fn"]
    for one in (SEARCHES[name](), to_optax(tx)):

        def update(given: Any, state: Any, one: Any = one) -> Any:
            return one.update(given["grad"], state, params, value_and_grad_fn=both, **given)

        with pytest.raises(TypeError, match=f"^scale_by_{name}_linesearch calls your function"):
            jax.jit(update)(given, one.init(params))


@each_search
def test_what_is_missing_or_wrong(name: str) -> None:
    tx, params = SEARCHES[name](), start()
    given = extra(params)
    grads, state = {key: -leaf for key, leaf in given["grad"].items()}, tx.init(params)

    def update(params: Any = params, **other: Any) -> None:
        arguments = {key: value for key, value in (given | other).items() if value is not ...}
        tx.update(grads, state, params, **arguments)

    full = f"^scale_by_{name}_linesearch"
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"params": None}, ValueError, f"{full} needs the current parameters"),
        ({"value": ...}, TypeError, f"{full} needs the current value and gradient: call"),
        ({"grad": ...}, TypeError, f"{full} needs the current value and gradient: call"),
        ({"value_and_grad_fn": ...}, TypeError, f"{full} needs value_fn or value_and_grad_fn"),
        ({"value": "low"}, TypeError, f"{full}: value is 'low', expected a number"),
        ({"value": np.ones(2)}, TypeError, f"{full}: value is array"),
        ({"value_and_grad_fn": lambda p: (p, p)}, TypeError, "the function returned {'"),
        ({"grad": {"w": params["w"]}}, TreeError, "^grad: missing key 'b'"),
        ({"grad": {**params, "w": np.ones(3)}}, LeafValueError, r"^grad\['w'\]: shape \(3,\), up"),
        ({"grad": {**params, "w": "no"}}, LeafTypeError, r"^grad\['w'\]: .*linesearch\)$"),
        ({"value_and_grad_fn": lambda p: (1.0, p["w"])}, TreeError, "^the gradient: "),
    ]
    for other, error, message in wrong:
        with pytest.raises(error, match=message):
            update(**other)
    update()


def test_slopes_need_gradients() -> None:
    tx, params = gm.scale_by_zoom_linesearch(5), start()
    value, grad = both(params)
    with pytest.raises(TypeError, match="needs value_and_grad_fn, because it uses slopes"):
        tx.update(grad, tx.init(params), params, value=value, grad=grad, value_fn=lambda p: 0.0)


@each_search
def test_copies(name: str) -> None:
    tx = solver(name, slope_rtol=1e-3)
    again = pickle.loads(pickle.dumps(tx))
    params = start()
    given = extra(params)
    expected = bits(tx.update(given["grad"], tx.init(params), params, **given))
    for one in (again, copy.deepcopy(tx), eval(repr(tx), {"gm": gm})):  # noqa: S307
        assert repr(one) == repr(tx)
        assert gm.state_digest(one) == gm.state_digest(tx)
        assert bits(one.update(given["grad"], one.init(params), params, **given)) == expected
    assert gm.state_digest(solver(name)) != gm.state_digest(tx)


@each_search
def test_a_line_about_a_search_without_success(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tx, params = SEARCHES[name](verbose=True), start()
    given = extra(params)
    tx.update({key: -leaf for key, leaf in given["grad"].items()}, tx.init(params), params, **given)
    assert capsys.readouterr().out == ""
    tx.update(given["grad"], tx.init(params), params, **given)  # uphill
    out = capsys.readouterr().out
    assert out.startswith(f"scale_by_{name}_linesearch: no learning rate is good enough after 2")
    assert out.count("\n") == 1


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: gm.scale_by_backtracking_linesearch(-1), ValueError, "max_backtracking_steps must be"),
    (
        lambda: gm.scale_by_backtracking_linesearch(1.5),  # type: ignore[arg-type]
        TypeError,
        "max_backtracking_steps must be",
    ),
    (lambda: gm.scale_by_backtracking_linesearch(1, 0.1, 1.0), ValueError, "decrease_factor must"),
    (lambda: gm.scale_by_backtracking_linesearch(1, atol=-1.0), ValueError, "atol must be"),
    (lambda: gm.scale_by_zoom_linesearch(0), ValueError, "max_linesearch_steps must be"),
    (
        lambda: gm.scale_by_zoom_linesearch("9"),  # type: ignore[arg-type]
        TypeError,
        "max_linesearch_steps must be",
    ),
    (lambda: gm.scale_by_zoom_linesearch(9, 0.0), ValueError, "max_learning_rate must be"),
    (lambda: gm.scale_by_zoom_linesearch(9, increase_factor=1.0), ValueError, "increase_factor mu"),
    (
        lambda: gm.scale_by_zoom_linesearch(9, initial_guess_strategy="two"),
        ValueError,
        "initial_guess_strategy must be one of keep, one, got 'two'",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), WRONG, ids=lambda value: str(value)[:20])
def test_hyperparameters_that_are_refused(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_states_without_value_and_gradient() -> None:
    function = gm.value_and_grad_from_state(both)
    params = start()
    with pytest.raises(ValueError, match="the state holds no value and gradient; see store_grad"):
        function(params, state=gm.adam(0.1).init(params))
    alone = gm.scale_by_backtracking_linesearch(5)
    with pytest.raises(ValueError, match="the state holds no value and gradient; see store_grad"):
        function(params, state=alone.init(params))
    with pytest.raises(KeyError, match="several values of 'value'"):
        function(params, state=gm.chain(alone, alone).init(params))
    with pytest.raises(TypeError, match="takes a function"):
        gm.value_and_grad_from_state(1.0)  # type: ignore[arg-type]
