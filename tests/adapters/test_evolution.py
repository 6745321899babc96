"""Evolution strategies' optimizers against the formulas of the programs that they are from."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradmill import errors
from gradmill.adapters.evolution import SGD, Adam, BasicSGD, ClipUp
from tests.adapters.close import MOST, check_close

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = [np.float32, np.float64]


class Starter:
    """Who keeps a vector in OpenAI's starter."""

    def __init__(self, theta: Any) -> None:
        self.num_params = len(theta)
        self.flat = theta

    def get_trainable_flat(self) -> Any:
        return self.flat

    def set_trainable_flat(self, theta: Any) -> None:
        self.flat = theta


class Estool:
    """Who keeps a vector in estool."""

    def __init__(self, theta: Any) -> None:
        self.num_params = len(theta)
        self.mu = theta


def adam(b1: float, b2: float = 0.999, eps: float = 1e-8) -> Callable[..., Any]:
    """The step of Adam in float64."""
    m = v = 0.0

    def step(g: Any, rate: float, t: int) -> Any:
        nonlocal m, v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        return -rate * (1 - b2**t) ** 0.5 / (1 - b1**t) * m / (v**0.5 + eps)

    return step


def momentum(decay: float = 0.9) -> Callable[..., Any]:
    """The step of SGD in float64."""
    v = 0.0

    def step(g: Any, rate: float, t: int) -> Any:
        nonlocal v
        v = decay * v + (1 - decay) * g
        return -rate * v

    return step


CASES: list[Any] = [
    (Adam, {}, lambda kept: adam(0.99 if kept is Estool else 0.9)),
    (Adam, {"beta1": 0.5, "beta2": 0.9, "epsilon": 0.01}, lambda kept: adam(0.5, 0.9, 0.01)),
    (SGD, {}, lambda kept: momentum()),
    (SGD, {"momentum": 0.5}, lambda kept: momentum(0.5)),
    (BasicSGD, {}, lambda kept: momentum(0.0)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("kept", [np.array, Starter, Estool])
@pytest.mark.parametrize(("kind", "options", "formula"), CASES)
def test_a_hundred_generations(
    kind: Any, options: Any, formula: Any, kept: Any, maximize: bool, dtype: Any
) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=23).astype(dtype)
    pi = kept(start)
    optimizer = kind(pi, 0.1, maximize=maximize, **options)
    step, theta = formula(kept), start.astype(np.float64)
    for t in range(1, 101):
        optimizer.stepsize = 0.1 * 0.99**t
        gradient = rng.normal(size=23).astype(dtype)
        taken = step(gradient.astype(np.float64), 0.1 * 0.99**t, t)
        least = options.get("epsilon", 1e-8) if kept is Estool else 0.0
        expected = np.linalg.norm(taken) / (np.linalg.norm(theta) + least)
        theta = theta + taken
        ratio = optimizer.update(-gradient if maximize else gradient)
        if kept is np.array:
            ratio, now = ratio
            assert now is optimizer.theta
        else:
            now = pi.flat if kept is Starter else pi.mu
        assert abs(ratio - expected) <= 10 * MOST[dtype] * expected
    assert optimizer.t == 100
    check_close(now, theta.astype(dtype), MOST[dtype])


def test_vectors_that_are_kept_stay_as_they_are() -> None:
    pi = Estool(np.ones(3))
    optimizer = Adam(pi, 0.1)
    best, kept = [], []
    for _ in range(5):
        best.append(pi.mu)
        kept.append(pi.mu.copy())
        optimizer.update(np.ones(3))
    assert all(map(np.array_equal, best, kept))
    assert not any(np.shares_memory(a, b) for a, b in pairwise(best))


def test_a_vector_may_be_replaced_and_its_dtype_change() -> None:
    pi = Estool(np.ones(3))
    optimizer = SGD(pi, 0.1, momentum=0.5)
    optimizer.update(np.ones(3))
    pi.mu = np.zeros(3, np.float32)
    optimizer.update(np.ones(3))
    assert pi.mu.dtype == np.float32
    np.testing.assert_allclose(pi.mu, -0.075, rtol=1e-6)


@pytest.mark.parametrize("kind", [Adam, SGD, BasicSGD])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_with_the_same_bits(kind: Any, copied: Any) -> None:
    first = kind(np.ones(4), 0.1)
    for _ in range(3):
        first.update(np.arange(4.0))
    second = copied(first)
    seen = [optimizer.update(np.arange(4.0))[1] for optimizer in (first, second)]
    assert np.array_equal(*seen)


def test_moments_that_are_assigned_hold() -> None:
    optimizer = SGD(np.zeros(2), 1.0, momentum=0.5)
    assert optimizer.update(np.ones(2))[0] == np.inf
    optimizer.v = np.array([4.0, 0.0])
    _, theta = optimizer.update(np.zeros(2))
    np.testing.assert_array_equal(theta, [-2.5, -0.5])


def test_a_gradient_of_another_length_is_no_step() -> None:
    optimizer = Adam(np.zeros(2), 0.1)
    with pytest.raises(errors.LeafValueError, match="shape"):
        optimizer.update(np.ones(3))
    assert optimizer.t == 0
    assert not optimizer.theta.any()


CLIPPED: list[dict[str, Any]] = [
    {"stepsize": 0.1},
    {"stepsize": 0.3, "momentum": 0.5, "max_speed": 0.2},
    {"stepsize": 0.01, "max_speed": 0.3, "fix_gradient_size": False},
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", CLIPPED)
def test_clip_up_ascends_as_pgpelib_does(options: Any, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    optimizer = ClipUp(solution_length=23, dtype=np.dtype(dtype).name, **options)
    v, theta, expected = np.zeros(23), np.zeros(23, dtype), np.zeros(23)
    for t in range(1, 101):
        given = rng.normal(size=23) * t
        kept = given.astype(dtype)
        if t == 50:
            options = {**options, "stepsize": 0.05}
            optimizer.stepsize = 0.05
        g = -kept.astype(np.float64)
        if options.get("fix_gradient_size", True):
            g = g / np.sqrt((g * g).sum())
        v = options.get("momentum", 0.9) * v + options["stepsize"] * g
        length = np.sqrt((v * v).sum())
        v = v * min(1.0, options.get("max_speed", 0.15) / length)
        step = optimizer.ascent(given)
        assert step.dtype == optimizer.v.dtype == dtype
        theta, expected = theta + step, expected - v
        check_close(optimizer.v, v.astype(dtype), MOST[dtype])
    check_close(theta, expected.astype(dtype), MOST[dtype])
    assert optimizer.t == 100
    again, other = copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))
    steps = [each.ascent(given) for each in (optimizer, again, other)]
    assert all((step == steps[0]).all() for step in steps)


def test_clip_up_without_a_gradient() -> None:
    for fixed in (True, False):
        optimizer = ClipUp(
            solution_length=2, dtype="f", stepsize=0.1, max_speed=9.0, fix_gradient_size=fixed
        )
        assert not optimizer.ascent([0.0, 0.0]).any()
        first = optimizer.ascent([3.0, 4.0])
        assert optimizer.ascent([0.0, 0.0]) == pytest.approx(0.9 * first)
        with pytest.raises(ValueError, match=r"shape \(3,\), expected \(2,\)"):
            optimizer.ascent([1.0, 2.0, 3.0])
