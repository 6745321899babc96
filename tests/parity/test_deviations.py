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
from tests.on_jax import to_jax

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


@pytest.mark.parametrize("name", ["clip_by_block_rms", "normalize_by_update_norm"])
def test_other_norms_of_large_gradients(name: str) -> None:
    grads = np.full(4, 1e25, F32)
    theirs, ours = of_both(lambda module: getattr(module, name)(1.0), [grads], grads)
    assert theirs == [0]
    np.testing.assert_allclose(ours, 1.0 if name == "clip_by_block_rms" else 0.5, rtol=1e-6)


def test_norms_of_trees_with_several_dtypes() -> None:
    grads = {"half": np.full(1, 6e4, F16), "single": np.ones(1, F32)}
    theirs, _ = optax.clip_by_global_norm(1e4).update(to_jax(grads), optax.EmptyState())
    ours, _ = gm.clip_by_global_norm(1e4).update(grads, gm.EmptyState())
    assert not jax.tree.reduce(lambda found, leaf: found or leaf.any(), theirs, False)
    np.testing.assert_allclose(ours["half"], 1e4, rtol=1e-6)
    np.testing.assert_allclose(ours["single"], 1 / 6, rtol=1e-6)


def test_norms_of_many_leaves() -> None:
    leaves = [np.ones(1000, BF16)] * 1000
    assert optax.tree_utils.tree_norm([jnp.asarray(leaf) for leaf in leaves]) == 512
    assert gm.global_norm(leaves) == 1000


@pytest.mark.parametrize(("dtype", "stuck", "faded"), [(BF16, 0.5, 0.5), (F16, 0.75, 0.051)])
def test_moments_of_half_precision(dtype: Any, stuck: float, faded: float) -> None:
    """After 2,000 gradients of 1, the second moment is 0.865; after 3,000 of 0 more, 0.043."""
    tx, own_tx = optax.scale_by_adam(), gm.scale_by_adam()
    update = jax.jit(tx.update)  # for speed
    grads = np.ones(1, dtype)
    theirs: Any = tx.init(jnp.asarray(grads))
    ours = own_tx.init(grads)
    rounds = [(2000, 1.0, stuck), (3000, 0.0, faded)]
    exact = 0.0
    for steps, size, wrong in rounds:
        grads = np.full(1, size, dtype)
        given = jnp.asarray(grads)
        for _ in range(steps):
            _, theirs = update(given, theirs)
            _, ours = own_tx.update(grads, ours)
            exact = 0.999 * exact + 0.001 * size**2
        assert float(theirs.nu[0]) == pytest.approx(wrong, rel=1e-3)
        np.testing.assert_allclose(ours.nu, exact, rtol=1e-4)
    assert (theirs.nu.dtype, ours.nu.dtype) == (dtype, F32)


@pytest.mark.parametrize(
    ("size", "wrong", "right"), [(0, NAN, 0), (1e-3, math.inf, 1), (3e3, 0, 1)]
)
def test_adam_in_float16(size: float, wrong: float, right: float) -> None:
    """Epsilon and small squares are zero there, large squares are infinite."""
    grads = row(size, dtype=F16)
    theirs, ours = of_both(lambda module: module.scale_by_adam(), grads, grads[0])
    np.testing.assert_equal(theirs, [wrong])
    np.testing.assert_allclose(ours, [right], rtol=1e-4)


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


@pytest.mark.parametrize("bad", [NAN, math.inf])
@pytest.mark.parametrize("name", ["MultiSteps", "apply_every"])
def test_a_nan_among_collected_steps(name: str, bad: float) -> None:
    def make(module: Any) -> Any:
        if name == "MultiSteps":
            return module.MultiSteps(module.sgd(0.5), 2, use_grad_mean=False)
        return module.chain(module.apply_every(2), module.sgd(0.5))

    theirs, ours = of_both(make, row(bad, 1, 1, 1, 1, 1), row(0)[0])
    assert not np.isfinite(theirs).any()
    assert not np.isfinite(ours[1])
    np.testing.assert_array_equal(ours[:1] + ours[2:], [0, 0, -1, 0, -1])


