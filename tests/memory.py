"""Bytes of state and bytes moved, for the tables of docs/memory.md.

``python -m tests.memory`` writes the tables anew, from what ``gradmill.explain`` says and from the
times in benches/optimizers.json.
"""

from __future__ import annotations

import inspect
import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

import gradmill as gm

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._run.explanation import Explanation

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "memory.md"
TIMES = ROOT / "benches" / "optimizers.json"
SHAPES = {"kernel": (512, 2048), "bias": (2048,)}
BF16 = ml_dtypes.bfloat16

_PLAIN = gm.adamw(0.1)
_HALVES = gm.adamw(0.1, mu_dtype=BF16, nu_dtype=BF16)
_CODES = gm.quantized_state(_PLAIN)

STORAGES: dict[str, tuple[Any, Any, bool]] = {
    "float64": (np.float64, _PLAIN, False),
    "float32": (np.float32, _PLAIN, False),
    "float32, moments in bfloat16": (np.float32, _HALVES, False),
    "float32, moments in 8 bits": (np.float32, _CODES, False),
    "bfloat16 with a float32 master copy": (BF16, _PLAIN, True),
    "bfloat16 with a float32 master copy, moments in bfloat16": (BF16, _HALVES, True),
    "bfloat16 with a float32 master copy, moments in 8 bits": (BF16, _CODES, True),
    "bfloat16, moments in float32": (BF16, _PLAIN, False),
    "bfloat16 throughout": (BF16, _HALVES, False),
    "bfloat16, moments in 8 bits": (BF16, _CODES, False),
}
"""For each the dtype of parameters and gradients, AdamW, and whether there are master copies."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "contrib.dpsgd": {"l2_norm_clip": 1.0, "noise_multiplier": 1.0, "key": 0},
    "contrib.soap": {"max_precondition_dim": 512},
}
"""What optimizers need beside a learning rate."""


def params_of(dtype: Any) -> dict[str, Any]:
    """The parameters that the tables are about."""
    return {name: np.zeros(shape, dtype) for name, shape in SHAPES.items()}


def optimizers() -> dict[str, Any]:
    """All that are made of a learning rate, by their names."""
    made: dict[str, Any] = {}
    for space, module in (("", gm), ("contrib.", gm.contrib)):
        for name, factory in sorted(vars(module).items()):
            if _is_optimizer(name, factory):
                path = f"{space}{name}"
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    made[path] = factory(0.1, **ARGUMENTS.get(path, {}))
    return made


def _is_optimizer(name: str, factory: Callable[..., Any]) -> bool:
    home = getattr(factory, "__module__", "")
    if not (inspect.isfunction(factory) and home.startswith("gradmill.")):
        return False
    if not home.startswith(("gradmill.optimizers", "gradmill.contrib")):
        return False
    first = next(iter(inspect.signature(factory).parameters), None)
    return first == "learning_rate" and not name.startswith("scale_by")


def figures(plan: Explanation) -> str:
    """The cells of what a step costs."""
    state = plan.state_bytes / plan.parameters
    natives = [part for part in plan.passes if part.kind == "native"]
    moved = f"{plan.bytes_per_param:.1f}".removesuffix(".0")
    runs = f"{len(natives)} passes"
    if len(natives) == 1:
        runs = "one loop" if natives[0].fused else "in blocks"
    if len(natives) < len(plan.passes):
        moved, runs = f"{moved} and new arrays", f"NumPy, {runs}"
    return f"{state:.2f} | {moved} | {runs}"


def storages() -> str:
    """The table of storages of AdamW."""
    lines = ["| parameters and gradients | state | moved | runs |", "|---|---|---|---|"]
    for name, (dtype, tx, master) in STORAGES.items():
        plan = gm.explain(tx, params_of(dtype), master=master)
        lines.append(f"| {name} | {figures(plan)} |")
    return "\n".join(lines)


def all_optimizers() -> str:
    """The table of optimizers, in float32."""
    cells = {cell["chain"]: cell["seconds"] for cell in json.loads(TIMES.read_text())["cells"]}
    lines = ["| optimizer | state | moved | runs | time |", "|---|---|---|---|---|"]
    for path, tx in optimizers().items():
        seconds = cells.get(path.removeprefix("contrib."))
        time = ""
        if seconds is not None:
            ratio = seconds["in place"]["median"] / cells["adamw"]["in place"]["median"]
            time = f"{ratio:.2f}"
        lines.append(f"| `{path}` | {figures(gm.explain(tx, params_of(np.float32)))} | {time} |")
    return "\n".join(lines)


TABLES = {"storages": storages, "optimizers": all_optimizers}


def page(text: str) -> str:
    """The page with tables as they are now."""
    for name, table in TABLES.items():
        marks = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        pattern = re.escape(marks[0]) + ".*?" + re.escape(marks[1])
        text, count = re.subn(pattern, marks[0] + table() + marks[1], text, flags=re.DOTALL)
        assert count == 1, name
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
