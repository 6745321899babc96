"""A step in place allocates nothing: the first steps have made all memory that later ones need."""

from __future__ import annotations

import pytest

from gradmill import _core
from tests.processes import python

CODE = """
import sys

import numpy as np

import gradmill as gm
from gradmill import _core
from gradmill._data.trees import tree_map
from tests.cases import CASES
from tests.trees import random_tree

# Its condition asks the core for a number, in a call of its own.
ASKS = {"multi_steps_skip"}

kind, dtype, *options = sys.argv[1:]

def lying(tree):
    def array(leaf):
        if leaf is None or kind == "dense":
            return leaf
        if kind == "fortran":
            return np.array(leaf, order="F")
        return leaf if leaf.ndim == 0 else np.repeat(leaf, 2, axis=-1)[..., ::2]

    return tree_map(array, tree)

def allocations(case):
    options_of = {"master": {"master": True}, "stochastic": {"rounding": "stochastic"}, "codes": {}}
    chosen = {key: value for name in options for key, value in options_of[name].items()}
    tx = case.make(gm)
    if "codes" in options:
        tx = gm.quantized_state(tx, min_size=1)
    opt = gm.Optimizer(tx, lying(random_tree(1, dtype)), **chosen)
    for step in range(14):
        grads = lying(random_tree(2 + step, dtype))
        before = _core.allocations()
        opt.step(grads)
        yield _core.allocations() - before

firsts = 0
for case in CASES:
    if case.is_native and case.name not in ASKS:
        counts = list(allocations(case))
        firsts += counts[0]
        # By the eighth, all gates have been open.
        assert not any(counts[8:]), (case.name, counts)
assert firsts > 100, "nothing is counted"
print("none")
"""


@pytest.mark.parametrize("kind", ["dense", "fortran", "strided"])
@pytest.mark.parametrize(
    "how",
    [
        ("float32",),
        ("float64",),
        ("float16", "master"),
        ("float16", "stochastic"),
        ("float32", "codes"),
    ],
    ids="-".join,
)
def test_no_row_of_the_table_allocates(kind: str, how: tuple[str, ...]) -> None:
    assert python(CODE, kind, *how, planted=True) == "none"


def test_a_release_does_not_count() -> None:
    assert _core.allocations() == 0