def test_a_nan_that_is_left_out() -> None:
    """The way out in both: the bad step does not count."""
    theirs, ours = of_both(
        lambda module: module.MultiSteps(
            module.sgd(1.0), 2, should_skip_update_fn=module.skip_not_finite
        ),
        row(NAN, 1, 1, 1, 1),
        row(0)[0],
    )
    np.testing.assert_array_equal(theirs, [0, 0, -1, 0, -1])
    np.testing.assert_array_equal(ours, theirs)


def test_errors_without_end() -> None:
    grads = row(1, NAN, NAN, NAN, 1, 1)
    theirs, told = of_both(
        lambda module: module.apply_if_finite(module.adam(0.1), 2), grads, grads[0]
    )
    for gave_up in (theirs, told):
        np.testing.assert_allclose(gave_up, [-0.1, 0, 0, NAN, NAN, NAN], rtol=1e-5)
    ours = updates_of(gm.apply_if_finite(gm.adam(0.1)), grads, grads[0])
    np.testing.assert_allclose(np.ravel(ours), [-0.1, 0, 0, 0, -0.1, -0.1], rtol=1e-5)


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


def test_leaves_that_no_transformation_takes() -> None:
    """Both hand their gradient on as it is; one of them says so."""
    mask = {"b": False, "w": True}
    params = {"b": np.ones(1, F32), "w": np.ones(1, F32)}
    for module in (optax, gm):
        tx = module.masked(module.sgd(0.1), mask)
        updates, _ = tx.update(params, tx.init(params), params)
        assert updates["b"] == 1
        np.testing.assert_allclose(updates["w"], -0.1)
    inner = gm.masked(gm.sgd(0.1), mask)
    guarded = gm.apply_if_finite(gm.chain(gm.clip_by_global_norm(9.0), gm.MultiSteps(inner, 1)))
    for tx in (inner, guarded, gm.conditionally_mask(inner, bool), gm.chain(gm.zero_nans(), inner)):
        assert "warning: no transformation takes params['b']" in str(gm.explain(tx, params))
    for tx in (gm.chain(inner, gm.freeze({"b": True, "w": False})), gm.chain(inner, gm.trace(0.9))):
        assert not gm.explain(tx, params).warnings


def test_hyperparameters_that_make_nans() -> None:
    one = row(1)
    makes: dict[str, Callable[[Any], Any]] = {
        "b2 must be less than 1": lambda module: module.adam(0.1, b2=1.0),
        "learning_rate must be a number": lambda module: module.sgd(NAN),
        "learning_rate: the schedule returned nan": lambda module: module.sgd(lambda count: NAN),
    }
    for message, make in makes.items():
        assert np.isnan(updates_of(make(optax), one, one[0])).all()
        with pytest.raises(ValueError, match=message):
            updates_of(make(gm), one, one[0])


def test_joins_that_leave_out_schedules() -> None:
    """One without a boundary is never reached, and nor is one whose boundary lies behind."""
    for boundaries in ([3], [5, 3]):
        theirs = optax.join_schedules(
            [optax.constant_schedule(v) for v in (1.0, 2.0, 3.0)], boundaries
        )
        seen = {float(theirs(count)) for count in range(9)}
        assert len(seen) == 2
        with pytest.raises(ValueError, match="join_schedules needs 2 ascending boundaries"):
            gm.join_schedules([gm.constant_schedule(v) for v in (1.0, 2.0, 3.0)], boundaries)


