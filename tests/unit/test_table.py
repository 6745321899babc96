"""The tables agree with each other and with the documentation."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill import _core
from gradmill._formulas import FORMULAS
from gradmill._scalars import SCALARS
from gradmill._state import links_of
from tests.cases import CASES

OPS = {op["name"]: op for op in _core.list_ops()}
PUBLIC = sorted(name for name in vars(gm) if not name.startswith("_"))
MODULES = ("errors", "jax", "optimizer", "optimizers", "schedules", "transforms")
CALLABLES = [name for name in PUBLIC if name not in MODULES]


def test_every_op_has_a_formula_with_its_scalars_and_slots() -> None:
    assert set(OPS) <= set(FORMULAS), (
        f"the core lists ops without a formula: {sorted(set(OPS) - set(FORMULAS))}"
    )
    assert set(FORMULAS) == set(OPS)
    for name, formula in FORMULAS.items():
        parameters = inspect.signature(formula).parameters.values()
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        assert positional == ["xp", "u", "p", *OPS[name]["slots"]]
        reduces = OPS[name]["reduces"]
        knowledge = [reduces] if reduces in ("norm", "finite") else []
        knowledge = {"add_noise": ["normal"], "adaptive_grad_clip": ["axes"]}.get(name, knowledge)
        assert keywords == [*SCALARS[name], *knowledge]


def test_every_op_stands_in_a_case() -> None:
    named = {op for case in CASES for op in case.ops}
    missing, unknown = sorted(set(OPS) - named), sorted(named - set(OPS))
    assert not missing, (
        "tests/cases.py lacks a row for each of these ops of the core: "
        + ", ".join(f'Case("{op}", lambda m: m.{op}(...), ("{op}",))' for op in missing)
    )
    assert not unknown, f"tests/cases.py names ops that the core does not list: {unknown}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_names_its_ops(case: Any) -> None:
    links = list(links_of(case.make(gm)))
    specs = [link.spec for link in links if link.spec is not None]
    assert len(specs) == len(links) - case.python
    ops = tuple(spec.op for spec in specs if spec.op is not None)
    assert ops == case.ops, f"the row {case.name} of tests/cases.py consists of {ops}"
    for spec in specs:
        if spec.op is not None:
            assert [slot.name for slot in spec.slots] == OPS[spec.op]["slots"]


@pytest.mark.parametrize("name", CALLABLES)
def test_public_names_are_documented(name: str) -> None:
    documentation = inspect.getdoc(getattr(gm, name)) or ""
    assert ">>>" in documentation
    value = getattr(gm, name)
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
