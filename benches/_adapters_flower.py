"""Rows of ``bench_adapters.py`` for ``gradmill.adapters.flower``."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.server import strategy as theirs

from _adapters import Row
from gradmill.adapters import flower as ours

if TYPE_CHECKING:
    from _settings import Step

SIZES: dict[str, list[tuple[int, ...]]] = {"10k": [(100, 90), (1000,)], "4M": [(1000, 1000)] * 4}


def rounds(kind: str, shapes: list[tuple[int, ...]]) -> tuple[Step, Step]:
    """A round of ten clients, with what they sent unpacked and the result packed."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    rng = np.random.default_rng(0)
    start = ndarrays_to_parameters([rng.normal(size=s).astype(np.float32) for s in shapes])

    def sent() -> Any:
        arrays = [rng.normal(size=s).astype(np.float32) for s in shapes]
        return FitRes(Status(Code.OK, ""), ndarrays_to_parameters(arrays), 10, {})

    results: list[Any] = [(None, sent()) for _ in range(10)]

    def step(make: Any) -> Step:
        return partial(make(initial_parameters=start).aggregate_fit, 2, results, [])

    return step(getattr(theirs, kind)), step(getattr(ours, "Legacy" + kind))


def rows() -> list[Row]:
    """Rounds."""
    return [
        Row("flower", f"{kind}, {size}", partial(rounds, kind, shapes), 1.0)
        for kind in ("FedAdam", "FedYogi")
        for size, shapes in SIZES.items()
    ]
