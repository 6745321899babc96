"""Each public name is known to the site, and each page and link of docs/ leads somewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import gradmill as gm

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = ("api", "gallery")
"""Folders that are there once the site has been built."""
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in MADE)


def loaded(name: str) -> ModuleType:
    """A module of tools/site."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def names() -> list[Any]:
    found: list[Any] = loaded("public_names").public_names()
    return found


def test_modules_are_found(names: list[Any]) -> None:
    modules = {name.module for name in names}
    assert modules >= {"gradmill", "gradmill.contrib", "gradmill.experimental.aggregating"}
    assert "gradmill.adapters.evolution" in modules
    assert not [module for module in modules if "._" in module]


def test_each_public_name_has_a_page_with_something_on_it(names: list[Any]) -> None:
    paths = {name.path for name in names}
    for short in vars(gm):
        if not short.startswith("_") and not isinstance(getattr(gm, short), ModuleType):
            assert f"gradmill.{short}" in paths
    assert len(paths) == len(names)
    assert not [name.path for name in names if not name.summary]


def test_a_name_of_two_modules_has_one_page(names: list[Any]) -> None:
    (adam,) = (name for name in names if name.path == "gradmill.adam")
    assert adam.others == ["gradmill.optimizers.adam"]
    assert not [name for name in names if name.path == "gradmill.optimizers.adam"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_to_other_pages(page: Path, names: list[Any]) -> None:
    made = {f"{name.path}.rst" for name in names} | {"index.md", "index.rst"}
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("#"):
            continue
        target = (page.parent / link.partition("#")[0]).resolve()
        if target.parent == DOCS / "api":
            assert target.name in made, f"{page.name}: {link}"
        elif target.parent == DOCS / "gallery":
            assert (ROOT / "examples" / f"{target.stem}.py").exists(), f"{page.name}: {link}"
        else:
            assert target.exists(), f"{page.name}: {link}"


def test_each_page_is_in_a_table_of_contents() -> None:
    found = set()
    for page in PAGES:
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            found |= {(page.parent / entry).resolve() for entry in entries}
    missing = [page for page in PAGES if page.with_suffix("") not in found]
    assert missing == [DOCS / "index.md"]
