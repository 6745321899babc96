"""Whatever a row of the table or a tree has goes through a file with all of its bits."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradmill as gm
from tests.cases import CASES
from tests.property.strategies import SHAPES, layouts, relayout
from tests.trees import random_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".npz", ".safetensors")
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "master": {"master": True, "rounding": "stochastic", "seed": 7},
}


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def steps(opt: Any, seeds: range, dtype: Any) -> list[Any]:
    seen: list[Any] = []
    for seed in seeds:
        report = opt.step(random_tree(seed, dtype))
        seen.append((report, gm.state_digest((opt.params, opt.master, opt.state))))
    return seen


@pytest.mark.parametrize("setting", ["plain", pytest.param("master", marks=pytest.mark.full)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows_go_on_with_the_same_bits(case: Any, setting: str, tmp_path: Path) -> None:
    dtype = ml_dtypes.bfloat16 if setting == "master" else np.float32
    opt = gm.Optimizer(case.make(gm), random_tree(0, dtype), **SETTINGS[setting])
    steps(opt, range(1, 3), dtype)
    paths = [tmp_path / f"run{suffix}" for suffix in SUFFIXES]
    for path in paths:
        gm.save(path, optimizer=opt)
    before = gm.state_digest((opt.params, opt.master, opt.state))
    expected = steps(opt, range(3, 5), dtype)
    for path in paths:
        other = gm.Optimizer(case.make(gm), random_tree(9, dtype), **SETTINGS[setting])
        gm.load(path, optimizer=other)
        assert gm.state_digest((other.params, other.master, other.state)) == before
        assert steps(other, range(3, 5), dtype) == expected


# Digests take no surrogates.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
keys = st.one_of(
    text,
    st.integers(-3, 3),
    st.none(),
    st.tuples(st.integers(0, 2), st.text("ab", max_size=1)),
)
dtypes = st.sampled_from([*"?bhiqBHIQefdFD"])


@st.composite
def arrays(draw: Any) -> Any:
    array = draw(hnp.arrays(draw(dtypes), draw(st.sampled_from([*SHAPES[:4], (3, 4), (2, 3, 2)]))))
    if array.dtype == np.float16 and draw(st.booleans()):
        array = array.view(ml_dtypes.bfloat16)
    return relayout(array, draw(layouts))


numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers())
trees = st.recursive(
    st.one_of(arrays(), numbers, text),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(gm.EmaState, inner, inner),
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def in_plain_containers(tree: Any) -> Any:
    if hasattr(tree, "_asdict"):
        return {name: in_plain_containers(child) for name, child in tree._asdict().items()}
    if isinstance(tree, dict):
        return {key: in_plain_containers(child) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(in_plain_containers(child) for child in tree)
    return tree


@given(tree=trees, other=trees)
def test_trees(tree: Any, other: Any, folder: Path) -> None:
    for suffix in SUFFIXES:
        path = folder / f"tree{suffix}"
        gm.save(path, tree=tree, other=other)
        found = gm.load(path, tree=tree)["tree"]
        assert gm.state_digest(found) == gm.state_digest(tree)
        expected = {"tree": in_plain_containers(tree), "other": in_plain_containers(other)}
        assert gm.state_digest(gm.load(path)) == gm.state_digest(expected)
        with suppress(gm.errors.GradmillError):
            # Any two trees differ in a way that has a name, or not at all.
            gm.load(path, tree=other)
