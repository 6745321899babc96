"""Tests of each row of the table."""

from __future__ import annotations

import pytest

from tests.cases import CASES


def each_row(*always: str) -> pytest.MarkDecorator:
    """For what takes long: these rows are always run, and all of them by ``make test-full``."""
    assert set(always) <= {case.name for case in CASES}
    rows = [
        pytest.param(case, id=case.name, marks=[] if case.name in always else pytest.mark.full)
        for case in CASES
    ]
    return pytest.mark.parametrize("case", rows)
