"""Numbers that no formula can do with are refused, at the latest in the step that meets them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

NAN, INF = math.nan, math.inf
TINY = 5e-324
GRADS = np.ones((2, 2))

REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (gm.scale, {"step_size": NAN}, "step_size must be a number, got nan"),
    (gm.sgd, {"learning_rate": NAN}, "learning_rate must be a number"),
    (gm.clip, {"max_delta": -1}, "max_delta must be at least 0, got -1.0"),
    (gm.clip, {"max_delta": NAN}, "max_delta"),
    (gm.clip_by_global_norm, {"max_norm": -TINY}, "max_norm must be at least 0"),
    (gm.clip_by_block_rms, {"threshold": -1}, "threshold"),
    (gm.adaptive_grad_clip, {"clipping": -1}, "clipping"),
    (gm.adaptive_grad_clip, {"clipping": 1, "eps": NAN}, "eps"),
    (gm.scale_by_trust_ratio, {"min_norm": -1}, "min_norm"),
    (gm.scale_by_trust_ratio, {"trust_coefficient": NAN}, "trust_coefficient"),
    (gm.normalize_by_update_norm, {"scale_factor": NAN}, "scale_factor"),
    (gm.add_decayed_weights, {"weight_decay": NAN}, "weight_decay"),
    (gm.scale_by_adam, {"b1": 1.0}, "b1 must be less than 1, got 1.0"),
    (gm.scale_by_adam, {"b1": 1 - 1e-17}, "b1 must be less than 1"),
    (gm.scale_by_adam, {"b1": -1}, "b1 must be greater than -1"),
    (gm.scale_by_adam, {"b2": 1}, "b2"),
    (gm.scale_by_adam, {"b2": -0.1}, "b2"),
    (gm.scale_by_adam, {"eps": -1e-8}, "eps must be at least 0"),
    (gm.scale_by_adam, {"eps_root": NAN}, "eps_root"),
    (gm.adamw, {"learning_rate": 0.1, "b2": 1}, "b2"),
    (gm.scale_by_rms, {"decay": 1, "bias_correction": True}, "decay must be less than 1"),
    (gm.scale_by_rms, {"decay": -0.1}, "decay"),
    (gm.scale_by_rms, {"initial_scale": -1}, "initial_scale"),
    (gm.scale_by_stddev, {"eps": NAN}, "eps"),
    (gm.trace, {"decay": NAN}, "decay"),
    (gm.ema, {"decay": 1}, "decay"),
    (gm.ema, {"decay": NAN, "debias": False}, "decay"),
    (gm.add_noise, {"eta": -1, "gamma": 0.5}, "eta"),
    (gm.add_noise, {"eta": 1, "gamma": NAN}, "gamma"),
    (gm.per_example_global_norm_clip, {"l2_norm_clip": -1}, "l2_norm_clip"),
]


@pytest.mark.parametrize(("make", "arguments", "message"), REFUSED)
def test_refused_when_made(
    make: Callable[..., Any], arguments: dict[str, Any], message: str
) -> None:
    if make is gm.per_example_global_norm_clip:
        with pytest.raises(ValueError, match=message):
            gm.per_example_global_norm_clip(GRADS, **arguments)
        return
    with pytest.raises(ValueError, match=message):
        make(**arguments)


TAKEN: list[tuple[Any, Any]] = [
    # Infinite bounds bound nothing, and those of zero leave nothing.
    (gm.clip(INF), GRADS),
    (gm.clip(0), 0 * GRADS),
    (gm.clip_by_global_norm(INF), GRADS),
    (gm.clip_by_global_norm(0), 0 * GRADS),
    (gm.clip_by_block_rms(INF), GRADS),
    (gm.adaptive_grad_clip(INF), GRADS),
    # A past of no weight, and one that never fades.
    (gm.scale_by_adam(0, 0, 0), GRADS),
    (gm.scale_by_adam(-0.5, 0.9, 0), GRADS),
    (gm.trace(1), GRADS),
    (gm.scale_by_rms(1, initial_scale=0.25, eps=0), 2 * GRADS),
    (gm.ema(1, debias=False), 0 * GRADS),
    # Subnormal numbers are zero; otherwise numbers are those of IEEE 754.
    (gm.scale(TINY), 0 * GRADS),
    (gm.scale(INF), INF * GRADS),
    (gm.scale(-INF), -INF * GRADS),
    (gm.scale_by_adam(eps=INF), 0 * GRADS),
    (gm.scale_by_adam(eps=TINY), GRADS),
]


@pytest.mark.parametrize(("tx", "expected"), TAKEN)
def test_numbers_at_the_ends(tx: Any, expected: Any) -> None:
    params = np.ones_like(GRADS)
    updates, _ = tx.update(GRADS, tx.init(params), params)
    np.testing.assert_allclose(updates, expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_numbers_beyond_the_leaf(dtype: Any) -> None:
    """A hyperparameter is rounded to what the leaf is computed in once, in the last step."""
    grads = np.full(3, 1e-4, dtype)
    updates, _ = gm.scale(1e30).update(grads, gm.EmptyState())
    np.testing.assert_allclose(updates, np.float32(1e30) * grads.astype(np.float32))
    updates, _ = gm.scale(1e300).update(grads, gm.EmptyState())
    assert np.isposinf(updates).all()
    updates, _ = gm.scale(1e-300).update(grads, gm.EmptyState())
    assert (updates == 0).all()


class Schedule:
    """Gives NaN in one step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, count: Any) -> float:
        return NAN if int(count) == self.at else -0.1


