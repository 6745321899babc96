"""Runs of links: native ones as one program, one written in Python as a call."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from gradmill._base import GradientTransformation, GradientTransformationExtraArgs
from gradmill._control import Context
from gradmill._frame import Framer, masked_extra
from gradmill._fresh import apart, copied
from gradmill._layout import Layout, layout_of
from gradmill._masks import Selection
from gradmill._native import MAX_LINKS, Found, NativeRun
from gradmill._quick import QuickUpdate, quick_update
from gradmill._state import init_link, links_of
from gradmill._tree import HOLE, Flattener, Structure, match, tree_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._base import PyTree, TransformationLike
    from gradmill._spec import Chained, Description, Gated, Masked, Partitioned, Spec
    from gradmill._state import Link


class PythonRun:
    """One link that is written in Python."""

    def __init__(self, link: Link, hole: PyTree = HOLE) -> None:
        self.links = (link,)
        self.hole = hole
        # Those of optax count as well, and have a class of the same name.
        kinds = type(link.tx).__mro__
        name = GradientTransformationExtraArgs.__name__
        self.takes_extra = any(kind.__name__ == name for kind in kinds)
        self._frame = Framer()

    def update(
        self, updates: PyTree, states: Sequence[PyTree], context: Context
    ) -> tuple[PyTree, list[PyTree], Found]:
        """Call the transformation, with what masks leave to it."""
        (link,), (state,) = self.links, states
        if not all(context.open[gate] for gate in link.gates):
            return updates, [state], Found((), True)
        tx = context.members.get(link.index, link.tx)
        extra = context.extra if self.takes_extra else {}
        params = context.params
        if not link.masks:
            new, state = tx.update(updates, state, params, **extra)
            return new, [state], Found((), True)
        frame = self._frame(updates, params, needs_params=True)
        leaves = frame.updates.leaves
        kept = frame.selection(self.hole)(link.masks)
        if link.masks_extra:
            extra = masked_extra(extra, frame.structure, kept)
        masked = kept.tree(leaves)
        given = None if frame.params is None else kept.tree(frame.params)
        new, state = tx.update(masked, state, given, **extra)
        before = Structure(kept.structure())
        rest = iter(match(new, before, "the masked updates", "those before").leaves)
        merged = [next(rest) if take else old for take, old in zip(kept.taken, leaves, strict=True)]
        return frame.updates.rebuild(merged), [state], Found((), True)


Run: TypeAlias = NativeRun | PythonRun


def runs_of(tx: TransformationLike) -> list[Run]:
    """The links of ``tx``, with neighbours that are native taken together."""
    runs: list[Run] = []
    row: list[Link] = []

    def close() -> None:
        if row:
            runs.append(NativeRun(tuple(row)))
            row.clear()

    for link in links_of(tx):
        if link.spec is None:
            close()
            runs.append(PythonRun(link))
            continue
        control = link.spec.control
        if len(row) == MAX_LINKS or (control is not None and control.needs_updates):
            close()
        row.append(link)
    close()
    return runs


def runs_in_place(tx: TransformationLike) -> tuple[*tuple[Run, ...], NativeRun]:
    """The runs of ``tx``; the last one, which can work in place, is native and may be empty."""
    runs = runs_of(tx)
    match runs[-1:]:
        case [NativeRun() as tail]:
            return (*runs[:-1], tail)
        case _:
            return (*runs, NativeRun(()))


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
        links = links_of(self.tx)
        own = [params] * len(links)
        if any(link.masks for link in links):
            leaves, structure = Flattener()(params)
            select = Selection(leaves, structure, "params")
            # Each mask and label is looked at, whether or not there is state under it.
            own = [select(link.masks).tree(leaves) if link.masks else params for link in links]
        return self.layout.join(map(init_link, links, own))

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
        context = Context(updates, params, extra_args)
        given = updates
        new_states: list[PyTree] = []
        for run in self.runs:
            own = states[len(new_states) : len(new_states) + len(run.links)]
            updates, own, _ = run.update(updates, own, context)
            new_states += own
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
    description: Chained | Masked | Partitioned | Gated,
) -> GradientTransformationExtraArgs:
    """The transformation that ``description`` describes, which hands on extra arguments."""
    tx = Fused(GradientTransformationExtraArgs, description).tx
    assert isinstance(tx, GradientTransformationExtraArgs)  # noqa: S101  (for the type checker)
    return tx
