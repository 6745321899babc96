"""Python code in processes of its own, which may not hang."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PLANTED = os.environ.get("GRADMILL_CORE", str(TARGET / "debug" / "lib_core.so"))
"""The extension with panics to plant, which ``make test`` builds."""


def python(
    code: str | Path,
    *arguments: object,
    timeout: float = 500,
    planted: bool = False,
    fails: bool = False,
    **environment: str,
) -> str:
    """What ``code`` prints, or the script of that path; where it is to fail, its error.

    ``arguments`` are its ``sys.argv[1:]``. One that does not end is killed.
    """
    if planted and not Path(PLANTED).exists():
        pytest.skip("needs the extension with planted panics, which make test builds")
    prelude = "import tests.other_core\n" if planted else ""
    program = [str(code)] if isinstance(code, Path) else ["-c", prelude + textwrap.dedent(code)]
    result = subprocess.run(  # noqa: S603  (the code stands in the tests)
        [sys.executable, *program, *map(str, arguments)],
        env={
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "GRADMILL_CORE": PLANTED,
            **environment,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return (result.stderr if fails else result.stdout).strip()
