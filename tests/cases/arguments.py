"""Arguments that rows have in common: schedules, masks and labels for the tree of the tests."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from optax.contrib import GaLoreDimensionNumbers, MuonDimensionNumbers

from gradmill.contrib._cautious import along_params as along_params
from gradmill.contrib._sophia import scale_by_sophia as scale_by_sophia


def only_kernels(params: Any) -> Any:
    return not isinstance(params, dict) or {key: key != "bias" for key in params}


def decay(count: Any) -> Any:
    return 1e-2 / (count + 1)


MASK = {"bias": False, "kernel": True, "conv": True, "scalar": True, "empty": False, "none": True}

LABELS = {
    "bias": "a",
    "kernel": "b",
    "conv": "b",
    "scalar": "a",
    "empty": "b",
    "none": "b",
}


WITH_AXES = {**dict.fromkeys(MASK, True), "scalar": False, "empty": False}


def odd(step: Any) -> Any:
    return step % 2 == 1


def late(step: Any) -> Any:
    return step >= 4


def rounds(step: Any) -> Any:
    return 2 + (step > 1)


def bound(step: Any) -> Any:
    return 0.5 + step


def decay_rate(step: Any, rate: Any) -> Any:
    return rate * step / (step + 1.0)


AXES = {"kernel": MuonDimensionNumbers(), "conv": MuonDimensionNumbers((0, 2), -1)}


def are_matrices(params: Any) -> Any:
    return {key: key in AXES for key in params}


def has_axes(params: Any) -> Any:
    """Whether each leaf has any, for a tree of any kind."""
    return jax.tree.map(lambda leaf: np.ndim(leaf) > 0, params)


def axes(params: Any) -> Any:
    """For each leaf its axes, or None."""
    return {key: AXES.get(key) for key in params}


def axes_of_masked(updates: Any) -> Any:
    """For each leaf its axes; what masks leave out stays left out, as optax needs it."""
    return {key: AXES.get(key, hole) for key, hole in updates.items()}


PLANES = {"kernel": GaLoreDimensionNumbers(), "conv": GaLoreDimensionNumbers((0, 2), (1, -1))}


def are_arrays(params: Any) -> Any:
    """All but None, which optax's algorithms on matrices do not take."""
    return {key: key != "none" for key in params}


def planes(params: Any) -> Any:
    """For each leaf its axes, or None; what masks leave out stays left out."""
    return {key: PLANES.get(key) if hasattr(leaf, "ndim") else leaf for key, leaf in params.items()}


def has_thirds(path: Any, leaf: Any) -> bool:
    """Whether three equal parts make up the rows of a leaf."""
    shape = np.shape(leaf)
    return len(shape) > 1 and shape[0] % 3 == 0


SQUARE: dict[str, Any] = {"kernel": MuonDimensionNumbers(), "conv": MuonDimensionNumbers(2, 3)}


def square_axes(params: Any) -> Any:
    """For each leaf its axes, or None; those of `conv` are as long as each other."""
    return {key: SQUARE.get(key) for key in params}


def square_axes_of_masked(updates: Any) -> Any:
    return {key: SQUARE.get(key, hole) for key, hole in updates.items()}


F32: dict[str, Any] = {"accumulator_dtype": np.float32}
