"""Steps in halves: the bits of one step, whatever the parts are and in whatever order they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradmill as gm
from gradmill._optimizer._half_step import out_of_reach
from tests.cases import CASES
from tests.property.strategies import chains, problems
from tests.trees import bits, copy_tree, random_tree, special_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.case import Case

BEHIND_STATE = {"clip_after_adam", "apply_if_finite_inside", "partition_norms", "units_in_a_chain"}
"""Rows that have to know all that leaves an op with state."""
LOOKS = {"multi_steps_skip"}
"""Rows in which the host looks at the gradients."""


def whole(opt: gm.Optimizer) -> list[Any]:
    return bits((opt.params, opt.state, opt.master))


def in_halves(opt: gm.Optimizer, grads: Any, order: Sequence[Any], again: Sequence[Any]) -> Any:
    """A step that is measured in one order and applied, as far as there is one, in another."""
    before = whole(opt)
    for key in order:
        opt.measure(grads[key], at=key)
    assert whole(opt) == before
    report = None
    for key in again:
        assert report is None
        report = opt.apply({key: grads[key]})
    return opt.apply() if report is None else report


def straight(opt: gm.Optimizer, grads: Any, order: Sequence[Any]) -> Any:
    """A step that is applied at once."""
    *reports, last = [opt.apply({key: grads[key]}) for key in order]
    assert not any(reports)
    return last


def equal(first: gm.StepReport, second: gm.StepReport) -> bool:
    """Whether two reports are the same; NaN equals NaN."""
    return str(first) == str(second)


@pytest.mark.parametrize("grads_of", [random_tree, special_tree])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows(case: Case, grads_of: Any) -> None:
    """Each row comes in halves, with the bits of a step, or says why not and does nothing."""
    params = random_tree(1)
    one, other, third = (gm.Optimizer(case.make(gm), copy_tree(params)) for _ in range(3))
    gathers = any(link.finds in {"norm", "finite", "estimates"} for link in one._runs.links)
    is_reached = case.is_native and case.name not in BEHIND_STATE | LOOKS
    assert (out_of_reach(one._runs) is None) == is_reached
    for step in range(4):
        grads = grads_of(step + 2)
        keys = [key for key in grads if key != "none"]
        if not is_reached:
            before = whole(other)
            with pytest.raises(ValueError, match="cannot be cut in halves"):
                other.measure(grads)
            with pytest.raises(ValueError, match="cannot be cut in halves"):
                other.apply(grads)
            assert whole(other) == before
            continue
        expected = one.step(grads)
        # Where nothing is ever written, the first part is the last.
        again = keys[1:3] if one._due else []
        assert equal(in_halves(other, grads, keys[::-1], again), expected)
        assert whole(other) == whole(one)
        if not gathers and one._due:
            assert equal(straight(third, grads, keys[::-1]), expected)
            assert whole(third) == whole(one)


@given(chains, problems(special=True), st.data())
def test_chains(tx: Any, problem: Any, data: Any) -> None:
    params, grads = problem
    one, other = gm.Optimizer(tx, copy_tree(params)), gm.Optimizer(tx, copy_tree(params))
    if out_of_reach(other._runs) is not None:
        return
    for grad in grads:
        for key in data.draw(st.sets(st.sampled_from(list(params)), max_size=1)):
            grad[key] = None
        nones = [key for key in grad if grad[key] is None]
        others = data.draw(st.permutations([key for key in grad if grad[key] is not None]))
        again = data.draw(st.permutations(list(grad)))
        count = data.draw(st.integers(0, len(again) - 1))
        expected = one.step(grad)
        assert equal(in_halves(other, grad, nones + others, again[:count]), expected)
        assert whole(other) == whole(one)


@given(st.data(), st.sampled_from([np.float16, np.float32]), st.integers(0, 2**32 - 1))
def test_random_numbers_belong_to_leaves(data: Any, dtype: Any, seed: int) -> None:
    """Rounding and noise are drawn for each leaf by its place, not by the part that it comes in."""
    tx = gm.chain(gm.add_noise(0.1, 0.5, seed), gm.sgd(0.1, momentum=0.9))
    params = random_tree(seed, dtype)
    keys = [key for key in params if key != "none"]

    def make() -> gm.Optimizer:
        return gm.Optimizer(tx, copy_tree(params), rounding="stochastic", seed=seed)

    one, other, third = make(), make(), make()
    for step in range(2):
        grads = random_tree(seed + step, dtype)
        one.step(grads)
        order, again = data.draw(st.permutations(keys)), data.draw(st.permutations(keys))
        in_halves(other, grads, order, again)
        straight(third, grads, again)
        assert whole(other) == whole(third) == whole(one)


def test_parts_may_be_large() -> None:
    """Leaves that are cut into chunks and spread over threads."""
    rng = np.random.default_rng(0)
    params = {key: rng.standard_normal(90_001, np.float32) for key in "abc"}
    tx = gm.chain(gm.scale(0.5), gm.clip_by_global_norm(1.0), gm.adamw(0.1))
    one, other = gm.Optimizer(tx, copy_tree(params)), gm.Optimizer(tx, copy_tree(params))
    for _ in range(2):
        grads = {key: rng.standard_normal(90_001, np.float32) for key in "abc"}
        with gm.num_threads(3):
            in_halves(other, grads, "cab", "bc")
        one.step(grads)
        assert whole(other) == whole(one)
