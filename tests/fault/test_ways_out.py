"""Errors that say which number, leaf or transformation it is, and what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradmill as gm
from gradmill._ops import cautious as ops
from gradmill._plan.layout import links_of
from gradmill._run.trees import formula_of
from gradmill.errors import LeafTypeError
from tests.cases import CASES, Case
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

PARAMS = {"w": np.linspace(-1, 1, 4, dtype=np.float32)}
READS_PARAMS = {
    "add_decayed_weights",
    "adaptive_grad_clip",
    "cautious_weight_decay",
    "dadapt_adamw",
    "dog",
    "dowg",
    "keep_params_nonnegative",
    "mechanize",
    "parameter_average",
    "prodigy",
    "scale_by_distance_over_gradients",
    "scale_by_cocob",
    "scale_by_factored_rms",
    "scale_by_madgrad",
    "scale_by_lbfgs",
    "scale_by_novograd",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_trust_ratio",
    "sam",
    "schedule_free",
}
OPS = {ops.cautious}
"""Those that read parameters, but not the tree formulas of the same name."""


class Parameter:
    """A tensor that requires a gradient, as PyTorch has it."""

    def __init__(self, array: Any, requires_grad: bool = True) -> None:
        self.array = array
        self.requires_grad = requires_grad
        self.shape = array.shape
        self.dtype = "torch.float32"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.requires_grad:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy()"
            )
        return self.array

    def detach(self) -> Parameter:
        return Parameter(self.array, requires_grad=False)


def name_of(link: Any) -> str | None:
    """That of the op of a link, or of its tree formula."""
    formula = formula_of(link.tx) if link.spec is None else None
    return formula.name if formula is not None else link.op and link.op.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_needs_parameters(case: Case) -> None:
    """The first transformation of the chain that does."""
    tx, params, grads = case.make(gm), random_tree(0), random_tree(1)
    state = tx.init(params)
    links = links_of(tx)
    needing = [name_of(link) for link in links if link.op in OPS or name_of(link) in READS_PARAMS]
    if not needing:
        tx.update(grads, state)
        return

    def run() -> None:
        nonlocal state
        for _ in range(9):  # What stands behind a gate may be silent at first.
            _, state = tx.update(grads, state)

    with pytest.raises(ValueError, match=f"^{needing[0]} needs the current parameters: call"):
        run()


TRACED = "is traced by JAX, but this function runs on NumPy arrays.*gradmill.jax.to_optax"


@pytest.mark.parametrize("case", [c for c in CASES if not c.python], ids=lambda case: case.name)
def test_programs_are_shown_the_way(case: Case) -> None:
    """Gradients, parameters and state are traced, or gradients alone."""
    tx, params, grads = case.make(gm), random_tree(0), random_tree(1)
    if set(case.ops) <= {"set_to_zero"}:  # none that looks at a leaf
        return
    state = tx.init(params)
    place = r"^updates\['\w+'\]: "
    if case.name == "multi_steps_skip":  # which looks at them before
        place = "^multi_steps_mean: a number "
    with pytest.raises(TypeError, match=TRACED) as caught:
        jax.jit(tx.update)(grads, state, params)
    assert len(str(caught.value)) < 300
    with pytest.raises(TypeError, match=place + TRACED):
        jax.jit(lambda grads: tx.update(grads, state, params))(grads)
    opt = gm.Optimizer(tx, copy_tree(params))
    before = bits((opt.params, opt.state))
    with pytest.raises(TypeError, match=place + TRACED):
        jax.jit(opt.step)(grads)
    assert bits((opt.params, opt.state)) == before
    opt.step(grads)


def test_counts_that_are_traced() -> None:
    tx = gm.adam(1e-3)
    message = rf"^state\[0\]\.count: {TRACED}"
    with pytest.raises(LeafTypeError, match=message):
        jax.jit(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)


NUMBERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "constant": (lambda x: updated(gm.sgd(x)), "step_size is"),
    "several": (lambda x: updated(gm.chain(gm.clip(1.0), gm.scale_by_adam(b1=x))), "b1 is"),
    "schedule": (lambda x: updated(gm.sgd(lambda count: x)), "scale: a number is"),
    "own schedule": (lambda x: updated(gm.sgd(gm.constant_schedule(x))), "scale: a number is"),
    "noise": (lambda x: updated(gm.add_noise(x, 0.5, 3)), "add_noise: a number is"),
    "injected": (lambda x: updated(gm.inject_hyperparams(gm.sgd)(x)), "step_size is"),
    "assigned": (
        lambda x: updated(gm.inject_hyperparams(gm.sgd)(0.1), learning_rate=x),
        r"state\.hyperparams\['learning_rate'\]: is",
    ),
    "average": (lambda x: gm.incremental_update(PARAMS, PARAMS, x), "step_size is"),
    "period": (lambda x: gm.periodic_update(PARAMS, PARAMS, x.astype(int), 2), "steps is"),
    "norm": (lambda x: gm.global_norm({"w": x}), r"updates\['w'\]: is"),
    "added": (lambda x: gm.apply_updates({"w": x}, {"w": x}), r"params\['w'\]: is"),
    "target": (lambda x: gm.incremental_update({"w": x}, {"w": x}, 0.5), r"new_tensors\['w'\]: is"),
    "init": (lambda x: gm.adam(0.1).init({"w": x}), r"params\['w'\]: is"),
}


def updated(tx: Any, **hyperparams: Any) -> Any:
    state = tx.init(PARAMS)
    if hyperparams:
        state.hyperparams.update(hyperparams)
    return tx.update(PARAMS, state, PARAMS)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_are_traced(name: str) -> None:
    function, message = NUMBERS[name]
    with pytest.raises(TypeError, match=f"^{message} traced by JAX.*gradmill.jax.to_optax"):
        jax.jit(lambda x: jnp.sum(jax.tree.leaves(function(x))[0]))(jnp.float32(0.5))


@pytest.mark.parametrize(
    "tx",
    [gm.adam(0.1), gm.sgd(0.1), gm.flatten(gm.sgd(0.1)), gm.inject_hyperparams(gm.adamw)(0.1)],
    ids=["adam", "sgd", "flatten", "injected"],
)
def test_tensors_that_require_a_gradient(tx: Any) -> None:
    tensors = {"w": Parameter(PARAMS["w"])}
    message = "is a Parameter that requires grad; pass p.detach"
    state = tx.init(PARAMS)
    with pytest.raises(LeafTypeError, match=rf"^updates\['w'\]: {message}"):
        tx.update(tensors, state, PARAMS)
    opt = gm.Optimizer(tx, copy_tree(PARAMS))
    before = bits(opt.params)
    with pytest.raises(LeafTypeError, match=rf"^updates\['w'\]: {message}"):
        opt.step(tensors)
    assert bits(opt.params) == before
    with pytest.raises(LeafTypeError, match=r"^params\['w'\]: is a Parameter"):
        gm.Optimizer(tx, tensors)
    detached = {"w": tensors["w"].detach()}
    assert bits(tx.update(detached, state, detached)) == bits(tx.update(PARAMS, state, PARAMS))
    opt.step(detached)


def test_tensors_elsewhere() -> None:
    tensors = {"w": Parameter(PARAMS["w"])}
    message = r"\['w'\]: is a Parameter that requires grad; pass p.detach"
    calls: dict[str, Callable[[], Any]] = {
        "params": lambda: gm.adam(0.1).init(tensors),
        "params ": lambda: gm.adamw(0.1).update(PARAMS, gm.adamw(0.1).init(PARAMS), tensors),
        "updates": lambda: gm.apply_updates(PARAMS, tensors),
        "updates ": lambda: gm.global_norm(tensors),
        "old_tensors": lambda: gm.incremental_update(PARAMS, tensors, 0.5),
        "new_tensors": lambda: gm.periodic_update(tensors, PARAMS, 4, 2),
    }
    for tree, call in calls.items():
        with pytest.raises(LeafTypeError, match=f"^{tree.strip()}{message}"):
            call()


def test_arrays_that_cannot_be_had() -> None:
    """Whatever an ``__array__`` raises, the leaf is named, in a line."""

    class Remote:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise ConnectionError("lost " * 1000)

    with pytest.raises(
        LeafTypeError, match=r"^updates\['w'\]: is a Remote, not an array: lost"
    ) as e:
        gm.sgd(0.1).update({"w": Remote()}, gm.sgd(0.1).init(PARAMS))
    assert len(str(e.value)) < 300
