"""Runs of links: native ones as one program, one written in Python as a call."""

from __future__ import annotations

from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from gradmill import _core, errors
from gradmill._base import (
    NO_PARAMS_MSG,
    GradientTransformation,
    GradientTransformationExtraArgs,
)
from gradmill._scalars import safe_increment, step_scalars
from gradmill._state import init_state, join_state, links_of, split_state
from gradmill._threads import scoped
from gradmill._tree import Treespec, flatten, flatten_like, leaf_path, mask_leaves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._base import PyTree
    from gradmill._spec import Description, Masked, Spec
    from gradmill._state import Link


MAX_LINKS = 64
"""Most links that one program holds: a leaf's skipped ops are bits of a word."""


class Found(NamedTuple):
    """What a run met on its way."""

    norms: list[float]
    finite: bool


class NativeRun:
    """Consecutive native links as one program."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = links
        self.specs: list[Spec] = [link.spec for link in links if link.spec is not None]
        self.ops = [link for link in links if link.spec is not None and link.spec.op is not None]
        self.program = _core.Program(
            [link.spec.op for link in self.ops if link.spec and link.spec.op]
        )
        self.scalars_of = [
            (position if spec.counts else None, step_scalars(spec))
            for position, spec in enumerate(self.specs)
        ]
        self.slots = [
            (position, slot.name) for position, spec in enumerate(self.specs) for slot in spec.slots
        ]

    def scalars(self, states: Sequence[PyTree]) -> list[float]:
        """The scalars of the next step, for all ops in a row."""
        values: list[float] = []
        for at, scalars in self.scalars_of:
            values += scalars(0 if at is None else int(states[at].count))
        return values

    def skips(self, tree: PyTree, treespec: Treespec) -> list[int] | None:
        """For each leaf the ops that pass it by, as bits; None where there are no masks."""
        skips: list[int] | None = None
        for bit, link in enumerate(self.ops):
            for mask in link.masks:
                taken = mask_leaves(mask, tree, treespec)
                skips = [0] * len(taken) if skips is None else skips
                skips = [s if t else s | 1 << bit for s, t in zip(skips, taken, strict=True)]
        return skips

    def slot_leaves(self, states: Sequence[PyTree], treespec: Treespec) -> list[list[Any]]:
        """The leaves of each slot, in the order of the program's slots."""
        return [
            flatten_like(
                treespec, getattr(states[at], name), f"{self.links[at].path}.{name}", "updates"
            )
            for at, name in self.slots
        ]

    def update(
        self, updates: PyTree, states: Sequence[PyTree], params: PyTree | None, _: dict[str, Any]
    ) -> tuple[PyTree, list[PyTree], Found]:
        """Send ``updates`` through the links; nothing that was given is written to."""
        if not self.ops:
            return updates, list(states), Found([], True)
        if params is None and self.program.reads_params:
            raise ValueError(NO_PARAMS_MSG)
        leaves, treespec = flatten(updates)
        param_leaves = None
        if self.program.reads_params:
            param_leaves = flatten_like(treespec, params, "params", "updates")
        slots = self.slot_leaves(states, treespec)
        skips = self.skips(updates if params is None else params, treespec)
        scalars = self.scalars(states)
        try:
            out, new_slots, norms, finite = self.program.update(
                leaves, param_leaves, slots, skips, scalars, scoped.get()
            )
        except _core.CoreError as fault:
            raise self.error(fault, treespec) from None
        fields: list[dict[str, PyTree]] = [
            {"count": safe_increment(state.count)} if spec.counts else {}
            for spec, state in zip(self.specs, states, strict=True)
        ]
        for (at, name), arrays in zip(self.slots, new_slots, strict=True):
            fields[at][name] = treespec.unflatten(arrays)
        new_states = [spec.state(**own) for spec, own in zip(self.specs, fields, strict=True)]
        return treespec.unflatten(out), new_states, Found(norms, finite)

    def error(self, fault: _core.CoreError, treespec: Treespec) -> errors.GradmillError:
        """The error for what the core reports, with paths instead of indices."""

        def path(place: errors.Place) -> str:
            tree, slot, leaf = place
            if slot is not None:
                at, name = self.slots[slot]
                tree = f"{self.links[at].path}.{name}"
            return leaf_path(treespec, leaf, tree)

        return errors.from_fault(fault, path)


class PythonRun:
    """One link that is written in Python."""

    def __init__(self, link: Link) -> None:
        self.links = (link,)
        self.takes_extra = isinstance(link.tx, GradientTransformationExtraArgs)

    def update(
        self,
        updates: PyTree,
        states: Sequence[PyTree],
        params: PyTree | None,
        extra: dict[str, Any],
    ) -> tuple[PyTree, list[PyTree], Found]:
        """Call the transformation."""
        (link,), (state,) = self.links, states
        given = extra if self.takes_extra else {}
        updates, state = link.tx.update(updates, state, params, **given)
        return updates, [state], Found([], True)


Run: TypeAlias = NativeRun | PythonRun


def runs_of(tx: GradientTransformation) -> list[Run]:
    """The links of ``tx``, with neighbours that are native taken together."""
    runs: list[Run] = []
    for native, links in groupby(links_of(tx), key=lambda link: link.spec is not None):
        if native:
            row = tuple(links)
            starts = range(0, len(row), MAX_LINKS)
            runs.extend(NativeRun(row[start : start + MAX_LINKS]) for start in starts)
        else:
            runs.extend(PythonRun(link) for link in links)
    return runs


def runs_in_place(tx: GradientTransformation) -> tuple[*tuple[Run, ...], NativeRun]:
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
    def runs(self) -> list[Run]:
        """What an update consists of."""
        return runs_of(self.tx)

    def init(self, params: PyTree) -> PyTree:
        """Return the initial state for ``params``."""
        states = (
            link.tx.init(params) if link.spec is None else init_state(link.spec, params, link.masks)
            for link in links_of(self.tx)
        )
        return join_state(self.tx, states)

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates and the new state."""
        return self.update_with_extra(updates, state, params)

    def update_with_extra(
        self,
        updates: PyTree,
        state: PyTree,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates and the new state."""
        states = split_state(self.tx, state)
        new_states: list[PyTree] = []
        for run in self.runs:
            own = states[len(new_states) : len(new_states) + len(run.links)]
            updates, own, _ = run.update(updates, own, params, extra_args)
            new_states += own
        if all(new is old for new, old in zip(new_states, states, strict=True)):
            return updates, state
        return updates, join_state(self.tx, iter(new_states))


def native(description: Spec | Masked) -> GradientTransformation:
    """The transformation that ``description`` describes."""
    return Fused(GradientTransformation, description).tx
