"""Steps in two halves, part by part."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from gradmill import _core
from gradmill._data.trees import leaf_path
from gradmill._data.types import P
from gradmill._optimizer._binding import Binding
from gradmill._optimizer._half_step import HalfStep, Plan, missing, out_of_reach
from gradmill._plan.context import StepContext
from gradmill._plan.match import Match, part_leaves
from gradmill._run.bound import ANYTHING
from gradmill._run.frame import Frame
from gradmill._run.report import StepReport, make
from gradmill._run.update import none_error
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradmill._core import _Found
    from gradmill._data.types import PyTree, TransformationLike


class InHalves(Binding[P]):
    """What can take a step in two halves."""

    _half: HalfStep | None

    def _set_up(self, tx: TransformationLike, params: P) -> None:
        super()._set_up(tx, params)
        self._half_lock = Lock()

    def measure(self, grads: PyTree, at: Any = (), **extra_args: Any) -> None:
        """Look at some of the gradients of the next step, as they arrive.

        What ops need to know about all gradients together, such as a global norm, is summed leaf by
        leaf. Nothing is written: :meth:`apply` does that once every gradient has been measured, and
        :meth:`abort` leaves everything unchanged. The bits are those of a single :meth:`step`,
        however the gradients are divided and in whatever order they come. They may come from
        several threads.

        The arrays are kept until they are applied, and must not change in between.

        Args:
            grads: Part of a tree like ``params``; its mappings may lack keys. None leaves its
                parameter and that parameter's state as they are.
            at: Where the part belongs: the path of a leaf or a subtree, as a tuple of keys, or a
                single key.
            **extra_args: Passed to the members of the chain that take extra arguments; give them
                with the first part.

        Raises:
            TreeError: ``params`` has no such part, or a leaf of it was here before.
            LeafValueError: A gradient has the wrong shape, or shares memory with parameters or
                state.
            LeafTypeError: A gradient is not an array of floats.
            ValueError: Part of the chain has to have the whole tree at hand: one that is written in
                Python, a tree formula, or a norm behind an op with state. The message names it.
            RuntimeError: A step was taken since the first part was here.

        Example:
            >>> import numpy as np
            >>> import gradmill as gm
            >>> params = {"w": np.zeros(2), "b": np.zeros(1)}
            >>> opt = gm.Optimizer(gm.chain(gm.clip_by_global_norm(1.0), gm.sgd(1.0)), params)
            >>> opt.measure(np.array([0.0]), at="b")
            >>> opt.measure({"w": np.array([3.0, 4.0])})
            >>> opt.apply().global_norm
            5.0
            >>> params["w"]
            array([-0.6, -0.8])
        """
        with self._half_lock:
            step = self._half_step(extra_args)
            part = self._part(grads, at)
            self._check_new(part, step.given, "was measured before")
            self._check_numbered(step, part)
            with self._faults_of(part):
                step.measure(self._bound, part)
            self._half = step

    def apply(self, grads: PyTree = None, at: Any = (), **extra_args: Any) -> StepReport | None:
        """Write parameters and state, all of them or a part.

        If the chain needs to know something about all gradients together, every gradient must have
        been measured. If not, parts may be applied straight away, while others are still to come.
        Once something is written, finish the step part by part: until then other steps, copies and
        checkpoints are refused.

        Args:
            grads: The gradients to apply, a part as in :meth:`measure`; it must have been measured
                as the same arrays, or not at all. None for everything that was measured and not yet
                applied, which must be everything that is missing.
            at: As in :meth:`measure`.
            **extra_args: As in :meth:`measure`.

        Returns:
            What the step met on its way; None as long as it has not come to its end.

        Raises:
            TreeError, LeafValueError, LeafTypeError, ValueError: As in :meth:`measure`; or a
                gradient is missing. Of this part nothing is written then.
            RuntimeError: A step was taken since the first part was here, or one broke off in the
                middle.

        Example:
            >>> import numpy as np
            >>> import gradmill as gm
            >>> params = {"w": np.zeros(2), "b": np.zeros(1)}
            >>> opt = gm.Optimizer(gm.sgd(0.5), params)
            >>> opt.apply({"b": np.ones(1)})
            >>> params["b"]
            array([-0.5])
            >>> opt.apply({"w": np.ones(2)}).step
            1
        """
        with self._half_lock:
            step = self._half_step(extra_args)
            is_whole = grads is None and at == ()
            part = self._rest(step) if is_whole else self._part(grads, at)
            self._check_new(part, step.written, "was applied before")
            if step.needs_all:
                self._check_there(step.given)
            self._check_numbered(step, part)
            before, self._half = self._half, step
            try:
                with self._faults_of(part):
                    step.settle(self._bound, self._total)
                    step.apply(self._bound, part)
            except BaseException:
                self._half = step if step.written else before
                raise
            return None if step.left else self._end(step)

    def abort(self) -> None:
        """Forget what was measured; parameters and state are unchanged.

        Raises:
            RuntimeError: Parts of the step are applied already.

        Example:
            >>> import numpy as np
            >>> import gradmill as gm
            >>> opt = gm.Optimizer(gm.sgd(0.5), np.zeros(2))
            >>> opt.measure(np.ones(2))
            >>> opt.abort()
            >>> opt.step(np.ones(2)).step
            1
        """
        with self._half_lock:
            step = self._half
            if step is not None and step.written and self._bound.last()[0] == step.steps:
                self._check_whole()
            self._half = None

    def _bind(self, leaves: list[Any], states: list[PyTree], steps: int) -> None:
        super()._bind(leaves, states, steps)
        self._half = None
        bound = enumerate(self._leaves)
        self._due = [at for at, leaf in bound if leaf is not None and leaf is not ANYTHING]

    def _go_on(self, steps: int, states: list[PyTree]) -> None:
        super()._go_on(steps, states)
        self._half = None

    @cached_property
    def _places(self) -> dict[tuple[str, ...], int]:
        """The position of each leaf whose path is one of strings, by that."""
        paths = enumerate(self._treespec.paths())
        return {path: at for at, path in paths if all(type(key) is str for key in path)}

    def _total(self, leaves: list[int], rows: list[list[float]]) -> list[float]:  # noqa: ARG002  (for those that have a part of the leaves)
        """What ops over the tree have to know, of what was added up of each leaf."""
        return _core.half_total(rows)

    def _half_step(self, extra_args: dict[str, Any]) -> HalfStep:
        """The step that is under way, or one that begins."""
        step = self._half
        if step is None:
            return self._half_begun(extra_args)
        if extra_args:
            raise TypeError(f"{', '.join(extra_args)} came too late; pass it with the first part")
        if step.steps != self._bound.last()[0]:
            raise RuntimeError(
                "a step was taken since the first part of this one was measured; abort() forgets it"
            )
        return step

    def _half_begun(self, extra_args: dict[str, Any]) -> HalfStep:
        """A step whose numbers are settled."""
        reason = out_of_reach(self._runs)
        if reason is not None:
            raise ValueError(f"a step of this chain cannot be cut in halves: {reason}")
        self._check_whole()
        self._check_bound()
        states, (steps, _) = self._states(), self._bound.last()
        if self._is_simple:
            plan = Plan(_core.half_plan(self._bound), 0, None)
            return self._with(plan, steps)
        tail, select = self._runs.tail, self._select
        leaves = list(select.leaves)
        frame = Frame(self._structure, Match(leaves, self._treespec), leaves)
        # No control looks at the gradients of a chain that comes in halves.
        context = StepContext(self._master, self._master, extra_args)
        seen = select if tail.selects else None
        scalars, off, new_states = tail.begin(self._master, states, context, frame, seen)

        def after(found: _Found) -> list[PyTree]:
            return new_states(found[2])

        plan = Plan(scalars, off, after)
        return self._with(plan, steps)

    def _with(self, plan: Plan, steps: int) -> HalfStep:
        """A step with these numbers."""
        rounds = self._rounding is not None
        return HalfStep(self._runs, plan, steps, self._due, rounds=rounds)

    def _part(self, grads: PyTree, at: Any) -> dict[int, Any]:
        """The gradients of a part, by the leaves that steps write."""
        places, spec = self._places, self._treespec
        part = part_leaves(spec, places, grads, at, "updates", "params")
        for index, leaf in part.items():
            if leaf is not None and self._leaves[index] is None:
                raise none_error(leaf, spec, index)
        written = self._leaves
        return {
            index: leaf
            for index, leaf in part.items()
            if written[index] is not None and written[index] is not ANYTHING
        }

    def _rest(self, step: HalfStep) -> dict[int, Any]:
        """What was measured and is not applied yet."""
        self._check_there(step.given)
        return {at: leaf for at, leaf in step.given.items() if at not in step.written}

    def _check_there(self, given: Iterable[int]) -> None:
        """See that each leaf is there.

        Raises:
            TreeError: One is missing.
        """
        at = missing(self._due, given)
        if at is not None:
            path = leaf_path(self._treespec, at, "updates")
            raise TreeError(f"{path}: is missing; measure it first")

    def _check_new(self, part: Iterable[int], done: Iterable[int], what: str) -> None:
        """See that no leaf comes twice.

        Raises:
            TreeError: One does.
        """
        twice = set(part) & set(done)
        if twice:
            raise TreeError(f"{leaf_path(self._treespec, min(twice), 'updates')}: {what}")

    def _check_numbered(self, step: HalfStep, part: dict[int, Any]) -> None:
        """See that it is known of each leaf in time whether it has a gradient.

        Raises:
            TreeError: A leaf was measured as having one and has none now, or the other way round;
                or random numbers were drawn before it was known that a leaf has none.
        """
        for at, leaf in part.items():
            if at in step.given and (leaf is None) != (at in step.absent):
                path = leaf_path(self._treespec, at, "updates")
                raise TreeError(f"{path}: is None in one half and an array in the other")
            if leaf is None and at not in step.given and step.has_drawn:
                path = leaf_path(self._treespec, at, "updates")
                raise TreeError(
                    f"{path}: is None, and random numbers are drawn for leaves by their order;"
                    " measure it before the others"
                )

    @contextmanager
    def _faults_of(self, part: dict[int, Any]) -> Iterator[None]:
        """Raise what the core reports of these gradients with the paths of leaves."""
        try:
            yield
        except _core.CoreError as fault:
            updates = [part.get(at) for at in range(len(self._leaves))]
            raise self._runs.tail.error(fault, self._structure, updates=updates) from None

    def _end(self, step: HalfStep) -> StepReport:
        """Count a step of which all is written."""
        self._pending = step.after
        done = _core.half_end(self._bound, step.counts)
        self._half = None
        self._states()
        return make(StepReport, done)
