"""Whole steps inside programs: the bits of the NumPy path, in place, and in all of JAX's ways."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._plan.layout import links_of
from gradmill.errors import LeafTypeError, LeafValueError
from gradmill.jax import _fused, from_optax_state, step, to_optax, to_optax_state
from tests.cases import CASES, Case
from tests.jax.versions import HAS_SHARD_MAP, MIXES_DTYPES, enable_x64
from tests.on_jax import to_jax, to_numpy
from tests.processes import python
from tests.rows import each_row
from tests.trees import assert_close, bits, random_tree, special_tree

if TYPE_CHECKING:
    from collections.abc import Callable

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def cases(*names: str) -> pytest.MarkDecorator:
    found = [case for case in CASES if case.name in names]
    assert len(found) == len(names)
    return pytest.mark.parametrize("case", found, ids=lambda case: case.name)


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls for two leaves each, so that what spans leaves spans calls."""
    monkeypatch.setattr(_fused, "_FEW", 2)
    monkeypatch.setattr(_fused, "_MANY", 2)


def same_bits(
    case: Case, grads_of: Callable[..., Any], steps: int, dtype: Any = np.float32
) -> None:
    tx = case.make(gm)
    update = step(tx)
    on_numpy = random_tree(0, dtype)
    params = to_jax(on_numpy)
    # Where it begins is JAX's own matter: it sums in float32.
    state_on_numpy = tx.init(on_numpy)
    state = to_optax_state(state_on_numpy)
    program = jax.jit(update)
    for seed in range(1, steps + 1):
        grads = grads_of(seed, dtype)
        params, state = program(to_jax(grads), state, params)
        updates, state_on_numpy = tx.update(grads, state_on_numpy, on_numpy)
        on_numpy = gm.apply_updates(on_numpy, updates)
        assert bits(to_numpy(params)) == bits(on_numpy)
    assert bits(from_optax_state(state)) == bits(state_on_numpy)


def skip_other_bits(case: Case) -> None:
    if not case.is_native:
        pytest.skip("runs as operations of JAX")
    if not MIXES_DTYPES and has_numbers(case) and not case.name.startswith("multi"):
        pytest.skip("this JAX has schedules and numbers of states in float32")


def has_numbers(case: Case) -> bool:
    """Whether numbers of a step depend on more than a count."""
    specs = [link.spec for link in links_of(case.make(gm)) if link.spec is not None]
    kept = [spec.control.init(random_tree(0)) for spec in specs if spec.control is not None]
    return (
        case.name.startswith("inject")
        or any(callable(number) for spec in specs for number in spec.hyper.values())
        or any(getattr(value, "dtype", None) == np.float32 for of in kept for value in of.values())
    )


@pytest.mark.full
@each_case
def test_the_bits_are_those_of_the_numpy_path(case: Case) -> None:
    skip_other_bits(case)
    same_bits(case, random_tree, 4)
    same_bits(case, special_tree, 3)


@each_row("clip_adamw", "units_in_a_chain", "apply_if_finite", "lamb")
@pytest.mark.usefixtures("pairs")
def test_also_over_several_calls(case: Case) -> None:
    skip_other_bits(case)
    same_bits(case, special_tree if case.name.endswith("finite") else random_tree, 3)


@cases("clip_adamw", "clip_after_adam", "apply_if_finite_inside", "units_in_a_chain", "demo")
@pytest.mark.usefixtures("pairs")
def test_float64(case: Case) -> None:
    with enable_x64(True):
        same_bits(case, random_tree, 3, np.float64)
        # Squares leave the range of float64 on both sides.
        for size in (1e200, 1e-200):
            same_bits(case, partial(random_tree, scale=size), 2, np.float64)


@cases("adamw", "lamb", "multi_steps", "clip_adamw")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision(case: Case, dtype: Any) -> None:
    same_bits(case, random_tree, 3, dtype)


def large(seed: int, rows: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=200_001).astype("f4") for name in "abcdefgh"[:rows]}


