"""What a digest tells apart and what it does not."""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

import gradmill as gm
from tests.processes import python
from tests.property.strategies import chains, layouts, problems, relayout

A = np.arange(6.0)
NAN = np.array([0x7FF8000000000001, 0x7FF8000000000002], np.uint64).view(np.float64)

DIFFERENT: list[Any] = [
    A,
    A.astype(np.float32),
    A.reshape(2, 3),
    A.reshape(3, 2),
    [A],
    (A,),
    {"w": A},
    {"v": A},
    OrderedDict(w=A),
    [A, None],
    [None, A],
    [A, A],
    [[A], A],
    [A, [A]],
    [A[:2], A[2:]],
    [A[:3], A[3:]],
    -A,
    np.zeros(2),
    -np.zeros(2),
    np.zeros((0, 3)),
    np.zeros((3, 0)),
    np.zeros(2, ml_dtypes.bfloat16),
    np.zeros(2, np.float16),
    np.array(0.0),
    0.0,
    0,
    False,
    None,
    "0",
    b"0",
    np.dtype(np.float32),
    (),
    [],
    {},
    gm.EmptyState(),
    gm.TraceState(A),
    gm.EmaState(A, A),
    gm.adam(0.1),
    gm.adam(0.2),
    gm.adam(0.1, b2=0.99),
    gm.adamw(0.1),
    gm.adam(gm.linear_schedule(0.1, 0.0, 5)),
    gm.adam(gm.linear_schedule(0.1, 0.0, 6)),
    gm.chain(gm.adam(0.1)),
    gm.MultiSteps(gm.adam(0.1), 2),
    gm.MultiSteps(gm.adam(0.1), 3),
    gm.inject_hyperparams(gm.adam)(0.1),
    gm.inject_hyperparams(gm.adam)(0.2),
    gm.partition({"a": gm.adam(0.1), "b": gm.sgd(0.1)}, {"w": "a"}),
    gm.partition({"a": gm.adam(0.1), "b": gm.sgd(0.1)}, {"w": "b"}),
    gm.flatten(gm.adam(0.1)),
    functools.partial(gm.adam, 0.1),
    functools.partial(gm.adam, 0.2),
    gm.adam,
]


def test_different_trees_differ() -> None:
    digests = [gm.state_digest(tree) for tree in DIFFERENT]
    pairs = itertools.combinations(range(len(digests)), 2)
    assert [(i, j) for i, j in pairs if digests[i] == digests[j]] == []
    assert all(len(bytes.fromhex(digest)) == 16 for digest in digests)


@given(problems(special=True), layouts)
def test_layout_does_not_matter(problem: Any, how: str) -> None:
    params, _ = problem
    other = {name: relayout(leaf, how) for name, leaf in reversed(params.items())}
    assert gm.state_digest(other) == gm.state_digest(params)


def test_neither_byte_order_nor_payload_matters() -> None:
    assert gm.state_digest(A.astype(">f8")) == gm.state_digest(A)
    assert gm.state_digest(NAN[:1]) == gm.state_digest(NAN[1:])
    swapped = np.array([1.0, np.nan], ">f4")
    assert gm.state_digest(swapped) == gm.state_digest(swapped.astype("<f4"))
    assert np.isnan(NAN.view(np.uint64)[0].view(np.float64))


@given(chains)
def test_transformations_have_one_digest(tx: Any) -> None:
    """Before and after use, which fills caches."""
    before = gm.state_digest(tx)
    params = np.ones(3)
    tx.update(params, tx.init(params), params)
    assert gm.state_digest(tx) == before


def test_it_is_the_same_in_other_processes() -> None:
    code = """
    import numpy as np
    import gradmill as gm

    tx = gm.chain(gm.clip(1.0), gm.adam(gm.cosine_decay_schedule(0.1, 9)))
    params = {"b": np.arange(70_000.0), "a": np.ones((2, 3), np.float32)}
    print(gm.state_digest((tx, params, tx.init(params))))
    """
    first, second = (python(code, PYTHONHASHSEED=seed) for seed in "12")
    assert first == second


def test_leaves_without_a_digest() -> None:
    with pytest.raises(TypeError, match=r"tree\['a'\]\[1\]: is a object, which has no digest"):
        gm.state_digest({"a": [1, object()]})
    with pytest.raises(TypeError, match="is a Optimizer, which has no digest"):
        gm.state_digest(gm.Optimizer(gm.adam(0.1), A.copy()))
    with pytest.raises(TypeError, match="is an array of object"):
        gm.state_digest(np.array([None]))
    with pytest.raises(TypeError, match="which has no digest"):
        gm.state_digest(np.zeros(2, "f4,f4"))
