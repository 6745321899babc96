"""Checkpoints go in and out of programs of JAX, and through the files of Flax and orbax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.jax import from_optax_state, step, to_optax_state
from tests.trees import bits, random_tree

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = [".npz", ".safetensors"]


def chain() -> Any:
    return gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1))


def some(seed: int, dtype: Any = np.float32) -> dict[str, Any]:
    tree = random_tree(seed, dtype)
    return {"kernel": tree["kernel"], "deep": {"bias": tree["bias"], "scalar": tree["scalar"]}}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_a_program_goes_on_where_an_optimizer_stopped(
    tmp_path: Path, suffix: str, dtype: Any
) -> None:
    path = tmp_path / f"run{suffix}"
    opt = gm.Optimizer(chain(), some(0, dtype))
    opt.step(some(1, dtype))
    gm.save(path, optimizer=opt)
    update = step(chain())
    # Shapes and dtypes are enough.
    like = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, some(0, dtype)))
    states = jax.eval_shape(update.init, like)
    found = gm.load(path, params=like, state=states)
    assert jax.tree.structure(found["state"]) == jax.tree.structure(states)
    params, state = jax.jit(update)(some(2, dtype), found["state"], found["params"])
    opt.step(some(2, dtype))
    assert bits(params) == bits(opt.params)
    assert bits(state) == bits(opt.state)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_optimizer_goes_on_where_a_program_stopped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    update = step(chain())
    params = jax.tree.map(jnp.asarray, some(0))
    params, state = jax.jit(update)(some(1), update.init(params), params)
    gm.save(path, params=params, state=state)
    opt = gm.Optimizer(chain(), some(5))
    gm.load(path, optimizer=opt)
    params, state = jax.jit(update)(some(2), state, params)
    assert opt.step(some(2)).step == 2
    assert bits(opt.params) == bits(params)
    assert bits(opt.state) == bits(state)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_states_of_optax(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    theirs = optax.adam(0.1)
    params = jax.tree.map(jnp.asarray, some(0))
    _, state = theirs.update(jax.tree.map(jnp.asarray, some(1)), theirs.init(params), params)
    gm.save(path, params=params, state=state)
    again = gm.load(path, state=theirs.init(params))["state"]
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert bits(again) == bits(state)
    ours = gm.load(path, state=gm.adam(0.1).init(some(0)))["state"]
    assert type(ours[0]) is gm.ScaleByAdamState
    assert bits(ours) == bits(from_optax_state(state))
    gm.save(path, state=ours)
    assert bits(gm.load(path, state=to_optax_state(ours))["state"]) == bits(state)


def test_typed_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(gm.errors.LeafTypeError, match=r"^tree\['key'\]: "):
        gm.save(tmp_path / "run.npz", tree={"key": jax.random.key(0)})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_modules_of_equinox(tmp_path: Path, suffix: str) -> None:
    """Functions among their leaves are not written, and stay."""
    eqx = pytest.importorskip("equinox", reason="the modules are Equinox's")
    path = tmp_path / f"run{suffix}"

    def made(seed: int) -> Any:
        module = eqx.nn.MLP(2, 3, 4, 1, key=jax.random.key(seed))
        own = jax.tree.map(lambda leaf: np.array(leaf) if eqx.is_array(leaf) else leaf, module)
        return gm.Optimizer(
            gm.masked(gm.adam(0.1), lambda tree: jax.tree.map(eqx.is_array, tree)), own
        )

    first, second = made(0), made(1)
    first.step(eqx.filter(made(2).params, eqx.is_array))
    gm.save(path, optimizer=first)
    gm.load(path, optimizer=second)
    arrays, others = eqx.partition(second.params, eqx.is_array)
    assert bits(arrays) == bits(eqx.filter(first.params, eqx.is_array))
    assert bits(second.state) == bits(first.state)
    assert jax.tree.leaves(others) == jax.tree.leaves(eqx.partition(first.params, eqx.is_array)[1])
    assert list(gm.load(path)["params"]["layers"][0]) == ["weight", "bias"]


def stepped(seed: int, dtype: Any, **settings: Any) -> Any:
    opt = gm.Optimizer(chain(), some(seed, dtype), **settings)
    opt.step(some(seed + 1, dtype))
    return opt


DTYPES = [np.float32, ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_flax_bytes(dtype: Any) -> None:
    """As docs/checkpoints.md has it."""
    serialization = pytest.importorskip("flax.serialization", reason="the recipe is for Flax")
    opt, other = stepped(0, dtype, master=True), stepped(5, dtype, master=True)
    data = serialization.to_bytes({"params": opt.master, "state": opt.state})
    other.load(**serialization.from_bytes({"params": other.master, "state": other.state}, data))
    assert bits((other.params, other.master, other.state)) == bits(
        (opt.params, opt.master, opt.state)
    )
    assert other.step(some(2, dtype)) == opt.step(some(2, dtype))
    assert bits(other.params) == bits(opt.params)


@pytest.mark.parametrize("dtype", DTYPES)
def test_orbax(tmp_path: Path, dtype: Any) -> None:
    """As docs/checkpoints.md has it."""
    ocp = pytest.importorskip("orbax.checkpoint", reason="the recipe is for orbax")
    opt, other = stepped(0, dtype, master=True), stepped(5, dtype, master=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", {"params": opt.master, "state": opt.state})
        checkpointer.wait_until_finished()
        like = {"params": other.master, "state": other.state}
        other.load(**checkpointer.restore(tmp_path / "run", like))
    assert bits((other.params, other.master, other.state)) == bits(
        (opt.params, opt.master, opt.state)
    )
    assert other.step(some(2, dtype)) == opt.step(some(2, dtype))
    assert bits(other.params) == bits(opt.params)
