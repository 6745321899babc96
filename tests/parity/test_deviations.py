"""Where gradmill is safe and optax is not: what each gives for the same input.

``docs/deviations.md`` tells of them. What optax does is asserted too, so that the page stays true.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.errors import LeafTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

F16, F32, BF16 = np.float16, np.float32, ml_dtypes.bfloat16
NAN = math.nan


def updates_of(tx: Any, grads: list[Any], params: Any) -> list[Any]:
    """The updates of one step after the other, for either library."""
    state, seen = tx.init(params), []
    for grad in grads:
        updates, state = tx.update(grad, state, params)
        seen.append(updates)
    return seen


def of_both(make: Any, grads: list[Any], params: Any) -> tuple[Any, Any]:
    """What optax and what gradmill give, as lists of numbers for a parameter of one element."""
    theirs = updates_of(make(optax), [jnp.asarray(grad) for grad in grads], jnp.asarray(params))
    ours = updates_of(make(gm), grads, params)
    return [float(update[0]) for update in theirs], [float(update[0]) for update in ours]


def row(*numbers: float, dtype: Any = F32) -> list[Any]:
    return [np.full(1, number, dtype) for number in numbers]


@pytest.mark.parametrize(("size", "dtype"), [(1e25, F32), (6e4, F16)])
def test_norms_of_large_gradients(size: float, dtype: Any) -> None:
    grads = np.full(4, size, dtype)
    theirs, _ = optax.clip_by_global_norm(1.0).update(jnp.asarray(grads), optax.EmptyState())
    ours, _ = gm.clip_by_global_norm(1.0).update(grads, gm.EmptyState())
    np.testing.assert_array_equal(theirs, 0)
    np.testing.assert_allclose(ours, 0.5, rtol=1e-3)


def test_norms_of_trees_with_several_dtypes() -> None:
    grads = {"half": np.full(1, 6e4, F16), "single": np.ones(1, F32)}
    theirs, _ = optax.clip_by_global_norm(1e4).update(
        jax.tree.map(jnp.asarray, grads), optax.EmptyState()
    )
    ours, _ = gm.clip_by_global_norm(1e4).update(grads, gm.EmptyState())
    assert not jax.tree.reduce(lambda found, leaf: found or leaf.any(), theirs, False)
    np.testing.assert_allclose(ours["half"], 1e4, rtol=1e-6)
    np.testing.assert_allclose(ours["single"], 1 / 6, rtol=1e-6)


def test_norms_of_many_leaves() -> None:
    leaves = [np.ones(1000, BF16)] * 1000
    assert optax.tree_utils.tree_norm([jnp.asarray(leaf) for leaf in leaves]) == 512
    assert gm.global_norm(leaves) == 1000


def test_moments_of_half_precision() -> None:
    """After 2,000 gradients of 1, the second moment is 1 - 0.999**2000 = 0.865."""
    tx, one = optax.scale_by_adam(), jnp.ones(1, BF16)
    state: Any = tx.init(one)
    for _ in range(2000):
        _, state = tx.update(one, state)
    assert state.nu == 0.5
    ours, grads = gm.scale_by_adam(), np.ones(1, BF16)
    own = ours.init(grads)
    for _ in range(2000):
        _, own = ours.update(grads, own)
    assert own.nu.dtype == F32
    np.testing.assert_allclose(own.nu, 1 - 0.999**2000, rtol=1e-5)


def test_parameters_of_half_precision() -> None:
    """A hundred updates of a thousandth are lost one by one, unless a master collects them."""
    theirs = jnp.ones(1, BF16)
    for _ in range(100):
        theirs = optax.apply_updates(theirs, jnp.full(1, -1e-3, BF16))
    assert theirs == 1
    opt = gm.Optimizer(gm.sgd(1e-3), np.ones(1, BF16), master=True)
    for _ in range(100):
        opt.step(np.ones(1, BF16))
    np.testing.assert_allclose(opt.params.astype(F32), 0.9, rtol=4e-3)


def test_a_nan_among_collected_steps() -> None:
    theirs, ours = of_both(
        lambda module: module.MultiSteps(module.sgd(1.0), 2), row(NAN, 1, 1, 1, 1, 1), row(0)[0]
    )
    np.testing.assert_equal(theirs, [NAN] * 6)
    np.testing.assert_equal(ours, [0, NAN, 0, -1, 0, -1])


def test_errors_without_end() -> None:
    grads = row(1, NAN, NAN, NAN, 1, 1)
    theirs, _ = of_both(
        lambda module: module.apply_if_finite(module.sgd(1.0, 0.9), 2), grads, grads[0]
    )
    np.testing.assert_equal(theirs, [-1, 0, 0, NAN, NAN, NAN])
    ours = updates_of(gm.apply_if_finite(gm.sgd(1.0, 0.9)), grads, grads[0])
    np.testing.assert_allclose(np.ravel(ours), [-1, 0, 0, 0, -1.9, -2.71], rtol=1e-6)


def test_hyperparameters_beside_half_precision() -> None:
    theirs, ours = of_both(
        lambda module: module.inject_hyperparams(module.adam)(0.1, b2=0.999),
        row(1, dtype=BF16),
        row(1, dtype=BF16)[0],
    )
    np.testing.assert_equal(theirs, [NAN])
    np.testing.assert_allclose(ours, [-0.1])


def test_integer_parameters() -> None:
    params = np.arange(3)
    tx = optax.sgd(0.9)
    updates, _ = tx.update(jnp.ones(3), tx.init(jnp.asarray(params)))
    np.testing.assert_array_equal(optax.apply_updates(jnp.asarray(params), updates), [0, 0, 1])
    with pytest.raises(LeafTypeError, match=r"params\['n'\]: dtype int64"):
        gm.Optimizer(gm.sgd(0.9), {"n": params})
    with pytest.raises(LeafTypeError, match=r"params\['n'\]: dtype int64"):
        gm.apply_updates({"n": params}, {"n": np.ones(3)})


def test_leaves_that_no_transformation_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """Both hand their gradient on as it is; one of them says so."""
    mask = {"b": False, "w": True}
    params = {"b": np.ones(1, F32), "w": np.ones(1, F32)}
    for module in (optax, gm):
        tx = module.masked(module.sgd(0.1), mask)
        updates, _ = tx.update(params, tx.init(params), params)
        assert updates["b"] == 1
        np.testing.assert_allclose(updates["w"], -0.1)
    gm.explain(gm.masked(gm.sgd(0.1), mask), params)
    assert "warning: no transformation takes params['b']" in capsys.readouterr().out


def test_hyperparameters_that_make_nans() -> None:
    one = row(1)
    makes: dict[str, Callable[[Any], Any]] = {
        "b2 must be less than 1": lambda module: module.adam(0.1, b2=1.0),
        "learning_rate must be a number": lambda module: module.sgd(NAN),
        "step_size is nan": lambda module: module.sgd(lambda count: NAN),
    }
    for message, make in makes.items():
        assert np.isnan(updates_of(make(optax), one, one[0])).all()
        with pytest.raises(ValueError, match=message):
            updates_of(make(gm), one, one[0])


def test_bounds_below_zero() -> None:
    """The least of the bound and the greatest of its negative: every update becomes -1."""
    theirs = updates_of(optax.clip(-1.0), row(0.5, -0.5, 0), row(0)[0])
    np.testing.assert_array_equal(np.ravel(theirs), -1)
    with pytest.raises(ValueError, match="max_delta must be at least 0"):
        gm.clip(-1.0)


def test_updates_of_zero() -> None:
    theirs = optax.apply_updates(jnp.full(1, -0.0), jnp.zeros(1))
    assert not np.signbit(theirs)
    assert np.signbit(gm.apply_updates(np.full(1, -0.0), np.zeros(1)))


def test_the_first_step_of_adam() -> None:
    """It is the sign of the gradient, but for the rounding of ``1 - b2``."""
    theirs, ours = of_both(lambda module: module.scale_by_adam(eps=0.0), row(0.3), np.zeros(1, F32))
    assert abs(theirs[0] - 1) > 5e-6
    assert abs(ours[0] - 1) < 1e-7
