"""Hyperparameters that all contenders share; those of Adam are the defaults of every library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

Step: TypeAlias = Callable[[], object]
"""Takes one step of training."""

RATE = 1e-3
DECAY = 1e-4
CLIP = 1.0
MOMENTUM = 0.9
B1, B2, EPS = 0.9, 0.999, 1e-8
RMS_DECAY, RMS_EPS = 0.9, 1e-8
LION = 0.9, 0.99
ADAN = 0.98, 0.92, 0.99
BELIEF_EPS = 1e-16
WARMUP_STEPS, DECAY_STEPS = 100, 100_000


def learning_rate(count: int) -> float:
    """``warmup_cosine_decay_schedule(0.0, RATE, WARMUP_STEPS, DECAY_STEPS)``, by hand."""
    if count < WARMUP_STEPS:
        return RATE * count / WARMUP_STEPS
    done = min((count - WARMUP_STEPS) / (DECAY_STEPS - WARMUP_STEPS), 1.0)
    return RATE * 0.5 * (1 + math.cos(math.pi * done))
