"""What type checkers make of calls; `test_types.py` has two of them check this file.

What is ignored is refused by both: an error that goes away makes the line itself an error.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np

import gradmill as gm
from gradmill._run.explanation import Explanation

Params = dict[str, np.ndarray[Any, Any]]

params: Params = {"w": np.ones(2), "b": np.ones(2)}
grads: Params = {"w": np.ones(2), "b": np.ones(2)}
tx = gm.adam(0.1)
assert_type(tx, gm.GradientTransformationExtraArgs)

# A tree keeps its type.
opt = gm.Optimizer(tx, params)
assert_type(opt, gm.Optimizer[Params])
assert_type(opt.params, Params)
assert_type(opt.step(grads), gm.StepReport)
assert_type(opt.step(grads).global_norm, float | None)
assert_type(gm.Optimizer(gm.sgd(0.1), np.ones(2)).params.sum(), Any)
assert_type(gm.apply_updates(params, grads), Params)
assert_type(gm.explain(tx, params), Explanation)
if opt.state is None:
    opt.load([np.ones(2)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    gm.Optimizer(tx)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

# An optimizer of any tree needs no parameter.
anything: gm.Optimizer = opt
assert_type(anything.params, Any)


# What is injected takes the arguments of the factory, and schedules for its numbers.
def factory(rate: float, name: str = "") -> gm.GradientTransformation:
    """Make a transformation."""
    return gm.scale(rate)


injected = gm.inject_hyperparams(factory, "name")
assert_type(injected(0.1, name="a"), gm.GradientTransformationExtraArgs)
assert_type(injected(gm.linear_schedule(0.1, 0.0, 9)), gm.GradientTransformationExtraArgs)

# Either form of a call, and no third.
mask: gm.Mask = {"w": True, "b": False}
assert_type(gm.masked(tx, mask), gm.GradientTransformationExtraArgs)
assert_type(gm.masked(mask, tx), gm.GradientTransformationExtraArgs)


def is_bias(path: gm.Path, leaf: Any) -> bool:
    """Whether a leaf is a bias."""
    assert_type(path.keys, tuple[Any, ...])
    return path.endswith("b")


assert_type(gm.partition(is_bias, tx, gm.sgd(0.1)), gm.GradientTransformationExtraArgs)
labels = {"w": "a", "b": "b"}
by_label = gm.partition({"a": tx, "b": gm.sgd(0.1)}, labels)
assert_type(by_label, gm.GradientTransformationExtraArgs)
assert_type(gm.MultiSteps(4, use_grad_mean=False), gm.MultiSteps)
assert_type(gm.MultiSteps(tx, 4), gm.MultiSteps)


def late(step: Any) -> Any:
    """Whether a step is a late one."""
    return step > 3


assert_type(gm.conditionally_transform(late, tx), gm.GradientTransformationExtraArgs)
assert_type(gm.conditionally_transform(tx, late), gm.GradientTransformationExtraArgs)
assert_type(gm.apply_if_finite(tx), gm.GradientTransformationExtraArgs)
assert_type(gm.apply_if_finite(tx, 3), gm.GradientTransformationExtraArgs)
state = gm.EmptyState()
assert_type(gm.skip_not_finite(grads, state), tuple[Params, gm.EmptyState])
assert_type(gm.skip_not_finite(grads, 0, None), tuple[Any, dict[str, Any]])
assert_type(gm.skip_large_updates(grads, state, 1.0), tuple[Params, gm.EmptyState])
assert_type(gm.skip_large_updates(grads, 0, None, 1.0), tuple[Any, dict[str, Any]])
assert_type(gm.per_example_global_norm_clip(1.0), gm.GradientTransformation)
if opt.state is None:
    gm.masked(tx, tx, tx)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    gm.masked(mask)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    gm.MultiSteps(tx)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    gm.MultiSteps()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    gm.conditionally_mask(tx)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

# Aliases to annotate one's own code with.
rate: gm.Schedule = gm.linear_schedule(0.1, 0.0, 9)
number: gm.ScalarOrSchedule = rate
kept: gm.OptState = tx.init(params)
