"""Say on paper what a step over many processes costs, and draw it: docs/scaling.md has the result.

python benches/scaling.py                        the tables, and benches/scaling.png
mpirun -n 2 python benches/scaling.py --measure  the bandwidths of this machine
python benches/scaling.py --memory 12 --wire 4   the same for other ones, in GB/s
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gradmill as gm
from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Callable

RANKS = (1, 2, 4, 8, 16, 64, 256, 1024, 4096)
SIZES = (10**8, 10**9, 10**10, 10**11, 10**12)
GRAD, PARAM, STATE = 4, 4, 8
"""Bytes of a gradient, of a parameter, and of Adam's state for it."""
STEP = 28
"""Bytes that a step of Adam moves for each parameter of its shard."""
STAGED = 16
"""Bytes that are moved for each parameter of all, to and from what travels."""
SUMS = 32
"""Bytes that all are told of each piece, where a chain has a global norm."""


class Machine(NamedTuple):
    """What one process has.

    Attributes:
        memory: Bytes a second between its cores and memory.
        wire: Bytes a second to and from the others.
        latency: Seconds of a message.
    """

    memory: float
    wire: float
    latency: float


class Cost(NamedTuple):
    """What a step costs each process.

    Attributes:
        held: Bytes of parameters, gradients and state.
        sent: Bytes that go over the wire.
        seconds: How long it takes: on the wire, in memory, and all other processes' latency.
    """

    held: float
    sent: float
    wire: float
    memory: float
    latency: float

    @property
    def seconds(self) -> float:
        """All of them, one after the other."""
        return self.wire + self.memory + self.latency


def cost(size: int, ranks: int, machine: Machine, *, sharded: bool = True) -> Cost:
    """What a step costs.

    A ring sends each byte of a sum, and of what is gathered, once to all but one process, and takes
    a message for each of them.

    Args:
        size: The number of parameters.
        ranks: The number of processes.
        machine: What each has.
        sharded: Whether state is spread over them, or each has all of it and steps all.
    """
    others = (ranks - 1) / ranks
    state, own = (STATE / ranks, STEP / ranks) if sharded else (STATE, STEP)
    sums = SUMS / _core.CHUNK if sharded and ranks > 1 else 0.0
    sent = size * others * (GRAD + PARAM + sums)
    staged = STAGED if sharded and ranks > 1 else 0
    return Cost(
        held=size * (GRAD + PARAM + state),
        sent=sent,
        wire=sent / machine.wire,
        memory=size * (own + staged) / machine.memory,
        latency=2 * (ranks - 1) * machine.latency,
    )


def shown(number: float, unit: str) -> str:
    """A number with three digits and a prefix."""
    for prefix, factor in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            return f"{number / factor:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}"


def table(title: str, of: Callable[[int, int], str]) -> str:
    """A table over sizes and numbers of processes."""
    lines = [
        f"| {title} | " + " | ".join(f"{ranks:,}" for ranks in RANKS) + " |",
        "|---" * (len(RANKS) + 1) + "|",
    ]
    for size in SIZES:
        row = " | ".join(of(size, ranks) for ranks in RANKS)
        lines.append(f"| 10^{len(str(size)) - 1} | {row} |")
    return "\n".join(lines)


def draw(machine: Machine, path: str) -> None:
    """Memory, and where the time of a step goes."""
    import matplotlib as mpl  # noqa: PLC0415  (tables need no plots)

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415  (behind the choice of what draws)

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for size in SIZES:
        name = f"$10^{{{len(str(size)) - 1}}}$"
        held = [cost(size, ranks, machine).held / 1e9 for ranks in RANKS]
        (line,) = left.plot(RANKS, held, label=name)
        whole = [cost(size, ranks, machine, sharded=False).held / 1e9 for ranks in RANKS]
        left.plot(RANKS, whole, ":", color=line.get_color())
        seconds = [cost(size, ranks, machine).seconds for ranks in RANKS]
        right.plot(RANKS, seconds, color=line.get_color(), label=name)
        alone = [cost(size, ranks, machine, sharded=False).seconds for ranks in RANKS]
        right.plot(RANKS, alone, ":", color=line.get_color())
    left.set(title="Memory of a process", ylabel="GB")
    right.set(title="A step", ylabel="seconds")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="processes")
        axes.grid(alpha=0.3)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, title="parameters", loc="outside right upper")
    figure.suptitle("State shared (lines) and each with all of it (dotted)")
    figure.savefig(path, dpi=120)


def median(work: Callable[[], Any], times: int = 9) -> float:
    """The median of the seconds that it takes."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure() -> None:
    """Print the bandwidths of this machine, as its processes have them all at once."""
    from mpi4py import MPI  # noqa: PLC0415  (only to measure)

    comm, size = MPI.COMM_WORLD, 1 << 23
    params, grads = np.ones(size, np.float32), np.ones(size, np.float32)
    opt = gm.Optimizer(gm.adam(1e-3), params)
    comm.Barrier()
    memory = size * STEP / median(lambda: opt.step(grads))
    rows, out = np.ones((comm.size, size), np.float32), np.empty(size, np.float32)

    def there_and_back() -> None:
        comm.Reduce_scatter_block(rows, out)
        comm.Allgather(out, rows)

    wire = 2 * (comm.size - 1) * out.nbytes / median(there_and_back)
    byte, all_bytes = np.zeros(1, np.uint8), np.zeros(comm.size, np.uint8)
    latency = median(lambda: comm.Allgather(byte, all_bytes), 200) / max(comm.size - 1, 1)
    if comm.rank == 0:
        print(f"memory {memory / 1e9:.1f} GB/s, wire {wire / 1e9:.2f} GB/s, {1e6 * latency:.1f} us")


def main() -> int:
    """Print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="bandwidths, under mpirun")
    parser.add_argument("--memory", type=float, default=20.0, help="GB/s of a process's memory")
    parser.add_argument("--wire", type=float, default=12.5, help="GB/s of its network")
    parser.add_argument("--latency", type=float, default=10.0, help="microseconds of a message")
    parser.add_argument("--plot", default=str(Path(__file__).with_name("scaling.png")))
    options = parser.parse_args()
    if options.measure:
        measure()
        return 0
    machine = Machine(options.memory * 1e9, options.wire * 1e9, options.latency * 1e-6)
    print(table("held", lambda size, ranks: shown(cost(size, ranks, machine).held, "B")), "\n")
    print(table("sent", lambda size, ranks: shown(cost(size, ranks, machine).sent, "B")), "\n")
    print(table("a step", lambda size, ranks: shown(cost(size, ranks, machine).seconds, "s")), "\n")

    def saved(size: int, ranks: int) -> str:
        alone = cost(size, ranks, machine, sharded=False).seconds
        return f"{alone / cost(size, ranks, machine).seconds:.2f}"

    print(table("each with all, over shared", saved))
    draw(machine, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
