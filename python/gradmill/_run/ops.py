"""Neighbouring links whose ops run together: what kernels and formulas have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache, partial
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from gradmill import _core, errors
from gradmill._data.arrays import is_float
from gradmill._data.numbers import TRACED, is_of_tracing
from gradmill._data.threads import scoped
from gradmill._data.trees import Structure, leaf_path, tree_map
from gradmill._data.types import NO_PARAMS_MSG
from gradmill._plan.align import hint_for
from gradmill._plan.control import Control, FieldError, Plan, count_of
from gradmill._plan.layout import links_of
from gradmill._plan.scalars import counted, scalars_now
from gradmill._plan.states import check_counts, new_fields
from gradmill._run.frame import Framer
from gradmill._run.fresh import copied, zeroed
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gradmill._data.types import PyTree
    from gradmill._ops.op import Op
    from gradmill._plan.context import StepContext
    from gradmill._plan.links import Link
    from gradmill._plan.masks import Selection
    from gradmill._plan.match import Match
    from gradmill._plan.spec import Spec
    from gradmill._run.frame import Frame


MAX_LINKS = 64
"""Most links that one program holds: a leaf's skipped ops are bits of a word."""


def width(links: Sequence[Link]) -> int:
    """How much of :data:`MAX_LINKS` these take up: an op may have two members of a program."""
    return sum(1 if link.op is None else link.op.members for link in links)


class Found(NamedTuple):
    """What a run met on its way."""

    norms: Sequence[float | None]
    finite: bool


NewStates: TypeAlias = "Callable[..., list[PyTree]]"
"""The second half of a step: makes the new states of what ops found and of new slots."""


class Program(Protocol):
    """Ops that run together over the leaves of a tree."""

    def update(
        self,
        updates: list[Any],
        params: list[Any] | None,
        slots: list[list[Any]],
        skip: list[int] | None,
        scalars: list[float],
        off: int = 0,
        threads: int = 0,
    ) -> tuple[list[Any], list[list[Any]], _core._Found]:
        """Send updates through them: new updates, new slots, and what was found.

        Args:
            updates: The leaves of the updates; None for one that no op takes part in.
            params: Those of the parameters, where an op reads them.
            slots: Those of each slot.
            skip: For each leaf the ops that pass it by, as bits; None where there are none.
            scalars: The scalars of all ops in a row.
            off: The ops that do not run, as bits.
            threads: How many threads to use; 0 for as many as the process has.
        """
        ...


