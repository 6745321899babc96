"""Run a command that says much, and show one line of it at a time.

python tools/shown.py LABEL COMMAND ...

On a terminal the line under way is overwritten by the next one; in a log only the label and the
time appear. A command that fails has all of its output printed, and its exit status is kept.
"""

import shutil
import subprocess
import sys
import time

label, *command = sys.argv[1:]
begun = time.monotonic()
is_terminal = sys.stdout.isatty()
said = []


def show(text: str) -> None:
    """Print it over the line that stands there."""
    width = shutil.get_terminal_size().columns - 1
    sys.stdout.write(f"\r\033[K{text[:width]}")
    sys.stdout.flush()


sys.stdout.write(label if is_terminal else f"{label}\n")
sys.stdout.flush()
with subprocess.Popen(  # noqa: S603  (what the Makefile says)
    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
) as process:
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if is_terminal and line.strip():
            show(f"{label}: {line.strip()}")
seconds = time.monotonic() - begun
if is_terminal:
    show(f"{label}: {seconds:.0f} s\n")
if process.returncode:
    sys.stdout.write("".join(said))
sys.exit(process.returncode)
