"""The contract of equal bits, for custom calls: over random chains and trees."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings

import gradmill as gm
from gradmill._plan.layout import links_of
from gradmill.jax import _fused, from_optax_state, step
from tests.jax.versions import MIXES_DTYPES, enable_x64
from tests.on_jax import to_numpy
from tests.property.strategies import chains, problems
from tests.trees import bits


def computes_scalars(tx: Any) -> bool:
    """Whether there are scalars of which XLA may round the last bit of a float64 otherwise."""
    return any(
        (link.op is not None and link.op.draws)
        or type(link.control).__name__ == "_Injection"
        or (link.spec is not None and any(map(callable, link.spec.hyper.values())))
        for link in links_of(tx)
    )


@pytest.mark.skipif(not MIXES_DTYPES, reason="this JAX has schedules in float32")
@pytest.mark.parametrize("leaves", [32, 1])
@settings(max_examples=settings().max_examples // 2)
@given(tx=chains, problem=problems(special=True))
def test_steps_have_the_bits_of_the_numpy_path(leaves: int, tx: Any, problem: Any) -> None:
    params, grads = problem
    assume(params["p0"].dtype != np.float64 or not computes_scalars(tx))
    with pytest.MonkeyPatch.context() as patch, enable_x64(True):
        patch.setattr(_fused, "_FEW", leaves)
        patch.setattr(_fused, "_MANY", leaves)
        update = step(tx)
        state, own, program = tx.init(params), update.init(params), jax.jit(update)
        assume(_fused.can_be_fused(update._lowering, own))
        here = params
        for grad in grads:
            updates, state = tx.update(grad, state, params)
            params = gm.apply_updates(params, updates)
            here, own = program(grad, own, here)
            assert bits(to_numpy(here)) == bits(params)
        assert bits(from_optax_state(own)) == bits(state)
