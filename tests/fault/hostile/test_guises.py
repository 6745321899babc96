"""The same values in other guises give the same bits."""

from __future__ import annotations

from multiprocessing import shared_memory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from tests.fault.hostile.inputs import (
    CHAINS,
    F32,
    FEW,
    GUISES,
    WRITABLE,
    bad,
    each_guise,
    plain_leaf,
    refused,
    same_values,
    tree,
    updated,
    with_w,
)
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@each_guise
def test_a_guise_is_taken_for_what_it_shows(guise: str) -> None:
    make = GUISES[guise]
    for tx in CHAINS.values():
        one = same_values(make(plain_leaf()))
        _, state = tx.update(tree(), tx.init(tree()), tree(2.0))

        expected = updated(tx, with_w(one), state, tree())
        assert updated(tx, with_w(make(plain_leaf())), state, tree()) == expected

        expected = updated(tx, tree(), state, with_w(one))
        assert updated(tx, tree(), state, with_w(make(plain_leaf()))) == expected

        leaves, treespec = flatten(state)
        for at, leaf in enumerate(leaves):
            if np.shape(leaf) == (3, 4):
                changed, same = list(leaves), list(leaves)
                changed[at], same[at] = make(leaf), same_values(make(leaf))
                expected = updated(tx, tree(), treespec.unflatten(same), tree())
                found = updated(tx, tree(), treespec.unflatten(changed), tree())
                assert found == expected

        first, second = gm.Optimizer(tx, tree()), gm.Optimizer(tx, tree())
        for _ in range(2):
            first.step(with_w(one))
            second.step(with_w(make(plain_leaf())))
        assert bits((first.params, first.state)) == bits((second.params, second.state))


@each_guise
def test_a_guise_in_functions_of_trees(guise: str) -> None:
    make = GUISES[guise]
    one = same_values(make(plain_leaf()))
    functions: list[Callable[[Any], Any]] = [
        lambda leaf: gm.apply_updates(with_w(leaf), tree(0.5)),
        lambda leaf: gm.apply_updates(tree(), with_w(leaf)),
        lambda leaf: np.array(gm.global_norm(with_w(leaf))),
        lambda leaf: bad.per_example_global_norm_clip([leaf], 1.0)[0],
        lambda leaf: gm.per_example_layer_norm_clip([leaf], 1.0)[0],
    ]
    if guise != "offered first":  # it is asked twice there
        functions += [
            lambda leaf: gm.incremental_update(with_w(leaf), tree(0.5), 0.25),
            lambda leaf: gm.incremental_update(tree(0.5), with_w(leaf), 0.25),
        ]
    for function in functions:
        assert bits(function(make(plain_leaf()))) == bits(function(one))


@pytest.mark.parametrize("guise", WRITABLE)
def test_parameters_in_a_guise_are_written_where_they_are(guise: str) -> None:
    for tx in CHAINS.values():
        params, twin = with_w(WRITABLE[guise](plain_leaf())), tree()
        opt, reference = gm.Optimizer(tx, params), gm.Optimizer(tx, twin)
        for scale in (0.5, -2.0, 1.0):
            opt.step(tree(scale))
            reference.step(tree(scale))
        assert opt.params["w"] is params["w"]
        found = params["w"].view(np.ndarray)
        assert bits((found, opt.state)) == bits((twin["w"], reference.state))


def test_steps_reach_the_file_of_a_memory_map(tmp_path: Path) -> None:
    params = np.memmap(tmp_path / "params", F32, "w+", shape=(1000,))
    params[:] = 1.0
    opt = gm.Optimizer(gm.sgd(0.5), params)
    opt.step(np.ones(1000, F32))
    opt.step(np.memmap(tmp_path / "grads", F32, "w+", shape=(1000,)))
    params.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "params", F32), np.full(1000, 0.5, F32))

    private = np.memmap(tmp_path / "params", F32, "c")
    gm.Optimizer(gm.sgd(0.5), private).step(np.ones(1000, F32))
    assert (private[0], np.fromfile(tmp_path / "params", F32)[0]) == (0.0, 0.5)

    fixed = np.memmap(tmp_path / "params", F32, "r")
    with refused("params: is read-only", unchanged=(opt.params, opt.state)):
        gm.Optimizer(gm.sgd(0.5), fixed)


def test_steps_reach_shared_memory() -> None:
    block = shared_memory.SharedMemory(create=True, size=64)
    try:
        assert block.buf is not None
        params = np.frombuffer(block.buf, np.float64, 8)
        opt = gm.Optimizer(gm.sgd(1.0), params)
        opt.step(np.ones(8))
        other = shared_memory.SharedMemory(block.name)
        assert other.buf is not None
        assert np.frombuffer(bytes(other.buf), np.float64, 8).tolist() == [-1.0] * 8
        other.close()
        del opt, params
    finally:
        block.close()
        block.unlink()


FIXED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bytes": (GUISES["bytes"], "read-only"),
    "broadcast": (GUISES["broadcast"], "read-only"),
    "packed field": (GUISES["packed field"], "misaligned"),
    "memoryview": (GUISES["memoryview"], "not a NumPy array"),
    "jax": (GUISES["jax"], "not a NumPy array"),
    "offered": (GUISES["offered"], "not a NumPy array"),
    "tuple": (lambda v: tuple(map(tuple, v.tolist())), "not a NumPy array"),
}


@pytest.mark.parametrize("guise", FIXED)
def test_parameters_that_could_only_be_copied(guise: str) -> None:
    for chain in FEW:
        make, cause = FIXED[guise]
        value = make(plain_leaf())
        with refused("params['w']", cause=cause):
            gm.Optimizer(CHAINS[chain], with_w(value))