class StatefulSchedule(gm.WrappedSchedule):
    """The same with a state."""


ARISING: dict[str, Callable[[int], Any]] = {
    "step size": lambda at: gm.chain(gm.trace(0.9), gm.scale_by_schedule(Schedule(at))),
    "after a norm": lambda at: gm.chain(
        gm.scale_by_adam(), gm.clip_by_global_norm(1.0), gm.scale_by_schedule(Schedule(at))
    ),
    "weight decay": lambda at: gm.chain(gm.trace(0.9), gm.add_decayed_weights(Schedule(at))),
    "behind a gate": lambda at: gm.apply_if_finite(gm.adam(Schedule(at))),
    "injected": lambda at: gm.inject_hyperparams(gm.adam)(Schedule(at)),
    "stateful": lambda at: gm.inject_hyperparams(gm.adam)(StatefulSchedule(Schedule(at))),
    "in two programs": lambda at: gm.chain(
        gm.trace(0.9), gm.flatten(gm.trace(0.9)), gm.adam(Schedule(at))
    ),
}


@pytest.mark.parametrize("name", ARISING)
def test_nan_from_a_schedule(name: str) -> None:
    """The step is refused and nothing has changed; without it, all goes on."""
    tx = ARISING[name](2)
    params = {"w": np.linspace(-1, 1, 5)}
    grads = {"w": np.linspace(1, 2, 5)}
    opt = gm.Optimizer(tx, {"w": params["w"].copy()})
    state = tx.init(params)
    for _ in range(2):
        opt.step(grads)
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
    before = bits((opt.params, opt.state))
    assert bits((params, state)) == before
    with pytest.raises(ValueError, match="nan"):
        opt.step(grads)
    with pytest.raises(ValueError, match="nan"):
        tx.update(grads, state, params)
    assert bits((opt.params, opt.state)) == before
    assert bits((params, state)) == before


def test_the_message_names_the_scalar() -> None:
    tx = gm.chain(gm.trace(0.9), gm.scale_by_schedule(Schedule(0)))
    with pytest.raises(ValueError, match=r"^step_size_fn: the schedule returned nan"):
        gm.Optimizer(tx, np.ones(2)).step(np.ones(2))


def test_hyperparameters_in_the_state() -> None:
    opt = gm.Optimizer(gm.inject_hyperparams(gm.adam)(0.1), np.ones(2))
    opt.step(np.ones(2))
    opt.state.hyperparams["b1"] = 1.0
    before = bits((opt.params, opt.state))
    with pytest.raises(ValueError, match="b1 must be less than 1"):
        opt.step(np.ones(2))
    assert bits((opt.params, opt.state)) == before
    opt.state.hyperparams["b1"] = 0.9
    assert opt.step(np.ones(2)).step == 2