class OpsRun(ABC):
    """Consecutive links whose ops run together."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = links
        self.specs: list[Spec] = [link.spec for link in links if link.spec is not None]
        self.ops = [link for link in links if link.op is not None]
        self.bits = {link.index: 1 << bit for bit, link in enumerate(self.ops)}
        self.has_controls = any(link.control or link.gates for link in links)
        self.has_masks = any(link.masks for link in self.ops)
        # Whether anything has to be known of leaves before the arrays are looked at.
        self.selects = self.has_masks or any(link.masks and link.control for link in links)
        self._zeros = sum(
            self.bits[link.index] for link in self.ops if link.op is not None and link.op.zeroes
        )
        self._looks = sum(self.bits.values()) & ~self._zeros
        self.reads_params = any(op.reads_params for op in self.own_ops)
        # Random numbers are drawn, and norms added up, in the order of the parameters.
        self.numbers_leaves = any(
            op.draws or op.finds in {"norm", "estimates"} for op in self.own_ops
        )
        self.framer = Framer()
        self.clocked = [
            clock
            for position, link in enumerate(links)
            if link.control is None
            for clock in _clocks(position, link)
        ]
        self.slots = [
            (position, slot.name, f"{links[position].path}.{slot.name}")
            for position, spec in enumerate(self.specs)
            for slot in spec.slots
        ]

    @property
    @abstractmethod
    def program(self) -> Program:
        """The ops, ready to run."""

    @property
    def own_ops(self) -> list[Op]:
        """The ops."""
        return [link.op for link in self.ops if link.op is not None]

    def governed(self, link: Link) -> int:
        """How many of the ops run only where that of ``link`` lets them."""
        return sum(link.index in other.gates for other in self.ops)

    @property
    def sees_all(self) -> bool:
        """Whether some op looks at each leaf, whatever the trees are."""
        return bool(self.ops) and not self.selects and (not self._zeros or bool(self._looks))

    def skips(self, select: Selection) -> list[int] | None:
        """For each leaf the ops that pass it by, as bits; None where there are no masks."""
        if not self.has_masks:
            return None
        skips = [0] * len(select.leaves)
        for bit, link in enumerate(self.ops):
            taken = select(link.masks).taken
            skips = [s if t else s | 1 << bit for s, t in zip(skips, taken, strict=True)]
        return skips

    def unseen(self, skips: list[int] | None, count: int) -> list[int]:
        """The leaves that no op looks at: they pass all of them by, or are set to zero at most."""
        if skips is None:
            return list(range(count)) if self._zeros and not self._looks else []
        return [at for at, skip in enumerate(skips) if not self._looks & ~skip]

    def slot_matches(self, states: Sequence[PyTree], frame: Frame) -> list[Match]:
        """The leaves of each slot, in the order of the program's slots."""
        return [frame.slot(getattr(states[at], name), path) for at, name, path in self.slots]

    def clocks(self, states: Sequence[PyTree]) -> list[tuple[Any, _core.Scalars]]:
        """Each count, or None, and the scalars that depend on it, in the links' order."""
        return [
            (None if field is None else getattr(states[at], field), row)
            for at, field, row in self.clocked
        ]

    def plan(
        self,
        states: Sequence[PyTree],
        context: StepContext,
        seen: tuple[Frame, Selection] | None = None,
    ) -> tuple[list[float], int, list[Plan]]:
        """The scalars of all ops in a row, the ops that are off as bits, and each link's plan.

        ``seen`` is there where masks select.
        """
        values: list[float] = []
        off, plans = 0, []
        for link, state in zip(self.links, states, strict=True):
            try:
                if self.has_controls:
                    plan = _plan(link, state, context, seen)
                    plans.append(plan)
                    values += plan.scalars
                    if not plan.on and link.op is not None:
                        off |= self.bits[link.index]
                    if plan is not ALWAYS:
                        continue
                injected = context.specs.get(link.index)
                scalars_of = link.scalars_of if injected is None else scalars_now(injected)
                values += scalars_of(count_of(state, link.counts[0]) if link.counts else 0)
            except FieldError as fault:
                raise fault.at(link.path) from None
            except TypeError as error:
                if is_of_tracing(error):
                    raise TypeError(f"{link.op}: a number {TRACED}") from error
                raise
        return values, off, plans

    def advance(
        self,
        states: Sequence[PyTree],
        context: StepContext,
        plans: Sequence[Plan],
        more: _core._More | None,
        structure: Structure | None,
    ) -> list[dict[str, Any]]:
        """For each link the fields of its state that the host changes after a step."""
        if not self.has_controls:
            return [counted(link.counts, own) for link, own in zip(self.links, states, strict=True)]
        all_finite, nans, estimates = (iter(found) for found in (more or ((), (), ())))
        changes: list[dict[str, Any]] = []
        is_open = context.open
        for link, state, plan in zip(self.links, states, plans, strict=True):
            found: Any = None
            if link.finds == "finite":
                found = next(all_finite)
                if plan.open is None:
                    is_open[link.index] = found or plan.carry
            elif link.finds == "nans":
                found = structure, next(nans)
            elif link.finds == "estimates":
                found = next(estimates)
            if link.gates and not all(is_open[gate] for gate in link.gates):
                changes.append({})
            elif link.control is not None:
                spec = context.specs.get(link.index, link.spec)
                changes.append(control_of(spec).advance(state, plan, found))
            else:
                changes.append(counted(link.counts, state))
        return changes

    def begin(
        self,
        updates: PyTree,
        states: Sequence[PyTree],
        context: StepContext,
        frame: Frame | None = None,
        select: Selection | None = None,
    ) -> tuple[list[float], int, NewStates]:
        """The first half of a step, in which the host settles its numbers.

        Args:
            updates: The updates that reach the run.
            states: The states of its links.
            context: The step.
            frame: The trees leaf by leaf.
            select: What masks leave of them, where it is asked for.

        Returns:
            The scalars of all ops in a row, the ops that do not run as bits, and the second half.
        """
        context.updates = updates
        seen = None if frame is None or select is None else (frame, select)
        structure = None if frame is None else frame.structure
        scalars, off, plans = self.plan(states, context, seen)
        return scalars, off, partial(self._new_states, states, context, plans, structure)

    def _new_states(
        self,
        states: Sequence[PyTree],
        context: StepContext,
        plans: Sequence[Plan],
        structure: Structure | None,
        found: _core._More | None,
        slots: Iterable[tuple[int, str, PyTree]] = (),
    ) -> list[PyTree]:
        """The states after a step; new slots come with the position of the link and the name."""
        changes = self.advance(states, context, plans, found, structure)
        for at, name, tree in slots:
            changes[at][name] = tree
        return list(map(new_fields, states, changes))

    def update(
        self, updates: PyTree, states: Sequence[PyTree], context: StepContext
    ) -> tuple[PyTree, list[PyTree], Found]:
        """Send ``updates`` through the links; nothing that was given is written to."""
        params = context.params
        if params is None and self.reads_params:
            op = next(op for op in self.own_ops if op.reads_params)
            raise ValueError(f"{op.name} {NO_PARAMS_MSG}")
        if not self.ops and not self.selects:
            _, _, new_states = self.begin(updates, states, context)
            return tree_map(copied, updates), new_states(None), Found((), True)
        needs_params = self.selects or self.reads_params
        looks_at_params = needs_params or self.numbers_leaves
        frame = self.framer(updates, params if looks_at_params else None, needs_params=needs_params)
        structure, given = frame.structure, frame.updates
        leaves = given.leaves
        select = frame.selection() if self.selects else None
        scalars, off, new_states = self.begin(updates, states, context, frame, select)
        skips = None if select is None else self.skips(select)
        try:
            slots = self.slot_matches(states, frame)
        except TreeError:
            # It is the updates that are wrong, unless they match the parameters.
            self.slot_matches(states, self.framer(updates, params, needs_params=True))
            raise
        unseen = self.unseen(skips, len(leaves))
        try:
            new, new_slots, (norms, finite, more) = self.program.update(
                _without(leaves, unseen),
                frame.params if self.reads_params else None,
                [slot.leaves for slot in slots],
                skips,
                scalars,
                off,
                scoped.get(),
            )
        except _core.CoreError as fault:
            raise self.error(fault, structure, updates=leaves, params=frame.params) from None
        for at in unseen:
            is_zero = self._zeros & ~off & ~(skips[at] if skips else 0)
            new[at] = (zeroed if is_zero else copied)(leaves[at])
        rows = zip(self.slots, slots, new_slots, strict=True)
        kept = [(at, name, slot.rebuild(arrays)) for (at, name, _), slot, arrays in rows]
        return given.rebuild(new), new_states(more, kept), Found(norms, finite)

    def error(
        self, fault: _core.CoreError, structure: Structure, **trees: list[Any] | None
    ) -> errors.GradmillError:
        """The error for what the core reports, with paths instead of indices.

        Args:
            fault: What it reports.
            structure: The structure in whose order leaves come.
            **trees: The leaves of trees, by the names that the core has for these.
        """

        def path(place: errors.Place) -> str:
            tree, slot, leaf = place
            if tree == "count":
                link, field, _ = self.clocked[leaf]
                return f"{self.links[link].path}.{field}"
            if slot is not None:
                tree = self.slots[slot][2]
            return leaf_path(structure.spec, leaf, tree)

        tree, slot, leaf = fault.args[0]
        leaves = None if slot is not None else trees.get(tree)
        hint = hint_for(leaves[leaf]) if leaves is not None and fault.args[2] else ""
        return errors.from_fault(fault, path, hint)


