"""Threads in the place of processes, and what all tests of shards have in common."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from typing import TYPE_CHECKING, Any

import numpy as np

import gradmill as gm
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

Array = Any


class Threads:
    """An engine whose processes are threads, which meet in shared lists."""

    def __init__(self, rank: int, size: int, shared: list[Any], barrier: Barrier) -> None:
        self.rank, self.size = rank, size
        self._shared, self._barrier = shared, barrier

    def _all(self, value: Array) -> list[Array]:
        self._shared[self.rank] = value.copy()
        self._barrier.wait()
        values = list(self._shared)
        self._barrier.wait()
        assert len({value.shape for value in values}) == 1
        return values

    def sum_scatter(self, rows: Array, out: Array) -> None:
        assert rows.dtype in (np.float32, np.float64)
        out[...] = np.sum([other[self.rank] for other in self._all(rows)], axis=0)

    def gather(self, row: Array, out: Array) -> None:
        assert row.dtype == np.uint8
        out[...] = self._all(row)


def together(size: int, work: Callable[[Any], Any]) -> list[Any]:
    """What ``work`` gives in each of so many threads, each with an engine; errors as they are."""
    shared, barrier = [None] * size, Barrier(size, timeout=60)

    def one(rank: int) -> Any:
        try:
            return work(Threads(rank, size, shared, barrier))
        except (Exception, BrokenBarrierError) as error:  # noqa: BLE001  (tests look at it)
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


LARGE: dict[str, tuple[int, ...]] = {
    "bias": (33,),
    "empty": (0, 3),
    "kernel": (9, 7),
    "long": (300_001,),
    "scalar": (),
    "wide": (2, 80_000),
}
"""A leaf that is larger than a shard among small ones; shards are uneven."""
SMALL = {**LARGE, "long": (301,), "wide": (2, 80)}


def kernels_alone(path: str, leaf: Any) -> bool:
    return path == "kernel" or leaf.ndim == 2


CHAINS: dict[str, Callable[[], Any]] = {
    "adamw": lambda: gm.adamw(0.1),
    "clip": lambda: gm.chain(gm.clip_by_global_norm(1.0), gm.sgd(0.1, momentum=0.9)),
    "mask": lambda: gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1, mask=kernels_alone)),
    "finite": lambda: gm.apply_if_finite(gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1)), 3),
    "quantized": lambda: gm.quantized_state(gm.adam(0.1), min_size=64),
    "lamb": lambda: gm.chain(gm.clip_by_global_norm(1.0), gm.lamb(0.1)),
    "estimates": lambda: gm.contrib.prodigy(0.1),
    "injected": lambda: gm.inject_hyperparams(gm.adamw)(gm.linear_schedule(0.1, 0.01, 7)),
    "factored": lambda: gm.adafactor(0.1, min_dim_size_to_factor=4),
}
"""Every kind of chain."""


def grads_of(shapes: dict[str, tuple[int, ...]], step: int, dtype: Any = np.float32) -> Any:
    """Gradients that add up exactly, whatever the order: all processes have a share of these."""
    rng = np.random.default_rng(step)
    return {key: (rng.integers(-64, 64, shape) / 64).astype(dtype) for key, shape in shapes.items()}


def params_of(shapes: dict[str, tuple[int, ...]], dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(99)
    return {key: np.asarray(rng.standard_normal(shape), dtype) for key, shape in shapes.items()}


def alone(
    name: str, shapes: dict[str, tuple[int, ...]], steps: int, dtype: Any = np.float32
) -> Any:
    """The parameters and reports of a single process."""
    params = params_of(shapes, dtype)
    opt = gm.Optimizer(CHAINS[name](), params)
    reports = [opt.step(grads_of(shapes, step)) for step in range(steps)]
    return bits(params), list(map(str, reports))
