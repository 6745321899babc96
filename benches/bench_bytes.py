"""Time AdamW with state and parameters of fewer bytes: ``make bench-bytes``.

One flat vector and several ways to store its moments and itself take turns, on each instruction set
of this machine. README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import optree

import _machine
import gradmill as gm
from _contenders import Contender
from _measure import Effort, Timing, measure
from _report import _aligned, head
from _settings import DECAY, RATE
from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Callable

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
TIERS = ("avx512", "avx2", "scalar")


def _adamw(dtype: np.dtype[Any] | None = None) -> Any:
    moments = gm.scale_by_adam(mu_dtype=dtype, nu_dtype=dtype)
    return gm.chain(moments, gm.add_decayed_weights(DECAY), gm.scale(-RATE))


WAYS: dict[str, tuple[Callable[[], Any], np.dtype[Any], bool]] = {
    "float32": (_adamw, FLOAT32, False),
    "8-bit moments": (lambda: gm.quantized_state(_adamw()), FLOAT32, False),
    "bf16 moments": (lambda: _adamw(BFLOAT16), FLOAT32, False),
    "bf16 params": (_adamw, BFLOAT16, False),
    "bf16 params, 8-bit moments": (lambda: gm.quantized_state(_adamw()), BFLOAT16, False),
    "bf16 params, master": (_adamw, BFLOAT16, True),
    "bf16 params, master, 8-bit moments": (lambda: gm.quantized_state(_adamw()), BFLOAT16, True),
}
"""How each is made: the transformation, the dtype of parameters and gradients, a master copy."""


def moved(opt: Any, params: np.ndarray[Any, Any], has_master: bool) -> float:
    """Bytes a parameter that a step cannot but move: gradients read, all else read and written."""
    state = sum(leaf.nbytes for leaf in optree.tree_leaves(opt.state))
    own = 10 * params.size if has_master else 2 * params.nbytes
    return float(params.nbytes + own + 2 * state) / params.size


def contender(name: str, tier: str, size: int) -> tuple[Contender, float]:
    """One way on one instruction set, and the bytes that it moves."""
    make, dtype, has_master = WAYS[name]
    rng = np.random.default_rng(1)
    params = rng.standard_normal(size, np.float32).astype(dtype)
    grads = (0.1 * rng.standard_normal(size, np.float32)).astype(dtype)
    opt = gm.Optimizer(make(), params, master=has_master)

    def step() -> None:
        _core.force(simd=tier)
        opt.step(grads)

    return Contender(f"{name}, {tier}", step, lambda: [params]), moved(opt, params, has_master)


def rows_of(tier: str, size: int, effort: Effort) -> dict[str, tuple[Timing, float]]:
    """All ways on one instruction set."""
    made = [contender(name, tier, size) for name in WAYS]
    timings = measure([one for one, _ in made], effort)
    pairs = zip(WAYS, timings.values(), made, strict=True)
    return {name: (timing, own) for name, timing, (_, own) in pairs}


def table(rows: dict[str, tuple[Timing, float]], size: int) -> str:
    """One line for each way; ratios are float32's time over its own, in the same round."""
    lines = [["", "ms", "ns/param", "float32 / this", "B/param", "by bytes alone", "GB/s"]]
    wide = rows["float32"][1]
    for name, (timing, own) in rows.items():
        time = timing.median
        line = [name, f"{1e3 * time:.2f}", f"{1e9 * time / size:.3f}", f"{1 / timing.ratio:.2f}"]
        lines.append([*line, f"{own:.2f}", f"{wide / own:.2f}", f"{own * size / time / 1e9:.1f}"])
    return "\n".join(_aligned(lines))


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=lambda text: int(float(text)), default=30_000_000)
    parser.add_argument("--tiers", nargs="+", choices=TIERS, default=TIERS[:2])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, _machine.cpus()])
    parser.add_argument("--rounds", type=int, default=9, help="at least; odd")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each table")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("bytes.json"))
    options = parser.parse_args()
    facts, found = _machine.facts(), []
    print(head(facts), flush=True)
    for tier in options.tiers:
        try:
            _core.force(simd=tier)
        except ValueError:
            print(f"\n{tier}: not on this processor")
            continue
        for threads in options.threads:
            with gm.num_threads(threads):
                effort = Effort(options.rounds, 101, options.seconds)
                rows = rows_of(tier, options.params, effort)
            print(f"\n{tier}, {threads} threads", table(rows, options.params), sep="\n", flush=True)
            for name, (timing, own) in rows.items():
                about = {"way": name, "simd": tier, "threads": threads, "bytes_per_param": own}
                found.append({**about, "params": options.params, "seconds": asdict(timing)})
    _core.force()
    text = json.dumps({"machine": facts, "rows": found}, indent=1) + "\n"
    options.output.write_text(text, encoding="utf-8")
    print("written:", options.output)


if __name__ == "__main__":
    main()
