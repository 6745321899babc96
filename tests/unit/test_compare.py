"""benches/compare.py finds what became slower, whatever the machine did meanwhile."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benches" / "compare.py"


@pytest.fixture(name="compare")
def load() -> Any:
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["compare"] = module
    spec.loader.exec_module(module)
    return module


def cell(chain: str, reference: str, ours: float, theirs: float) -> dict[str, Any]:
    """Seconds and the ratios to the first contender that a run records."""
    seconds = {
        "in place": {"median": ours, "ratio": 1.0},
        reference: {"median": theirs, "ratio": theirs / ours},
    }
    return {"chain": chain, "size": "1e7", "seconds": seconds}


def run_of(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"machine": {}, "cells": list(cells)}


def test_a_slower_machine_is_no_regression(compare: Any, tmp_path: Path) -> None:
    old = run_of(cell("adamw", "limit", 1.0, 0.9), cell("sgd", "NumPy", 1.0, 5.0))
    new = run_of(cell("adamw", "limit", 3.0, 2.7), cell("sgd", "NumPy", 2.0, 10.0))
    assert [change.regressed for change in compare.changes(old, new)] == [False, False]
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, run in zip(paths, (old, new), strict=True):
        path.write_text(json.dumps(run))
    assert compare.main(list(map(str, paths))) == 0


def test_a_lower_share_of_the_limit_is_one(
    compare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = run_of(cell("adamw", "limit", 1.0, 0.9), cell("gone", "limit", 1.0, 1.0))
    new = run_of(cell("adamw", "limit", 1.0, 0.8), cell("fresh", "limit", 1.0, 0.1))
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, run in zip(paths, (old, new), strict=True):
        path.write_text(json.dumps(run))
    assert compare.main(list(map(str, paths))) == 1
    printed = capsys.readouterr().out
    assert "SLOWER" in printed
    assert "1 compared, 1 more than 10% slower" in printed
