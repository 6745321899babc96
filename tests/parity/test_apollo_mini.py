"""What APOLLO-Mini keeps, when it draws anew, and how far its updates grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from gradmill.errors import LeafValueError


def grads_of(seed: int, shape: tuple[int, ...] = (6, 9)) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def updates_of(tx: Any, gradients: list[Any]) -> list[Any]:
    state, made = tx.init(gradients[0]), []
    for grads in gradients:
        updates, state = tx.update(grads, state)
        made.append(updates)
    return made


def test_state_is_nearly_nothing() -> None:
    params = {"w": np.zeros((300, 1000), np.float32), "b": np.zeros(1000, np.float32)}
    ours, adam_mini, adam = (
        sum(leaf.nbytes for leaf in flatten(tx.init(params))[0] if leaf is not None)
        for tx in (gm.contrib.apollo_mini(0.1), gm.contrib.adam_mini(0.1), gm.adamw(0.1))
    )
    assert ours < 2 * 4 * 1000 + 2 * 4 * 1000 + 32
    assert ours * 100 < adam
    assert adam_mini < 0.51 * adam


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (7, 7), (1, 5), (5, 1)])
def test_updates_lie_along_gradients(shape: tuple[int, int]) -> None:
    gradients = [grads_of(seed, shape) for seed in range(5)]
    for u, g in zip(
        updates_of(gm.contrib.scale_by_apollo_mini(), gradients), gradients, strict=True
    ):
        cosine = np.sum(u * g) / np.linalg.norm(u) / np.linalg.norm(g)
        np.testing.assert_allclose(cosine, 1.0, rtol=1e-12)


def test_projections_change_after_some_steps_and_with_the_seed() -> None:
    """Without memory, the size of a step depends on the projection alone."""

    def sizes(seed: int) -> Any:
        tx = gm.contrib.scale_by_apollo_mini(
            0.0, 0.0, max_growth=None, update_proj_gap=3, seed=seed
        )
        return [float(np.linalg.norm(u)) for u in updates_of(tx, [grads_of(0)] * 7)]

    first = sizes(0)
    assert first[0] == first[1] == first[2] != first[3] == first[4] == first[5] != first[6]
    assert first == sizes(0)
    assert not set(first) & set(sizes(1))


def test_leaves_have_projections_of_their_own() -> None:
    grads = {name: grads_of(0) for name in "abc"}
    tx = gm.contrib.scale_by_apollo_mini()
    updates, _ = tx.update(grads, tx.init(grads))
    assert len({float(np.linalg.norm(leaf)) for leaf in updates.values()}) == 3
    # A leaf without a gradient leaves the others theirs.
    fewer, _ = tx.update({**grads, "a": None}, tx.init(grads))
    assert (fewer["b"] == updates["b"]).all()


def test_updates_grow_by_no_more_than_the_bound() -> None:
    """A gradient of zero counts for nothing, however many there are."""
    tx = gm.contrib.scale_by_apollo_mini(scale=1.0, max_growth=1.5, update_proj_gap=1)
    gradients = [grads_of(seed) * (seed not in (0, 1, 7, 8)) for seed in range(40)]
    sizes = [np.linalg.norm(u) for u in updates_of(tx, gradients)]
    assert sizes[0] == sizes[1] == sizes[7] == sizes[8] == 0
    moved = [size for size in sizes if size]
    growth = np.array(moved[1:]) / np.array(moved[:-1])
    assert growth.max() <= 1.5 * (1 + 1e-12)
    assert (growth > 1.5 * (1 - 1e-12)).any()


@pytest.mark.parametrize("size", [1e-15, 1e15, 1e18, 1e25])
def test_the_size_of_gradients_does_not_matter(size: float) -> None:
    gradients = [grads_of(seed).astype(np.float32) for seed in range(3)]
    tx = gm.contrib.scale_by_apollo_mini(eps=0.0)
    scaled = updates_of(tx, [np.float32(size) * grads for grads in gradients])
    for ours, plain in zip(scaled, updates_of(tx, gradients), strict=True):
        if size < 1e19:
            np.testing.assert_allclose(ours, plain, rtol=1e-4)
        else:
            # As in Adam, whose second moment is infinite.
            assert not ours.any()


def test_updates_as_large_as_adams() -> None:
    """With the root of the shorter side for a scale, as the docstring says."""
    gradients = [grads_of(seed, (64, 256)) for seed in range(30)]
    tx = gm.contrib.scale_by_apollo_mini(scale=8.0)
    ours = updates_of(tx, gradients)[-1]
    adams = updates_of(gm.scale_by_adam(), gradients)[-1]
    assert 0.7 < np.linalg.norm(ours) / np.linalg.norm(adams) < 1.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"b1": 1.0}, "b1 must be less than 1"),
        ({"max_growth": 0.9}, "max_growth must be at least 1"),
        ({"update_proj_gap": 2.5}, "update_proj_gap must be an integer"),
        ({"update_proj_gap": 0}, "update_proj_gap must be at least 1"),
        ({"seed": "one"}, "takes an integer seed"),
    ],
)
def test_arguments(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        gm.contrib.scale_by_apollo_mini(**options)


def test_a_leaf_that_is_no_matrix_is_named() -> None:
    with pytest.raises(LeafValueError, match=r"\['b'\]: has 1 axes, but a matrix has two"):
        gm.contrib.scale_by_apollo_mini().init({"b": np.zeros(3)})
