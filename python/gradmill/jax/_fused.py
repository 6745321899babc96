"""A step as custom calls: the host's part as JAX operations, everything else in kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from gradmill._data.codes import is_quantized
from gradmill._data.numbers import is_traced
from gradmill._data.trees import flatten
from gradmill._run.ops import ALWAYS, MAX_LINKS, planned, width
from gradmill.jax._call import (
    WORDS_OF_ESTIMATES,
    LeafArrays,
    Mode,
    Program,
    Scalars,
    doubles,
    in_float64,
)
from gradmill.jax._inputs import slots_of
from gradmill.jax._states import in_optaxs_classes
from gradmill.jax._traced import advanced, changed, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradmill._data.types import PyTree
    from gradmill._plan.control import Plan
    from gradmill._plan.links import Link
    from gradmill.jax._inputs import Inputs
    from gradmill.jax._lowering import Lowering


def can_be_fused(lowering: Lowering, state: PyTree) -> bool:
    """Whether all of a transformation runs in kernels, with hyperparameters that are known.

    State in 8 bits a number does not: XLA hands kernels arrays one by one.
    """
    links = lowering.links
    ops = [link for link in links if link.op is not None]
    has_codes = any(map(is_quantized, flatten(state, is_quantized)[0]))
    return (
        not has_codes
        and width(ops) <= MAX_LINKS
        and all(
            link.spec is not None
            and (link.op is None or link.op.is_native)
            and not any(map(is_traced, link.spec.hyper.values()))
            # What it looks at has to be there before the first call.
            and not (link.control is not None and link.control.needs_updates and link.index > 0)
            for link in links
        )
    )


def fused(
    lowering: Lowering,
    updates: PyTree,
    state: PyTree,
    params: PyTree,
    extra_args: dict[str, Any],
) -> tuple[PyTree, PyTree]:
    """The new parameters and the new state."""
    run = _Run(lowering, lowering.step(updates, state, params, extra_args))
    new_params = run.calls()
    new_states = [run.state(link) for link in lowering.links]
    tree = run.inputs.frame.structure.spec.unflatten(new_params)
    return tree, in_optaxs_classes(lowering.layout.join(iter(new_states)))


class _Run:
    """One step while it is traced."""

    def __init__(self, lowering: Lowering, inputs: Inputs) -> None:
        self.links = lowering.links
        self.ops = [link for link in self.links if link.op is not None]
        self.inputs = inputs
        self.states = states = inputs.states
        with in_float64():
            self.plans: list[Plan] = [
                ALWAYS
                if link.control is None
                else planned(link, state, inputs.seen_by(link, inputs.given))
                for link, state in zip(self.links, states, strict=True)
            ]
        self.matches = [
            inputs.slots(link, state) for link, state in zip(self.links, states, strict=True)
        ]
        self.slots = [[slot.leaves for slot in slots] for slots in self.matches]
        self.updates = [
            None if dtype is None else leaf if dtype != jnp.float64 else leaf.astype(dtype)
            for leaf, dtype in zip(inputs.given, inputs.dtypes, strict=True)
        ]
        self.split = _split(self.updates)
        # What gates, searches for NaN and estimates found, by the positions of their links.
        self.finite: dict[int, Any] = {}
        self.estimates: dict[int, Any] = {}
        self.nans: dict[int, list[Any]] = {}

    def calls(self) -> list[Any]:
        """Make all calls; the leaves of the new parameters."""
        start = 0
        measured: list[Any] = []
        for at, link in enumerate(self.ops):
            if len(self.split) == 1 or link.finds not in {"norm", "finite", "estimates"}:
                continue
            # What the op has to know is found in all leaves together, and these take several calls.
            if any(op.spec is not None and op.spec.slots for op in self.ops[start:at]):
                self.updates = self.run(Mode.UPDATE, self.ops[start:at], measured, self.updates)
                start, measured = at, []
            measured.append(self.sums(self.ops[start : at + 1], measured))
        return self.run(Mode.STEP, self.ops[start:], measured, self.inputs.params)

    def program(self, ops: Sequence[Link], measured: list[Any]) -> Program:
        """A program of some of the ops."""
        scalars = Scalars()
        off, switched = 0, []
        for position, link in enumerate(ops):
            spec = spec_of(link, self.inputs.context)
            plan = self.plans[link.index]
            with in_float64():
                scalars.add(link, spec, self.states[link.index], plan)
            runs = self.conditions(link, ops)
            if any(condition is False for condition in runs):
                off |= 1 << position
            elif runs:
                switched.append((position, ~jnp.stack(runs).all()))
        numbers, words = scalars.operands(off, switched)
        return Program(ops, numbers, words, scalars.rows, measured)

    def conditions(self, link: Link, ops: Sequence[Link]) -> list[Any]:
        """On what it depends whether an op runs, but for gates of the same program."""
        own = [self.plans[link.index].on]
        for gate in link.gates:
            if self.plans[gate].open is not None:
                own.append(self.plans[gate].open)
            elif self.links[gate] not in ops:
                own.append(self.is_open(gate))
        return [condition for condition in own if condition is not True]

    def is_open(self, gate: int) -> Any:
        """Whether what a gate governs runs."""
        plan = self.plans[gate]
        return self.finite[gate] | plan.carry if plan.open is None else plan.open

    def groups(self, ops: Sequence[Link], mode: Mode) -> list[list[LeafArrays]]:
        """The arrays of all leaves, by the call."""
        reads = mode is Mode.STEP or any(
            link.op is not None and link.op.reads_params for link in ops
        )
        return [[self.leaf(ops, at, reads) for at in group] for group in self.split]

    def leaf(self, ops: Sequence[Link], at: int, reads: bool) -> LeafArrays:
        """The arrays of one leaf."""
        takes = [self.inputs.taken[link.index][at] for link in ops]
        return LeafArrays(
            index=at,
            skip=sum((not take) << bit for bit, take in enumerate(takes)),
            update=self.updates[at],
            dtype=self.inputs.dtypes[at],
            param=self.inputs.params[at] if reads else None,
            slots=[
                slot[at]
                for slot in self.in_order(
                    link for link, take in zip(ops, takes, strict=True) if take
                )
            ],
        )

    def in_order(self, links: Iterable[Link]) -> list[list[Any]]:
        """The slots of these links, as the core counts them: those of other shapes come last."""
        rows = [
            (slot.is_like_leaf, leaves)
            for link in links
            for slot, leaves in zip(slots_of(link), self.slots[link.index], strict=True)
        ]
        return [leaves for _, leaves in sorted(rows, key=lambda row: not row[0])]

    def drawn(self, ops: Sequence[Link], before: Sequence[LeafArrays]) -> list[int]:
        """For each op that draws random numbers, how many of the leaves before it draws for."""
        draws = [bit for bit, link in enumerate(ops) if link.op is not None and link.op.draws]
        return [sum(not leaf.skip >> bit & 1 for leaf in before) for bit in draws]

    def sums(self, ops: Sequence[Link], measured: list[Any]) -> Any:
        """What the last of ``ops`` has to know, leaf by leaf."""
        program = self.program(ops, measured)
        found, before = [], list[LeafArrays]()
        # Addends are of parameters and state as well.
        reading = ops if ops[-1].finds == "estimates" else ops[:-1]
        for group in self.groups(reading, Mode.SUMS):
            # The last op does not run, but counts only the leaves that it takes.
            last = self.inputs.taken[ops[-1].index]
            for leaf in group:
                leaf.skip |= (not last[leaf.index]) << len(ops) - 1
            found.append(program.call(Mode.SUMS, group, self.drawn(ops, before))[2])
            before += group
        return jnp.concatenate(found)

    def run(
        self, mode: Mode, ops: Sequence[Link], measured: list[Any], old: Sequence[Any]
    ) -> list[Any]:
        """Run a program over all leaves: updates or parameters in place of ``old``."""
        program = self.program(ops, measured)
        new, before = list(old), list[LeafArrays]()
        self.slots = [[list(slot) for slot in slots] for slots in self.slots]
        gates = [link.index for link in ops if link.finds == "finite"]
        searches = [link.index for link in ops if link.finds == "nans"]
        estimating = [link.index for link in ops if link.finds == "estimates"]
        for index in searches:
            self.nans[index] = [jnp.asarray(False)] * len(old)
        for group in self.groups(ops, mode):
            made, slots, found = program.call(mode, group, self.drawn(ops, before))
            for leaf, value, values in zip(group, made, slots, strict=True):
                new[leaf.index] = value
                self.take(ops, leaf, iter(values))
            words = iter(found)
            self.finite |= {gate: next(words) != 0 for gate in gates}
            for index in searches:
                for leaf in group:
                    self.nans[index][leaf.index] = next(words) != 0
            for index in estimating:
                own = jnp.stack([next(words) for _ in range(WORDS_OF_ESTIMATES)])
                self.estimates[index] = tuple(doubles(own))
            before += group
        return new

    def take(self, ops: Sequence[Link], leaf: LeafArrays, values: Any) -> None:
        """Put the new slots of a leaf in their places."""
        taken = (link for bit, link in enumerate(ops) if not leaf.skip >> bit & 1)
        for slot in self.in_order(taken):
            slot[leaf.index] = next(values)

    def state(self, link: Link) -> PyTree:
        """The new state of a link."""
        old, plan = self.states[link.index], self.plans[link.index]
        found: Any = self.finite.get(link.index, self.estimates.get(link.index))
        if link.finds == "nans":
            found = self.inputs.frame.structure, self.nans[link.index]
        spec = spec_of(link, self.inputs.context)
        with in_float64():
            changes = advanced(link, spec, old, plan, found)
        new = changed(old, changes)
        runs = [is_open for is_open in map(self.is_open, link.gates) if is_open is not True]
        if runs:
            is_open = jnp.stack([jnp.asarray(run) for run in runs]).all()
            new = jax.tree.map(lambda a, b: jnp.where(is_open, a, b), new, old)
        index = link.index
        fields = {
            slot.name: was.rebuild(leaves)
            for slot, was, leaves in zip(
                spec.slots, self.matches[index], self.slots[index], strict=True
            )
        }
        return new._replace(**fields) if fields else new


_FEW, _MANY = 32, 128
"""Fewest and most leaves of a call, where there are as many. What XLA spends to compile a call that
writes in place is cubic in its operands: several calls are sooner compiled than a large one."""
_LARGE = 1 << 19
"""Elements of a call that is not made larger. A smaller one has no work for several threads."""


def _split(leaves: Sequence[Any]) -> list[list[int]]:
    """The positions of the leaves that are there, by the call."""
    groups: list[list[int]] = [[]]
    elements = 0
    for at, leaf in enumerate(leaves):
        if leaf is None:
            continue
        count = len(groups[-1])
        if count == _MANY or (count >= _FEW and elements >= _LARGE):
            groups.append([])
            elements = 0
        groups[-1].append(at)
        elements += leaf.size
    return groups
