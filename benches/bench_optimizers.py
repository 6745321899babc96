"""Time the ten most used optimizers on 10^7 parameters: ``make bench-optimizers``.

gradmill in place, jitted optax with donated buffers, and the memory limit of the optimizer's own
bytes take turns over one network of matrices and biases. README.md says how to read the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

import _machine
import gradmill as gm
from _chains import CHAINS, Chain
from _contenders import FUNCTIONAL, IN_PLACE, LIMIT, OPTAX, check, contenders
from _measure import Effort, measure
from _report import Cell, Target, _aligned, head, targets
from _settings import DECAY, RATE
from _trees import Size, leaves, map_tree
from bench_step import save

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PARAMS = 10_000_000
SMALL = 100_000
"""Where all must agree before they are timed."""
BLOCK = {"up": {"w": (512, 2048), "b": (2048,)}, "square": {"w": (1000, 1000), "b": (1000,)}}
BLOCKS = 5
"""So many make 1.03 * 10^7 parameters."""


def _adafactor(api: Any) -> Any:
    return api.adafactor(RATE)


def _lamb(api: Any) -> Any:
    return api.lamb(RATE, weight_decay=DECAY)


def _muon(api: Any) -> Any:
    return api.contrib.muon(RATE, weight_decay=DECAY)


def _schedule_free_adamw(api: Any) -> Any:
    return api.contrib.schedule_free_adamw(RATE, weight_decay=DECAY)


def _prodigy(api: Any) -> Any:
    return api.contrib.prodigy(weight_decay=DECAY)


BUILDS: dict[str, Callable[[Any], Any]] = {
    **{name: CHAINS[name].build for name in ("adamw", "sgd_momentum", "lion")},
    "adafactor": _adafactor,
    "rmsprop": CHAINS["rmsprop"].build,
    "lamb": _lamb,
    "muon": _muon,
    "schedule_free_adamw": _schedule_free_adamw,
    "prodigy": _prodigy,
    "adan": CHAINS["adan"].build,
}
ELEMENTWISE = ("adamw", "sgd_momentum", "lion", "rmsprop", "schedule_free_adamw", "adan")
"""Those that need to know nothing beside the element, and hence a single pass."""


def network(params: int) -> Size:
    """About so many parameters, in matrices and biases whose sides are in proportion."""
    side = (params / PARAMS) ** 0.5

    def scaled(shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, round(length * side)) for length in shape)

    block = map_tree(scaled, BLOCK)
    return Size(f"{params:.0e}".replace("e+0", "e"), {f"block{i}": block for i in range(BLOCKS)})


def bytes_of(build: Callable[[Any], Any], size: Size) -> int:
    """What a step cannot but read and write: each array once, as far as it changes it.

    The gradients are read, parameters and state read, and what differs after a few steps written.
    """
    params, tx = size.normal(1, 1.0), build(gm)

    def arrays(state: Any) -> list[Any]:
        tree: Any = (params, state)
        return optree.tree_leaves(tree)

    before = [np.array(leaf) for leaf in arrays(tx.init(params))]
    opt = gm.Optimizer(tx, params)
    for seed in (2, 3, 4):
        opt.step(size.normal(seed, 0.1))
    pairs = zip(before, arrays(opt.state), strict=True)
    moved = [own.nbytes * (1 if np.array_equal(own, other) else 2) for own, other in pairs]
    return sum(moved, 4 * size.params)


def table(cells: Sequence[Cell]) -> str:
    """One line for each optimizer."""
    rows = [["", IN_PLACE, OPTAX, f"x {OPTAX}", "B/param", LIMIT, "of limit", "GB/s", "compile"]]
    for cell in cells:
        row = [cell.chain.name, cell.time(IN_PLACE), cell.time(OPTAX), cell.ratio(OPTAX)]
        row += [f"{cell.chain.bytes_per_param:.1f}", cell.time(LIMIT), cell.ratio(LIMIT)]
        rows.append([*row, cell.bandwidth(IN_PLACE), cell.compilation])
    return "\n".join(_aligned(rows))


def wanted(size: Size) -> list[Target]:
    """What is asked of each at this size."""
    found = []
    for name in BUILDS:
        if name in ELEMENTWISE:
            found.append(Target(f"{name}, of the limit: >= 0.85", name, size.name, LIMIT, 0.85))
        least = 1.0 if name == "muon" else 1.5
        text = f"{name}, optax over gradmill: >= {least}"
        found.append(Target(text, name, size.name, OPTAX, least))
    return found


def run(options: argparse.Namespace, size: Size) -> list[Cell]:
    """Measure all optimizers."""
    cells = []
    for name in options.optimizers:
        check(Chain(name, BUILDS[name], None, None, 0.0), network(SMALL))
        moved = bytes_of(BUILDS[name], size) / size.params
        chain = Chain(name, BUILDS[name], None, None, moved)
        effort = Effort(options.rounds, 101, options.seconds)
        found = contenders(chain, size, leave_out=(FUNCTIONAL,))
        cells.append(Cell(chain, size, measure(found, effort)))
        print(f"{name}: {cells[-1].time(IN_PLACE)}", flush=True)
    return cells


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optimizers", nargs="+", choices=BUILDS, default=list(BUILDS))
    parser.add_argument("--params", type=lambda text: int(float(text)), default=PARAMS)
    parser.add_argument("--rounds", type=int, default=9, help="at least; odd")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("optimizers.json"))
    options = parser.parse_args()
    facts, size = _machine.facts(), network(options.params)
    print(head(facts), flush=True)
    touched = 8 * size.params / 2**20
    print(
        f"{len(leaves(size.shapes))} arrays of {size.params:,} parameters: {touched:.0f} MiB with "
        f"their gradients, before any state; caches are {facts['caches']}\n",
        flush=True,
    )
    cells = run(options, size)
    print(table(cells), targets(cells, wanted(size)), sep="\n\n")
    save(options.output, facts, cells)
    print("written:", options.output)


if __name__ == "__main__":
    main()