def test_injected_numbers_keep_their_digits() -> None:
    """The rounding of ``b2`` alone moves the first step by a hundred roundings."""

    def pair(module: Any) -> list[Any]:
        return [
            module.inject_hyperparams(module.adamw)(0.1, weight_decay=0.0),
            module.adamw(0.1, weight_decay=0.0),
        ]

    grads = row(0.3)
    theirs, plain = (updates_of(tx, [jnp.asarray(grads[0])], grads[0])[0] for tx in pair(optax))
    assert abs(float(theirs[0]) - float(plain[0])) > 1e-7
    ours, expected = (updates_of(tx, grads, grads[0])[0] for tx in pair(gm))
    assert ours.tobytes() == expected.tobytes()


def test_masks_are_no_schedules() -> None:
    def mask(tree: Any) -> Any:
        return {key: key == "w" for key in tree}

    params = {"w": np.ones(1, F32), "b": np.ones(1, F32)}
    with pytest.raises(TypeError, match="iteration over a 0-d array"):
        optax.inject_hyperparams(optax.adamw)(0.1, mask=mask).init(params)
    tx = gm.inject_hyperparams(gm.adamw)(0.1, mask=mask)
    plain = gm.adamw(0.1, mask=mask)
    assert "mask" not in tx.init(params).hyperparams
    updates, expected = (made.update(params, made.init(params), params)[0] for made in (tx, plain))
    assert updates == expected


def test_bounds_below_zero() -> None:
    """The least of the bound and the greatest of its negative: every update becomes -1."""
    theirs = updates_of(optax.clip(-1.0), row(0.5, -0.5, 0), row(0)[0])
    np.testing.assert_array_equal(np.ravel(theirs), -1)
    with pytest.raises(ValueError, match="max_delta must be at least 0"):
        gm.clip(-1.0)


@pytest.mark.parametrize("param", [-0.0, 1e-40])
def test_updates_of_zero(param: float) -> None:
    params, zero = row(param)[0], row(0)[0]
    theirs = np.asarray(optax.apply_updates(jnp.asarray(params), jnp.asarray(zero)))
    assert theirs.tobytes() == zero.tobytes()
    assert gm.apply_updates(params, zero).tobytes() == params.tobytes()
    opt = gm.Optimizer(gm.sgd(0.1), params.copy())
    opt.step(zero)
    assert opt.params.tobytes() == params.tobytes()


def test_subnormal_numbers() -> None:
    """Both take them for zero, as they would slow down each step; one leaves what no step moves."""
    grads = row(1.5e-38)
    for updates in of_both(lambda module: module.scale(0.5), grads, grads[0]):
        assert updates == [0]
    fading = [*grads, *row(0)]
    for moments in of_both(lambda module: module.trace(0.5), fading, grads[0]):
        np.testing.assert_allclose(moments, [1.5e-38, 0], rtol=1e-6)


def test_the_first_step_of_adam() -> None:
    """It is the sign of the gradient, but for the rounding of ``1 - b2``."""
    theirs, ours = of_both(lambda module: module.scale_by_adam(eps=0.0), row(0.3), np.zeros(1, F32))
    assert abs(theirs[0] - 1) > 5e-6
    assert abs(ours[0] - 1) < 1e-7


def test_the_rectification_of_radam() -> None:
    """The number of squares that the second moment has seen is a difference of large numbers."""
    theirs, ours = of_both(lambda module: module.scale_by_radam(), row(*[1] * 6), row(0)[0])
    b2, most = 0.999, 1999.0
    length = most - 12 * b2**6 / (1 - b2**6)
    square = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    assert abs(theirs[-1] / math.sqrt(square) - 1) > 0.01
    assert abs(ours[-1] / math.sqrt(square) - 1) < 1e-6


def test_thresholds_of_radam() -> None:
    """With fewer than four squares there is no rectification."""
    theirs, ours = of_both(
        lambda module: module.scale_by_radam(threshold=3.0), row(1, 1, 1, 1), row(0)[0]
    )
    assert math.isnan(theirs[-1])
    np.testing.assert_allclose(ours, 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda module: module.clip_by_global_norm(0.0),
        lambda module: module.clip_by_block_rms(0.0),
        lambda module: module.normalize_by_update_norm(eps=0.0),
    ],
)
def test_bounds_of_zero(make: Any) -> None:
    assert_zero_not_nan(make)


