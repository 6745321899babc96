"""Times of several steps, measured in turn in one process."""

from __future__ import annotations

import gc
import math
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from _contenders import Contender
    from _settings import Step

SAMPLE_SECONDS = 1e-3
"""A sample takes as many steps as fill this time."""


@dataclass(frozen=True)
class Effort:
    """How long to go on.

    Attributes:
        least: Rounds to make in any case.
        most: Rounds after which to stop.
        seconds: Time after which to stop, if the least rounds are made.
    """

    least: int
    most: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """What was found for one contender; times in seconds a step.

    Attributes:
        median: The median of all samples.
        minimum: The shortest.
        p25: The first quartile.
        p75: The third quartile.
        ratio: Median over rounds of its time over the first contender's in the same round.
        rounds: Number of samples.
        repeats: Number of steps in a sample.
        first: Time of the first step of all, compilation included.
    """

    median: float
    minimum: float
    p25: float
    p75: float
    ratio: float
    rounds: int
    repeats: int
    first: float


def timed(step: Step, repeats: int = 1) -> float:
    """Seconds a step, over several."""
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage now, and not inside the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def repeats_for(step: Step) -> int:
    """Number of steps that fill a sample."""
    timed(step)
    return max(1, math.ceil(SAMPLE_SECONDS / min(timed(step) for _ in range(3))))


def measure(contenders: Sequence[Contender], effort: Effort) -> dict[str, Timing]:
    """Take samples in turn, one of each contender in a round.

    Each sample follows one step that is not timed, so that it starts with caches and threads as its
    own steps leave them, not as the contender before it did.

    Args:
        contenders: At least one; ratios are to the first.
        effort: How many rounds to make.

    Returns:
        What was found, by name.
    """
    with no_garbage_collection():
        firsts = [timed(contender.step) for contender in contenders]
        repeats = [repeats_for(contender.step) for contender in contenders]
        samples: list[list[float]] = [[] for _ in contenders]
        stop = time.perf_counter() + effort.seconds
        while not _enough(len(samples[0]), effort, time.perf_counter() > stop):
            for contender, times, count in zip(contenders, samples, repeats, strict=True):
                contender.step()
                times.append(contender.scale * timed(contender.step, count))
    return {
        contender.name: _timing(times, samples[0], count, first)
        for contender, times, count, first in zip(contenders, samples, repeats, firsts, strict=True)
    }


def _enough(rounds: int, effort: Effort, late: bool) -> bool:
    return rounds >= effort.most or (late and rounds >= effort.least and rounds % 2 == 1)


def _timing(times: list[float], reference: list[float], repeats: int, first: float) -> Timing:
    p25, p75 = np.quantile(times, [0.25, 0.75])
    ratios = [own / other for own, other in zip(times, reference, strict=True)]
    return Timing(
        median=statistics.median(times),
        minimum=min(times),
        p25=float(p25),
        p75=float(p75),
        ratio=statistics.median(ratios),
        rounds=len(times),
        repeats=repeats,
        first=first,
    )
