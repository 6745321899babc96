"""thinc's optimizer with our steps, against thinc's with its own."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("thinc", reason="needs thinc")

from thinc import optimizers as theirs
from thinc.api import Config, Linear, Relu, chain, registry
from thinc.schedules import constant, decaying, warmup_linear

from gradmill import errors
from gradmill.adapters import thinc as ours
from tests.adapters.close import MOST, check_close

if TYPE_CHECKING:
    from collections.abc import Callable

RULES: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {}),
    ("Adam", {"L2": 0.1}),
    ("Adam", {"L2": 0.1, "L2_is_weight_decay": False}),
    ("Adam", {"grad_clip": 0.0, "beta1": 0.5, "beta2": 0.9, "eps": 0.1}),
    ("Adam", {"learn_rate": "warm", "L2": "decay", "grad_clip": "decay", "beta1": "decay"}),
    ("RAdam", {}),
    ("RAdam", {"L2": 0.1, "beta2": 0.99}),
    ("RAdam", {"L2": 0.1, "L2_is_weight_decay": False, "use_averages": False}),
    ("SGD", {"learn_rate": 0.1}),
    ("SGD", {"learn_rate": 0.1, "L2": 0.1, "grad_clip": 0.5}),
    ("SGD", {"learn_rate": "list", "L2": 0.1, "L2_is_weight_decay": False}),
]
SHAPES = {(1, "W"): (7, 5), (1, "b"): (7,), (2, "E"): (2, 3, 4)}


def made(module: Any, kind: str, options: dict[str, Any]) -> Any:
    """An optimizer, with schedules of its own for those that are named."""
    named: dict[str, Callable[[], Any]] = {
        "warm": lambda: warmup_linear(0.01, 20, 100),
        "decay": lambda: decaying(0.5, 1e-2),
        "list": lambda: [0.1, 0.05, 0.01],
    }
    new = {k: named[v]() if isinstance(v, str) else v for k, v in options.items()}
    return getattr(module, kind)(**new)


def check_same_state(mine: Any, its: Any, most: float) -> None:
    assert mine.nr_update == its.nr_update
    assert mine.step == its.step
    for name in ("mom1", "mom2", "averages"):
        own, other = getattr(mine, name), getattr(its, name)
        assert (own is None) == (other is None)
        if own is not None:
            assert own.keys() == other.keys()
            check_close([own[key] for key in other], list(other.values()), most)


@pytest.mark.parametrize(("kind", "options"), RULES, ids=repr)
def test_a_hundred_steps(kind: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    both = [made(module, kind, options) for module in (ours, theirs)]
    start = {key: rng.normal(size=shape).astype("f") for key, shape in SHAPES.items()}
    weights = [{key: w.copy() for key, w in start.items()} for _ in both]
    for step in range(100):
        for key, own in start.items():
            if step % 3 == 1 and key == (1, "b"):
                continue  # a count per key
            gradient = (rng.normal(size=own.shape) * 0.3).astype("f")
            for optimizer, w in zip(both, weights, strict=True):
                before, g = w[key], gradient.copy()
                w[key], zeros = optimizer(key, w[key], g, lr_scale=0.5 if step % 2 else 1.0)
                assert zeros is g or np.shares_memory(zeros, g)
                assert not zeros.any()
                assert np.shares_memory(w[key], before)
        for optimizer in both:
            optimizer.step_schedules()
    check_close(list(weights[0].values()), list(weights[1].values()), MOST[np.float32])
    check_same_state(both[0], both[1], MOST[np.float32])


def test_steps_of_float64_are_sgd() -> None:
    # thinc's moments are of float32, and its Adam takes nothing else.
    rng = np.random.default_rng(0)
    both = [module.SGD(0.1, L2=0.1, use_averages=False) for module in (ours, theirs)]
    weights = [np.ones(5), np.ones(5)]
    for _ in range(100):
        gradient = rng.normal(size=5)
        for optimizer, w in zip(both, weights, strict=True):
            optimizer((0, "W"), w, gradient.copy())
    check_close(weights[0], weights[1], MOST[np.float64])


def network(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    model = chain(Relu(8), Linear(3))
    x, y = rng.normal(size=(30, 6)).astype("f"), rng.normal(size=(30, 3)).astype("f")
    model.initialize(x, y)
    for node in model.walk():
        for name in node.param_names:
            node.set_param(name, rng.normal(size=node.get_param(name).shape).astype("f"))
    return model, x, y


def train(model: Any, optimizer: Any, x: Any, y: Any, steps: int) -> None:
    for _ in range(steps):
        guess, backward = model.begin_update(x)
        backward((guess - y) / len(x))
        model.finish_update(optimizer)
        optimizer.step_schedules()


def params(model: Any) -> list[Any]:
    return [node.get_param(name) for node in model.walk() for name in node.param_names]


@pytest.mark.parametrize("kind", ["Adam", "RAdam", "SGD"])
def test_models_train_as_they_did(kind: str) -> None:
    (mine, x, y), (its, *_) = network(), network()
    optimizers = [getattr(module, kind)(0.01, L2=1e-3) for module in (ours, theirs)]
    for model, optimizer in zip((mine, its), optimizers, strict=True):
        train(model, optimizer, x, y, 100)
    check_close(params(mine), params(its), 1e-5)
    with mine.use_params(optimizers[0].averages), its.use_params(optimizers[1].averages):
        check_close(params(mine), params(its), 1e-5)
        averaged = [p.copy() for p in params(mine)]
    assert not all(map(np.array_equal, averaged, params(mine)))


def test_a_model_that_is_read_back_goes_on() -> None:
    model, x, y = network()
    optimizer = ours.Adam(0.01)
    train(model, optimizer, x, y, 3)
    kept, state = model.to_bytes(), optimizer.to_bytes()
    train(model, optimizer, x, y, 3)
    end = [p.copy() for p in params(model)]
    model.from_bytes(kept)
    again = ours.Adam(0.01).from_bytes(state)
    assert again.step == 3
    train(model, again, x, y, 3)
    assert all(map(np.array_equal, params(model), end))


@pytest.mark.parametrize("kind", ["Adam", "RAdam"])
@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda optimizer: pickle.loads(pickle.dumps(optimizer)),
        lambda optimizer: getattr(ours, "RAdam" if optimizer.use_radam else "Adam")().from_bytes(
            optimizer.to_bytes()
        ),
    ],
)
def test_copies_go_on_with_the_same_bits(kind: str, copied: Any) -> None:
    key, ends = (0, "W"), []
    first, weights = getattr(ours, kind)(), np.ones(5, "f")
    for _ in range(7):
        first(key, weights, np.arange(5, dtype="f"))
    for optimizer in (copied(first), first):
        own = weights.copy()
        for _ in range(3):
            optimizer(key, own, np.ones(5, "f"))
        ends.append((own, optimizer.mom1[key], optimizer.averages[key], optimizer.nr_update[key]))
    assert all(map(np.array_equal, *ends))


def test_config_files_name_it() -> None:
    text = """
    [optimizer]
    @optimizers = "gradmill.{}.v1"
    learn_rate = 0.01
    L2 = 0.1

    [optimizer.grad_clip]
    @schedules = "constant.v1"
    rate = 2.0
    """
    for kind in ("Adam", "RAdam", "SGD"):
        resolved = registry.resolve(Config().from_str(text.format(kind)))["optimizer"]
        assert type(resolved) is ours.Optimizer
        assert resolved.use_radam == (kind == "RAdam")
        assert resolved.L2(0) == 0.1
        assert resolved.grad_clip(0) == 2.0


def test_moments_that_are_assigned_hold() -> None:
    key, optimizer, weights = (0, "W"), ours.Adam(0.1, grad_clip=0.0), np.zeros(2, "f")
    optimizer(key, weights, np.ones(2, "f"))
    optimizer.mom1[key] = np.zeros(2, "f")
    before = weights.copy()
    optimizer(key, weights, np.zeros(2, "f"))
    assert np.array_equal(weights, before)


def test_weights_may_be_other_arrays() -> None:
    optimizer, key = ours.Adam(0.1), (0, "W")
    first, second = np.ones(2, "f"), np.ones(2, "f")
    optimizer(key, first, np.ones(2, "f"))
    kept = first.copy()
    optimizer(key, second, np.ones(2, "f"))
    assert np.array_equal(first, kept)
    assert optimizer.nr_update[key] == 2


def test_what_there_is_nothing_to_do_for() -> None:
    optimizer = ours.Adam(constant(0.1))
    empty = np.zeros((0, 3), "f")
    assert optimizer((0, "W"), empty, empty)[0] is empty
    assert not optimizer.nr_update
    with pytest.raises(NotImplementedError):
        ours.Optimizer(0.1, beta1=0.0)((0, "W"), np.ones(1, "f"), np.ones(1, "f"))


def test_a_gradient_of_another_shape_is_no_step() -> None:
    optimizer, weights = ours.Adam(0.1), np.ones(2, "f")
    with pytest.raises(errors.LeafValueError, match="shape"):
        optimizer((0, "W"), weights, np.ones(3, "f"))
    assert weights.tolist() == [1.0, 1.0]
    assert optimizer.nr_update[0, "W"] == 0
