"""The bits of fused steps for each row of the table, many rows to a program."""

from __future__ import annotations

import functools
from typing import Any

import jax
import pytest

import gradmill as gm
from gradmill.jax import from_optax_state, step, to_optax_state
from tests.cases import CASES, Case
from tests.jax.test_step import skip_other_bits
from tests.on_jax import to_jax, to_numpy
from tests.trees import bits, random_tree, special_tree

GRADIENTS = [
    [random_tree(seed) for seed in range(1, 5)],
    [special_tree(seed) for seed in range(1, 4)],
]
LOWERED = [case for case in CASES if not case.python]
CHUNK = 50
"""Rows to a program: one after the other they take four times as long."""


@functools.cache
def carries_of(rows: tuple[Case, ...]) -> tuple[list[Any], dict[str, Exception]]:
    """Parameters and states after each step, by the rows' names, and what failed to compile.

    All rows are in one program. Gradients are ordinary ones in four steps, then others in three.
    """
    steps = {case.name: step(case.make(gm)) for case in rows}
    # Where they begin is JAX's own matter: it sums in float32.
    states = {case.name: to_optax_state(case.make(gm).init(random_tree(0))) for case in rows}
    params = to_jax(random_tree(0))
    failed: dict[str, Exception] = {}

    def together(grads: Any, carries: Any) -> Any:
        after = dict(carries)
        for name, (params, state) in carries.items():
            try:
                after[name] = steps[name](grads, state, params)
            except Exception as error:  # noqa: BLE001  (the row's own test raises it)
                failed[name] = error
        return after

    program = jax.jit(together)
    seen = []
    for gradients in GRADIENTS:
        carries = {name: (params, state) for name, state in states.items()}
        for grads in gradients:
            carries = program(to_jax(grads), carries)
            seen.append(carries)
    return seen, failed


@pytest.mark.parametrize("case", LOWERED, ids=lambda case: case.name)
def test_the_bits_in_a_program_with_other_rows(case: Case) -> None:
    skip_other_bits(case)
    at = LOWERED.index(case) // CHUNK * CHUNK
    seen, failed = carries_of(tuple(LOWERED[at : at + CHUNK]))
    if case.name in failed:
        raise failed[case.name]
    carries = (from_jax[case.name] for from_jax in seen)
    tx = case.make(gm)
    for gradients in GRADIENTS:
        params = random_tree(0)
        state = tx.init(params)
        for grads in gradients:
            new, after = next(carries)
            updates, state = tx.update(grads, state, params)
            params = gm.apply_updates(params, updates)
            assert bits(to_numpy(new)) == bits(params)
            assert bits(from_optax_state(after)) == bits(state)
