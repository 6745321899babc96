"""The formulas as operations of JAX: against the NumPy path, optax's rules, and JAX's own ways."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import jaxpr_as_fun

import gradmill as gm
from gradmill._ops.jax_sums import global_norm
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from gradmill.jax import to_optax, to_optax_state
from tests.cases import CASES, Case
from tests.jax.versions import HAS_SHARD_MAP, enable_x64
from tests.on_jax import to_jax
from tests.processes import python
from tests.trees import assert_close, random_tree, special_tree

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def kind(state: Any) -> Any:
    """The structure, and the shapes and dtypes of the leaves."""
    leaves, treedef = jax.tree.flatten(state)
    return treedef, [(leaf.shape, leaf.dtype) for leaf in leaves]


def compiled(update: Any, *_: Any) -> Any:
    return jax.jit(update)


def traced(update: Any, *args: Any) -> Any:
    """Its program, op by op: what is compiled for one row serves all others."""
    program, out = jax.make_jaxpr(update, return_shape=True)(*args)
    structure = jax.tree.structure(out)
    run = jaxpr_as_fun(program)

    def call(*args: Any) -> Any:
        leaves = run(*jax.tree.leaves(args))
        # A constant comes back as a number of Python's.
        arrays = [jnp.asarray(leaf) if isinstance(leaf, (bool, int)) else leaf for leaf in leaves]
        return jax.tree.unflatten(structure, arrays)

    return call


@pytest.mark.parametrize(
    ("program", "steps"), [(traced, 3), pytest.param(compiled, 5, marks=pytest.mark.full)]
)
@each_case
def test_the_numpy_path_says_the_same(case: Case, program: Any, steps: int) -> None:
    ours = case.make(gm)
    lowered = to_optax(ours)
    params = random_tree(0)
    start = lowered.init(to_jax(params))
    update = program(lowered.update, to_jax(params), start, to_jax(params))
    # What optax does not have keeps the classes of gradmill.
    like = to_optax_state(ours.init(params)) if case.beyond else None
    expected = kind(case.make(optax).init(to_jax(params)) if like is None else like)
    for grads_of in (random_tree, special_tree):
        state, on_numpy = start, ours.init(params)
        assert kind(state) == expected
        for step in range(steps):
            grads = grads_of(step + 1)
            updates, state = update(to_jax(grads), state, to_jax(params))
            exact, on_numpy = ours.update(grads, on_numpy, params)
            assert kind(state) == expected
            assert_close(updates, exact, rtol=2e-5 * case.loose, atol=5e-7 * case.loose)


SOME = ["clip_adamw", "apply_if_finite", "multi_steps", "partition", "inject_hyperparams"]
MORE = [*SOME, "add_noise", "units_in_a_chain", "zero_nans"]
MOST = [*MORE, "conditionally_mask", "apply_every", "nadam", "flatten", "lamb", "demo"]


def named(first: str, *others: str) -> pytest.MarkDecorator:
    """Rows by their names; each costs a compilation, so only the first one is always run."""
    cases = [
        pytest.param(case, marks=[pytest.mark.full] if case.name != first else [])
        for case in CASES
        if case.name in (first, *others)
    ]
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@named(*MOST)
def test_without_a_program(case: Case) -> None:
    """Called directly, with arrays whose values are known."""
    lowered = to_optax(case.make(gm))
    params, grads = to_jax(random_tree(0)), to_jax(random_tree(1))
    state = lowered.init(params)
    with jax.disable_jit() if case.recompiles else nullcontext():
        updates, after = lowered.update(grads, state, params)
    expected, expected_after = jax.jit(lowered.update)(grads, state, params)
    assert kind(after) == kind(expected_after)
    assert_close(updates, expected, rtol=1e-5, atol=1e-6)


@named(*MOST, "adam_mu_f32", "scale_by_stddev", "rmsprop_centered")
def test_float64(case: Case) -> None:
    with enable_x64(True):
        ours = case.make(gm)
        lowered = to_optax(ours)
        params = random_tree(0, np.float64)
        state, on_numpy = lowered.init(to_jax(params)), ours.init(params)
        update = jax.jit(lowered.update)
        for step in range(3):
            grads = random_tree(step + 1, np.float64)
            updates, after = update(to_jax(grads), state, to_jax(params))
            assert kind(after) == kind(state)
            state = after
            exact, on_numpy = ours.update(grads, on_numpy, params)
            tolerance = 1e-5 if case.single else 1e-10
            assert_close(updates, exact, rtol=tolerance * case.loose, atol=tolerance * 1e-2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@named("adamw", "clip_adamw", "multi_steps", "lamb", "flatten")
def test_half_precision_keeps_its_dtype(dtype: Any, case: Case) -> None:
    tx = to_optax(case.make(gm))
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), random_tree(0))
    grads = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), random_tree(1))
    state = tx.init(params)
    updates, after = jax.jit(tx.update)(grads, state, params)
    assert kind(updates) == kind(grads)
    assert kind(after) == kind(state)
    for moment in ("mu", "nu"):
        found = [leaf.dtype for leaf in jax.tree.leaves(optax.tree_utils.tree_get(state, moment))]
        assert set(found) <= {jnp.dtype(jnp.float32)}


@named(*SOME)
def test_scan_is_a_loop(case: Case) -> None:
    tx = to_optax(case.make(gm))
    params = to_jax(random_tree(0))
    row = [to_jax(random_tree(seed)) for seed in range(1, 6)]

    def step(carry: Any, grads: Any) -> Any:
        params, state = carry
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *row)
    scanned, _ = jax.jit(lambda carry: jax.lax.scan(step, carry, stacked))(
        (params, tx.init(params))
    )
    carry = (params, tx.init(params))
    for grads in row:
        carry, _ = jax.jit(step)(carry, grads)
    assert_close(scanned, carry, rtol=1e-5, atol=1e-6)


@named(*MORE)
def test_vmap_is_one_after_the_other(case: Case) -> None:
    """An ensemble: parameters, gradients and states have a first axis."""
    tx = to_optax(case.make(gm))
    row = [(to_jax(random_tree(seed)), to_jax(random_tree(seed + 9))) for seed in range(3)]
    params, grads = jax.tree.map(lambda *leaves: jnp.stack(leaves), *row)
    state = jax.vmap(tx.init)(params)
    updates, after = jax.jit(jax.vmap(tx.update))(grads, state, params)
    updates, after = jax.jit(jax.vmap(tx.update))(grads, after, params)
    for at, (own, own_grads) in enumerate(row):
        own_state = tx.init(own)
        _, own_state = jax.jit(tx.update)(own_grads, own_state, own)
        expected, own_state = jax.jit(tx.update)(own_grads, own_state, own)
        picked = jax.tree.map(lambda leaf, at=at: leaf[at], (updates, after))
        assert_close(picked[0], expected, rtol=1e-5, atol=1e-6)
        assert kind(picked[1]) == kind(own_state)


def trained(module: Any, convert: Any, rate: Any, start: Any) -> Any:
    """The loss after a few steps, as a function of the learning rate and the first parameters."""
    tx = convert(module.chain(module.clip_by_global_norm(0.7), module.adam(rate, b1=0.8)))

    def loss(params: Any) -> Any:
        return jnp.sum((params["w"] - jnp.arange(3.0)) ** 2) + jnp.sum(params["b"] ** 4)

    params, state = start, tx.init(start)
    for _ in range(3):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    return loss(params)


def test_gradients_through_training() -> None:
    """Meta-learning: with respect to a hyperparameter and to where training starts."""
    start = {"w": jnp.array([0.5, -0.2, 0.3]), "b": jnp.array([0.7])}

    def gradient(module: Any, convert: Any) -> Any:
        after = partial(trained, module, convert)
        return jax.jit(jax.grad(after, (0, 1)))(0.1, start)

    assert_close(gradient(gm, to_optax), gradient(optax, lambda tx: tx), rtol=1e-3, atol=1e-5)


def test_gradient_of_an_injected_hyperparameter() -> None:
    tx = to_optax(gm.inject_hyperparams(gm.adamw)(learning_rate=0.1, weight_decay=0.01))
    params, grads = jnp.array([1.0, -2.0]), jnp.array([0.3, 0.1])
    state = tx.init(params)

    def moved(rate: Any) -> Any:
        own = state._replace(hyperparams={**state.hyperparams, "learning_rate": rate})
        updates, _ = tx.update(grads, own, params)
        return updates[0]

    np.testing.assert_allclose(jax.grad(moved)(0.1), moved(1.0), rtol=1e-4)
    # Also those whose corrections depend on them.
    own = {**state.hyperparams, "b1": jnp.float32(0.5), "b2": jnp.float32(0.0)}
    updates, _ = jax.jit(tx.update)(grads, state._replace(hyperparams=own), params)
    np.testing.assert_allclose(updates, -0.1 * (np.sign(grads) + 0.01 * params), rtol=1e-4)


def test_extra_arguments_and_members_of_optax() -> None:
    def by_loss(updates: Any, state: Any, params: Any = None, *, loss: Any, **_: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf * loss, updates), state

    with_loss = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), by_loss)
    masked = gm.masked(optax.scale_by_adam(), {"w": True, "b": False})
    tx = to_optax(gm.chain(gm.clip(1.0), with_loss, masked, gm.scale(-1.0)))
    theirs = optax.chain(
        optax.clip(1.0),
        with_loss,
        optax.masked(optax.scale_by_adam(), {"w": True, "b": False}),
        optax.scale(-1.0),
    )
    params = {"w": jnp.ones(3), "b": jnp.ones(2)}
    state, their_state = tx.init(params), theirs.init(params)
    for _ in range(3):
        updates, state = jax.jit(tx.update)(params, state, params, loss=0.5)
        their_updates, their_state = jax.jit(theirs.update)(params, their_state, params, loss=0.5)
        assert kind(state) == kind(their_state)
        assert_close(updates, their_updates, rtol=1e-6)
    assert isinstance(to_optax(optax.adam(0.1)), optax.GradientTransformationExtraArgs)
    assert isinstance(optax.chain(tx, theirs), optax.GradientTransformationExtraArgs)


@jax.tree_util.register_dataclass
@dataclass
class Layer:
    kernel: Any
    bias: Any


def test_classes_registered_with_jax() -> None:
    tx = gm.adamw(0.1, mask=lambda path, leaf: path.keys[-1] == "kernel", weight_decay=0.5)
    params = {"first": Layer(jnp.ones(2), jnp.ones(2))}
    lowered = to_optax(tx)
    updates, state = jax.jit(lowered.update)(params, lowered.init(params), params)
    assert isinstance(state[0].mu["first"], Layer)
    np.testing.assert_allclose(updates["first"].kernel, -0.15, rtol=1e-5)
    np.testing.assert_allclose(updates["first"].bias, -0.1, rtol=1e-5)


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_norms_keep_their_range(size: float) -> None:
    tx = to_optax(gm.chain(gm.normalize_by_update_norm(eps=0.0)))
    updates, _ = jax.jit(tx.update)(jnp.array([3.0, 4.0]) * size, tx.init(jnp.zeros(2)))
    np.testing.assert_allclose(updates, [0.6, 0.8], rtol=1e-6)


def test_late_corrections() -> None:
    tx, state = to_optax(gm.scale_by_adam()), gm.scale_by_adam().init(np.ones(2, "f4"))
    for count in (0, 999, 2**31 - 1):
        late = state._replace(count=np.asarray(count, np.int32))
        exact, after = gm.scale_by_adam().update(np.ones(2, "f4"), late)
        updates, own = jax.jit(tx.update)(jnp.ones(2), to_jax(late))
        np.testing.assert_allclose(updates, exact, rtol=1e-6)
        assert own.count == after.count


def test_skipping_large_updates() -> None:
    def skips(updates: Any, step: Any, params: Any) -> Any:
        return gm.skip_large_updates(updates, step, params, 10.0)

    tx = gm.MultiSteps(gm.sgd(1.0), 2, should_skip_update_fn=skips)
    lowered = to_optax(tx)
    params = jnp.zeros(2)
    state, on_numpy = lowered.init(params), tx.init(np.zeros(2, "f4"))
    for size in (1.0, 100.0, 3.0, 1.0):
        grads = np.array([size, 0.0], "f4")
        updates, state = jax.jit(lowered.update)(jnp.asarray(grads), state, params)
        expected, on_numpy = tx.update(grads, on_numpy, np.zeros(2, "f4"))
        np.testing.assert_array_equal(updates, expected)
        assert_close(state, on_numpy, rtol=1e-6)
    zeros, _ = jax.jit(lambda tree: gm.skip_large_updates(tree, (), 5.0))(jnp.array([3.0, 4.0]))
    np.testing.assert_array_equal(zeros, [0.0, 0.0])
    zeros, _ = jax.jit(lambda tree: gm.skip_not_finite(tree, ()))(jnp.array([3.0, np.nan]))
    np.testing.assert_array_equal(zeros, [0.0, 0.0])


GATES: dict[str, Any] = {
    "accumulated": lambda tx: gm.MultiSteps(tx, 2),
    "conditional": lambda tx: gm.conditionally_transform(tx, lambda step, **_: step % 2 == 0),
    "finite": lambda tx: gm.apply_if_finite(tx, 3),
}


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.python], ids=lambda case: case.name
)
def test_what_runs_whole_runs_behind_a_gate(case: Case, gate: str) -> None:
    """A closed gate leaves the state as it is; both ways have to give the same classes."""
    lowered = to_optax(GATES[gate](case.make(gm)))
    params, grads = random_tree(0), random_tree(1)
    state = lowered.init(params)
    _, after = jax.eval_shape(lowered.update, grads, state, params)
    assert kind(after) == kind(state)


@pytest.mark.parametrize(
    "around",
    [
        gm.contrib.mechanize,
        gm.flatten,
        lambda tx: gm.contrib.schedule_free(tx, 0.1),
        lambda tx: gm.contrib.sam(gm.sgd(0.1), tx),
        lambda tx: gm.contrib.scale_by_galore(2, base_optimizer=tx),
        lambda tx: gm.contrib.mechanize(gm.flatten(tx)),
    ],
)
def test_keys_of_transformations_inside_of_others(around: Any) -> None:
    tx = around(gm.noisy_sgd(0.1, eta=0.1, key=3))
    lowered, params = to_optax(tx), np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    state, own = tx.init(params), lowered.init(params)
    for _ in range(2):
        expected, state = tx.update(params, state, params)
        updates, own = jax.jit(lowered.update)(params, own, params)
        np.testing.assert_allclose(updates, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "skips",
    [gm.skip_not_finite, lambda grads, at, params: gm.skip_large_updates(grads, at, params, 9.0)],
)
def test_a_program_may_make_the_state_of_what_skips(skips: Any) -> None:
    """The function is asked about zeros, which are constants of that program."""
    lowered = to_optax(gm.MultiSteps(gm.adam(1.0), 2, should_skip_update_fn=skips))
    state, compiled = lowered.init(jnp.ones(2)), jax.jit(lowered.init)(jnp.ones(2))
    assert kind(state) == kind(compiled)
    assert_close(state, compiled, rtol=0)


@pytest.mark.parametrize("size", [0.0, 4e-38, 1e-30, 1e-20, 0.1, 1e25])
def test_norms_of_constants(size: float) -> None:
    """XLA computes them while it compiles, in another order."""
    leaves = [np.full(3, size, np.float32), np.full((2, 2), size / 2, np.float32)]
    norm = jax.jit(lambda: global_norm([jnp.asarray(leaf) for leaf in leaves]))()
    np.testing.assert_allclose(norm, gm.global_norm(leaves), rtol=1e-6, atol=1e-37)
    tx = to_optax(gm.clip_by_global_norm(2.0))
    clipped = jax.jit(lambda: tx.update([jnp.asarray(leaf) for leaf in leaves], ())[0])()
    expected, _ = gm.clip_by_global_norm(2.0).update(leaves, gm.EmptyState())
    assert_close(clipped, expected, rtol=1e-6)


def test_clipping_per_example() -> None:
    rng = np.random.default_rng(0)
    grads = {"w": rng.normal(size=(5, 3, 2)).astype("f4"), "b": rng.normal(size=5).astype("f4")}
    one = {name: leaf[0] for name, leaf in grads.items()}
    for tx, given in (
        (gm.per_example_global_norm_clip(1.5), grads),
        (gm.per_example_global_norm_clip(0.5, single_batch_element=True), one),
    ):
        chain = gm.chain(tx, gm.adamw(0.1))
        lowered = to_optax(chain)
        params = to_jax(one)
        updates, state = jax.jit(lowered.update)(to_jax(given), lowered.init(params), params)
        expected, on_numpy = chain.update(given, chain.init(one), one)
        assert_close(updates, expected, rtol=1e-5, atol=1e-6)
        assert state[0].num_clipped == on_numpy[0].num_clipped
    for uniform in (False, True):
        clip = partial(gm.per_example_layer_norm_clip, uniform=uniform)
        sums, counts = jax.jit(lambda tree, clip=clip: clip(tree, 2.0))(to_jax(grads))
        expected, expected_counts = clip(grads, 2.0)
        assert_close(sums, expected, rtol=1e-5, atol=1e-6)
        assert jax.tree.map(int, counts) == expected_counts


def test_errors_name_the_leaf() -> None:
    tx = to_optax(gm.adamw(0.1))
    params = {"w": jnp.ones((2, 3)), "b": None}
    state = tx.init(params)
    with pytest.raises(LeafValueError, match=r"updates\['w'\]: shape \(3,\), params has \(2, 3\)"):
        jax.jit(tx.update)({"w": jnp.ones(3), "b": None}, state, params)
    with pytest.raises(LeafTypeError, match=r"updates\['w'\]: dtype int32"):
        jax.jit(tx.update)({"w": jnp.ones((2, 3), int), "b": None}, state, params)
    with pytest.raises(LeafTypeError, match=r"params\['w'\]: is a str"):
        tx.init({"w": "text"})
    with pytest.raises(LeafTypeError, match=r"params\['w'\]: is None, expected an array"):
        tx.update(params, state, {"w": None, "b": None})
    other = tx.init({"w": jnp.ones((2, 4)), "b": None})
    with pytest.raises(LeafValueError, match=r"updates\['w'\]: shape \(2, 3\), mu has \(2, 4\)"):
        tx.update(params, other, params)
    with pytest.raises(TreeError, match=r"^updates: missing key 'w'; key 'v' is not in params$"):
        tx.update({"v": jnp.ones((2, 3)), "b": None}, state, params)
    with pytest.raises(TreeError, match=r"state\[0\]: expected a ScaleByAdamState"):
        tx.update(params, (1, 2, 3), params)
    with pytest.raises(ValueError, match="needs the current parameters"):
        tx.update(params, state)
    with pytest.raises(TypeError, match="takes a transformation"):
        to_optax("adam")  # type: ignore[arg-type]
    agc = to_optax(gm.adaptive_grad_clip(0.1))
    with pytest.raises(LeafValueError, match=r"updates: has 6 axes.*adaptive_grad_clip"):
        agc.update(jnp.ones((2,) * 6), agc.init(None), jnp.ones((2,) * 6))


@pytest.mark.skipif(not HAS_SHARD_MAP, reason="an older shard_map has other arguments")
def test_on_several_devices() -> None:
    """Sharded over two devices, in jit and in shard_map; results stay sharded."""
    code = """
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    import gradmill as gm
    from gradmill.jax import to_optax, to_optax_state

    tx = to_optax(gm.chain(gm.clip_by_global_norm(0.5), gm.adamw(0.1)))
    mesh = Mesh(np.array(jax.devices()), ("x",))
    params, grads = jnp.linspace(-1, 1, 64).reshape(8, 8), jnp.cos(jnp.arange(64.0)).reshape(8, 8)
    state = tx.init(params)
    expected, _ = jax.jit(tx.update)(grads, state, params)
    over = NamedSharding(mesh, P("x"))
    place = lambda tree: jax.tree.map(lambda a: jax.device_put(a, over) if a.ndim else a, tree)
    updates, _ = jax.jit(tx.update)(*place((grads, state, params)))
    np.testing.assert_allclose(updates, expected, rtol=1e-5)
    assert updates.sharding.is_equivalent_to(over, 2), updates.sharding

    local = to_optax(gm.adamw(0.1))
    state = local.init(params)
    specs = jax.tree.map(lambda a: P("x") if a.ndim else P(), state)
    step = jax.shard_map(
        local.update, mesh=mesh, in_specs=(P("x"), specs, P("x")), out_specs=(P("x"), specs)
    )
    updates, _ = jax.jit(step)(grads, state, params)
    np.testing.assert_allclose(updates, jax.jit(local.update)(grads, state, params)[0], rtol=1e-5)
    """
    python(code, XLA_FLAGS="--xla_force_host_platform_device_count=2")
