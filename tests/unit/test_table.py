"""The tables agree with each other and with the documentation."""

from __future__ import annotations

import inspect
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill import _core
from gradmill._ops.op import OPS, Op
from gradmill._plan.layout import links_of
from tests.cases import CASES

PUBLIC = sorted(name for name in vars(gm) if not name.startswith("_"))
MODULES = (
    *("adapters", "checkpoints", "distributed", "errors", "jax", "optimizers", "projections"),
    "schedules",
    *("contrib", "evolution", "experimental", "transforms", "tree", "tree_utils"),
)
TYPES = ("Mask", "MaskOrFn", "OptState", "Params", "ScalarOrSchedule", "Schedule", "Updates")
CALLABLES = [name for name in PUBLIC if name not in (*MODULES, *TYPES)]
CALLABLES += [f"transforms.{name}" for name in gm.transforms.__all__]
CALLABLES += [f"tree.{name}" for name in gm.tree.__all__]
CALLABLES += [f"projections.{name}" for name in gm.projections.__all__]
CALLABLES += [f"experimental.aggregating.{name}" for name in gm.experimental.aggregating.__all__]
CALLABLES += [f"evolution.{name}" for name in gm.evolution.__all__]
CALLABLES += [f"checkpoints.{name}" for name in gm.checkpoints.__all__]
CALLABLES += [f"contrib.{name}" for name in vars(gm.contrib) if not name.startswith("_")]


@pytest.mark.parametrize("row", _core.list_ops(), ids=lambda row: row["name"])
def test_native_ops_are_those_of_the_formulas(row: Any) -> None:
    name = row["name"]
    assert name in OPS, f"the core lists {name}, which is no op in python/gradmill/_ops/"
    op = OPS[name]
    assert list(op.scalars) == row["scalars"]
    assert list(op.slots) == row["slots"]
    assert (op.reads_params, op.finds) == (row["params"], row["finds"])


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_every_op_stands_in_a_case(op: Op) -> None:
    assert any(op.name in case.ops for case in CASES), (
        f'tests/cases/ lacks a row for an op, such as Case("{op.name}", lambda m: m.{op.name}(...))'
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_has_the_slots_of_its_ops(case: Any) -> None:
    for link in links_of(case.make(gm)):
        spec = link.spec
        if spec is not None and spec.op is not None:
            assert tuple(slot.name for slot in spec.slots) == spec.op.slots


@pytest.mark.parametrize("name", CALLABLES)
def test_public_names_are_documented(name: str) -> None:
    value = attrgetter(name)(gm)
    documentation = inspect.getdoc(value) or ""
    assert ">>>" in documentation
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        for parameter in signature.parameters:
            assert f"{parameter}:" in documentation, f"{name} does not document {parameter}"


def test_descriptions_are_lost_by_replace() -> None:
    tx = gm.scale(2.0)
    assert tx.description is not None
    edited = tx._replace(update=lambda updates, state, params=None: (updates * 10, state))
    assert edited.description is None
    chained = gm.chain(edited, gm.scale(1.0))
    assert chained.update(np.ones(1), chained.init(None))[0] == 10.0
    assert len(tx) == 2
    init, update = tx
    assert (init, update) == (tx.init, tx.update)
