"""How many cycles an element the hot loops take on processors that are not here: ``make cycles``.

The loops are read back from a release build and given to llvm-mca, which knows how processors issue
instructions, and not how caches answer. Fails if a loop has become slower than in the table that is
kept, by more than a tenth; ``--write`` replaces that.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

from machine_code import Loop, disassembler, loops_of

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "benches" / "cycles.json"
PROCESSORS = (
    "znver2",
    "znver3",
    "znver4",
    "haswell",
    "skylake",
    "icelake-server",
    "sapphirerapids",
    "alderlake",
)
WITHOUT_AVX512 = {"znver2", "znver3", "haswell", "skylake", "alderlake"}
ITERATIONS = 200
TOLERANCE = 1.10

Cycles: TypeAlias = dict[str, dict[str, float]]
"""For each loop and tier, by processor."""


def _apply(moment: str, decays: str, scaled: str = "false", types: str = "f32, f32, f32") -> str:
    return rf"ApplyLoop<f32, .*Fused<f32, .*{moment}, {scaled}, {decays}>, {types}"


def _ended(moment: str, decays: str, tail: str) -> str:
    """One that an op with a slot of its own ends."""
    return rf"ApplyLoop<f32, .*Ended<.*Fused<f32, .*{moment}, true, {decays}>, .*{tail}<f32>, "


def _coded(moment: str, decays: str, scaled: str) -> str:
    """One over parameters in float32 with state in 8 bits a number."""
    return rf"CodedLoop<.*Fused<f32, .*{moment}, {scaled}, {decays}>, f32, f32"


LOOPS = {
    "adamw": (_apply(r"ScaleByAdam<f32, false, false>", "false, true"), 3),
    "clip + adamw": (_apply(r"ScaleByAdam<f32, false, false>", "false, true", "true"), 3),
    "nadamw": (_apply(r"ScaleByAdam<f32, true, false>", "false, true"), 3),
    "sgd": (_apply("Nothing", "false, false"), 1),
    "clip + sgd": (_apply("Nothing", "false, false", "true"), 1),
    "momentum": (_apply(r"Trace<f32, false>", "false, false"), 2),
    "rmsprop": (_apply(r"ScaleByRms<f32>", "false, false"), 2),
    "three scalings": (_apply("Scale<f32>", "false, false", "true"), 1),
    "schedule_free_adamw": (_ended("ScaleByRms<f32>", "false, true", "ScheduleFree"), 3),
    "adamw with an average": (
        _ended("ScaleByAdam<f32, false>", "false, true", "ParameterAverage"),
        4,
    ),
    "ema": (_apply(r"Ema<f32>", "false, false"), 2),
    "adamw, bf16 with f32 moments": (
        _apply(r"ScaleByAdam<f32, false, false>", "false, true", "true", r"\S*bf16, \S*bf16, f32"),
        2,
    ),
    "sum of squares": (r"SumSquares<f32>", 0),
}
"""The name of each loop's function, and how many arrays of float32 it writes, if any."""

IN_CODES = {
    "adamw, 8-bit moments": _coded(r"ScaleByAdam<f32, false, false>", "false, true", "true"),
    "momentum, 8-bit moments": _coded(r"Trace<f32, false>", "false, false", "true"),
}
"""The same of loops that take two groups of codes in each turn."""

TWO_GROUPS = 64
"""The elements of these."""


def scheduler() -> str | None:
    """The newest llvm-mca, where there is one."""
    names = [f"llvm-mca-{version}" for version in range(30, 15, -1)]
    return next((found for name in [*names, "llvm-mca"] if (found := shutil.which(name))), None)


def elements(loop: Loop, written: int) -> int:
    """How many elements one turn of a loop in single precision works on."""
    total = 0
    for line in loop.body:
        operands = line.partition(" ")[2].strip()
        is_store = re.match(r"vmov[au]ps", line) and operands.endswith(")")
        is_load = "(" in operands and not operands.endswith(")") and "(%rsp)" not in operands
        if is_store if written else is_load and "cvt" in line:
            total += _lanes(line, operands)
    return total // max(written, 1)