@pytest.mark.parametrize(
    "make",
    [
        lambda module: module.scale_by_adam(eps=0.0),
        lambda module: module.scale_by_adam(eps=1e-50),
        lambda module: module.scale_by_rms(eps=0.0),
        lambda module: module.scale_by_adadelta(eps=0.0),
        lambda module: module.contrib.scale_by_ademamix(eps=0.0),
        lambda module: module.scale_by_novograd(eps=0.0),
        lambda module: module.scale_by_factored_rms(epsilon=0.0),
        lambda module: module.scale_by_amsgrad(eps=0.0),
        lambda module: module.scale_by_adan(eps=0.0),
        lambda module: module.scale_by_yogi(eps=0.0, initial_accumulator_value=0.0),
        lambda module: module.scale_by_adamax(eps=0.0),
        lambda module: module.scale_by_distance_over_gradients(eps=0.0),
    ],
)
def test_epsilons_of_zero(make: Any) -> None:
    assert_zero_not_nan(make)
    _, ours = of_both(make, row(1e-17), row(0)[0])
    exact = make(gm)
    wide = updates_of(exact, row(1e-17, dtype=np.float64), row(0, dtype=np.float64)[0])
    np.testing.assert_allclose(ours, wide[0], rtol=1e-6)


def test_steps_before_an_offset() -> None:
    """As when fine-tuning begins with a new state and the offset of the old one."""
    theirs, ours = of_both(
        lambda module: module.scale_by_factored_rms(step_offset=5), row(2, 2, 2), row(0)[0]
    )
    assert np.isnan(theirs).all()
    np.testing.assert_allclose(ours, 1.0, rtol=1e-6)


def test_factored_averages_at_the_last_count() -> None:
    """The number of the step is one more, which is negative in int32."""
    late = np.asarray(2**31 - 1, np.int32)
    theirs_tx, ours_tx = (m.scale_by_factored_rms() for m in (optax, gm))
    grads = np.ones(1, F32)
    state: Any = theirs_tx.init(jnp.asarray(grads))
    theirs, _ = theirs_tx.update(
        jnp.asarray(grads), state._replace(count=jnp.asarray(late)), jnp.zeros(1)
    )
    own = ours_tx.init(grads)._replace(count=late, v=grads)
    ours, _ = ours_tx.update(grads, own, grads)
    assert np.isnan(theirs).all()
    np.testing.assert_allclose(ours, 1.0, rtol=1e-6)


def test_numbers_and_empty_leaves_in_sm3() -> None:
    """A number is a vector of one; an empty array has nothing to look at."""
    params = {
        "empty": np.zeros((0, 3), F32),
        "number": np.asarray(2.0, F32),
        "row": np.ones(1, F32),
    }
    theirs_tx, ours_tx = optax.scale_by_sm3(), gm.scale_by_sm3()
    for name, error in (("empty", ValueError), ("number", IndexError)):
        one = {name: jnp.asarray(params[name])}
        with pytest.raises(error):
            theirs_tx.update(one, theirs_tx.init(one))
    updates, state = ours_tx.update(params, ours_tx.init(params))
    np.testing.assert_allclose(updates["number"], updates["row"])
    assert [vector.shape for vector in state.mu["number"]] == [()]
    assert updates["empty"].shape == (0, 3)


def assert_zero_not_nan(make: Any) -> None:
    theirs, ours = of_both(make, row(0), row(0)[0])
    np.testing.assert_equal(theirs, [NAN])
    assert ours == [0]


def test_distances_of_numbers_without_axes() -> None:
    shapes = []
    for module in (optax, gm):
        tx, params = module.scale_by_distance_over_gradients(), jnp.ones(())
        params = params if module is optax else np.asarray(params)
        shapes.append(tx.update(params, tx.init(params), params)[0].shape)
    assert shapes == [(1,), ()]


