"""scikit-learn's perceptrons with our steps, against scikit-learn's with its own."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.neural_network import _stochastic_optimizers as their_optimizers
from sklearn.utils.estimator_checks import parametrize_with_checks

from gradmill.adapters import sklearn as ours
from tests.adapters.close import MOST, check_close

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DTYPES = [np.float32, np.float64]
SOLVERS: list[dict[str, Any]] = [
    {"solver": "adam"},
    {"solver": "sgd", "momentum": 0.0},
    {"solver": "sgd", "nesterovs_momentum": False},
    *({"solver": "sgd", "learning_rate": name} for name in ("constant", "invscaling", "adaptive")),
]
SEEN = ("learning_rate", "t", "ms", "vs", "velocities")


def data(dtype: Any, classes: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 6)).astype(dtype)
    y = np.tanh(x @ rng.normal(size=6))
    return x, (np.digitize(y, np.linspace(-0.5, 0.5, classes - 1)) if classes else y)


def weights(estimator: Any) -> list[Any]:
    return [*estimator.coefs_, *estimator.intercepts_]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("AdamOptimizer", {}),
        ("AdamOptimizer", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}),
        *(
            ("SGDOptimizer", {"momentum": m, "nesterov": n, "lr_schedule": s})
            for m, n, s in itertools.product(
                (0.0, 0.9), (False, True), ("constant", "invscaling", "adaptive")
            )
        ),
    ],
)
def test_steps_are_theirs(dtype: Any, kind: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(dtype) for shape in ((5, 3), (3,), (3, 1), (1,))]
    params = [[x.copy() for x in start] for _ in range(2)]
    both = [
        getattr(module, kind)(p, 0.01, **options)
        for module, p in zip((ours, their_optimizers), params, strict=True)
    ]
    for step in range(100):
        grads = [rng.normal(size=x.shape).astype(dtype) for x in start]
        for optimizer, p in zip(both, params, strict=True):
            optimizer.update_params(p, [g.copy() for g in grads])
            optimizer.iteration_ends(10 * step)
            if step % 30 == 29:
                optimizer.trigger_stopping("", verbose=False)
    check_close(params[0], params[1], MOST[dtype])
    for name in SEEN:
        assert hasattr(both[0], name) == hasattr(both[1], name)
        if hasattr(both[0], name):
            check_close(getattr(both[0], name), getattr(both[1], name), MOST[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("options", SOLVERS, ids=repr)
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_training_is_theirs(name: str, options: dict[str, Any], stops: bool, dtype: Any) -> None:
    x, y = data(dtype, 3 if name == "MLPClassifier" else 0)
    settings = {"random_state": 1, "max_iter": 30, "n_iter_no_change": 2, "tol": 1e-3}
    settings |= {"learning_rate_init": 0.02, "early_stopping": stops, **options}
    mine, its = (
        getattr(m, name)(hidden_layer_sizes=(8, 5), **settings).fit(x, y) for m in (ours, theirs)
    )
    assert isinstance(mine._optimizer, (ours.AdamOptimizer, ours.SGDOptimizer))
    assert mine.n_iter_ == its.n_iter_
    assert mine.get_params() == its.get_params()
    most = 1e-5 if dtype == np.float32 else 1e-12
    check_close(mine.loss_curve_, its.loss_curve_, most)
    check_close(weights(mine), weights(its), most)


@pytest.mark.parametrize("options", SOLVERS, ids=repr)
@pytest.mark.parametrize("copied", [clone, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_go_on_with_the_same_bits(options: dict[str, Any], copied: Any) -> None:
    x, y = data(np.float64)
    first = ours.MLPRegressor(hidden_layer_sizes=(8,), random_state=0, **options)
    for _ in range(3):
        first.partial_fit(x, y)
    second = copied(first)
    if copied is clone:
        assert not hasattr(second, "_optimizer")
        for _ in range(3):
            second.partial_fit(x, y)
    seen = [w.copy() for w in weights(first)]
    for _ in range(2):
        second.partial_fit(x, y)
    assert all(map(np.array_equal, weights(first), seen))
    for _ in range(2):
        first.partial_fit(x, y)
    assert all(map(np.array_equal, weights(first), weights(second)))


def test_arrays_change_from_fit_to_fit() -> None:
    x, y = data(np.float64)
    settings = {"random_state": 0, "max_iter": 3, "warm_start": True}
    mine, its = (m.MLPRegressor(hidden_layer_sizes=(8,), **settings) for m in (ours, theirs))
    for _ in range(3):
        mine.fit(x, y)
        its.fit(x, y)
        mine.coefs_ = [w.copy() for w in mine.coefs_]
    mine.partial_fit(x, y)
    its.partial_fit(x, y)
    check_close(weights(mine), weights(its), 1e-12)


def test_refits_start_anew() -> None:
    x, y = data(np.float64)
    mine = ours.MLPRegressor(hidden_layer_sizes=(8,), random_state=0, max_iter=3)
    first = [w.copy() for w in weights(mine.fit(x, y))]
    assert all(map(np.array_equal, weights(mine.fit(x, y)), first))


@pytest.mark.parametrize("options", SOLVERS, ids=repr)
def test_theirs_goes_on_as_ours(options: dict[str, Any]) -> None:
    x, y = data(np.float64)
    its = theirs.MLPRegressor(hidden_layer_sizes=(8,), random_state=0, **options).partial_fit(x, y)
    mine = ours.MLPRegressor(**its.get_params())
    mine.__setstate__(copy.deepcopy(its.__getstate__()))
    for _ in range(3):
        mine.partial_fit(x, y)
        its.partial_fit(x, y)
    check_close(weights(mine), weights(its), 1e-12)


def test_lbfgs_has_no_steps() -> None:
    x, y = data(np.float64)
    mine, its = (
        m.MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", random_state=0)
        for m in (ours, theirs)
    )
    assert all(map(np.array_equal, weights(mine.fit(x, y)), weights(its.fit(x, y))))
    assert not hasattr(mine, "_optimizer")


def test_state_that_is_assigned_holds() -> None:
    params = [np.ones(2)]
    optimizer = ours.SGDOptimizer(params, 0.1, nesterov=False)
    optimizer.update_params(params, [np.ones(2)])
    optimizer.velocities = [np.array([10.0, 0.0])]
    optimizer.update_params(params, [np.zeros(2)])
    np.testing.assert_allclose(params[0], [9.9, 0.9])


def test_a_gradient_of_another_shape_is_no_step() -> None:
    params = [np.ones(2)]
    optimizer = ours.AdamOptimizer(params)
    with pytest.raises(ValueError, match="shape"):
        optimizer.update_params(params, [np.ones(3)])
    assert optimizer.t == 0


@parametrize_with_checks(  # type: ignore[untyped-decorator]  # scikit-learn has no types
    [
        ours.MLPClassifier(max_iter=100),
        ours.MLPRegressor(max_iter=100),
        ours.MLPClassifier(max_iter=100, solver="sgd", learning_rate="adaptive"),
    ]
)
def test_estimators_pass_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)
