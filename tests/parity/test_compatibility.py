"""docs/compatibility.md tells of what there is."""

from __future__ import annotations

import optax
import pytest

from tests.compatibility import PAGE, SPACES, names_of, page, status


@pytest.mark.skipif(
    f"optax {optax.__version__}," not in PAGE.read_text(),
    reason="the page is about another version of optax",
)
def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.compatibility"


@pytest.mark.parametrize("space", [space for space in SPACES if "." not in space])
def test_every_name_of_optax_stands_on_the_page(space: str) -> None:
    text = PAGE.read_text()
    assert names_of(space)
    assert [name for name in names_of(space) if f"`{name}`" not in text] == []


def test_what_is_said_of_a_name() -> None:
    unsafe = {"clip_by_global_norm"}
    assert status("", "clip_by_global_norm", unsafe) == "same, [safer](deviations.md)"
    assert status("", "global_norm", unsafe) == "same"
    assert status("", "partition", unsafe) == "superset"
    assert status("", "l2_loss", unsafe).startswith("left out: gradmill takes gradients")
    assert status("tree", "clip", {"clip"}) == "same"
    assert status("contrib", "ProdigyState", unsafe) == "same"
