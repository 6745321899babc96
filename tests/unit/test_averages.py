"""Averages of parameters that steps write, and parameters that take other values for a while."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.trees import bits, copy_tree, random_tree


def walked(average: Any, steps: int, dtype: Any = np.float64, **options: Any) -> tuple[Any, Any]:
    """All parameters on the way, in float64, and the average at its end."""
    opt = gm.Optimizer(gm.chain(gm.adam(0.1), average), random_tree(0, dtype), **options)
    seen = [{k: np.array(p, np.float64) for k, p in opt.master.items() if p is not None}]
    for seed in range(1, steps + 1):
        opt.step(random_tree(seed, dtype))
        seen.append({k: np.array(p, np.float64) for k, p in opt.master.items() if p is not None})
    return seen, gm.tree.get(opt.state, "average")


def close(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    for name, leaf in expected.items():
        np.testing.assert_allclose(np.float64(found[name]), leaf, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("start", [0, 1, 4, 20])
def test_a_mean_since_the_start(start: int) -> None:
    seen, average = walked(gm.parameter_average("polyak", start=start), 9)
    since = seen[start + 1 :] or seen[-1:]
    close(average, {name: np.mean([one[name] for one in since], axis=0) for name in seen[0]})


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize(
    "decay", [0.0, 0.7, 1.0, lambda count: min(0.9, (1 + count) / (10 + count))]
)
def test_fading_weights(decay: Any, start: int) -> None:
    seen, average = walked(gm.parameter_average(decay, start), 6)
    expected = seen[0]
    for count, params in enumerate(seen[1:]):
        share = decay(count) if callable(decay) else decay
        share = share if count >= start else 0.0
        expected = {k: share * expected[k] + (1 - share) * p for k, p in params.items()}
    close(average, expected)


def test_an_average_of_half_precision_is_of_what_steps_work_on() -> None:
    seen, average = walked(gm.parameter_average(0.5), 5, np.float16, master=True)
    assert average["kernel"].dtype == np.float32
    expected = seen[0]
    for params in seen[1:]:
        expected = {k: 0.5 * expected[k] + 0.5 * p for k, p in params.items()}
    close(average, expected, 1e-6)


def test_it_costs_no_pass() -> None:
    tx = gm.chain(gm.adamw(0.1), gm.parameter_average(0.9))
    (only,) = gm.explain(tx, np.ones(4, np.float32)).passes
    assert only.bytes_per_param == 36


def test_clip_up_bounds_the_speed() -> None:
    opt = gm.Optimizer(gm.scale_by_clip_up(0.3, 0.9), {"a": np.zeros(3), "b": np.zeros((2, 2))})
    rng = np.random.default_rng(0)
    v, total = np.zeros(7), np.zeros(7)
    for _ in range(12):
        g = rng.normal(size=7) * 10 ** rng.uniform(-3, 3)
        report = opt.step({"a": g[:3], "b": g[3:].reshape(2, 2)}, report=["update_norm"])
        v = 0.9 * v + 0.3 * g / np.linalg.norm(g)
        v = v * min(1.0, 0.6 / float(np.linalg.norm(v)))
        total += v
        assert report.update_norm == pytest.approx(np.linalg.norm(v))
    np.testing.assert_allclose(np.concatenate([opt.params["a"], opt.params["b"].ravel()]), total)
    before = copy_tree(opt.state.velocity)
    opt.step({"a": np.zeros(3), "b": np.zeros((2, 2))})
    close(opt.state.velocity, {name: 0.9 * leaf for name, leaf in before.items()})


def test_other_values_for_a_while() -> None:
    params, values = random_tree(0, np.float16), random_tree(1, np.float64)
    before, given = bits(params), bits(values)
    with pytest.raises(RuntimeError), gm.use_params(params, values) as used:  # noqa: PT012  (what is inside matters)
        assert used is params
        assert bits(params) == bits(gm.tree.cast(values, np.float16))
        raise RuntimeError
    assert bits(params) == before
    assert bits(values) == given


WRONG: list[tuple[Any, Any, str]] = [
    ([np.ones(2)], TreeError, "values"),
    ([np.ones(2), np.ones(3)], LeafValueError, r"values\[1\]"),
    ([np.ones(2), "x"], (LeafTypeError, LeafValueError), r"values\[1\]"),
]


@pytest.mark.parametrize(("values", "error", "message"), WRONG, ids=range(len(WRONG)))
def test_values_that_do_not_fit(values: Any, error: Any, message: str) -> None:
    params = [np.zeros(2), np.zeros(2)]
    with pytest.raises(error, match=message), gm.use_params(params, values):
        pass
    assert not any(leaf.any() for leaf in params)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda any_gm: any_gm.parameter_average("mean"), TypeError, "decay"),
        (lambda any_gm: any_gm.parameter_average(1.5), ValueError, "decay must be at most 1"),
        (
            lambda any_gm: any_gm.parameter_average(0.5, start=1.5),
            TypeError,
            "start must be an int",
        ),
        (
            lambda any_gm: any_gm.parameter_average(0.5, start=-1),
            ValueError,
            "start must be at least",
        ),
        (lambda any_gm: any_gm.scale_by_clip_up(0.0), ValueError, "step_size"),
        (lambda any_gm: any_gm.scale_by_clip_up(0.1, max_speed=0.0), ValueError, "max_speed"),
    ],
)
def test_arguments(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make(gm)
