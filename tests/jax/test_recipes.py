"""The code of docs/jax.md runs as it stands, in place, and ends where optax does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.trees import assert_close

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "jax.md").read_text()
STEPS = 10


class Recipe(NamedTuple):
    """One of the page's blocks, after those above it in its section.

    Attributes:
        title: Of the section.
        package: What has to be installed.
        block: Its number within the section.
        carried: The names of what a step is given and returns.
    """

    title: str
    package: str
    block: int
    carried: tuple[str, ...]


FUSED = [
    Recipe("Flax linen", "flax", 0, ("state",)),
    Recipe("Flax nnx", "flax", 0, ("params", "state", "rest")),
    Recipe("Equinox", "equinox", 0, ("params", "state")),
    Recipe("Haiku", "haiku", 0, ("params", "state")),
]
OF_OPTAX = [
    Recipe("Flax linen", "flax", 1, ("state",)),
    Recipe("Flax nnx", "flax", 1, ("model", "optimizer")),
]
each_fused = pytest.mark.parametrize("recipe", FUSED, ids=lambda recipe: recipe.title)
each_recipe = pytest.mark.parametrize(
    "recipe", FUSED + OF_OPTAX, ids=lambda recipe: f"{recipe.title} {recipe.block}"
)


class Theirs:
    """The page's chain in optax, with what optax calls and what `step` is called with."""

    def __init__(self) -> None:
        tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2))
        self.init, self.update = tx.init, tx.update

    def __call__(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = self.update(grads, state, params)
        return optax.apply_updates(params, updates), state


def blocks(title: str) -> list[str]:
    section = re.split(rf"^#+ {title}.*\n", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


class Run:
    """A recipe's names after all of its steps, and where its arrays were before each."""

    def __init__(self, recipe: Recipe, **names: Any) -> None:
        pytest.importorskip(recipe.package, reason=f"the recipe is for {recipe.title}")
        self.carried = recipe.carried
        self.addresses: list[list[int]] = []
        random = np.random.default_rng(0)
        x = jnp.asarray(random.standard_normal((16, 64), "f4"))
        self.batch = x, jnp.asarray(random.integers(0, 10, 16))
        self.names: dict[str, Any] = {"x": x}
        (start,) = blocks("In JAX")
        exec(start, self.names)  # noqa: S102  (it is our own page)
        self.names |= names
        for block in blocks(recipe.title)[: recipe.block + 1]:
            self.names["batches"] = self.batches()
            exec(block, self.names)  # noqa: S102  (our own)

    def batches(self) -> Iterator[tuple[Any, Any]]:
        self.addresses.clear()
        for _ in range(STEPS):
            arrays = [leaf for leaf in self.leaves() if isinstance(leaf, jax.Array)]
            there = [leaf for leaf in arrays if not leaf.is_deleted()]
            self.addresses.append([leaf.unsafe_buffer_pointer() for leaf in there])
            yield self.batch

    def leaves(self) -> list[Any]:
        leaves: list[Any] = jax.tree.leaves([self.names.get(name) for name in self.carried])
        return leaves

    def compiled(self) -> str:
        operands = [self.names[name] for name in self.carried]
        text: str = self.names["train"].lower(*operands, *self.batch).compile().as_text()
        return text


@each_recipe
def test_arrays_stay_where_they_are(recipe: Recipe) -> None:
    run = Run(recipe)
    assert len(run.addresses) == STEPS
    # A count that begins as a number of Python is an array from the second step on.
    assert run.addresses[1:] == [run.addresses[1]] * (STEPS - 1)
    assert len(run.addresses[1]) > 12


@each_fused
def test_one_call_and_no_copies(recipe: Recipe) -> None:
    text = Run(recipe).compiled()
    assert text.count("custom-call(") == 1
    lines = text.splitlines()
    assert [line for line in lines if re.search(r"f32\[(64,32|32,10)\]\S* copy\(", line)] == []


@each_recipe
def test_they_end_where_optax_does(recipe: Recipe) -> None:
    ours = Run(recipe)
    theirs = Run(recipe, update=Theirs(), to_optax=lambda _: Theirs())
    assert_close(ours.leaves(), theirs.leaves(), rtol=1e-3, atol=1e-5)
