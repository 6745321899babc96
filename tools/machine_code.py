"""The loops of a library, as they are in its machine code."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOT = re.compile(r"pulp::x86::v(?P<level>[34]).*::vectorize::imp")
"""The name of a function that holds the loops of one kernel on one instruction set."""
TIERS = {"3": "avx2", "4": "avx512"}

_FUNCTION = re.compile(r"^([0-9a-f]+) <(.*)>:$")
_INSTRUCTION = re.compile(r"^\s+([0-9a-f]+):\s+(\S.*)$")
_JUMP = re.compile(r"^j\w+\s+([0-9a-f]+)\b")


@dataclass(frozen=True)
class Loop:
    """An innermost loop.

    Attributes:
        function: The function that it is in.
        body: Its instructions, from the first to the jump back.
    """

    function: str
    body: tuple[str, ...]

    @property
    def tier(self) -> str | None:
        """The instruction set that it was compiled for, where it is a kernel's."""
        found = HOT.search(self.function)
        return TIERS[found["level"]] if found else None

    @property
    def is_vector(self) -> bool:
        """Whether it computes or moves whole vectors."""
        return any(re.match(r"v\w+p[sd]\b|vmovdq|vp\w+\b.*[yz]mm", line) for line in self.body)


def disassembler() -> str | None:
    """The program that reads machine code, where there is one."""
    return shutil.which("objdump") or shutil.which("llvm-objdump")


def loops_of(library: Path) -> list[Loop]:
    """All innermost loops of a library that still has its symbols."""
    program = disassembler()
    assert program is not None
    command = [program, "-d", "-C", "--no-show-raw-insn", str(library)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return [loop for name, code in _functions(text) for loop in _innermost(name, code)]


def _functions(text: str) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    name, code = "", []
    for line in text.splitlines():
        if found := _INSTRUCTION.match(line):
            # Comments and the names of targets are the disassembler's.
            plain = re.sub(r"\s*(<.*>|#.*)$", "", found[2].split(" # ")[0])
            code.append((int(found[1], 16), plain.strip()))
        elif found := _FUNCTION.match(line):
            if name:
                yield name, code
            # Many have the same name.
            name, code = f"{found[2]} at {found[1].lstrip('0')}", []
    if name:
        yield name, code


def _innermost(name: str, code: list[tuple[int, str]]) -> list[Loop]:
    position = {address: at for at, (address, _) in enumerate(code)}
    spans = []
    for at, (_, line) in enumerate(code):
        found = _JUMP.match(line)
        start = position.get(int(found[1], 16), at) if found else at
        # What a function returns in the middle of is a rare branch that stands behind its end.
        if start < at and not any(line.startswith("ret") for _, line in code[start:at]):
            spans.append((start, at))
    inner = [
        (start, end)
        for start, end in spans
        if not any(
            other != (start, end) and start <= other[0] and other[1] <= end for other in spans
        )
    ]
    return [Loop(name, tuple(line for _, line in code[s : e + 1])) for s, e in inner]