@cases("clip_adamw", "units_in_a_chain", "add_noise", "apply_if_finite")
def test_on_several_threads(case: Case) -> None:
    tx = case.make(gm)
    update, params, grads = step(tx), large(0), large(1)
    expected, state = tx.update(grads, tx.init(params), params)
    for threads in (1, 2, 3):
        gm.set_num_threads(threads)
        try:
            new, own = jax.jit(update)(to_jax(grads), update.init(to_jax(params)), to_jax(params))
            assert bits(to_numpy(new)) == bits(gm.apply_updates(params, expected))
        finally:
            gm.set_num_threads(0)
        assert bits(from_optax_state(own)) == bits(state)


def test_subnormal_numbers_are_zero() -> None:
    """As in XLA's own operations; a parameter without an update stays all the same."""
    grads, start = np.full(1 << 19, 1e-36, "f4"), np.full(1 << 19, 1e-40, "f4")
    update = step(gm.scale(1e-3))
    params, _ = jax.jit(update)(jnp.asarray(grads), update.init(start), jnp.asarray(start))
    assert bits(np.asarray(params)) == bits(start)
    # Also on threads that a call from such a program has started.
    opt = gm.Optimizer(gm.scale(1e-3), start.copy())
    opt.step(grads)
    assert bits(opt.params) == bits(start)


def compiled(tx: Any, params: Any) -> Any:
    """A step that gives parameters and state back in the memory in which they come."""
    update = step(tx)

    def train(params: Any, state: Any, grads: Any) -> Any:
        return update(grads, state, params)

    program = jax.jit(train, donate_argnums=(0, 1))
    return program.lower(params, update.init(params), params).compile()


CLIP_ADAMW = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1))


def test_donated_arrays_are_updated_in_place() -> None:
    params = {name: jnp.ones(1000) for name in "abc"}
    program = compiled(CLIP_ADAMW, params)
    text = program.as_text()
    assert text.count("custom-call(") == 1
    copies = [line for line in text.splitlines() if " copy(" in line and "[1000]" in line]
    assert copies == []
    state, grads = step(CLIP_ADAMW).init(params), {name: jnp.ones(1000) for name in "abc"}
    before = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((params, state))]
    shapes = [leaf.shape for leaf in jax.tree.leaves((params, state))]
    params, state = program(params, state, grads)
    after = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((params, state))]
    for old, new, shape in zip(before, after, shapes, strict=True):
        assert old == new or shape == ()


def test_what_is_not_donated_stays() -> None:
    params, grads = to_jax(random_tree(0)), to_jax(random_tree(1))
    update = step(CLIP_ADAMW)
    state = update.init(params)
    kept = bits(to_numpy((grads, state, params)))
    for call in (update, jax.jit(update)):
        new, after = call(grads, state, params)
        assert bits(to_numpy((grads, state, params))) == kept
        assert bits(to_numpy(new)) != bits(to_numpy(params))
        assert after[1][0].count == 1


def test_one_array_in_several_places() -> None:
    array = np.linspace(-1, 1, 7, dtype="f4")
    expected, _ = gm.adamw(0.1).update(
        array,
        (
            gm.ScaleByAdamState(np.zeros((), "i4"), array, array**2),
            gm.EmptyState(),
            gm.EmptyState(),
        ),
        array,
    )
    update = step(gm.adamw(0.1))

    def train(x: Any) -> Any:
        first = update.init(x)
        return update(x, (first[0]._replace(mu=x, nu=x * x), *first[1:]), x)[0]

    for program in (jax.jit(train), jax.jit(train, donate_argnums=0)):
        assert bits(np.asarray(program(jnp.asarray(array)))) == bits(array + expected)


MORE = ["clip_adamw", "apply_if_finite", "zero_nans", "add_noise", "units_in_a_chain", "partition"]


