"""Who takes the steps: gradmill (in place, functional), NumPy, optax, torch, and a bare loop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import _torch_steps
import gradmill as gm
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
NUMPY = "NumPy"
OPTAX = "optax"
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
    """optax in one jitted function that may overwrite parameters and state."""

    def __init__(self, chain: Chain, params: Tree, grads: Tree) -> None:
        tx = chain.build(optax)

        def step(params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        self.jitted = jax.jit(step, donate_argnums=(0, 1))
        self.params, self.grads = (
            map_tree(jax.numpy.array, params),
            map_tree(jax.numpy.array, grads),
        )
        self.state = tx.init(self.params)

    def step(self) -> None:
        """Take one step and wait for it; results of one call are ready all at once."""
        self.params, self.state = self.jitted(self.params, self.state, self.grads)
        jax.tree.leaves(self.params)[0].block_until_ready()


def in_place(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """``Optimizer.step``."""
    optimizer = gm.Optimizer(chain.build(gm), params)
    return Contender(IN_PLACE, partial(optimizer.step, grads), lambda: leaves(params))


def one_thread(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """``Optimizer.step`` on the calling thread alone."""
    optimizer = gm.Optimizer(chain.build(gm), params)

    def step() -> None:
        with gm.num_threads(1):
            optimizer.step(grads)

    return Contender(ONE_THREAD, step, lambda: leaves(params))


def functional(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """``update`` and ``apply_updates``."""
    own = Functional(chain, params, grads)
    return Contender(FUNCTIONAL, own.step, lambda: leaves(own.params))


def by_hand(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """NumPy alone."""
    own = leaves(params)
    return Contender(NUMPY, chain.by_hand(own, leaves(grads)), lambda: own)


def in_optax(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """JAX, compiled ahead of the first sample."""
    own = Jitted(chain, params, grads)
    return Contender(OPTAX, own.step, lambda: leaves(own.params))


def in_torch(chain: Chain, params: Tree, grads: Tree) -> Contender:
    """PyTorch."""
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
    ONE_THREAD: one_thread,
    NUMPY: by_hand,
    OPTAX: in_optax,
    TORCH: in_torch,
}
NAMES = tuple(MAKERS)


def missing() -> dict[str, str]:
    """Contenders that cannot take part, each with the reason."""
    found = {OPTAX: optax is not None, TORCH: _torch_steps.installed()}
    return {name: "not installed" for name, there in found.items() if not there}


def takes_part(name: str, size: Size) -> bool:
    """Whether a contender is timed at this size."""
    if name in missing():
        return False
    if name == ONE_THREAD:
        return size.flat
    return not (size.only_in_place and name in (FUNCTIONAL, NUMPY))


def contenders(chain: Chain, size: Size, leave_out: tuple[str, ...] = ()) -> list[Contender]:
    """All contenders of a cell, each with arrays of its own."""
    params, grads = size.normal(seed=1, scale=1.0), size.normal(seed=2, scale=0.1)
    names = [name for name in NAMES if takes_part(name, size) and name not in leave_out]
    found = [
        MAKERS[name](chain, map_tree(np.copy, params), map_tree(np.copy, grads)) for name in names
    ]
    if size.params >= LIMIT_FROM:
        found.append(memory_limit(chain, size.params))
    return found


def check(chain: Chain, size: Size, steps: int = 20) -> None:
    """Raise unless all contenders end a few steps at nearly the same parameters.

    Raises:
        AssertionError: One of them ends elsewhere.
    """
    first, *others = contenders(chain, size)
    for contender in (first, *others):
        for _ in range(steps):
            contender.step()
    for other in others:
        for own, expected in zip(other.params(), first.params(), strict=True):
            np.testing.assert_allclose(
                np.asarray(own), expected, 1e-5, 1e-6, err_msg=f"{chain.name}: {other.name}"
            )
