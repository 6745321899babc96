"""A transformation as JAX operations, from the same descriptions and formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradmill._data.codes import decoded, stored_as
from gradmill._data.trees import Flattener, flatten, leaf_path
from gradmill._ops.walk import FormulaError, run_op
from gradmill._plan.layout import layout_of
from gradmill._plan.masks import Selection
from gradmill._plan.match import match
from gradmill._plan.spec import Around, Flattened
from gradmill._plan.states import init_links
from gradmill._run.frame import Framer
from gradmill._run.ops import ALWAYS, planned
from gradmill._run.runs import PythonRun
from gradmill._run.transformation import GradientTransformationExtraArgs
from gradmill._run.trees import formula_of
from gradmill.errors import LeafValueError
from gradmill.jax._formulas import ON_JAX
from gradmill.jax._inputs import inputs_of
from gradmill.jax._states import in_optaxs_classes, with_keys
from gradmill.jax._traced import advanced, changed, spec_of, step_values
from gradmill.jax._trees import as_array
from gradmill.transforms._lookahead import Lookahead, is_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.links import Link
    from gradmill.jax._inputs import Inputs

_HOLE = optax.MaskedNode()


class Lowering:
    """The two functions of a transformation on JAX arrays."""

    def __init__(self, tx: TransformationLike) -> None:
        self.tx = tx
        self.layout = layout_of(tx)
        self.links = [replace(link, tx=_lowered(link.tx)) for link in self.layout.links]
        last = [formula_of(link.tx) for link in self.layout.links[-1:]]
        self.ends_in_pairs = any(isinstance(formula, Lookahead) for formula in last)

    def __reduce__(self) -> tuple[Any, ...]:
        return Lowering, (self.tx,)

    def init(self, params: PyTree) -> PyTree:
        """Return the initial state for ``params``."""
        select = Selection(*Flattener()(params), "params", _HOLE)
        states = init_links(self.links, params, select, as_array)
        return with_keys(in_optaxs_classes(self.layout.join(states)))

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates, in the dtypes of the old ones, and the new state."""
        states = self.layout.parts(state)
        if self.ends_in_pairs and is_pair(params) and not is_pair(updates):
            pair: Any = type(params)
            updates = pair(updates, jax.tree.map(lambda _: None, updates))
        inputs = inputs_of(self.links, states, updates, params, extra_args, hole=_HOLE)
        leaves, state = self.transform(inputs)
        raw = inputs.frame.updates
        new = [
            (leaf if given is None else given) if old is None else given.astype(old.dtype)
            for given, old, leaf in zip(leaves, inputs.given, raw.leaves, strict=True)
        ]
        return raw.rebuild(new), state

    def step(
        self, updates: PyTree, state: PyTree, params: PyTree, extra_args: dict[str, Any]
    ) -> Inputs:
        """What a step to new parameters starts from."""
        states = self.layout.parts(state)
        return inputs_of(
            self.links, states, updates, params, extra_args, hole=_HOLE, writes_params=True
        )

    def apply(
        self, updates: PyTree, state: PyTree, params: PyTree, extra_args: dict[str, Any]
    ) -> tuple[PyTree, PyTree]:
        """Return the new parameters, rounded once, and the new state."""
        inputs = self.step(updates, state, params, extra_args)
        leaves, state = self.transform(inputs)
        rows = zip(leaves, inputs.params, inputs.dtypes, strict=True)
        new = [
            param if dtype is None else (param + leaf).astype(param.dtype)
            for leaf, param, dtype in rows
        ]
        return inputs.frame.structure.spec.unflatten(new), state

    def transform(self, inputs: Inputs) -> tuple[list[Any], PyTree]:
        """Send the updates through all links; they come out in the dtypes they are computed in."""
        walk = _Walk(self.links, inputs)
        given = inputs.computed(inputs.given)
        leaves, states = walk.through(0, len(self.links), given, inputs.states)
        return leaves, in_optaxs_classes(self.layout.join(iter(states)))