@cases(*MORE)
@pytest.mark.usefixtures("pairs")
def test_vmap_is_one_after_the_other(case: Case) -> None:
    update = step(case.make(gm))
    row = [(to_jax(random_tree(seed)), to_jax(random_tree(seed + 9))) for seed in range(3)]
    params, grads = jax.tree.map(lambda *leaves: jnp.stack(leaves), *row)
    state = jax.vmap(update.init)(params)
    new, after = jax.jit(jax.vmap(update))(grads, state, params)
    # Twice over, and with gradients that all have in common.
    nested = jax.vmap(jax.vmap(update, in_axes=(None, 0, 0)), in_axes=(0, None, None))
    twice, _ = jax.jit(nested)(grads, state, params)
    program = jax.jit(update)
    for at, (own, own_grads) in enumerate(row):
        expected, own_state = program(own_grads, update.init(own), own)
        picked = jax.tree.map(lambda leaf, at=at: leaf[at], (new, after))
        assert bits(to_numpy(picked)) == bits(to_numpy((expected, own_state)))
        crossed, _ = program(row[0][1], update.init(own), own)
        assert bits(to_numpy(jax.tree.map(lambda leaf, at=at: leaf[0, at], twice))) == bits(
            to_numpy(crossed)
        )


def test_scan_and_loops() -> None:
    update = step(CLIP_ADAMW)
    params, grads = to_jax(random_tree(0)), to_jax(random_tree(1))
    state = update.init(params)

    def body(carry: Any, _: Any) -> Any:
        return update(grads, carry[1], carry[0]), None

    scanned, _ = jax.jit(lambda carry: jax.lax.scan(body, carry, length=4))((params, state))
    for _ in range(4):
        params, state = jax.jit(update)(grads, state, params)
    assert bits(to_numpy(scanned)) == bits(to_numpy((params, state)))


def test_derivatives_are_those_of_the_formula() -> None:
    start = jnp.array([0.5, -0.2, 0.3])

    def after(take: Any, start: Any) -> Any:
        params, state = start, update.init(start)
        for _ in range(3):
            params, state = take(jnp.cos(params), state, params)
        return jnp.sum(params**2)

    update, lowered = step(CLIP_ADAMW), to_optax(CLIP_ADAMW)

    def by_optax(grads: Any, state: Any, params: Any) -> Any:
        updates, state = lowered.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for transform in (jax.grad, jax.jacfwd, lambda f: jax.jit(jax.grad(f))):
        ours, theirs = transform(partial(after, update)), transform(partial(after, by_optax))
        np.testing.assert_allclose(ours(start), theirs(start), rtol=1e-4, atol=1e-6)


def test_hyperparameters_that_are_traced() -> None:
    """No kernel then: derivatives have to reach them."""

    def after(rate: Any) -> Any:
        update = step(gm.sgd(rate))
        params = jnp.ones(2)
        return update(jnp.ones(2), update.init(params), params)[0].sum()

    assert jax.jit(jax.grad(after))(0.1) == -2.0


def test_injected_hyperparameters() -> None:
    update = step(gm.inject_hyperparams(gm.adamw)(learning_rate=0.1))
    params = jnp.ones(3)
    state = update.init(params)
    own = {**state.hyperparams, "learning_rate": jnp.float32(0.5), "b1": jnp.float32(0.0)}
    new, after = jax.jit(update)(jnp.ones(3), state._replace(hyperparams=own), params)
    np.testing.assert_allclose(new, 1 - 0.5 * (1 + 1e-4), rtol=1e-6)
    assert after.hyperparams["learning_rate"] == 0.5


def test_extra_arguments() -> None:
    def is_low(step: Any, loss: Any) -> Any:
        return loss < 1.0

    update = step(gm.conditionally_transform(gm.sgd(0.5), is_low, forward_extra_args=True))
    params = jnp.ones(2)
    for loss, expected in ((0.5, 0.5), (2.0, 2.0)):
        new, _ = jax.jit(update)(jnp.ones(2), update.init(params), params, loss=loss)
        np.testing.assert_array_equal(new, expected)


def test_chains_with_members_of_python() -> None:
    tx = gm.chain(gm.clip(0.5), optax.scale_by_adam(), gm.scale(-0.1))
    update = step(tx)
    params, grads = to_jax(random_tree(0)), to_jax(random_tree(1))
    new, _ = jax.jit(update)(grads, update.init(params), params)
    theirs = optax.chain(optax.clip(0.5), optax.scale_by_adam(), optax.scale(-0.1))
    updates, _ = theirs.update(grads, theirs.init(params), params)
    assert_close(new, optax.apply_updates(params, updates), rtol=1e-5)


