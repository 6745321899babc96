"""Each op gives the bits that are written down, on every instruction set of the machine."""

from __future__ import annotations

import json

import pytest

from gradmill import _core
from gradmill._ops.op import NATIVE
from tests.property.golden import FILE, digests, ops_of_rows

TIERS = ["scalar", "avx2", "avx512"]
GOLDEN = json.loads(FILE.read_text())


def test_every_op_has_a_digest() -> None:
    assert ops_of_rows() >= NATIVE


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("tier", TIERS)
def test_digests(tier: str, fuse: bool) -> None:
    try:
        _core.force(tier, fuse)
    except ValueError:
        pytest.skip(f"this machine has no {tier}")
    found = digests()
    different = [name for name in GOLDEN.keys() | found if GOLDEN.get(name) != found.get(name)]
    assert not different
