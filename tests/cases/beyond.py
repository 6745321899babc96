"""What optax does not have."""

from __future__ import annotations

from dataclasses import replace

from tests.case import Case
from tests.cases.arguments import decay, only_kernels

_ROWS = [
    Case("cautious", lambda m: m.contrib.cautious(m.adam(0.1, b1=0.7))),
    Case(
        "cautious_args",
        lambda m: m.contrib.cautious(m.trace(0.8), descends=False, least_share=0.6),
    ),
    Case("cautious_weight_decay", lambda m: m.contrib.cautious_weight_decay(0.1)),
    Case(
        "cautious_weight_decay_schedule",
        lambda m: m.contrib.cautious_weight_decay(decay, only_kernels),
    ),
    Case("cautious_adamw", lambda m: m.contrib.cautious_adamw(0.1, 0.7, 0.95, 1e-3)),
    Case(
        "cautious_adamw_args",
        lambda m: m.contrib.cautious_adamw(
            decay, 0.7, weight_decay=0.1, mask=only_kernels, nesterov=True, cautious_decay=True
        ),
    ),
]

BEYOND = [replace(case, beyond=True) for case in _ROWS]
