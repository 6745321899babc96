"""No transformation makes a NaN or an infinity of finite gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmill as gm
from gradmill._data.trees import flatten
from gradmill.jax import to_optax
from tests.cases import CASES
from tests.trees import copy_tree, random_tree

EDGES: dict[str, Any] = {
    "clip_by_global_norm": lambda m: m.clip_by_global_norm(0.0),
    "clip_by_block_rms": lambda m: m.clip_by_block_rms(0.0),
    "clip": lambda m: m.clip(0.0),
    "normalize": lambda m: m.normalize_by_update_norm(eps=0.0),
    "normalize_to_zero": lambda m: m.normalize_by_update_norm(0.0, eps=0.0),
    "adaptive_grad_clip": lambda m: m.adaptive_grad_clip(0.0),
    "adaptive_grad_clip_eps": lambda m: m.adaptive_grad_clip(0.1, 0.0),
    "trust_ratio": lambda m: m.scale_by_trust_ratio(),
    "trust_ratio_eps": lambda m: m.scale_by_trust_ratio(0.0, 1.0, 1e-300),
    "adam": lambda m: m.scale_by_adam(eps=0.0),
    "adam_tiny_eps": lambda m: m.scale_by_adam(eps=1e-50),
    "adam_tiny_eps_root": lambda m: m.scale_by_adam(eps=0.0, eps_root=1e-50),
    "adam_no_memory": lambda m: m.scale_by_adam(0.0, 0.0, eps=0.0),
    "adam_long_memory": lambda m: m.scale_by_adam(0.9999999, 0.99999999, eps=0.0),
    "nadam": lambda m: m.scale_by_adam(eps=0.0, nesterov=True),
    "rms": lambda m: m.scale_by_rms(eps=0.0),
    "rms_outside": lambda m: m.scale_by_rms(eps=0.0, eps_in_sqrt=False),
    "rms_tiny_eps": lambda m: m.scale_by_rms(eps=1e-50, bias_correction=True),
    "rms_no_memory": lambda m: m.scale_by_rms(0.0, eps=0.0),
    "stddev": lambda m: m.scale_by_stddev(),
    "stddev_no_eps": lambda m: m.scale_by_stddev(eps=0.0),
    "stddev_outside": lambda m: m.scale_by_stddev(eps_in_sqrt=False),
    "stddev_no_eps_outside": lambda m: m.scale_by_stddev(eps=0.0, eps_in_sqrt=False),
    "stddev_correction": lambda m: m.scale_by_stddev(bias_correction=True),
    "stddev_no_memory": lambda m: m.scale_by_stddev(0.0, bias_correction=True),
    "rmsprop_centered": lambda m: m.rmsprop(1e-3, centered=True),
    "ema": lambda m: m.ema(0.0),
    "lamb": lambda m: m.lamb(1e-3, eps=0.0),
    "lars": lambda m: m.lars(1e-3),
    "adadelta": lambda m: m.scale_by_adadelta(eps=0.0),
    "adadelta_long_memory": lambda m: m.scale_by_adadelta(1.0, 0.0),
    "rprop": lambda m: m.scale_by_rprop(1.0, 0.0, 0.0, 0.0),
    "ademamix": lambda m: m.contrib.scale_by_ademamix(eps=0.0),
    "ademamix_no_memory": lambda m: m.contrib.scale_by_ademamix(0.0, 0.0, 1.0, eps=0.0),
    "adopt": lambda m: m.contrib.scale_by_adopt(eps=0.0),
    "adopt_no_memory": lambda m: m.contrib.scale_by_adopt(0.0, 0.0, 0.0, nesterov=True),
    "madgrad": lambda m: m.contrib.scale_by_madgrad(1e-3, eps=0.0),
    "madgrad_no_rate": lambda m: m.contrib.scale_by_madgrad(0.0, 0.0, eps=0.0),
    "cocob": lambda m: m.contrib.scale_by_cocob(eps=0.0),
    "cocob_no_alpha": lambda m: m.contrib.scale_by_cocob(0.0, 1e-50),
    "dowg": lambda m: m.contrib.dowg(1e-3, 0.0, eps=0.0),
    "acprop": lambda m: m.contrib.scale_by_acprop(eps=0.0, eps_root=0.0),
    "acprop_no_memory": lambda m: m.contrib.scale_by_acprop(0.0, 0.0, 0.0, 0.0),
    "simplified_ademamix": lambda m: m.contrib.scale_by_simplified_ademamix(eps=0.0),
    "novograd": lambda m: m.scale_by_novograd(eps=0.0),
    "factored": lambda m: m.scale_by_factored_rms(min_dim_size_to_factor=2, epsilon=0.0),
    "factored_whole": lambda m: m.scale_by_factored_rms(False, epsilon=0.0),
    "amsgrad": lambda m: m.scale_by_amsgrad(eps=0.0),
    "amsgrad_no_memory": lambda m: m.scale_by_amsgrad(0.0, 0.0, 0.0, 0.0, None, False, False),
    "adan": lambda m: m.scale_by_adan(eps=0.0),
    "belief": lambda m: m.scale_by_belief(eps=0.0, eps_root=0.0),
    "belief_nesterov": lambda m: m.scale_by_belief(eps=0.0, eps_root=1e-50, nesterov=True),
    "yogi": lambda m: m.scale_by_yogi(eps=0.0, initial_accumulator_value=0.0),
    "radam": lambda m: m.scale_by_radam(eps=0.0, threshold=0.0),
    "radam_no_memory": lambda m: m.scale_by_radam(0.0, 0.0, 0.0, threshold=0.0),
    "radam_short_memory": lambda m: m.scale_by_radam(b2=0.6, threshold=-1.0, nesterov=True),
    "rss": lambda m: m.scale_by_rss(0.0, 0.0),
    "adamax": lambda m: m.scale_by_adamax(eps=0.0),
    "fromage": lambda m: m.fromage(1e-3, 0.0),
    "optimistic": lambda m: m.scale_by_optimistic_gradient(1e3, -1e3),
    "distance": lambda m: m.scale_by_distance_over_gradients(1.0, 0.0),
    "distance_none": lambda m: m.scale_by_distance_over_gradients(0.0, 0.0),
    "prodigy": lambda m: m.contrib.prodigy(1e-3, eps=0.0),
    "dadapt_adamw": lambda m: m.contrib.dadapt_adamw(1e-3, eps=0.0),
    "dog": lambda m: m.contrib.dog(1e-3, eps=0.0),
    "mechanize": lambda m: m.contrib.mechanize(m.sgd(1e-3), eps=0.0),
    "schedule_free": lambda m: m.contrib.schedule_free(m.sgd(0.0), 0.0),
}
"""Hyperparameters at the ends of their ranges.

