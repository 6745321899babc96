"""Who takes the steps: gradmill (in place, functional), NumPy, optax, torch, and a bare loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import _torch_steps
import gradmill as gm
from _chains import CHAINS
from _machine import cpus
from _trees import leaves, map_tree
from gradmill import _core

try:
    import jax
    import optax
except ImportError:
    jax = optax = None
else:
    jax.config.update("jax_platforms", "cpu")

if TYPE_CHECKING:
    from collections.abc import Callable

    from _chains import Chain
    from _settings import Step
    from _trees import Array, Size, Tree

IN_PLACE = "in place"
FUNCTIONAL = "functional"
ONE_THREAD = "1 thread"
FEWER = {1 << power: f"{1 << power} threads" for power in range(1, 10) if 1 << power < cpus()}
"""Powers of two below the number of processors."""
NUMPY = "NumPy"
OPTAX = "optax"
OPTAX_PURE = "optax pure"
F32 = "adamw f32"
TORCH = "torch"
LIMIT = "limit"

LIMIT_FROM = 1_000_000
"""Number of parameters below which the caches, not memory, set the limit."""


@dataclass(frozen=True)
class Contender:
    """One column.

    Attributes:
        name: Its heading.
        step: Takes one step.
        params: Gives the leaves of its parameters.
        scale: What measured times are multiplied by.
    """

    name: str
    step: Step
    params: Callable[[], list[Any]]
    scale: float = 1.0


class Functional:
    """``update`` and ``apply_updates``, each of which returns new arrays."""

    def __init__(self, chain: Chain, params: Tree, grads: Tree) -> None:
        self.tx = chain.build(gm)
        self.params, self.grads = params, grads
        self.state = self.tx.init(params)

    def step(self) -> None:
        """Take one step."""
        updates, self.state = self.tx.update(self.grads, self.state, self.params)
        self.params = gm.apply_updates(self.params, updates)


class Jitted:
    """optax in one jitted function; one that owns parameters and state may overwrite them."""

    def __init__(self, chain: Chain, params: Tree, grads: Tree, donated: bool) -> None:
        tx = chain.build(optax)

        def step(params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        self.jitted = jax.jit(step, donate_argnums=(0, 1) if donated else ())
        self.params, self.grads = (
            map_tree(jax.numpy.array, params),
            map_tree(jax.numpy.array, grads),
        )
        # Copies, as a buffer cannot be donated twice, and some states begin as the parameters.
        self.state = jax.tree.map(jax.numpy.array, tx.init(self.params))

    def step(self) -> None:
        """Take one step and wait for it; results of one call are ready all at once."""
        self.params, self.state = self.jitted(self.params, self.state, self.grads)
        jax.tree.leaves(self.params)[0].block_until_ready()


def in_place(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """``Optimizer.step``."""
    optimizer = gm.Optimizer(chain.build(gm), params)
    return Contender(IN_PLACE, partial(optimizer.step, grads), lambda: leaves(params))


def on_threads(count: int, name: str, chain: Chain, params: Tree, grads: Tree) -> Contender:
    """``Optimizer.step`` on fewer threads than there are processors."""
    optimizer = gm.Optimizer(chain.build(gm), params)

    def step() -> None:
        with gm.num_threads(count):
            optimizer.step(grads)

    return Contender(name, step, lambda: leaves(params))


def functional(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """``update`` and ``apply_updates``."""
    own = Functional(chain, params, grads)
    return Contender(FUNCTIONAL, own.step, lambda: leaves(own.params))


def by_hand(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """NumPy alone."""
    assert chain.by_hand is not None
    own = leaves(params)
    return Contender(NUMPY, chain.by_hand(own, leaves(grads)), lambda: own)


def in_optax(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """JAX, compiled ahead of the first sample."""
    own = Jitted(chain, params, grads, donated=True)
    return Contender(OPTAX, own.step, lambda: leaves(own.params))


def in_pure_optax(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """JAX without donated buffers: what a step was given is still there behind it."""
    own = Jitted(chain, params, grads, donated=False)
    return Contender(OPTAX_PURE, own.step, lambda: leaves(own.params))


def in_single(chain: Chain, params: Tree, grads: Tree) -> Contender:  # noqa: ARG001  (as others)
    """AdamW in single precision throughout, to compare half precision with."""
    wide = map_tree(lambda leaf: leaf.astype(np.float32), params)
    own = in_place(CHAINS["adamw"], wide, map_tree(lambda leaf: leaf.astype(np.float32), grads))
    return Contender(F32, own.step, own.params)


def in_torch(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """PyTorch."""
    assert chain.in_torch is not None
    own = leaves(params)
    return Contender(TORCH, chain.in_torch(own, leaves(grads)), lambda: own)


def memory_limit(chain: Chain, count: int) -> Contender:
    """The chain's streams with next to no arithmetic.

    The native loop reads four arrays and writes three. For a chain with fewer streams its time is
    taken in proportion.
    """
    updates, *arrays = (np.full(count, 0.1, np.float32) for _ in range(4))
    streams: tuple[Array, Array, Array] = (arrays[0], arrays[1], arrays[2])
    step = partial(_core.touch, updates, streams, chain.norm)
    loop = 32 if chain.norm else 28
    return Contender(LIMIT, step, list, chain.bytes_per_param / loop)


MAKERS: dict[str, Callable[[Chain, Tree, Tree], Contender]] = {
    IN_PLACE: in_place,
    FUNCTIONAL: functional,
    ONE_THREAD: partial(on_threads, 1, ONE_THREAD),
    **{name: partial(on_threads, count, name) for count, name in FEWER.items()},
    NUMPY: by_hand,
    OPTAX: in_optax,
    OPTAX_PURE: in_pure_optax,
    F32: in_single,
    TORCH: in_torch,
}
NAMES = tuple(MAKERS)


def missing() -> dict[str, str]:
    """Contenders that cannot take part, each with the reason."""
    found = {OPTAX: optax is not None, TORCH: _torch_steps.installed()}
    return {name: "not installed" for name, there in found.items() if not there}


def takes_part(name: str, chain: Chain, size: Size) -> bool:
    """Whether a contender is timed in this cell."""
    if name in missing() or (name == OPTAX_PURE and OPTAX in missing()):
        return False
    own = {
        **dict.fromkeys((ONE_THREAD, *FEWER.values()), size.flat or size.only_in_place),
        FUNCTIONAL: not size.only_in_place,
        NUMPY: chain.by_hand is not None and not size.only_in_place,
        TORCH: chain.in_torch is not None,
        OPTAX: chain.in_optax and (size.flat or not size.only_in_place),
        OPTAX_PURE: chain.name == "adamw" and size.flat and size.params >= LIMIT_FROM,
        F32: chain.name in ("partition", "adamw_bf16", "bf16_moments"),
    }
    return own.get(name, True)


def contenders(chain: Chain, size: Size, leave_out: tuple[str, ...] = ()) -> list[Contender]:
    """All contenders of a cell, each with arrays of its own."""
    params, grads = size.normal(1, 1.0, chain.dtype), size.normal(2, 0.1, chain.dtype)
    names = [name for name in NAMES if takes_part(name, chain, size) and name not in leave_out]
    found = [
        MAKERS[name](chain, map_tree(np.copy, params), map_tree(np.copy, grads)) for name in names
    ]
    if chain.period > 1:
        found = [over_period(contender, chain.period) for contender in found]
    if size.params >= LIMIT_FROM:
        found.append(memory_limit(chain, size.params))
    return found


def over_period(contender: Contender, period: int) -> Contender:
    """The mean over steps that differ."""

    def steps() -> None:
        for _ in range(period):
            contender.step()

    return replace(contender, step=steps, scale=contender.scale / period)


def check(chain: Chain, size: Size, steps: int = 20) -> None:
    """Raise unless all contenders end a few steps at nearly the same parameters.

    Raises:
        AssertionError: One of them ends elsewhere.
    """
    leave_out = (F32,)
    first, *others = contenders(chain, size, leave_out)
    for contender in (first, *others):
        for _ in range(steps):
            contender.step()
    for other in others:
        name = f"{chain.name}: {other.name}"
        for own, expected in zip(other.params(), first.params(), strict=True):
            actual, desired = np.asarray(own, np.float64), np.asarray(expected, np.float64)
            np.testing.assert_allclose(actual, desired, 1e-5, 1e-6, err_msg=name)
