"""float16 and bfloat16: stored in half precision, computed in single, rounded once."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import gradmill as gm
from tests.trees import bits

BF16 = ml_dtypes.bfloat16
HALVES = [np.float16, BF16]


def normal(seed: int, shape: Any, dtype: Any, scale: float = 1.0) -> Any:
    return (np.random.default_rng(seed).normal(0.0, scale, shape)).astype(dtype)


def adamw_in_float64(params: Any, grads: Any, steps: int, rate: float, decay: float) -> Any:
    """The formula, with the parameters rounded to their dtype after each step and nothing else."""
    p, mu, nu = params.astype(np.float64), 0.0, 0.0
    for step in range(1, steps + 1):
        g = grads.astype(np.float64)
        mu, nu = 0.9 * mu + 0.1 * g, 0.999 * nu + 0.001 * g * g
        m_hat, v_hat = mu / (1 - 0.9**step), nu / (1 - 0.999**step)
        p = p - rate * (m_hat / (np.sqrt(v_hat) + 1e-8) + decay * p)
        p = p.astype(params.dtype).astype(np.float64)
    return p


@pytest.mark.parametrize("dtype", HALVES)
def test_a_step_is_the_formula_rounded_once(dtype: Any) -> None:
    params, grads = normal(0, 3000, dtype), normal(1, 3000, dtype, 0.1)
    expected = adamw_in_float64(params, grads, 1, 0.1, 0.01)
    opt = gm.Optimizer(gm.adamw(0.1, weight_decay=0.01), params)
    opt.step(grads)
    # Single precision lies so close to the formula that next to no element rounds the other way.
    ours = params.astype(np.float64)
    assert np.mean(ours != expected) < 1e-3
    ulp = np.spacing(np.abs(expected).astype(dtype)).astype(np.float64)
    assert np.all(np.abs(ours - expected) <= ulp)


@pytest.mark.parametrize("dtype", HALVES)
def test_closer_to_the_formula_than_optax(dtype: Any) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    params, grads = normal(0, 2000, dtype), normal(1, 2000, dtype, 0.1)
    expected = adamw_in_float64(params, grads, 20, 0.01, 1e-4)
    ours = params.copy()
    opt = gm.Optimizer(gm.adamw(0.01), ours)
    tx = optax.adamw(0.01)
    theirs = jax.numpy.asarray(params)
    state = tx.init(theirs)
    for _ in range(20):
        opt.step(grads)
        updates, state = tx.update(jax.numpy.asarray(grads), state, theirs)
        theirs = optax.apply_updates(theirs, updates)

    def error(result: Any) -> float:
        return float(np.sqrt(np.mean((np.asarray(result).astype(np.float64) - expected) ** 2)))

    # In float16, optax divides by an epsilon that has become zero.
    assert error(ours) <= 0.2 * np.nan_to_num(error(theirs), nan=np.inf)


@pytest.mark.parametrize("dtype", HALVES)
def test_moments_are_single_unless_told(dtype: Any) -> None:
    params = np.ones(3, dtype)
    for tx in (gm.trace(), gm.ema(0.9), gm.scale_by_rms(), gm.scale_by_stddev()):
        assert {np.asarray(leaf).dtype for leaf in _arrays(tx.init(params))} == {np.dtype("f4")}
    state = gm.scale_by_adam(mu_dtype="bfloat16", nu_dtype=np.float16).init(params)
    assert (state.mu.dtype, state.nu.dtype) == (np.dtype(BF16), np.dtype("f2"))
    updates, state = gm.scale_by_adam().update(params, gm.scale_by_adam().init(params))
    assert (updates.dtype, state.mu.dtype, state.nu.dtype) == (np.dtype("f4"),) * 3


def _arrays(state: Any) -> list[Any]:
    return [leaf for leaf in state if getattr(leaf, "ndim", 0)]


def test_what_is_no_dtype_of_floats() -> None:
    with pytest.raises(TypeError, match="nu_dtype must be float16, bfloat16, float32 or float64"):
        gm.adam(0.1, nu_dtype=np.int32)


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.float16, 6e4), (BF16, 1e38), (np.float32, 1e25), (np.float64, 1e200)]
)
def test_large_gradients_clip(dtype: Any, value: float) -> None:
    grads = np.full(1000, value, dtype)
    norm = float(grads[0]) * 1000**0.5
    assert gm.global_norm(grads) == pytest.approx(norm, rel=1e-12)
    tx = gm.clip_by_global_norm(1.0)
    updates, _ = tx.update(grads, tx.init(grads))
    np.testing.assert_allclose(updates.astype(np.float64), 1000**-0.5, rtol=1e-6)
    params = np.zeros(1000, dtype)
    opt = gm.Optimizer(gm.chain(tx, gm.scale(-1.0)), params)
    assert opt.step(grads).global_norm == pytest.approx(norm, rel=1e-12)
    tolerance = 2.0**-7 if dtype is BF16 else 1e-3
    np.testing.assert_allclose(params.astype(np.float64), -(1000**-0.5), rtol=tolerance)


def test_a_sum_of_many_in_half_precision() -> None:
    """A norm in bfloat16 would stop at 512."""
    grads = [np.full(1000, 1.0, BF16) for _ in range(1000)]
    assert gm.global_norm(grads) == 1000.0


@pytest.mark.parametrize("dtype", HALVES)
def test_byte_order_and_layout(dtype: Any) -> None:
    grads = normal(0, (7, 9), dtype)
    swapped = grads.astype(np.float16).astype(">f2") if dtype is np.float16 else grads[::-1][::-1]
    tx = gm.scale(0.3)
    expected = tx.update(grads, tx.init(grads))[0]
    for other in (swapped, np.asfortranarray(grads), np.repeat(grads, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(tx.update(other, tx.init(other))[0], expected)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("clips", [False, True])
def test_master_weights(dtype: Any, clips: bool) -> None:
    """Masters take the steps of float32 parameters; the parameters are their roundings."""
    tx = gm.chain(gm.clip_by_global_norm(0.5) if clips else gm.identity(), gm.adamw(1e-4))
    params = {"a": normal(0, (40, 70), dtype), "b": normal(1, (), dtype), "c": np.ones(3)}
    wide = {
        key: np.array(leaf, np.float32 if leaf.dtype == dtype else None)
        for key, leaf in params.items()
    }
    opt, single = gm.Optimizer(tx, params, master=True), gm.Optimizer(tx, wide)
    for step in range(5):
        grads = {key: normal(step, leaf.shape, leaf.dtype) for key, leaf in params.items()}
        assert opt.step(grads)[1:] == single.step(grads)[1:]
    assert bits(opt.master) == bits(wide)
    assert opt.master["c"] is params["c"]
    for key in ("a", "b"):
        np.testing.assert_array_equal(params[key], wide[key].astype(dtype))
        assert params[key].dtype == dtype
    assert bits(opt.state) == bits(single.state)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", [1, 4096, 4097, (1 << 17) + 4099])
@pytest.mark.parametrize("tx", [gm.adamw(0.1), gm.sgd(0.1, momentum=0.9)], ids=["adamw", "sgd"])
def test_master_weights_of_any_length(tx: Any, size: int, dtype: Any) -> None:
    """Long ones are rounded block by block."""
    params, grads = normal(0, size, dtype), normal(1, size, dtype)
    wide = params.astype(np.float32)
    opt, single = gm.Optimizer(tx, params, master=True), gm.Optimizer(tx, wide)
    for _ in range(3):
        report, expected = opt.step(grads), single.step(grads.astype(np.float32))
        assert report == expected
    assert bits((opt.master, opt.state)) == bits((wide, single.state))
    assert bits(params) == bits(wide.astype(dtype))
    grads[-1] = np.nan
    assert not opt.step(grads).finite


def test_masters_go_on_where_others_stopped() -> None:
    tx = gm.adam(1e-3)
    first = gm.Optimizer(tx, np.ones(4, BF16), master=True)
    grads = normal(0, 4, BF16)
    for _ in range(3):
        first.step(grads)
    second = gm.Optimizer(tx, first.params.copy(), master=first.master)
    second.init_from(first.state)
    for opt in (first, second):
        opt.step(grads)
    assert bits((first.params, first.master, first.state)) == bits(
        (second.params, second.master, second.state)
    )
    with pytest.raises(gm.errors.LeafValueError, match=r"master\['w'\]: shape \(3,\)"):
        gm.Optimizer(tx, {"w": np.ones(4, BF16)}, master={"w": np.ones(3, np.float32)})


def test_masters_in_silent_steps_and_python_members() -> None:
    seen = set()

    def look(updates: Any, params: Any) -> Any:
        seen.add(params.dtype)
        return updates

    spy = gm.stateless(look)
    params = np.ones(4, BF16)
    opt = gm.Optimizer(
        gm.chain(spy, gm.MultiSteps(gm.sgd(1e-4), 2).gradient_transformation()),
        params,
        master=True,
    )
    for _ in range(4):
        opt.step(np.ones(4, BF16))
    np.testing.assert_allclose(np.asarray(opt.master), 1 - 2e-4, rtol=1e-6)
    assert seen == {np.dtype("f4")}


@pytest.mark.parametrize("dtype", HALVES)
def test_stochastic_rounding_is_right_on_average(dtype: Any) -> None:
    """Steps of a hundredth of an ulp: lost to nearest, kept on average at random."""
    start, count, steps = 1.0, 20_000, 50
    step = float(np.spacing(np.asarray(start, dtype)).astype(np.float64)) / 100
    nearest, random = np.full(count, start, dtype), np.full(count, start, dtype)
    plain = gm.Optimizer(gm.sgd(-step), nearest)
    opt = gm.Optimizer(gm.sgd(-step), random, rounding="stochastic", seed=7)
    for _ in range(steps):
        plain.step(np.ones(count, dtype))
        opt.step(np.ones(count, dtype))
    assert np.all(nearest == np.asarray(start, dtype))
    moved = random.astype(np.float64).mean() - start
    assert moved == pytest.approx(steps * step, rel=0.05)


def _stochastic(
    tx: Any, shape: Any, threads: int, seed: int, order: Any = "C", **kwargs: Any
) -> Any:
    params = np.array(normal(0, shape, BF16), order=order)
    opt = gm.Optimizer(tx, params, rounding="stochastic", seed=seed, **kwargs)
    with gm.num_threads(threads):
        for step in range(3):
            opt.step(normal(step, shape, BF16))
    return bits((params, opt.state))


@pytest.mark.parametrize("kwargs", [{}, {"master": True}])
def test_stochastic_rounding_depends_on_the_seed_alone(kwargs: Any) -> None:
    tx = gm.adamw(0.01, mu_dtype=BF16, nu_dtype=BF16)
    shape = (700, 601)
    expected = _stochastic(tx, shape, 1, 3, **kwargs)
    for threads in (2, 3, 16):
        assert _stochastic(tx, shape, threads, 3, **kwargs) == expected
    assert _stochastic(tx, shape, 2, 3, "F", **kwargs) == expected
    assert _stochastic(tx, shape, 2, 4, **kwargs) != expected


def test_tiers_round_alike_at_random() -> None:
    from gradmill import _core

    tx = gm.chain(gm.trace(0.9, accumulator_dtype=np.float16), gm.scale(-0.1))
    expected = _stochastic(tx, (33, 65), 1, 3)
    try:
        for tier in ("scalar", "avx2", "avx512"):
            try:
                _core.force(tier)
            except ValueError:  # this machine lacks it
                continue
            assert _stochastic(tx, (33, 65), 1, 3) == expected
    finally:
        _core.force()


def test_rounding_is_checked() -> None:
    with pytest.raises(ValueError, match='rounding must be "nearest" or "stochastic"'):
        gm.Optimizer(gm.sgd(0.1), np.ones(2), rounding="up")
    with pytest.raises(ValueError, match="seed must be from 0"):
        gm.Optimizer(gm.sgd(0.1), np.ones(2), rounding="stochastic", seed=-1)
