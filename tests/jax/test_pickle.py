"""What is made for programs of JAX pickles as the transformations that it is made from."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import tree_map
from gradmill.jax import HostStep, step, to_optax
from tests.cases import CASES
from tests.trees import bits

PARAMS = {"w": np.arange(3, dtype=np.float32)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("make", [to_optax, step])
def test_digests(case: Any, make: Any) -> None:
    made = make(case.make(gm))
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert gm.state_digest(again) == gm.state_digest(made)


def test_they_differ() -> None:
    for make in (to_optax, step):
        assert len({gm.state_digest(make(gm.adam(rate))) for rate in (0.1, 0.2)}) == 2


def test_after_use() -> None:
    tx = gm.flatten(gm.adam(0.1))
    lowered, program = to_optax(tx), step(gm.adam(0.1))
    for _ in range(2):
        updates, _ = lowered.update(PARAMS, lowered.init(PARAMS), PARAMS)
        params, _ = program(PARAMS, program.init(PARAMS), PARAMS)
        assert bits(params) == bits(gm.apply_updates(PARAMS, tree_map(np.asarray, updates)))
        lowered, program = pickle.loads(pickle.dumps((lowered, program)))


def test_host_steps_go_on() -> None:
    host = HostStep(gm.adam(0.1))
    host.init(PARAMS)
    host(PARAMS)
    other = copy.deepcopy(host)
    assert bits(other(PARAMS)) == bits(host(PARAMS))
    assert not np.shares_memory(other.optimizer.params["w"], host.optimizer.params["w"])
