"""Digests of runs, to compare with those of other machines, instruction sets and versions.

``python -m tests.property.golden`` writes those of new rows, and with ``--changed`` all of them,
after a change that is meant to change bits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import gradmill as gm
from gradmill import _core
from tests.cases import CASES

FILE = Path(__file__).with_name("golden.json")
STEPS = 5
SHAPES = {"bias": (5,), "conv": (2, 3, 2, 2), "empty": (0, 3), "kernel": (9, 7), "scalar": ()}
LONG = 2100
DTYPES = {"f32": np.float32, "f64": np.float64, "bf16": ml_dtypes.bfloat16}
ROWS = {case.name: case for case in CASES if case.is_native}
"""Those whose bits are the kernels'; NumPy's sums have others on other processors."""


def tree(salt: int, dtype: Any) -> dict[str, Any]:
    """Multiples of 1/64, which every dtype holds, from arithmetic that is the same everywhere."""

    def leaf(at: int, shape: tuple[int, ...]) -> Any:
        size = int(np.prod(shape))
        numbers = (np.arange(size, dtype=np.int64) + at + 1) * (7919 + salt) % 251 - 125
        return np.asarray(numbers.reshape(shape) / 64, dtype)

    leaves = {name: leaf(at, shape) for at, (name, shape) in enumerate(SHAPES.items())}
    return {**leaves, "kernel": leaf(9, (LONG // 7, 7)), "none": None}


def digest_of(tx: Any, dtype: Any) -> str:
    """Everything that some steps give, in place and functional, which must agree."""
    params = tree(0, dtype)
    opt = gm.Optimizer(tx, tree(0, dtype))
    state, seen = tx.init(params), []
    for step in range(STEPS):
        grads = tree(step + 1, dtype)
        if step == STEPS - 2:
            grads["kernel"][0, :2] = [np.nan, -0.0]
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        opt.step(grads)
        seen.append((updates, state, params))
        assert gm.state_digest((opt.state, opt.params)) == gm.state_digest((state, params))
    return gm.state_digest(seen)


def digests_of(name: str) -> dict[str, str]:
    """For each dtype the digest of a row's run."""
    return {short: digest_of(ROWS[name].make(gm), dtype) for short, dtype in DTYPES.items()}


def written() -> dict[str, dict[str, str]]:
    """What the file has."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text())
    return found


def missing() -> set[str]:
    """The rows that have no digest, and the digests that have no row."""
    return written().keys() ^ ROWS.keys()


def ops_of_rows() -> set[str]:
    """The ops that have a digest."""
    return {op for case in ROWS.values() for op in case.ops}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changed", action="store_true", help="also those that are there")
    changed = parser.parse_args().changed
    _core.force()
    before = {} if changed else written()
    after = {name: before.get(name) or digests_of(name) for name in ROWS}
    FILE.write_text(json.dumps(after, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
