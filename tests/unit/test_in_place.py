"""Every row of the table through the in-place door: the same bits as the functional path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill import _core
from gradmill._plan.layout import links_of
from gradmill._run.ops import MAX_LINKS
from tests.cases import CASES, Case
from tests.trees import bits, copy_tree, random_tree, special_tree


@pytest.mark.parametrize("grads_of", [random_tree, special_tree])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_bits_as_the_functional_path(case: Case, grads_of: Any) -> None:
    for dtype in (np.float32, np.float64):
        tx = case.make(gm)
        params = random_tree(0, dtype)
        opt = gm.Optimizer(tx, copy_tree(params))
        state = tx.init(params)
        assert bits(opt.state) == bits(state)
        for step in range(7):
            grads = grads_of(step + 1, dtype)
            before = bits((grads, state, params))
            updates, new_state = tx.update(grads, state, params)
            assert bits((grads, state, params)) == before
            state, params = new_state, gm.apply_updates(params, updates)
            opt.step(grads)
            assert bits((opt.params, opt.state)) == bits((params, state))


def test_what_waits_between_passes_follows_the_updates() -> None:
    """Each step may have updates of another dtype, and leaves without one."""
    tx = gm.chain(gm.scale_by_adam(), gm.clip_by_global_norm(0.5), gm.centralize(), gm.trace(0.9))
    params = random_tree(0)
    opt, state = gm.Optimizer(tx, copy_tree(params)), tx.init(params)
    dtypes = [np.float32, np.float64, np.float32, np.float16, np.float64, np.float64]
    for step, dtype in enumerate(dtypes):
        grads = random_tree(step + 1, dtype)
        if step % 2:
            grads["bias"] = None
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        opt.step(grads)
        assert bits((opt.params, opt.state)) == bits((params, state))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_resuming_is_exact(case: Case) -> None:
    tx = case.make(gm)
    first = gm.Optimizer(tx, random_tree(0))
    for seed in range(1, 4):
        first.step(random_tree(seed))
    second = gm.Optimizer(tx, copy_tree(first.params))
    second.init_from(copy_tree(first.state))
    for seed in range(4, 7):
        first.step(random_tree(seed))
        second.step(random_tree(seed))
    assert bits((first.params, first.state)) == bits((second.params, second.state))


def test_noise_depends_on_nothing_but_seed_step_and_place() -> None:
    """Not on threads, instruction set, fusion, or the transformations around it."""
    params = {"a": np.zeros(300_001, np.float32), "b": np.zeros((3, 5), np.float32)}
    plain = gm.add_noise(0.1, 0.5, 11)
    expected = bits(plain.update(params, plain.init(params))[0])
    tx = gm.chain(gm.scale(1.0), plain, gm.clip(1e9), gm.trace(0.0))
    for threads in (1, 2, 3):
        for tier in ("scalar", "avx2", "avx512"):
            try:
                _core.force(tier, fuse=threads == 2)
            except ValueError:  # this machine lacks it
                continue
            with gm.num_threads(threads):
                assert bits(tx.update(params, tx.init(params))[0]) == expected
    reordered = {"a": params["a"], "b": np.asfortranarray(params["b"])}
    assert bits(plain.update(reordered, plain.init(params))[0]) == expected


def test_noise_of_other_seeds() -> None:
    params = np.zeros(50)
    seeds: list[Any] = [0, 1, np.random.default_rng(3), np.random.SeedSequence(3)]
    draws = [tx.update(params, tx.init(params))[0] for tx in (gm.add_noise(1, 0, s) for s in seeds)]
    assert len({draw.tobytes() for draw in draws}) == len(seeds)
    state = gm.add_noise(1, 0, np.random.default_rng(3)).init(params)
    again = gm.add_noise(1, 0, np.random.default_rng(3)).init(params)
    assert bits(state) == bits(again)


NATIVE = [case for case in CASES if case.is_native]


def by_number(path: Any, leaf: Any) -> int:
    return int(path.keys[0])


@pytest.mark.parametrize(
    "tx",
    [
        gm.partition(by_number, *[gm.adamw(0.01 * (i + 1)) for i in range(30)]),
        gm.MultiSteps(gm.chain(*[gm.trace(0.1), gm.scale(1.1)] * 50), 2),
        gm.apply_if_finite(gm.chain(*[gm.ema(0.5)] * 70, gm.clip_by_global_norm(1.0))),
        gm.inject_hyperparams(lambda rate: gm.chain(*[gm.scale(rate)] * 70))(rate=0.99),
        gm.chain(gm.clip(1.0), gm.MultiSteps(gm.sgd(0.1), 2, False, gm.skip_not_finite)),
    ],
    ids=["groups", "gate", "finite", "injected", "predicate"],
)
def test_chains_longer_than_a_program(tx: Any) -> None:
    """Gates, masks and hyperparameters reach across the places where a chain is cut."""
    params = [np.full(3, float(i)) for i in range(30)]
    opt, state = gm.Optimizer(tx, copy_tree(params)), tx.init(params)
    for step in range(4):
        grads = [np.full(3, np.nan if step == 2 and i == 7 else i - 9.5) for i in range(30)]
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        opt.step(grads)
        assert bits((opt.params, opt.state)) == bits((params, state))


@pytest.mark.parametrize("case", NATIVE, ids=lambda case: case.name)
def test_every_row_in_a_chain_longer_than_a_program(case: Case) -> None:
    """Some ops take up more of a program than one place."""
    tx = case.make(gm)
    long = gm.chain(*[tx] * (MAX_LINKS // len(links_of(tx)) + 1))
    params, grads = random_tree(0), random_tree(1)
    updates, state = long.update(grads, long.init(params), params)
    expected = grads
    for own in state:
        expected, alone = tx.update(expected, tx.init(params), params)
        assert bits(own) == bits(alone)
    assert bits(updates) == bits(expected)


def test_groups_whose_ops_take_two_places_in_a_program() -> None:
    params = {str(at): np.full((3, 4), 0.1 * at, np.float32) for at in range(40)}
    one = gm.adafactor(0.1, min_dim_size_to_factor=2)
    tx = gm.partition(dict.fromkeys(params, one), {key: key for key in params})
    opt, alone = gm.Optimizer(tx, copy_tree(params)), gm.Optimizer(one, copy_tree(params))
    opt.step(params)
    alone.step(params)
    assert bits(opt.params) == bits(alone.params)
