"""gradmill.experimental.aggregating against optax's."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.experimental import aggregating
from gradmill.jax import to_optax_state
from tests.on_jax import to_jax
from tests.trees import bits, copy_tree, random_tree

SHAPES = {"kernel": (9, 7), "bias": (5,), "scalar": ()}
BATCH = {name: (4, *shape) for name, shape in SHAPES.items()}
JIT: Any = jax.jit


def modules(lib: Any) -> Any:
    return lib, lib.experimental.aggregating


# From optax or gradmill and its module; whether gradients have an axis of examples.
MAKERS: dict[str, tuple[Any, bool]] = {
    "average": (
        lambda m, a: a.process(m.scale(2.0), a.average_per_element_updates(), m.adam(0.1)),
        True,
    ),
    "incremental": (
        lambda m, a: a.process(m.clip(0.5), a.average_incrementally_updates(0, 3), m.adam(0.1)),
        True,
    ),
    "whole": (
        lambda m, a: a.process(
            m.identity(), a.average_incrementally_updates(0, 1), m.sgd(0.1, momentum=0.9)
        ),
        True,
    ),
    "parts": (
        lambda m, a: a.process(m.identity(), a.accumulate_avg_updates(2), m.adamw(0.1)),
        False,
    ),
    "at once": (
        lambda m, a: a.process(m.identity(), a.average_incrementally_updates(None, 1), m.sgd(0.1)),
        False,
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MAKERS)
def test_numbers_and_states_of_optax(name: str, dtype: Any) -> None:
    make, has_examples = MAKERS[name]
    with jax.enable_x64(dtype is np.float64):
        tx, other = make(*modules(gm)), make(*modules(optax))
        assert isinstance(tx, aggregating.Aggregator) == isinstance(
            other, optax.experimental.aggregating.Aggregator
        )
        params = random_tree(0, dtype, shapes=SHAPES)
        state, theirs = tx.init(params), other.init(to_jax(params))
        opt, update = gm.Optimizer(tx, copy_tree(params)), JIT(other.update)
        for seed in range(1, 8):
            grads = random_tree(seed, dtype, shapes=BATCH if has_examples else SHAPES)
            kept = bits((grads, state, params))
            updates, new = tx.update(grads, state, params)
            assert bits((grads, state, params)) == kept
            wanted, theirs = update(to_jax(grads), theirs, to_jax(params))
            state, params = new, gm.apply_updates(params, updates)
            mine = to_optax_state((updates, state))
            rtol = 2e-5 if dtype is np.float32 else 1e-6
            for one, two in zip(
                jax.tree.leaves(mine), jax.tree.leaves((wanted, theirs)), strict=True
            ):
                # A count of optax's is an int64 in the 64-bit mode.
                assert one.dtype in (two.dtype, np.int32)
                np.testing.assert_allclose(one, two, rtol, rtol)
            assert jax.tree.structure(mine[1]) == jax.tree.structure(theirs)
            opt.step(grads)
            assert bits(opt.params) == bits(params)
            assert bits(opt.state) == bits(state)


@pytest.mark.parametrize("axis", [0, -1, (0, 1), [0]])
def test_axes_of_examples(axis: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)
    (ours, _), (theirs, _) = [
        a.average_per_element_updates(axis).update(x, ())
        for a in (aggregating, optax.experimental.aggregating)
    ]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, 1e-6)


def test_what_an_aggregator_says_beside_the_updates() -> None:
    seen: list[dict[str, Any]] = []

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        seen.append(extra)
        return updates, state

    spread = aggregating.Aggregator(
        gm.init_empty_state, lambda u, s, p=None: ((u.mean(0), {"spread": np.ptp(u)}), s)
    )
    last = gm.GradientTransformationExtraArgs(gm.init_empty_state, update)
    tx = aggregating.process(gm.identity(), spread, last, aggregator_has_aux=True)
    updates, _ = tx.update(np.array([1.0, 5.0]), tx.init(None), loss=2.0)
    assert updates == 3
    assert seen == [{"loss": 2.0, "spread": 4.0}]


def test_a_nan_ends_with_its_batch() -> None:
    tx = aggregating.accumulate_avg_updates(2)
    state = tx.init(np.zeros(1))
    for update in (np.nan, 1.0, 2.0, 4.0):
        updates, state = tx.update(np.array([update]), state)
    assert updates == 3.0


def test_copies_and_errors() -> None:
    tx = aggregating.process(
        gm.identity(), aggregating.average_incrementally_updates(0, 2), gm.adam(0.1)
    )
    copy = pickle.loads(pickle.dumps(tx))
    params, grads = random_tree(0, shapes=SHAPES), random_tree(1, shapes=BATCH)
    one, other = tx.update(grads, tx.init(params), params), copy.update(grads, copy.init(params))
    assert bits(one) == bits(other)
    assert repr(tx).startswith("gm.experimental.aggregating.process(gm.identity(), gm.exp")
    with pytest.raises(TypeError, match="process takes transformations, got None"):
        aggregating.process(gm.identity(), None, gm.adam(0.1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="accumulation_steps must be at least 1"):
        aggregating.accumulate_avg_updates(0)
    with pytest.raises(TypeError, match="accumulation_steps must be an integer"):
        aggregating.accumulate_avg_updates(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="per_elt_axis must be integers"):
        aggregating.average_per_element_updates("0")  # type: ignore[arg-type]