def _lanes(line: str, operands: str) -> int:
    """The elements of a vector in single precision that is moved or converted."""
    registers = re.findall(r"%([xyz])mm", operands)
    lanes: int = max({"x": 4, "y": 8, "z": 16}[kind] for kind in registers)
    if "cvtps2pd" in line:
        return lanes // 2
    return lanes


def measure(loop: Loop, processor: str) -> float | None:
    """Cycles a turn, where the processor has these instructions."""
    # What jumps back depends on addresses, of which there are none here.
    lines = [re.sub(r"^j\w+\s+.*", "", line) for line in loop.body]
    program = scheduler()
    assert program is not None
    command = [program, f"-mcpu={processor}", f"-iterations={ITERATIONS}"]
    command += ["-skip-unsupported-instructions=lack-sched"]
    done = subprocess.run(  # noqa: S603
        command, input="\n".join(lines), capture_output=True, text=True, check=False
    )
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    return int(found[1]) / ITERATIONS if found and not done.returncode else None


def table(loops: list[Loop]) -> Cycles:
    """Cycles an element of all loops on all processors."""
    found: Cycles = {}
    for tier in ("avx2", "avx512"):
        own = [loop for loop in loops if loop.tier == tier and loop.is_vector]
        for name, (pattern, written) in LOOPS.items():
            # Of several, long arrays meet the one that takes most elements at once.
            loop = max(_named(own, pattern), key=lambda one: elements(one, written))
            found[f"{name}, {tier}"] = _row(loop, tier, elements(loop, written))
        for name, pattern in IN_CODES.items():
            loop = max(_named(own, pattern), key=lambda one: len(one.body))
            found[f"{name}, {tier}"] = _row(loop, tier, TWO_GROUPS)
    return found


def _named(loops: list[Loop], pattern: str) -> list[Loop]:
    """Those of the loops whose function has such a name."""
    found = [loop for loop in loops if re.search(pattern, loop.function)]
    if not found:
        raise SystemExit(f"no loop is found for {pattern}")
    return found


def _row(loop: Loop, tier: str, count: int) -> dict[str, float]:
    """Cycles an element of a loop that takes so many in a turn, by processor."""
    row = {}
    for processor in PROCESSORS:
        if tier == "avx512" and processor in WITHOUT_AVX512:
            continue
        cycles = measure(loop, processor)
        if cycles is not None:
            row[processor] = round(cycles / count, 3)
    return row


def text(cycles: Cycles) -> str:
    """The table, for a page."""
    lines = ["| cycles an element | " + " | ".join(PROCESSORS) + " |"]
    lines.append("|---" * (len(PROCESSORS) + 1) + "|")
    for name, row in cycles.items():
        cells = [f"{row[name]:.2f}" if name in row else "" for name in PROCESSORS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def slower(old: Cycles, new: Cycles) -> list[str]:
    """What takes more cycles than it did, by more than a tenth."""
    return [
        f"{name} on {processor}: {old[name][processor]} cycles an element, now {cycles}"
        for name, row in new.items()
        for processor, cycles in row.items()
        if cycles > TOLERANCE * old.get(name, {}).get(processor, float("inf"))
    ]


def main() -> int:
    """Print the table; 1 if anything has become slower than in the one that is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path, help="a release build with the names of all types")
    parser.add_argument("--write", action="store_true", help="keep what is found")
    options = parser.parse_args()
    if disassembler() is None or scheduler() is None:
        print("needs objdump and llvm-mca 16 or newer (Debian: binutils, llvm-19)")
        return 2
    found = table(loops_of(options.library))
    print(text(found))
    if options.write:
        TABLE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return 0
    changes = slower(json.loads(TABLE.read_text(encoding="utf-8")), found)
    print("\n".join(changes) or "none has become slower")
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
