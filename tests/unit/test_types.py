"""Type checkers see the types of `types_seen.py`: those of results, and which calls are none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gradmill as gm

SEEN = Path(__file__).with_name("types_seen.py")
PROJECT = SEEN.parents[2]
PACKAGES = Path(gm.__file__).parents[1]


def check(command: list[str], folder: Path, changed: str, line: str) -> list[str]:
    """The complaints about a copy of the file in which one line is another."""
    text = SEEN.read_text()
    assert text.count(line) == 1
    copy = folder / "types_seen.py"
    copy.write_text(text.replace(line, changed))
    done = subprocess.run(  # noqa: S603  (the checkers that are installed)
        [*command, str(copy)], capture_output=True, text=True, cwd=folder, check=False
    )
    return [said for said in done.stdout.splitlines() if "error" in said and "types_seen" in said]


LINE = "assert_type(opt.params, Params)"
WRONG = "assert_type(opt.params, list[int])"


def test_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {PACKAGES}\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(PROJECT / ".mypy_cache")]
    assert check(command, tmp_path, LINE, LINE) == []
    (complaint,) = check(command, tmp_path, WRONG, LINE)
    assert "assert-type" in complaint


def test_pyright(tmp_path: Path) -> None:
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("pyright is not installed")
    (tmp_path / "pyrightconfig.json").write_text(
        f'{{"extraPaths": ["{PACKAGES}"], "reportUnnecessaryTypeIgnoreComment": true,'
        ' "enableTypeIgnoreComments": false, "typeCheckingMode": "standard"}'
    )
    command = [pyright, "--pythonpath", sys.executable]
    assert check(command, tmp_path, LINE, LINE) == []
    (complaint,) = check(command, tmp_path, WRONG, LINE)
    assert "reportAssertTypeFailure" in complaint
