"""Steps on the host, asked for by jitted programs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradmill as gm
from gradmill.jax import host_step
from tests.on_jax import to_jax, to_numpy
from tests.trees import bits


def tree(scale: float) -> dict[str, Any]:
    return {"w": np.linspace(-1, scale, 12, dtype=np.float32).reshape(3, 4), "b": np.ones(4, "f4")}


def loss(params: Any, x: Any) -> Any:
    return jnp.sum(jnp.tanh(x @ params["w"] + params["b"]) ** 2)


def test_training_is_that_of_an_optimizer() -> None:
    tx = gm.chain(gm.clip_by_global_norm(0.5), gm.adamw(0.1))
    step, x = host_step(tx), np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)

    train = jax.jit(lambda params, x: step(jax.grad(loss)(params, x)))
    params = step.init(to_jax(tree(1.0)))
    opt = gm.Optimizer(tx, tree(1.0))
    gradient = jax.jit(jax.grad(loss))
    for _ in range(5):
        opt.step(to_numpy(gradient(opt.params, x)))
        params = train(params, x)
    assert bits(to_numpy(params)) == bits(opt.params)
    assert bits(step.optimizer.state) == bits(opt.state)


def test_results_are_not_overwritten_by_later_steps() -> None:
    """Large enough for JAX to take the memory of an array as it is."""
    step = host_step(gm.sgd(1.0))
    first = step.init(jnp.zeros(1 << 20))
    seen = [jax.jit(step)(jnp.ones(1 << 20)) for _ in range(3)]
    jax.block_until_ready(seen)
    for number, params in enumerate(seen):
        assert (np.asarray(params) == -(number + 1)).all()
    assert (np.asarray(first) == 0).all()


def test_many_steps_in_one_program() -> None:
    step = host_step(gm.sgd(1.0, momentum=0.5))
    params = step.init(jnp.zeros(3))

    def body(params: Any, _: Any) -> Any:
        new = step(jnp.ones(3))
        return new, new[0]

    _, seen = jax.jit(lambda p: jax.lax.scan(body, p, None, length=4))(params)
    np.testing.assert_allclose(seen, [-1, -2.5, -4.25, -6.125])


def test_failures_reach_the_caller_and_change_nothing() -> None:
    step = host_step(gm.adam(0.1))
    step.init({"w": jnp.ones(3)})
    step({"w": jnp.ones(3)})
    before = bits((step.optimizer.params, step.optimizer.state))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"updates\['w'\]: shape \(4,\)"):
        jax.block_until_ready(jax.jit(step)({"w": jnp.ones(4)}))
    assert bits((step.optimizer.params, step.optimizer.state)) == before
    step({"w": jnp.ones(3)})
    with pytest.raises(ValueError, match="call init"):
        host_step(gm.adam(0.1))(jnp.ones(3))