A deviation that is zero for good has an epsilon: without, no limit is finite.
"""

ROWS = [(case.name, case.make) for case in CASES] + [(f"edge_{n}", m) for n, m in EDGES.items()]
STEPS = 200
KINDS = ["zeros", "tiny", "subnormal", "huge", "nearly_constant", "normal"]


def gradients(kind: str, seed: int, dtype: Any, shape: tuple[int, ...]) -> Any:
    """An array whose elements are of one kind, for one step."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=shape)
    single = np.dtype(dtype) == np.float32
    match kind:
        case "zeros":
            made = np.zeros(shape)
        case "tiny":
            made = normal * (1e-21 if single else 1e-160)
        case "subnormal":
            made = normal * (1e-41 if single else 1e-315)
        case "huge":
            made = normal * 1e15
        case "nearly_constant":
            made = 1 + 1e-4 * normal if single else 1 + 1e-8 * normal
        case _:
            made = normal
    return np.asarray(made, dtype)


def tree_of(kinds: list[str], seed: int, dtype: Any) -> dict[str, Any]:
    """The leaves of :func:`random_tree`, each of a kind."""
    like = random_tree(0, dtype)
    names = [name for name in like if like[name] is not None]
    leaves = {
        name: gradients(kinds[at % len(kinds)], seed + at, dtype, like[name].shape)
        for at, name in enumerate(names)
    }
    return {**leaves, "none": None}


def assert_finite(tree: Any, what: str) -> None:
    for index, leaf in enumerate(flatten(tree)[0]):
        if leaf is not None:
            assert np.isfinite(np.asarray(leaf)).all(), f"{what}, leaf {index}"


@pytest.mark.parametrize(("name", "make"), ROWS, ids=[name for name, _ in ROWS])
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([np.float32, np.float64]),
    alike=st.booleans(),
)
@settings(max_examples=max(settings().max_examples // 5, 2))
def test_updates_are_finite(
    name: str, make: Any, kinds: list[str], seed: int, dtype: Any, alike: bool
) -> None:
    """``alike``: whether each leaf meets gradients of one kind throughout, or of all in turn.

    Steps are small, since parameters that double in each step are infinite in the end.
    """
    tx = gm.chain(make(gm), gm.scale(1e-3))
    params = random_tree(seed, dtype)
    opt = gm.Optimizer(tx, copy_tree(params))
    state = tx.init(params)
    for step in range(STEPS if alike else 12):
        turned = kinds if alike else kinds[step % len(kinds) :] + kinds[: step % len(kinds)]
        grads = tree_of(turned, seed + step, dtype)
        opt.step(grads)
        if step < 3:
            updates, state = tx.update(grads, state, params)
            assert_finite(updates, f"{name}: updates of step {step}")
            assert_finite(state, f"{name}: state of step {step}")
    assert_finite(opt.state, f"{name}: state")
    assert_finite(opt.params, f"{name}: params")


def test_updates_are_finite_in_jax() -> None:
    """All edges in one program, by their formulas."""
    transformations = {name: to_optax(make(gm)) for name, make in EDGES.items()}
    params = {name: jnp.asarray(np.ones((3, 2)), jnp.float32) for name in KINDS}

    def updated(states: Any, grads: Any) -> Any:
        return {
            name: tx.update(grads, states[name], params) for name, tx in transformations.items()
        }

    step = jax.jit(updated)
    states = {name: tx.init(params) for name, tx in transformations.items()}
    for number in range(150):
        grads = {kind: jnp.asarray(gradients(kind, number, np.float32, (3, 2))) for kind in KINDS}
        made = step(states, grads)
        states = {name: state for name, (_, state) in made.items()}
    for name in EDGES:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(made[name])), name
