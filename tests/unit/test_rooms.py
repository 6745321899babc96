"""The package is built in rooms, of files with one idea each."""

from __future__ import annotations

import ast
from pathlib import Path

import gradmill as gm

PROJECT = Path(__file__).parents[2]
PACKAGE = Path(gm.__file__).parent
FOLDERS = ("python", "tests", "benches", "examples", "tools")


def long_files(root: Path, most: int = 500) -> list[str]:
    """The Python files that have more lines than that."""
    files = [path for name in FOLDERS for path in (root / name).rglob("*.py*")]
    sources = [path for path in files if path.suffix in {".py", ".pyi"}]
    return [str(path) for path in sources if len(path.read_text().splitlines()) > most]


def taken_from_the_package(root: Path) -> list[str]:
    """Imports from the package itself in its rooms, which hide the modules that they reach."""
    taken = []
    for path in root.rglob("*.py"):
        if path == root / "__init__.py" or path.parent.name == "jax":
            # Nobody stands above these.
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [name.name for name in node.names] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import) and any(n.name == "gradmill" for n in node.names):
                names = ["gradmill"]
            elif not (isinstance(node, ast.ImportFrom) and node.module == "gradmill"):
                continue
            taken += [
                f"{path}: {name}" for name in names if name not in {"_core", "errors", "tree"}
            ]
    return taken


def test_no_file_is_long() -> None:
    assert not long_files(PROJECT)


def test_few_files_lie_outside_the_rooms() -> None:
    loose = [path for path in PACKAGE.iterdir() if path.is_file()]
    assert len(loose) <= 12


def test_modules_say_where_they_import_from() -> None:
    """The linter of imports takes those from the package itself for the extension module."""
    assert not taken_from_the_package(PACKAGE)


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    room = tmp_path / "python" / "gradmill" / "_data"
    room.mkdir(parents=True)
    (room / "long.py").write_text("x = 1\n" * 501)
    (room / "sly.py").write_text("from gradmill import _core, chain\nimport gradmill as gm\n")
    assert long_files(tmp_path) == [str(room / "long.py")]
    sly = str(room / "sly.py")
    assert taken_from_the_package(tmp_path) == [f"{sly}: chain", f"{sly}: gradmill"]
