"""docs/memory.md tells of what there is."""

from __future__ import annotations

import gradmill as gm
from tests.memory import PAGE, optimizers, page


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert text == page(text), "run: python -m tests.memory"


def test_optimizers_are_all_there() -> None:
    """Those of both namespaces, and none of what they consist of."""
    names = optimizers().keys()
    assert {"adamw", "sm3", "contrib.apollo_mini", "contrib.adam_mini", "contrib.dpsgd"} <= names
    assert not {"contrib.scale_by_muon", "polyak_sgd", "scale_by_adam"} & names
    assert len(names) > 50
    assert all(hasattr(gm.contrib if "." in name else gm, name.split(".")[-1]) for name in names)
