#!/usr/bin/env python3
"""Link an extension for glibc 2.28, of 2018, whatever this machine has; rustc calls this as ``ld``.

The package ziglang has LLD, and the names and versions of what each glibc offers. LLD also folds
functions with the same code into one: a sixth of a library that is made for three instruction sets.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ZIG = [sys.executable, "-m", "ziglang"]
TARGET = f"{platform.machine()}-linux-gnu.2.28"
LIBRARIES = ("c", "m", "pthread", "dl", "rt", "util", "gcc_s")
"""What rustc asks for by name."""


def main() -> int:
    """Link; the arguments are those of ``ld``."""
    asked_for = {f"-l{name}" for name in LIBRARIES}
    arguments = [word for word in sys.argv[1:] if word not in asked_for]
    of_gcc = [found_by_gcc(name) for name in ("libgcc_s.so.1", "crtbeginS.o", "crtendS.o")]
    command = [*ZIG, "ld.lld", "--icf=all", *arguments, "--as-needed", *glibc(), *of_gcc]
    return subprocess.run(command, check=False).returncode  # noqa: S603  (what rustc asked for)


def glibc() -> list[str]:
    """Libraries with the names of that glibc and no code, which zig makes and keeps."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.c"
        source.write_text("int main(void) { return 0; }\n")
        names = [f"-l{name}" for name in LIBRARIES if name != "gcc_s"]
        command = [*ZIG, "cc", "-target", TARGET, str(source), *names, "-o", f"{folder}/empty"]
        said = subprocess.run(  # noqa: S603  (our own)
            command,
            check=True,
            capture_output=True,
            env={**os.environ, "ZIG_VERBOSE_LINK": "1"},
            text=True,
        )
    return re.findall(r"\S+/lib(?:c_nonshared\.a|\w+\.so\.\d+)(?=\s)", said.stdout + said.stderr)


def found_by_gcc(name: str) -> str:
    """Where the compiler of this machine has a file."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603  (our own)


sys.exit(main())