def _clocks(position: int, link: Link) -> Iterator[tuple[int, str | None, _core.Scalars]]:
    """The counters of a link, each with the scalars that depend on it: all on the first."""
    first, *others = link.counts or (None,)
    yield position, first, link.scalars_of
    for other in others:
        yield position, other, _core.Scalars([])


def _without(leaves: list[Any], unseen: list[int]) -> list[Any]:
    """``leaves`` with None for those that no op looks at."""
    if not unseen:
        return leaves
    seen = list(leaves)
    for at in unseen:
        seen[at] = None
    return seen


def left_out(links: Sequence[Link], select: Selection, params: Sequence[Any]) -> set[int]:
    """The parameters that no step writes, whatever arrays they and their gradients are.

    Masks leave them to nobody and they are no floats, or all that they get is zeros.
    """
    nobody = [False] * len(params)
    seen, frozen = nobody, nobody
    for link in links:
        taken = select(link.masks).taken
        if link.op is None or not link.op.zeroes:
            is_idle = link.op is None and link.spec is not None
            seen = seen if is_idle else list(map(or_, seen, taken))
        elif link.control is None and not link.gates:
            frozen = list(map(or_, frozen, taken))
    has_masks = any(link.masks for link in links)
    return {
        at
        for at, param in enumerate(params)
        if not seen[at] and (frozen[at] or (has_masks and not is_float_array(param)))
    }


def is_float_array(leaf: object) -> bool:
    """Whether a leaf is a NumPy array that kernels take."""
    return isinstance(leaf, np.ndarray) and is_float(leaf.dtype)


def _plan(
    link: Link, state: PyTree, context: StepContext, seen: tuple[Frame, Selection] | None
) -> Plan:
    """What a link does in the step to come."""
    is_open = context.open
    if link.gates and any(is_open[gate] is False for gate in link.gates):
        plan = off_plan(link.op)
    elif link.control is None:
        plan = ALWAYS
    else:
        if link.masks and seen is not None:
            frame, select = seen
            context = frame.context(context, link, select(link.masks))
        plan = _controlled(link, state, context)
    is_open[link.index] = plan.open
    return plan


def _controlled(link: Link, state: PyTree, context: StepContext) -> Plan:
    """What a link with a control does in the step to come, once its counts are looked at."""
    check_counts(link, state)
    return planned(link, state, context)


def planned(link: Link, state: PyTree, context: StepContext) -> Plan:
    """What a link with a control does in the step to come."""
    control = control_of(context.specs.get(link.index, link.spec))
    plan = _core.in_default_mode(control.plan, state, context)
    if plan.inner is not None:
        now = links_of(plan.inner)
        if link.inner_ops != tuple(one.op for one in now):
            raise ValueError(
                f"{link.path}: the structure of the transformation depends on the value of a"
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


ALWAYS = Plan()
"""What a link without a control does."""


@cache
def off_plan(op: Op | None) -> Plan:
    """What a link behind a closed gate does, with scalars for its op that nobody looks at."""
    return Plan((1.0,) * (0 if op is None else len(op.scalars)), on=False, open=False)
