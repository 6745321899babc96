"""Rows of ``bench_adapters.py`` for ``gradmill.adapters.thinc``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from thinc import optimizers as theirs
from thinc.api import Relu, Softmax, chain

from _adapters import Row
from gradmill.adapters import thinc as ours

if TYPE_CHECKING:
    from _settings import Step

SIZES = {"1k": (32, 32), "90k": (300, 300), "1M": (1000, 1000)}


def steps(kind: str, shape: tuple[int, ...], **options: Any) -> tuple[Step, Step]:
    """Steps of one parameter. Gradients are zero from the second on, as they leave them."""

    def step(module: Any) -> Step:
        rng = np.random.default_rng(0)
        weights = rng.normal(size=shape).astype(np.float32)
        gradient = 0.01 * weights
        return partial(getattr(module, kind)(1e-3, **options), (0, "W"), weights, gradient)

    return step(theirs), step(ours)


def training(width: int) -> tuple[Step, Step]:
    """A step of a network, forward and backward included."""

    def step(module: Any) -> Step:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(64, 128)).astype(np.float32)
        y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 64)]
        model: Any = chain(Relu(width), Relu(width), Softmax(10))
        model.initialize(x, y)
        optimizer = module.Adam(1e-3)

        def trained() -> None:
            guess, backward = model.begin_update(x)
            backward((guess - y) / len(x))
            model.finish_update(optimizer)

        return trained

    return step(theirs), step(ours)


def rows() -> list[Row]:
    """Steps and whole training."""
    return [
        *(
            Row("thinc", f"{kind}, {size}", partial(steps, kind, shape), least)
            for kind in ("Adam", "RAdam")
            for (size, shape), least in zip(SIZES.items(), (1.0, 2.0, 2.0), strict=True)
        ),
        Row("thinc", "Adam with decay, 90k", partial(steps, "Adam", SIZES["90k"], L2=0.01), 2.0),
        Row("thinc", "network, 128 wide", partial(training, 128), 1.0),
        Row("thinc", "network, 512 wide", partial(training, 512), 1.0),
    ]
