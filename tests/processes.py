"""Python code in processes of its own, which may not hang."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLANTED = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "lib_core.so"
"""The extension with panics to plant, which ``make test`` builds."""

WITH_PLANTED = f"""
import sys, warnings
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
loader = ExtensionFileLoader("gradmill._core", {str(PLANTED)!r})
core = module_from_spec(spec_from_loader(loader.name, loader))
loader.exec_module(core)
sys.modules["gradmill._core"] = core
warnings.filterwarnings("ignore", ".*debug.*", RuntimeWarning)
"""


def python(
    code: str | Path,
    *arguments: object,
    timeout: float = 120,
    planted: bool = False,
    fails: bool = False,
    **environment: str,
) -> str:
    """What ``code`` prints, or the script of that path; where it is to fail, its error.

    ``arguments`` are its ``sys.argv[1:]``. One that does not end is killed.
    """
    if planted and not PLANTED.exists():
        pytest.skip("needs the extension with planted panics, which make test builds")
    prelude = WITH_PLANTED if planted else ""
    program = [str(code)] if isinstance(code, Path) else ["-c", prelude + textwrap.dedent(code)]
    result = subprocess.run(  # noqa: S603  (the code stands in the tests)
        [sys.executable, *program, *map(str, arguments)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return (result.stderr if fails else result.stdout).strip()
