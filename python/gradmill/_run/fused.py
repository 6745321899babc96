"""The two functions of a transformation that is described as data."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradmill._data.trees import tree_map
from gradmill._plan.context import StepContext
from gradmill._plan.layout import Layout, layout_of
from gradmill._plan.states import init_links
from gradmill._run.fresh import apart, copied
from gradmill._run.quick import QuickUpdate, quick_update
from gradmill._run.runs import PythonRun, runs_of, send_through
from gradmill._run.transformation import GradientTransformation, GradientTransformationExtraArgs
from gradmill._run.trees import Init, TreeFormula, Update

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradmill._data.types import PyTree
    from gradmill._plan.spec import (
        Chained,
        Coded,
        Description,
        Followed,
        Gated,
        Masked,
        Partitioned,
        Preceded,
        Spec,
    )
    from gradmill._run.runs import Run


class Fused:
    """The two functions of a transformation with a description."""

    def __init__(self, kind: type[GradientTransformation], description: Description) -> None:
        self.kind = kind
        self.description = description
        # Who takes a single step has no use for a way that is short from the second one on.
        self._was_used = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Fused, (self.kind, self.description)

    @cached_property
    def tx(self) -> GradientTransformation:
        """The transformation itself."""
        update = self.update_with_extra if self.takes_extra else self.update
        return self.kind(self.init, update, self.description)

    @property
    def takes_extra(self) -> bool:
        """Whether ``update`` takes extra arguments."""
        return issubclass(self.kind, GradientTransformationExtraArgs)

    @cached_property
    def layout(self) -> Layout:
        """How its states are made up of those of its links."""
        return layout_of(self.tx)

    @cached_property
    def runs(self) -> list[Run]:
        """What an update consists of."""
        return runs_of(self.tx)

    @cached_property
    def quick(self) -> QuickUpdate | None:
        """A short way through most updates."""
        return quick_update(self.runs, self.layout)

    def init(self, params: PyTree) -> PyTree:
        """Return the initial state for ``params``."""
        return self.layout.join(init_links(self.layout.links, params))

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates and the new state."""
        quick = self.quick if self._was_used else None
        done = None if quick is None else quick(updates, state, params)
        return self._updated(updates, state, params, {}) if done is None else done

    def update_with_extra(
        self,
        updates: PyTree,
        state: PyTree,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates and the new state."""
        quick = self.quick if self._was_used else None
        done = None if quick is None else quick(updates, state, params)
        return self._updated(updates, state, params, extra_args) if done is None else done

    def _updated(
        self, updates: PyTree, state: PyTree, params: PyTree | None, extra_args: dict[str, Any]
    ) -> tuple[PyTree, PyTree]:
        """The new updates and the new state, run by run."""
        states = self.layout.parts(state)
        context = StepContext(updates, params, extra_args)
        given = updates
        updates, new_states, _ = send_through(self.runs, updates, states, context)
        if not self.runs:
            updates = tree_map(copied, updates)
        elif isinstance(self.runs[-1], PythonRun):
            # What is written in Python may hand on what it was given.
            updates = apart(updates, (given, state, params, extra_args))
        self._was_used = True
        if all(new is old for new, old in zip(new_states, states, strict=True)):
            return updates, state
        return updates, self.layout.join(iter(new_states))


def native(description: Spec | Masked) -> GradientTransformation:
    """The transformation that ``description`` describes."""
    return Fused(GradientTransformation, description).tx


def native_with_extra(
    description: Spec | Chained | Masked | Partitioned | Gated | Followed | Preceded | Coded,
) -> GradientTransformationExtraArgs:
    """The transformation that ``description`` describes, which hands on extra arguments."""
    tx = Fused(GradientTransformationExtraArgs, description).tx
    assert isinstance(tx, GradientTransformationExtraArgs)  # noqa: S101  (for the type checker)
    return tx


def by_tree(
    init: Init,
    update: Update,
    hyper: Mapping[str, Any] | None = None,
    slots: Sequence[str] = (),
    *,
    reads_params: bool = False,
) -> GradientTransformationExtraArgs:
    """The transformation of two tree formulas; see :class:`TreeFormula`."""
    formula = TreeFormula(init, update, hyper or {}, slots, reads_params=reads_params)
    return GradientTransformationExtraArgs(formula.init, formula.update)
