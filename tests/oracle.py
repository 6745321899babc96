"""What a chain's formulas give in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gradmill._data.trees import Flattener, flatten
from gradmill._ops.walk import Library
from gradmill._plan.context import StepContext
from gradmill._plan.layout import layout_of, links_of
from gradmill._plan.masks import Selection
from gradmill._plan.match import Match
from gradmill._run.formulas import FormulaProgram, FormulaRun
from gradmill._run.frame import Frame
from tests.trees import copy_tree

if TYPE_CHECKING:
    from collections.abc import Sequence


class InFloat64(Library):
    """NumPy in float64, without anything of the core."""

    xp = np

    def __init__(self) -> None:
        self.given: list[Any] = []

    def norm(self, leaves: Sequence[Any]) -> Any:
        return np.sqrt(sum(np.sum(leaf**2) for leaf in leaves))

    def all_finite(self, leaves: Sequence[Any]) -> bool:
        return all(np.isfinite(leaf).all() for leaf in leaves)

    def total(self, arrays: Sequence[Any]) -> Any:
        return sum(np.sum(array) for array in arrays)

    def normal(self, words: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
        """By JAX: uniform numbers of the precision of the gradients, from there on in float64."""
        with jax.enable_x64(True):
            keys = jax.random.split(jax.random.wrap_key_data(np.array(words, np.uint32)), 64)
            return [self._normal(key, leaf) for key, leaf in zip(keys, leaves, strict=False)]

    def _normal(self, key: Any, leaf: Any) -> Any:
        is_wide = any(given is not None and given.dtype == np.float64 for given in self.given)
        dtype = np.float64 if is_wide else np.float32
        least = np.nextafter(dtype(-1.0), dtype(0.0))
        uniform = jax.random.uniform(key, leaf.shape, dtype, minval=least, maxval=1.0)
        wide = jax.numpy.asarray(np.asarray(uniform), np.float64)
        return np.sqrt(2.0) * np.asarray(jax.scipy.special.erfinv(wide))


class Oracle:
    """A chain by its formulas, in float64; the host's part is that of the chain itself."""

    def __init__(self, tx: Any, params: Any, state: Any) -> None:
        self.tx = tx
        self.run = FormulaRun(tuple(links_of(tx)))
        self.library = InFloat64()
        self.program = FormulaProgram(self.run, self.library, np.float64)
        self.tree = params
        self.params, structure = Flattener()(copy_tree(params))
        self.skips = self.run.skips(Selection(self.params, structure, "params"))
        states = layout_of(tx).parts(state)
        frame = Frame(structure, Match(self.params, structure.spec), self.params)
        self.slots = [_wide(slot.leaves) for slot in self.run.slot_matches(states, frame)]

    def update(self, grads: Any, state: Any) -> list[Any]:
        self.library.given = given = flatten(grads)[0]
        context = StepContext(grads, self.tree, {})
        scalars, off, _ = self.run.plan(layout_of(self.tx).parts(state), context)
        params = _wide(self.params)
        new, self.slots, _ = self.program.update(
            _wide(given), params, self.slots, self.skips, scalars, off
        )
        return [leaf for leaf in new if leaf is not None]


def _wide(leaves: list[Any]) -> list[Any]:
    """Arrays in float64; what is none stays."""
    return [np.asarray(x, np.float64) if hasattr(x, "dtype") else x for x in leaves]


def squared_error(tree: Any, exact: list[Any]) -> float:
    leaves = [leaf for leaf in flatten(tree)[0] if leaf is not None]
    pairs = zip(leaves, exact, strict=True)
    return float(sum(np.sum((np.asarray(a, np.float64) - b) ** 2) for a, b in pairs))