def test_many_leaves() -> None:
    """Several calls with gaps in the tree, under a mask, and a norm over all of it."""
    rng = np.random.default_rng(0)
    leaves = [None if at % 9 == 4 else rng.normal(size=at % 7).astype("f4") for at in range(300)]
    mask = [at % 3 > 0 for at in range(300)]
    tx = gm.chain(gm.clip_by_global_norm(0.5), gm.masked(gm.adamw(0.1), mask), gm.zero_nans())
    update = step(tx)
    grads = [None if leaf is None else leaf[::-1].copy() for leaf in leaves]
    grads[33][:2] = np.nan  # type: ignore[index]
    new, state = jax.jit(update)(to_jax(grads), update.init(to_jax(leaves)), to_jax(leaves))
    expected, after = tx.update(grads, tx.init(leaves), leaves)
    assert bits(to_numpy(new)) == bits(gm.apply_updates(leaves, expected))
    assert bits(from_optax_state(state)) == bits(after)


@pytest.mark.parametrize("tree", [{}, {"a": None}, (), {"a": jnp.zeros((0, 3)), "b": None}])
def test_nothing_to_do(tree: Any) -> None:
    update = step(CLIP_ADAMW)
    for call in (update, jax.jit(update)):
        new, state = call(tree, update.init(tree), tree)
        assert jax.tree.structure(new) == jax.tree.structure(tree)
        assert state[1][0].count == 1


def test_errors_are_exceptions() -> None:
    update = step(CLIP_ADAMW)
    params = {"w": jnp.ones((2, 3))}
    state = update.init(params)
    with pytest.raises(LeafValueError, match=r"updates\['w'\]: shape \(3,\), params has \(2, 3\)"):
        jax.jit(update)({"w": jnp.ones(3)}, state, params)
    with pytest.raises(LeafTypeError, match=r"updates\['w'\]: dtype int32"):
        update({"w": jnp.ones((2, 3), int)}, state, params)
    agc = step(gm.adaptive_grad_clip(0.1))
    with pytest.raises(LeafValueError, match=r"has 6 axes"):
        agc(jnp.ones((2,) * 6), agc.init(None), jnp.ones((2,) * 6))
    sgd = step(gm.sgd(0.1))
    with pytest.raises(gm.errors.TreeError, match=r"updates\['w'\]: an array, params has None"):
        sgd(params, sgd.init(params), {"w": None})
    with pytest.raises(ValueError, match="needs the current parameters"):
        sgd(params, sgd.init(params), None)
    with pytest.raises(TypeError, match="takes a transformation"):
        step("adam")  # type: ignore[arg-type]
    bad = step(gm.scale_by_schedule(lambda count: count * jnp.nan))
    for call in (bad, jax.jit(bad)):
        with pytest.raises(jax.errors.JaxRuntimeError, match="gradmill: scale: step_size is nan"):
            jax.block_until_ready(call(params, bad.init(params), params))
    # All is well afterwards.
    jax.block_until_ready(jax.jit(update)(params, state, params))


def test_many_calls_at_once() -> None:
    """Calls that do not depend on each other, from two threads: none waits for another one."""
    update = step(gm.adamw(0.1))
    params = [jnp.full(1 << 18, float(at)) for at in range(12)]
    states = [update.init(leaf) for leaf in params]
    program = jax.jit(lambda rows: [update(p, s, p) for p, s in rows])
    rows = list(zip(params, states, strict=True))
    expected = bits(to_numpy(program(rows)))
    found: list[Any] = []

    def work() -> None:
        found.extend(bits(to_numpy(program(rows))) for _ in range(5))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 10
    assert all(bits == expected for bits in found)


