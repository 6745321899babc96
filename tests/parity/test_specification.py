"""The specification's own examples, as docs/spec.md has them, against optax."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from tests.trees import assert_close, bits, copy_tree

PAGE = Path(__file__).parents[2] / "docs" / "spec.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the examples define; the page itself is a doctest."""
    found: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(PAGE.read_text()):
        if not example.want:
            exec(example.source, found)  # noqa: S102  (it is our own page)
    return found


def equivalent(name: str) -> Any:
    """In optax's own form."""
    return {
        "custom_optimizer": optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.add_decayed_weights(1e-4),
            optax.scale_by_adam(b1=0.9, b2=0.999),
            optax.scale(-0.001),
        ),
        "partitioned_optimizer": optax.partition(
            {True: optax.scale(-0.01), False: optax.scale(-0.001)},
            lambda tree: {key: key == "b" for key in tree},
        ),
        "sparse_optimizer": optax.MultiSteps(
            optax.adam(0.001), 5, use_grad_mean=False, accumulator_dtype=np.float64
        ),
        "robust_optimizer": optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.apply_if_finite(
                optax.chain(
                    optax.centralize(), optax.scale_by_adam(), optax.add_decayed_weights(1e-4)
                ),
                2**31 - 1,
            ),
            optax.scale_by_schedule(optax.cosine_decay_schedule(0.001, 1000)),
        ),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["custom_optimizer", "partitioned_optimizer", "sparse_optimizer", "robust_optimizer"],
)
def test_examples(name: str, names: dict[str, Any]) -> None:
    ours = names[name]
    keys = ("w", "b")
    if name == "partitioned_optimizer":
        keys = ("kernel", "bias")
    # Branches as plain Python: optax would compile them anew in each step.
    with jax.enable_x64(True), jax.disable_jit():
        theirs = equivalent(name)
        rng = np.random.default_rng(0)
        params = {"w": np.ones((10, 5)), "b": np.zeros(5)}
        renamed = dict(zip(keys, params.values(), strict=True))
        state, their_state = ours.init(renamed), theirs.init(params)
        opt = gm.Optimizer(ours, copy_tree(renamed))
        for step in range(10):
            grads = {"w": rng.normal(size=(10, 5)), "b": rng.normal(size=5)}
            if step == 6 and name == "robust_optimizer":
                grads["b"][2] = np.nan
            own = dict(zip(keys, grads.values(), strict=True))
            updates, state = ours.update(own, state, renamed)
            renamed = gm.apply_updates(renamed, updates)
            their_updates, their_state = theirs.update(grads, their_state, params)
            params = optax.apply_updates(params, their_updates)
            ordered = [updates[key] for key in keys]
            assert_close(ordered, [their_updates[key] for key in ("w", "b")], 1e-9, 1e-13)
            opt.step(own)
        assert bits(opt.params) == bits(renamed)
