"""Runs of links: native ones as one program, one written in Python as a call."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from gradmill import _core, errors
from gradmill._base import (
    NO_PARAMS_MSG,
    GradientTransformation,
    GradientTransformationExtraArgs,
)
from gradmill._control import Context, Control, FieldError, Plan, count_of
from gradmill._layout import Layout, layout_of
from gradmill._scalars import SCALARS, next_count, step_scalars
from gradmill._spec import Gated
from gradmill._state import check_counts, init_link, links_of, new_fields
from gradmill._threads import scoped
from gradmill._tree import (
    HOLE,
    Flattener,
    Selection,
    Treespec,
    flatten,
    flatten_like,
    keep,
    leaf_path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._base import PyTree, TransformationLike
    from gradmill._spec import Chained, Description, Masked, Partitioned, Spec
    from gradmill._state import Link


MAX_LINKS = 64
"""Most links that one program holds: a leaf's skipped ops are bits of a word."""


class Found(NamedTuple):
    """What a run met on its way."""

    norms: Sequence[float | None]
    finite: bool


class NativeRun:
    """Consecutive native links as one program."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = links
        self.specs: list[Spec] = [link.spec for link in links if link.spec is not None]
        self.ops = [link for link in links if link.op is not None]
        self.program = _core.Program(
            [
                (link.op, sum(link.index in other.gates for other in self.ops), link.spec.axes)
                for link in self.ops
                if link.op and link.spec
            ]
        )
        self.bits = {link.index: 1 << bit for bit, link in enumerate(self.ops)}
        self.has_controls = any(link.control or link.gates for link in links)
        self.has_masks = any(link.masks for link in self.ops)
        self._flatten = Flattener()
        self.scalars_of = [
            (position if link.counts else None, link.scalars_of)
            for position, link in enumerate(links)
            if link.control is None
        ]
        self.slots = [
            (position, slot.name, f"{links[position].path}.{slot.name}")
            for position, spec in enumerate(self.specs)
            for slot in spec.slots
        ]

    def skips(self, tree: PyTree, treespec: Treespec) -> list[int] | None:
        """For each leaf the ops that pass it by, as bits; None where there are no masks."""
        if not self.has_masks:
            return None
        select = Selection(tree, treespec)
        skips = [0] * treespec.num_leaves
        for bit, link in enumerate(self.ops):
            taken = select(link.masks)
            skips = [s if t else s | 1 << bit for s, t in zip(skips, taken, strict=True)]
        return skips

    def slot_leaves(self, states: Sequence[PyTree], treespec: Treespec) -> list[list[Any]]:
        """The leaves of each slot, in the order of the program's slots."""
        return [
            flatten_like(treespec, getattr(states[at], name), path, "updates")
            for at, name, path in self.slots
        ]

    def clocks(self, states: Sequence[PyTree]) -> list[tuple[Any, _core.Scalars]]:
        """The count that a link's scalars depend on, or None, and these, in the links' order."""
        return [(None if at is None else states[at].count, row) for at, row in self.scalars_of]

    def plan(
        self, states: Sequence[PyTree], context: Context
    ) -> tuple[list[float], int, list[Plan]]:
        """The scalars of all ops in a row, the ops that are off as bits, and each link's plan."""
        values: list[float] = []
        off, plans = 0, []
        for link, state in zip(self.links, states, strict=True):
            try:
                if self.has_controls:
                    plan = _plan(link, state, context)
                    plans.append(plan)
                    values += plan.scalars
                    if not plan.on and link.op is not None:
                        off |= self.bits[link.index]
                    if plan is not ALWAYS:
                        continue
                injected = context.specs.get(link.index)
                scalars_of = link.scalars_of if injected is None else step_scalars(injected)
                values += scalars_of(count_of(state) if link.counts else 0)
            except FieldError as fault:
                raise fault.at(link.path) from None
        return values, off, plans

    def advance(
        self,
        states: Sequence[PyTree],
        context: Context,
        plans: Sequence[Plan],
        more: tuple[list[bool], list[list[bool]]] | None,
        treespec: Treespec | None,
    ) -> list[dict[str, Any]]:
        """For each link the fields of its state that the host changes after a step."""
        if not self.has_controls:
            return [
                {"count": next_count(state.count)} if spec.counts else {}
                for spec, state in zip(self.specs, states, strict=True)
            ]
        all_finite, nans = (iter(found) for found in (more or ((), ())))
        changes: list[dict[str, Any]] = []
        is_open = context.open
        for link, state, plan in zip(self.links, states, plans, strict=True):
            found: Any = None
            if link.looks_for == "finite":
                found = next(all_finite)
                if plan.open is None:
                    is_open[link.index] = found or plan.memo
            elif link.looks_for == "nans":
                found = treespec, next(nans)
            if link.gates and not all(is_open[gate] for gate in link.gates):
                changes.append({})
            elif link.control is not None:
                spec = context.specs.get(link.index, link.spec)
                changes.append(control_of(spec).advance(state, plan, found))
            else:
                changes.append({"count": next_count(state.count)} if link.counts else {})
        return changes

    def update(
        self, updates: PyTree, states: Sequence[PyTree], context: Context
    ) -> tuple[PyTree, list[PyTree], Found]:
        """Send ``updates`` through the links; nothing that was given is written to."""
        context.updates = updates
        params = context.params
        if params is None and self.program.reads_params:
            raise ValueError(NO_PARAMS_MSG)
        scalars, off, plans = self.plan(states, context)
        slots: list[list[Any]] = []
        norms: Sequence[float | None] = ()
        finite, more, treespec = True, None, None
        out = updates
        if self.ops:
            leaves, treespec = self._flatten(updates)
            param_leaves = None
            if self.program.reads_params:
                param_leaves = flatten_like(treespec, params, "params", "updates")
            old = self.slot_leaves(states, treespec)
            skips = self.skips(updates if params is None else params, treespec)
            try:
                new, slots, (norms, finite, more) = self.program.update(
                    leaves, param_leaves, old, skips, scalars, off, scoped.get()
                )
            except _core.CoreError as fault:
                raise self.error(fault, treespec) from None
            out = treespec.unflatten(new)
        changes = self.advance(states, context, plans, more, treespec)
        if treespec is not None:
            for (at, name, _), arrays in zip(self.slots, slots, strict=True):
                changes[at][name] = treespec.unflatten(arrays)
        new_states = [new_fields(state, own) for state, own in zip(states, changes, strict=True)]
        return out, new_states, Found(norms, finite)

    def error(self, fault: _core.CoreError, treespec: Treespec) -> errors.GradmillError:
        """The error for what the core reports, with paths instead of indices."""

        def path(place: errors.Place) -> str:
            tree, slot, leaf = place
            if tree == "count":
                return f"{self.links[leaf].path}.count"
            if slot is not None:
                tree = self.slots[slot][2]
            return leaf_path(treespec, leaf, tree)

        return errors.from_fault(fault, path)