def test_variances_of_what_hardly_varies() -> None:
    theirs, ours = optax.rmsprop(1e-3, centered=True), gm.rmsprop(1e-3, centered=True)
    params = np.zeros(64, F32)
    opt, state, update = gm.Optimizer(ours, params), theirs.init(params), jax.jit(theirs.update)
    rng = np.random.default_rng(0)
    steps_until_nan = 0
    for step in range(1, 401):
        grads = (1 + 1e-4 * rng.normal(size=64)).astype(F32)
        opt.step(grads)
        updates, state = update(grads, state)
        if not steps_until_nan and np.isnan(updates).any():
            steps_until_nan = step
    assert 100 < steps_until_nan < 200
    assert np.isfinite(opt.params).all()
    variance = opt.state[0].nu - opt.state[0].mu ** 2
    assert (variance < 0).any()


def test_what_both_let_pass() -> None:
    """An infinite gradient in a clip by norm; an infinity within apply_if_finite or in a moment."""
    grads = np.array([math.inf, 1.0, 2.0], F32)
    theirs = updates_of(optax.clip_by_global_norm(1.0), [jnp.asarray(grads)], grads)
    ours = updates_of(gm.clip_by_global_norm(1.0), [grads], grads)
    for updates in (theirs, ours):
        np.testing.assert_equal(np.asarray(updates[0]), np.array([NAN, 0, 0], F32))
    opt = gm.Optimizer(gm.clip_by_global_norm(1.0), np.zeros(3, F32))
    assert not opt.step(grads).finite
    within = of_both(
        lambda module: module.apply_if_finite(module.scale(1e38), 5), row(1e10), row(0)[0]
    )
    assert within == ([math.inf], [math.inf])
    stuck = of_both(lambda module: module.scale_by_adam(), row(1e20, 1, 1), row(0)[0])
    assert stuck == ([0, 0, 0], [0, 0, 0])


def test_leaves_without_gradients_at_first() -> None:
    """A transformation has one count for all leaves; a zero is no gradient, but is counted."""
    late = 10_000
    params = {"early": np.ones(1, F32), "late": np.ones(1, F32)}
    grads = {"early": np.full(1, 0.5, F32), "late": np.full(1, 0.5, F32)}
    theirs = optax.adam(1.0)
    state = theirs.init(params)
    zeros = (state[0]._replace(count=jnp.asarray(late, "int32")), *state[1:])
    updates, _ = theirs.update(grads, zeros, params)
    jump = (1 - 0.9) / math.sqrt(1 - 0.999)
    np.testing.assert_allclose(updates["late"], -jump, rtol=1e-3)
    with pytest.raises(ValueError, match="NoneType"):
        theirs.update(grads, theirs.update({**grads, "late": None}, state, params)[1], params)

    ours = gm.Optimizer(gm.adam(1e-9), {key: leaf.copy() for key, leaf in params.items()})
    for _ in range(late):
        ours.step({**grads, "late": None})
    assert ours.params["late"] == 1
    assert ours.state[0].mu["late"] == 0
    assert ours.state[0].count == late
    updates, _ = gm.adam(1.0).update(grads, ours.state, params)
    np.testing.assert_allclose(updates["late"], -jump, rtol=1e-3)

    # An optimizer of its own, from when there are gradients; or a count of its own.
    own = gm.Optimizer(gm.adam(1.0), {"late": np.ones(1, F32)})
    own.step({"late": grads["late"]})
    np.testing.assert_allclose(own.params["late"], 0.0, atol=1e-5)
    tx = gm.partition(
        {
            "early": gm.adam(1.0),
            "late": gm.conditionally_transform(gm.adam(1.0), lambda step: step >= 3),
        },
        {"early": "early", "late": "late"},
    )
    parted = gm.Optimizer(tx, {key: leaf.copy() for key, leaf in params.items()})
    for _ in range(3):
        parted.step({**grads, "late": None})
    parted.step(grads)
    np.testing.assert_allclose(parted.params["late"], 0.0, atol=1e-5)