class _Walk:
    """The way of updates through links."""

    def __init__(self, links: Sequence[Link], inputs: Inputs) -> None:
        self.links = links
        self.inputs = inputs
        self.params = inputs.computed(inputs.params)

    def through(
        self, start: int, end: int, leaves: list[Any], states: Sequence[PyTree]
    ) -> tuple[list[Any], list[PyTree]]:
        """Send updates through some of the links, whose states are these."""
        new: list[PyTree] = []
        while start < end:
            link = self.links[start]
            own, behind = states[0], states[1 : link.end - start]
            if link.spec is None:
                leaves, own = self.python(link, leaves, own)
            else:
                leaves, own, is_open = self.native(link, leaves, own)
                leaves, behind = self.behind(link, is_open, leaves, behind)
            new += [own, *behind]
            start, states = link.end, states[link.end - start :]
        return leaves, new

    def behind(
        self, link: Link, is_open: Any, leaves: list[Any], states: Sequence[PyTree]
    ) -> tuple[list[Any], list[PyTree]]:
        """Send updates through what a gate governs, if it is open."""
        self.inputs.context.open[link.index] = True

        def run(leaves: list[Any], states: list[PyTree]) -> tuple[list[Any], list[PyTree]]:
            return self.through(link.index + 1, link.end, leaves, states)

        if is_open is True or not states:
            return run(leaves, list(states))
        new: tuple[list[Any], list[PyTree]]
        new = jax.lax.cond(is_open, run, lambda *old: old, leaves, list(states))
        return new

    def python(self, link: Link, leaves: list[Any], state: PyTree) -> tuple[list[Any], PyTree]:
        """Call a transformation that is written in Python."""
        inputs = self.inputs
        updates = [
            leaf if dtype is None else leaf.astype(given.dtype)
            for leaf, given, dtype in zip(leaves, inputs.given, inputs.dtypes, strict=True)
        ]
        context = inputs.context
        context.members = {index: _lowered(tx) for index, tx in context.members.items()}
        tree = inputs.frame.updates.rebuild(updates)
        new, (state,), _ = PythonRun(link, _HOLE).update(tree, [state], context)
        found = match(new, inputs.frame.structure, "the updates", "those before")
        # The state in optax's classes, as it was: a gate has two ways to it.
        return inputs.computed(found.leaves), in_optaxs_classes(state)

    def native(self, link: Link, leaves: list[Any], state: PyTree) -> tuple[list[Any], PyTree, Any]:
        """Apply the op of a link: new updates and state, and whether what it governs runs."""
        context = self.inputs.seen_by(link, leaves)
        plan = ALWAYS if link.control is None else planned(link, state, context)
        spec = spec_of(link, context)
        new, found = leaves, None
        slots: list[list[Any]] = []
        if link.op is not None and plan.on is not False:
            scalars = step_values(link, spec, state, plan)
            new, slots, found = self.op(link, scalars, leaves, state)
            if plan.on is not True:
                old = [slot.leaves for slot in self.inputs.slots(link, state)]
                new, slots = _choose(plan.on, (new, slots), (leaves, old))
        is_open = plan.open
        if link.finds == "finite":
            is_open = jnp.logical_or(found, plan.carry)
        changes = advanced(link, spec, state, plan, found)
        matches = self.inputs.slots(link, state)
        for slot, was, values in zip(spec.slots, matches, slots, strict=False):
            changes[slot.name] = was.rebuild(values)
        return new, changed(state, changes), is_open

    def op(
        self, link: Link, scalars: dict[str, Any], leaves: list[Any], state: PyTree
    ) -> tuple[list[Any], list[list[Any]], Any]:
        """Apply a formula to all leaves: new updates, new slots, and what the op looked for."""
        op, spec = link.op, link.spec
        assert op is not None  # noqa: S101  (for the type checker)
        assert spec is not None  # noqa: S101  (for the type checker)
        inputs, mask = self.inputs, self.inputs.taken[link.index]
        taken = [
            dtype is not None and take for dtype, take in zip(inputs.dtypes, mask, strict=True)
        ]
        slots = [slot.leaves for slot in inputs.slots(link, state)]
        wide = [[decoded(leaf) for leaf in slot] for slot in slots]
        try:
            done = run_op(op, ON_JAX, scalars, leaves, self.params, wide, taken, spec.axes)
        except FormulaError as error:
            at, problem = error.args
            path = leaf_path(inputs.frame.structure.spec, at, "updates")
            raise LeafValueError(f"{path}: {problem} ({op.name})") from None
        new = list(done.updates)
        if op.zeroes:
            # One that is no array of floats is left as it is by all other ops.
            for at, (leaf, take, is_float) in enumerate(zip(leaves, mask, taken, strict=True)):
                if take and not is_float and leaf is not None:
                    new[at] = jnp.zeros_like(leaf)
        new_slots = [
            [
                stored_as(before, value.astype(was.dtype)) if take else before
                for value, was, before, take in zip(made, old, given, taken, strict=True)
            ]
            for made, old, given in zip(done.slots, wide, slots, strict=True)
        ]
        found = done.found
        return new, new_slots, (inputs.frame.structure, found) if op.finds == "nans" else found


def _lowered(tx: TransformationLike) -> TransformationLike:
    """``tx``, or what does the same to JAX arrays where it runs on those of NumPy alone."""
    formula = formula_of(tx)
    if formula is not None:
        on_jax = formula.on(jnp, Lowering)
        return GradientTransformationExtraArgs(on_jax.init, on_jax.update)
    description = getattr(tx, "description", None)
    if isinstance(description, Around):
        return description.wrap(Lowering(description.inner))
    if not isinstance(description, Flattened):
        return tx
    inner = Lowering(description.inner)

    def init(params: PyTree) -> PyTree:
        return inner.init(_joined(flatten(params)[0]))

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        frame = Framer()(updates, params, needs_params=True)
        leaves = frame.updates.leaves
        given = None if frame.params is None else _joined(frame.params)
        new, state = inner.update(_joined(leaves), state, given, **extra_args)
        sizes = [np.size(leaf) for leaf in leaves if leaf is not None]
        parts = iter(jnp.split(new, np.cumsum(sizes)[:-1].tolist()))
        split = [
            None if leaf is None else jnp.reshape(next(parts), np.shape(leaf)) for leaf in leaves
        ]
        return frame.updates.rebuild(split), state

    return GradientTransformationExtraArgs(init, update)


def _joined(leaves: Sequence[Any]) -> Any:
    """All leaves as one vector."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves if leaf is not None])


def _choose(condition: Any, new: Any, old: Any) -> Any:
    """The one or the other, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
