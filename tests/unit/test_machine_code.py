"""The hot loops of the extension as the compiler has made them."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from gradmill import _core

SCRIPT = Path(__file__).parents[2] / "tools" / "machine_code.py"


@pytest.fixture(name="hot", scope="module")
def find_hot_loops() -> list[Any]:
    spec = importlib.util.spec_from_file_location("machine_code", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    if module.disassembler() is None:
        pytest.skip("no objdump is found")
    found = [loop for loop in module.loops_of(Path(_core.__file__)) if loop.tier]
    if not found:
        pytest.skip("a build without kernels of x86-64, or without symbols")
    return found


def lines(hot: list[Any], pattern: str) -> list[str]:
    return [
        f"{line} in {loop.function}"
        for loop in hot
        for line in loop.body
        if re.match(pattern, line)
    ]


def calculates(loop: Any, kind: str) -> bool:
    return any(re.match(rf"v(add|sub|mul){kind}[sd]\b", line) for line in loop.body)


def test_there_are_loops(hot: list[Any]) -> None:
    assert {loop.tier for loop in hot} == {"avx2", "avx512"}
    assert len(hot) > 100


def test_no_store_is_masked(hot: list[Any]) -> None:
    """It takes tens of cycles on Zen."""
    assert not lines(hot, r"vmaskmovp[sd]\s+%[xy]mm\d+,\s*%[xy]mm\d+")
    assert not lines(hot, r"vmov[aud]\w*\s+%[xyz]mm\d+,.*\)\{%k\d\}")


def test_nothing_is_gathered_or_scattered(hot: list[Any]) -> None:
    assert not lines(hot, r"vp?(gather|scatter)")


def test_nothing_is_called(hot: list[Any]) -> None:
    assert not lines(hot, r"call")


def takes_codes(loop: Any) -> bool:
    """Whether it looks for the largest number of groups that are stored in 8 bits."""
    return any(re.match(r"vpmaxud\b", line) for line in loop.body)


def test_no_division_or_root_is_of_one_element(hot: list[Any]) -> None:
    assert not lines([loop for loop in hot if not takes_codes(loop)], r"v(div|sqrt)s[sd]\b")


def test_codes_take_one_division_a_group(hot: list[Any]) -> None:
    """Two groups at once, of two slots at most."""
    loops = [loop for loop in hot if takes_codes(loop)]
    assert {loop.tier for loop in loops} == {"avx2", "avx512"}
    for loop in loops:
        assert len(lines([loop], r"vdivss\b")) <= 4
        assert not lines([loop], r"vsqrts[sd]\b")


def test_arithmetic_of_one_element_is_what_vectors_leave_over(hot: list[Any]) -> None:
    whole = {loop.function for loop in hot if calculates(loop, "p")}
    single = {loop.function for loop in hot if calculates(loop, "s")}
    assert single <= whole
