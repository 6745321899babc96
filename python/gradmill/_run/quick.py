"""Steps whose host part is written down, so that Python only has to start them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import _core
from gradmill._data.arrays import widest
from gradmill._data.tape import UnwritableError
from gradmill._data.threads import scoped, threads_asked
from gradmill._data.trees import flatten
from gradmill._run.native import NativeRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._data.types import PyTree
    from gradmill._plan.cells import Pattern
    from gradmill._plan.host import Recipe
    from gradmill._plan.layout import Layout

_FLOAT64 = np.dtype(np.float64)


def _is_wide(params: PyTree) -> bool:
    """Whether a number that is assigned is stored in float64."""
    return widest(flatten(params)[0]) == _FLOAT64


class QuickStep:
    """Steps in place of one run.

    Attributes:
        numbers: Where hyperparameters are, by the order of the host's numbers.
    """

    def __init__(self, recipe: Recipe, bound: _core.InPlace, params: PyTree) -> None:
        labels: list[Any] = []
        links = [recipe.pattern(at, labels) for at in range(len(recipe.links))]
        pattern: Pattern = list, links, [], []
        self._host = recipe.host(pattern, labels, [])
        self._bound = bound
        self._is_wide = _is_wide(params)
        self.numbers = [(cell.link, cell.path) for cell in recipe.cells]

    def __call__(
        self,
        params: PyTree,
        master: PyTree,
        grads: PyTree,
        leaves_of: Callable[[PyTree], list[Any]],
        states: list[PyTree],
        measures: bool = False,
        spends: bool = False,
    ) -> _core._Report | None:
        """Take a step; None where it has to be taken otherwise.

        Args:
            params: The parameters.
            master: Their master copies, or None.
            grads: The gradients.
            leaves_of: Gives the gradients as a list, once all three are looked at.
            states: The states of the links.
            measures: Whether to measure what is added to the parameters.
            spends: Whether to zero the gradients.
        """
        trees, host, wide = (params, master, grads), self._host, self._is_wide
        taken = _core.step_by(
            self._bound, trees, leaves_of, host, states, wide, threads_asked, measures, spends
        )
        if taken is None:
            return None
        report, moved = taken
        for at, array in moved:
            link, (field, key, *_) = self.numbers[at]
            getattr(states[link], field)[key] = array
        return report


class QuickUpdate:
    """Functional steps of a transformation of one run."""

    def __init__(self, run: NativeRun, recipe: Recipe, layout: Layout) -> None:
        labels: list[Any] = []
        # The one run begins with the first link.
        pattern = layout.pattern(lambda index, inner: recipe.pattern(index, labels, inner))
        slots = [(at, (name,)) for at, name, _ in run.slots]
        self._host = recipe.host(pattern, labels, slots)
        self._program = run.program
        self._flattener = run.framer.of_updates
        self._needs_params = run.reads_params
        self._looks_at_params = run.reads_params or run.numbers_leaves
        self._has_numbers = any(cell.kind == "number" for cell in recipe.cells)

    def __call__(
        self, updates: PyTree, state: PyTree, params: PyTree | None
    ) -> tuple[PyTree, PyTree] | None:
        """The new updates and the new state; None where they are to be found otherwise."""
        # The structure of the last step's.
        nest = self._flattener.last.nest
        if nest is None or (params is None and self._needs_params):
            return None
        seen = params if self._looks_at_params else None
        program, host, threads = self._program, self._host, scoped.get()
        try:
            done = _core.update_trees(program, host, nest, updates, seen, state, None, threads)
            if done is None and self._has_numbers:
                wide = _is_wide(updates if params is None else params)
                done = _core.update_trees(program, host, nest, updates, seen, state, wide, threads)
        except _core.CoreError:
            # What is wrong is found once more, and called by its name.
            return None
        return done


def quick_step(
    runs: Sequence[object], tail: NativeRun, bound: _core.InPlace, params: PyTree
) -> QuickStep | None:
    """The steps in place of a transformation, where they are quick; ``runs`` precede ``tail``."""
    # Where all that the host does is to count steps, there is no need.
    if runs or not tail.has_controls or tail.recipe is None:
        return None
    return QuickStep(tail.recipe, bound, params)


def quick_update(runs: Sequence[object], layout: Layout) -> QuickUpdate | None:
    """The functional steps of a transformation, where they are quick."""
    match runs:
        case [NativeRun() as run] if run.sees_all and run.recipe is not None:
            try:
                return QuickUpdate(run, run.recipe, layout)
            except UnwritableError:
                return None
    return None
