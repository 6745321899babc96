"""Rows of ``bench_adapters.py`` for ``gradmill.adapters.sklearn``."""

from __future__ import annotations

import warnings
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import neural_network as theirs
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import _stochastic_optimizers as their_optimizers

from _adapters import Row
from gradmill.adapters import sklearn as ours

if TYPE_CHECKING:
    from _settings import Step

LAYERS = {"8k": (64, 100, 10), "400k": (784, 500, 10), "4M": (1000, 2000, 1000)}


def steps(kind: str, layers: tuple[int, ...]) -> tuple[Step, Step]:
    """Steps of an optimizer over the weights and biases of such layers, in float32."""

    def step(module: Any) -> Step:
        rng = np.random.default_rng(0)
        shapes = [*pairwise(layers), *((size,) for size in layers[1:])]
        params = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        grads = [0.01 * p for p in params]
        optimizer = getattr(module, kind)(params, 1e-3)
        return partial(optimizer.update_params, params, grads)

    return step(their_optimizers), step(ours)


def training(hidden: tuple[int, ...], **options: Any) -> tuple[Step, Step]:
    """Ten epochs of the digits, with what it takes to begin."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    warnings.simplefilter("ignore", ConvergenceWarning)

    def step(module: Any) -> Step:
        made = module.MLPClassifier(hidden, max_iter=10, random_state=0, **options)
        return partial(made.fit, x, y)

    return step(theirs), step(ours)


def rows() -> list[Row]:
    """Steps and whole training."""
    kinds = {"Adam": "AdamOptimizer", "Nesterov": "SGDOptimizer"}
    return [
        *(
            Row("sklearn", f"{name}, {size}", partial(steps, kind, layers), 2.0)
            for name, kind in kinds.items()
            for size, layers in LAYERS.items()
        ),
        Row("sklearn", "digits, 100 wide", partial(training, (100,)), 1.0),
        Row("sklearn", "digits, 500 wide twice", partial(training, (500, 500)), 1.0),
        Row("sklearn", "digits, 100 wide, sgd", partial(training, (100,), solver="sgd"), 1.0),
    ]
