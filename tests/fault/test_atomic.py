"""A step that fails changes nothing, and the next good one is that of a run without failures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradmill as gm
from gradmill._data.trees import flatten
from tests.property.strategies import chains, problems
from tests.trees import copy_tree

if TYPE_CHECKING:
    from collections.abc import Callable


class InjectedError(Exception):
    """Raised on purpose."""


@dataclass
class Breaker:
    """Fails where it is told to, and is a schedule, a transformation and an array otherwise."""

    fails: str = ""

    def schedule(self, count: Any) -> float:
        self.check("schedule")
        return math.nan if self.fails == "nan" else -0.1

    def transformation(self, name: str) -> Any:
        def update(updates: Any, state: Any, params: Any = None) -> Any:
            self.check(name)
            return gm.apply_updates(updates, updates), state + 1

        return gm.GradientTransformation(lambda params: np.zeros((), np.int32), update)

    def around(self, tx: Any) -> Any:
        """A chain with places to break at before, inside and behind ``tx``."""
        return gm.chain(
            gm.trace(0.5),
            self.transformation("first"),
            gm.scale_by_adam(),
            self.transformation("second"),
            tx,
            gm.scale_by_schedule(self.schedule),
        )

    def check(self, place: str) -> None:
        if self.fails == place:
            raise InjectedError(place)


class Unreadable:
    """A gradient whose array cannot be had."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise InjectedError


class NoMemory:
    """A gradient whose array takes more memory than there is."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise MemoryError


def with_bad_leaf(bad: Callable[[Any], Any], grads: Any, position: int) -> Any:
    leaves, treespec = flatten(grads)
    arrays = [at for at, leaf in enumerate(leaves) if leaf is not None]
    at = arrays[position % len(arrays)]
    leaves[at] = bad(leaves[at])
    return treespec.unflatten(leaves)


BAD_LEAVES: dict[str, Callable[[Any], Any]] = {
    "shape": lambda leaf: np.ones((*leaf.shape, 2), leaf.dtype),
    "dtype": lambda leaf: np.ones(leaf.shape, complex),
    "unreadable": lambda leaf: Unreadable(),
    "memory": lambda leaf: NoMemory(),
}
FAILURES = ["first", "second", "schedule", "nan", *BAD_LEAVES]
ERRORS = (InjectedError, ValueError, TypeError, MemoryError)


@given(
    chains,
    problems(),
    st.lists(st.tuples(st.sampled_from(FAILURES), st.integers(0, 9)), min_size=1, max_size=3),
    st.integers(0, 2),
)
def test_failures_leave_no_trace(
    tx: Any, problem: Any, failures: list[tuple[str, int]], step: int
) -> None:
    params, grads = problem
    breaker = Breaker()
    undisturbed = gm.Optimizer(breaker.around(tx), copy_tree(params))
    opt = gm.Optimizer(breaker.around(tx), copy_tree(params))
    pure = breaker.around(tx)
    weights, state = params, pure.init(params)
    for number, grad in enumerate(grads):
        if number == step:
            before = gm.state_digest((opt.params, opt.state))
            pure_before = gm.state_digest((weights, state))
            for failure, position in failures:
                bad = BAD_LEAVES.get(failure)
                given_grad = grad if bad is None else with_bad_leaf(bad, grad, position)
                breaker.fails = failure
                with pytest.raises(ERRORS):
                    opt.step(given_grad)
                with pytest.raises(ERRORS):
                    pure.update(given_grad, state, weights)
                breaker.fails = ""
                assert gm.state_digest((opt.params, opt.state)) == before
            assert gm.state_digest((weights, state)) == pure_before
        report = opt.step(grad)
        assert report == undisturbed.step(grad)
        updates, state = pure.update(grad, state, weights)
        weights = gm.apply_updates(weights, updates)
        expected = gm.state_digest((undisturbed.params, undisturbed.state))
        assert gm.state_digest((opt.params, opt.state)) == expected
        assert gm.state_digest((weights, state)) == expected
