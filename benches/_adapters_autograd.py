"""Rows of ``bench_adapters.py`` for ``gradmill.adapters.autograd``."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from autograd.misc import optimizers as theirs

from _adapters import Row
from gradmill.adapters import autograd as ours

if TYPE_CHECKING:
    from _settings import Step

LAYERS = {"1k": (20, 40, 5), "1M": (1000, 800, 250)}


def steps(kind: str, layers: tuple[int, ...]) -> tuple[Step, Step]:
    """Ten steps of nested weights, whose gradient costs nothing."""
    rng = np.random.default_rng(0)
    x0 = [(rng.normal(size=s), rng.normal(size=s[1])) for s in pairwise(layers)]
    g = [(0.1 * w, 0.1 * b) for w, b in x0]

    def grad(*_: Any) -> Any:
        return g

    return (
        partial(getattr(theirs, kind), grad, x0, num_iters=10),
        partial(getattr(ours, kind), grad, x0, num_iters=10),
    )


def rows() -> list[Row]:
    """Steps."""
    return [
        Row("autograd", f"{kind}, {size}", partial(steps, kind, layers), 2.0)
        for kind in ("adam", "rmsprop", "sgd")
        for size, layers in LAYERS.items()
    ]