def _plan(link: Link, state: PyTree, context: Context) -> Plan:
    """What a link does in the step to come."""
    is_open = context.open
    if link.gates and any(is_open[gate] is False for gate in link.gates):
        plan = OFF[link.op]
    elif link.control is None:
        plan = ALWAYS
    else:
        plan = _controlled(link, state, context)
    is_open[link.index] = plan.open
    return plan


def _controlled(link: Link, state: PyTree, context: Context) -> Plan:
    """What a link with a control does in the step to come, once its counts are looked at."""
    check_counts(link, state)
    return planned(link, state, context)


def planned(link: Link, state: PyTree, context: Context) -> Plan:
    """What a link with a control does in the step to come."""
    control = control_of(context.specs.get(link.index, link.spec))
    plan = _core.in_default_mode(control.plan, state, context)
    if plan.inner is not None:
        usual, now = links_of(_gate(link).inner), links_of(plan.inner)
        if [one.op for one in usual] != [one.op for one in now]:
            raise ValueError(
                f"{link.path}: what the transformation consists of depends on the value of a"
                " hyperparameter; name it in static_args"
            )
        for new in now:
            index = link.index + 1 + new.index
            context.members[index] = new.tx
            if new.spec is not None:
                context.specs[index] = new.spec
    return plan


def control_of(spec: Spec | None) -> Control:
    """The control of ``spec``, which has one."""
    control = None if spec is None else spec.control
    assert control is not None  # noqa: S101  (for the type checker)
    return control


def _gate(link: Link) -> Gated:
    description = getattr(link.tx, "description", None)
    assert isinstance(description, Gated)  # noqa: S101  (nothing else hands out such plans)
    return description


ALWAYS = Plan()
"""What a link without a control does."""

OFF: dict[str | None, Plan] = {
    op: Plan((1.0,) * len(row), on=False, open=False) for op, row in SCALARS.items()
}
OFF[None] = Plan(on=False, open=False)
"""What a link behind a closed gate does, with scalars for its op that nobody looks at."""


class PythonRun:
    """One link that is written in Python."""

    def __init__(self, link: Link, hole: PyTree = HOLE) -> None:
        self.links = (link,)
        self.hole = hole
        # Those of optax count as well, and have a class of the same name.
        kinds = type(link.tx).__mro__
        name = GradientTransformationExtraArgs.__name__
        self.takes_extra = any(kind.__name__ == name for kind in kinds)

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
        leaves, treespec = flatten(updates)
        taken = Selection(updates if params is None else params, treespec)(link.masks)
        if link.masks_extra:
            extra = {
                name: keep(tree, taken, self.hole) if flatten(tree)[1] == treespec else tree
                for name, tree in extra.items()
            }
        masked = keep(updates, taken, self.hole)
        given = None if params is None else keep(params, taken, self.hole)
        new, state = tx.update(masked, state, given, **extra)
        rest = iter(flatten_like(flatten(masked)[1], new, "the masked updates", "those before"))
        merged = [next(rest) if take else old for take, old in zip(taken, leaves, strict=True)]
        return treespec.unflatten(merged), [state], Found((), True)


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

    def init(self, params: PyTree) -> PyTree:
        """Return the initial state for ``params``."""
        links = links_of(self.tx)
        select = Selection(params, flatten(params)[1]) if any(x.masks for x in links) else None
        # Each mask and label is looked at, whether or not there is state under it.
        own = [
            keep(params, select(link.masks)) if select and link.masks else params for link in links
        ]
        return self.layout.join(map(init_link, links, own))

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
        states = self.layout.parts(state)
        context = Context(updates, params, extra_args)
        new_states: list[PyTree] = []
        for run in self.runs:
            own = states[len(new_states) : len(new_states) + len(run.links)]
            updates, own, _ = run.update(updates, own, context)
            new_states += own
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
