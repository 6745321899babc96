"""What optax makes of the rows of the table."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import optax

from tests.on_jax import to_jax
from tests.trees import random_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cases import Case

STEPS = 10


class Step(NamedTuple):
    """A step, and the state before it."""

    grads: Any
    before: Any
    updates: Any
    after: Any


def without_compilation(case: Case) -> Any:
    """Branches as plain Python where optax would compile them anew in each call."""
    return jax.disable_jit() if case.recompiles else nullcontext()


def steps_of(case: Case, grads_of: Callable[..., Any], dtype: Any) -> Iterator[Step]:
    """Steps from the parameters ``random_tree(0, dtype)``, which stay as they are."""
    with without_compilation(case):
        tx, params = case.make(optax), to_jax(random_tree(0, dtype))
        state = tx.init(params)
        for seed in range(1, STEPS + 1):
            grads = grads_of(seed, dtype)
            updates, after = tx.update(to_jax(grads), state, params)
            yield Step(grads, state, updates, after)
            state = after


@functools.cache
def usual_steps(case: Case) -> list[Step]:
    """Those in float32, once for all tests."""
    return list(steps_of(case, random_tree, np.float32))
