"""Each op gives the bits that are written down, on every instruction set of the machine."""

from __future__ import annotations

import pytest

from gradmill._ops.op import NATIVE
from tests.property import golden
from tests.tiers import TIERS, force


def test_every_op_has_a_digest() -> None:
    missing = NATIVE.keys() - golden.ops_of_rows()
    assert not missing, f"add a row to tests/cases/ for {sorted(missing)}"


def test_every_row_has_digests() -> None:
    missing = sorted(golden.missing())
    assert not missing, f"run python -m tests.property.golden, for {missing}"


@pytest.mark.parametrize("fuse", [True, pytest.param(False, marks=pytest.mark.full)])
@pytest.mark.parametrize("tier", TIERS)
def test_digests(tier: str, fuse: bool) -> None:
    if not force(tier, fuse=fuse):
        pytest.skip(f"this machine has no {tier}")
    written = golden.written()
    rows = sorted(written.keys() & golden.ROWS.keys())
    different = [name for name in rows if golden.digests_of(name) != written[name]]
    assert not different, (
        f"the bits of {different} are others than before; if they are meant to be, run"
        " python -m tests.property.golden --changed, and say so in CHANGELOG.md"
    )