@pytest.mark.skipif(not HAS_SHARD_MAP, reason="an older shard_map has other arguments")
def test_over_several_devices() -> None:
    """In jit arrays stay where they are, without a custom call; in shard_map it runs on each."""
    code = """
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    import gradmill as gm
    from gradmill.jax import step

    mesh = Mesh(np.array(jax.devices()), ("x",))
    over = NamedSharding(mesh, P("x"))
    params, grads = jnp.linspace(-1, 1, 64).reshape(8, 8), jnp.cos(jnp.arange(64.0)).reshape(8, 8)

    clipped = step(gm.chain(gm.clip_by_global_norm(0.5), gm.adamw(0.1)))
    place = lambda tree: jax.tree.map(lambda a: jax.device_put(a, over) if a.ndim else a, tree)
    arguments = place((grads, clipped.init(params), params))
    text = jax.jit(clipped).lower(*arguments).compile().as_text()
    assert "all-gather" not in text, text
    assert "gradmill.step" not in text, text
    new, _ = jax.jit(clipped)(*arguments)
    assert new.sharding.is_equivalent_to(over, 2), new.sharding

    update = step(gm.adamw(0.1))
    state = update.init(params)
    specs = jax.tree.map(lambda a: P("x") if a.ndim else P(), state)
    def local(**options):
        into, out = (P("x"), specs, P("x")), (P("x"), specs)
        return jax.jit(jax.shard_map(update, mesh=mesh, in_specs=into, out_specs=out, **options))

    checked, _ = local()(*place((grads, state, params)))
    local = local(check_vma=False)
    text = local.lower(grads, state, params).compile().as_text()
    assert "all-gather" not in text and "gradmill.step" in text
    sharded, _ = local(*place((grads, state, params)))
    tx = gm.adamw(0.1)
    updates, _ = tx.update(np.asarray(grads), tx.init(np.asarray(params)), np.asarray(params))
    assert np.asarray(sharded).tobytes() == (np.asarray(params) + updates).tobytes()
    np.testing.assert_allclose(checked, sharded, rtol=1e-5)
    """
    python(code, XLA_FLAGS="--xla_force_host_platform_device_count=2")


def test_400_leaves_compile() -> None:
    """One call in place for each leaf would do as well; one for all of them takes half a minute."""
    params = {str(at): jnp.zeros(3) for at in range(400)}
    text = compiled(CLIP_ADAMW, params).as_text()
    assert 4 <= text.count("gradmill.step") <= 32


FALLBACK = """
import warnings, jax, jax.numpy as jnp
import gradmill as gm
from gradmill.jax import step, {module}
{sabotage}
update = step(gm.adamw(0.1))
params = jnp.ones(3)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(2):
        text = jax.jit(lambda *x: update(*x)).lower(params, update.init(params), params).as_text()
print(len(seen), "gradmill.step" in text, [str(warning.message) for warning in seen])
"""


@pytest.mark.parametrize(
    ("module", "sabotage", "expected"),
    [
        ("_target", "_target.difference = lambda folder: 'all is different'", "all is different"),
        ("_target", "_target.ffi.register_ffi_target = None", "TypeError"),
        ("_header", "_header._core.xla_layout = lambda: [('XLA_FFI_Buffer.data', 4)]", "is at 24"),
        (
            "_header",
            "_header._core.xla_layout = lambda: [('XLA_FFI_Nothing.data', 4)]",
            "XLA_FFI_Nothing not found",
        ),
    ],
)
def test_without_the_custom_call(module: str, sabotage: str, expected: str) -> None:
    found = python(FALLBACK.format(module=module, sabotage=sabotage))
    assert found.startswith("1 False")
    assert expected in found
    assert "runs as JAX operations" in found


def test_without_a_cpu() -> None:
    """As where JAX is told to use an accelerator alone: nothing to warn of."""
    sabotage = """
def local_devices(backend):
    raise RuntimeError("Unknown backend cpu")
_target.local_devices = local_devices
"""
    assert python(FALLBACK.format(module="_target", sabotage=sabotage)) == "0 False []"


def test_turned_off() -> None:
    found = python(FALLBACK.format(module="_target", sabotage=""), GRADMILL_XLA="0")
    assert found == "0 False []"
    assert python(FALLBACK.format(module="_target", sabotage="")) == "0 True []"
