"""The optimizer: a transformation bound to parameters that it updates in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gradmill import _core, errors
from gradmill._data.arrays import is_discrete
from gradmill._data.checks import choice
from gradmill._data.rounding import rounding_key
from gradmill._data.threads import scoped, threads_asked
from gradmill._data.trees import flatten
from gradmill._data.types import P
from gradmill._optimizer._in_groups import InGroups
from gradmill._optimizer._mapped import held_in, maps_of, rest_of
from gradmill._plan.context import StepContext
from gradmill._plan.match import match
from gradmill._run.bound import to_zero, without
from gradmill._run.copies import masters_of
from gradmill._run.report import NORMS, StepReport, asked_for, injected_rate, last_factor, make
from gradmill._run.update import none_error
from gradmill.transforms._maximize import maximized

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from os import PathLike

    from gradmill._core import _Found
    from gradmill._data.types import PyTree, TransformationLike


class Optimizer(InGroups[P]):
    """A transformation bound to parameters, which it updates in place.

    A step validates the gradients, runs the whole chain in as few passes over memory as it allows,
    and overwrites parameters and state. A step that raises leaves both bit for bit as they were. In
    a chain with members written in Python, the part after the last of them runs in place; the part
    before returns new state.

    Optimizers can be copied and pickled, with parameters, state, master copies, step count and
    random seed. The copy has arrays of its own and continues with the same bits. If the same
    ``deepcopy`` or pickle holds other references to these arrays, they refer to the copies too.

    After the first few, steps allocate nothing. A chain that measures its update after an op with
    state, such as a clip after Adam, keeps a buffer of the size of the parameters.

    Two optimizers may share parameters, for two losses say. Step them in turn, never from two
    threads at once.

    Args:
        tx: The transformation.
        params: A tree of float arrays: one flat vector, a list, a dict, a NamedTuple, or any class
            registered with optree. The arrays are kept and overwritten; no two may share memory.
            They may be strided, Fortran-ordered or memory-mapped. Some leaves are not looked at,
            nor are their gradients: None, frozen leaves, and leaves that masks leave to nobody and
            that are not float arrays.
        master: Whether to keep a float32 copy of each float16 or bfloat16 parameter. The chain
            works on the copy, where steps too small for 16 bits add up, and the parameter is
            rounded from it in the same pass. Or a tree like ``params`` of such copies, from
            :attr:`master` of another optimizer. float32 and float64 parameters need none.
        rounding: How float16 and bfloat16 parameters and state are rounded: "nearest", with ties to
            even, or "stochastic", up or down at random so that it is right on average.
        seed: The seed of stochastic rounding, from 0 to 2**64 - 1. The outcome depends only on the
            seed, the number of steps taken, the leaf and the element.
        maximize: Whether steps go uphill, as with :func:`maximize` before ``tx``, but without a
            change to the structure of the state.
        state_dir: A directory for the arrays that steps overwrite, moments and master copies, in a
            memory-mapped file. If parameters are in such files too, all of it may be larger than
            memory. See :meth:`flush`. None to keep these arrays in memory.
        others: What to do with leaves of integers, bools and strings, such as counters that a
            network keeps among its weights: "refuse" them with an error, or "keep" them unchanged,
            whatever their gradients. The chain sees None in their place.

    Attributes:
        params: The tree that you passed in. Write into its arrays to change them. If you replace an
            array by another, the next step raises; see :meth:`load`.
        state: The state, with the structure of ``tx.init(params)``. Native states are overwritten
            by each step: copy them for a snapshot, and write into their arrays to change them.
        master: The parameters that the chain works on: float32 copies, or the parameters themselves
            where there are none. A step overwrites what you write into a parameter that has a
            copy; :meth:`load` writes both.

    Raises:
        LeafTypeError: A parameter is not a NumPy array of floats.
        LeafValueError: A parameter is read-only, byte-swapped, misaligned or overlaps another, or
            ``state_dir`` has a state of other arrays, or one that was written to after its last
            flush.
        TreeError: ``master`` has another structure than ``params``.
        ValueError: ``rounding`` or ``others`` is not one of its two values, or ``seed`` is out of
            range.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = {"w": np.array([1.0, 2.0]), "b": np.array(0.5)}
        >>> opt = gm.Optimizer(gm.chain(gm.trace(0.9), gm.scale(-0.1)), params)
        >>> opt.step({"w": np.array([1.0, -1.0]), "b": np.array(1.0)})
        StepReport(step=1, global_norm=None, finite=True)
        >>> params
        {'w': array([0.9, 2.1]), 'b': array(0.4)}

        Near 1, a float16 cannot hold a step of a ten-thousandth:

        >>> half = np.ones(1, np.float16)
        >>> opt = gm.Optimizer(gm.sgd(1e-4), half, master=True)
        >>> for _ in range(100):
        ...     _ = opt.step(np.ones(1, np.float16))
        >>> half, opt.master.round(5)
        (array([0.99], dtype=float16), array([0.99], dtype=float32))
    """

    def __init__(
        self,
        tx: TransformationLike,
        params: P,
        *,
        master: bool | PyTree = False,
        rounding: str = "nearest",
        seed: int = 0,
        maximize: bool = False,
        state_dir: str | PathLike[str] | None = None,
        others: Literal["refuse", "keep"] = "refuse",
    ) -> None:
        self._rounding = rounding_key(rounding, seed)
        leaves, treespec = flatten(params)
        keeps = choice("others", others, "refuse", "keep") == "keep"
        self._kept = {at for at, leaf in enumerate(leaves) if keeps and is_discrete(leaf)}
        self._masters = masters_of(master, leaves, treespec)
        self._set_up(maximized(tx) if maximize else tx, params)
        state, steps = self._first_state(self._works_on(leaves)), 0
        if state_dir is not None:
            self._file, state, self._masters = held_in(
                state_dir, self._runs, state, self._masters, treespec
            )
            steps = self._file.steps
            for own in maps_of(leaves):
                own.advise("SEQUENTIAL")
        self._bind(leaves, self._runs.layout.parts(state), steps)

    def step(
        self,
        grads: PyTree,
        *,
        params: P | None = None,
        zero_grads: bool = False,
        report: Collection[str] = (),
        progress: Callable[[int, int], Any] | None = None,
        **extra_args: Any,
    ) -> StepReport:
        """Update parameters and state in place.

        Args:
            grads: A tree like ``params``; mappings of any kind match by key. None leaves its
                parameter and that parameter's state as they are.
            params: The parameters, if they may be in other arrays than in the last step; see
                :meth:`rebind`. None for the arrays that are bound.
            zero_grads: Whether to set the gradient arrays to zero: chunk by chunk as the step reads
                them, or after the step if it reads a copy (byte-swapped arrays, subclasses) or a
                chain member in Python takes them.
            report: What to report besides what is free: "update_norm", "param_norm", "update_ratio"
                (both norms), "learning_rate". Norms are summed while parameters are written,
                without another read of memory.
            progress: Called with the number of parameters written and their total, between groups
                of leaves of a few million parameters. A single leaf is not split, and a chain that
                runs partly in NumPy or Python is done at once. Everything is validated before the
                first call. If it raises, the exception is raised once the step is complete.
            **extra_args: Passed to the members of the chain that take extra arguments.

        Returns:
            What the step found out on its way.

        Raises:
            TreeError: ``grads`` does not have the structure of ``params``, or has an array where
                that has None; the message names the first difference.
            LeafValueError: A gradient has the wrong shape, or shares memory with parameters or
                state; with ``zero_grads``, it is read-only or shares memory with another one.
            LeafTypeError: A gradient is not an array of floats.
            LeafValueError, TreeError: ``params`` or ``master`` holds arrays other than the ones
                that steps write to.
            RuntimeError: Another thread is inside a step of this optimizer.
            ValueError: ``progress`` and ``report`` are both given.

        Example:
            >>> import numpy as np
            >>> import gradmill as gm
            >>> opt = gm.Optimizer(gm.sgd(0.5), np.array([1.0]))
            >>> opt.step(np.array([1.0])).step
            1
            >>> opt.params
            array([0.5])
        """
        if params is not None:
            self.rebind(params)
        if progress is not None:
            return self._step_with_progress(grads, zero_grads, report, progress, extra_args)
        if zero_grads or report:
            return self._step_with_more(grads, zero_grads, report, extra_args)
        try:
            if self._is_simple:
                done = self._bound.step_soon(self.params, self._copies, grads, threads_asked)
                if done is None:
                    done = self._bound.step(self._leaves_of(grads), scoped.get())
            else:
                done = self._step_by_host(grads, extra_args)
        except _core.CoreError as fault:
            raise self._fault(fault, grads) from None
        return make(StepReport, done)

    def flush(self) -> None:
        """Bring parameters and state that lie in files to the disk.

        An optimizer with the same ``state_dir`` goes on from there with the same bits, given the
        same chain and the parameters as they were. Steps write into files as into memory, and the
        system brings that to the disk when it likes: what a run leaves behind that was killed
        behind its last flush may be half a step, and is refused. For something to go back to, copy
        the files with their times between a flush and the next step, or use :func:`gradmill.save`.

        Raises:
            OSError: The system could not write.

        Example:
            >>> import tempfile
            >>> import numpy as np
            >>> import gradmill as gm
            >>> folder = tempfile.mkdtemp()
            >>> params = np.memmap(f"{folder}/params", np.float32, "w+", shape=(3,))
            >>> opt = gm.Optimizer(gm.adam(0.1), params, state_dir=f"{folder}/state")
            >>> _ = opt.step(np.ones(3, np.float32))
            >>> opt.flush()
            >>> opt = gm.Optimizer(gm.adam(0.1), params, state_dir=f"{folder}/state")
            >>> opt.step(np.ones(3, np.float32)).step
            2
        """
        for own in maps_of(self._leaves):
            own.map.flush()
        if self._file is not None:
            self._file.flush(self._bound.last()[0], rest_of(self.state, self._file))

    def _step_with_progress(
        self,
        grads: PyTree,
        zero_grads: bool,
        report: Collection[str],
        progress: Callable[[int, int], Any],
        extra_args: dict[str, Any],
    ) -> StepReport:
        """A step that tells how far it is."""
        if report:
            raise ValueError("a step with progress has no report of norms; leave one of them out")
        updates = self._matched(grads)
        spent: dict[int, Any] = {}
        if zero_grads:
            spent = to_zero(self._treespec, without(updates, self._kept))
        before = self._bound.last()[0]
        try:
            made = self._step_in_groups(grads, updates, progress, extra_args)
            if made is None:
                made = self.step(grads, **extra_args)
                total = sum(self._leaves[at].size for at in self._due)
                progress(total, total)
        finally:
            # What the callback raises comes out of a step that is complete.
            if self._bound.last()[0] > before:
                for array in spent.values():
                    array.fill(0)
        return made

    def _step_with_more(
        self, grads: PyTree, zero_grads: bool, report: Collection[str], extra_args: dict[str, Any]
    ) -> StepReport:
        """A step that does or reports more than usual."""
        asked = asked_for(report)
        # What members of the chain in Python hand on is no array of the caller's.
        spends = zero_grads and not self._runs.head
        spent: dict[int, Any] = {}
        if zero_grads:
            spent = to_zero(self._treespec, without(self._matched(grads), self._kept))
        asks_rate = "learning_rate" in asked
        factor = last_factor(self._runs.links, self._states()) if asks_rate else None
        measures = not NORMS.isdisjoint(asked)
        try:
            if self._is_simple:
                done = self._bound.step(self._leaves_of(grads), scoped.get(), measures, spends)
            else:
                done = self._step_by_host(grads, extra_args, measures, spends)
        except _core.CoreError as fault:
            raise self._fault(fault, grads) from None
        for at in self._bound.spent() if spends else ():
            del spent[at]
        # Those of which a copy was read, and those that no step reads.
        for array in spent.values():
            array.fill(0)
        injected = injected_rate(self._states()) if asks_rate else None
        rate = factor if injected is None else injected
        return make(StepReport, (*done[:5], rate))

    def _step_by_host(
        self,
        grads: PyTree,
        extra_args: dict[str, Any],
        measures: bool = False,
        spends: bool = False,
    ) -> _core._Report:
        """A step whose host does more than to count, as it is written down where it can be."""
        done = None
        if self._quick is not None and not self._busy:
            states = self._at_step[1] if self._pending is None else self._states()
            trees = self.params, self._copies, grads
            done = self._quick(*trees, self._leaves_of, states, measures, spends)
        return self._step_alone(grads, extra_args, measures, spends) if done is None else done

    def _leaves_of(self, grads: PyTree) -> list[Any]:
        """The leaves of gradients in a tree that may be unlike the last one; see ``step``."""
        self._check_bound()
        try:
            leaves = self._flatten_up_to(grads)
        except ValueError:
            leaves = self._matched(grads)
        else:
            self._check_nones(leaves)
        self._bound.learn(self.params, self._copies, grads)
        return leaves

    def _matched(self, updates: PyTree) -> list[Any]:
        """The leaves of updates in the order of the parameters."""
        found = match(updates, self._structure, "updates", "params", leaves=self._select.leaves)
        if self._nones:
            self._check_nones(found.leaves)
        return found.leaves

    def _check_nones(self, updates: Sequence[Any]) -> None:
        for at in self._nones:
            if updates[at] is not None:
                raise none_error(updates[at], self._treespec, at)

    def _fault(self, fault: _core.CoreError, grads: PyTree) -> errors.GradmillError:
        """The error for what the core reports of a step."""
        if not self._is_simple and self._quick is None:
            return self._runs.tail.error(fault, self._structure)
        try:
            # It may have met a tree in the place of an array.
            return self._runs.tail.error(fault, self._structure, updates=self._matched(grads))
        except errors.TreeError as error:
            return error

    def _step_alone(
        self, grads: PyTree, extra_args: dict[str, Any], measures: bool, spends: bool
    ) -> _core._Report:
        """A step that the host takes part in, and no other thread meanwhile."""
        if self._busy:
            raise RuntimeError("another thread is inside a step of this optimizer")
        self._check_bound()
        self._busy = True
        try:
            norms, finite = self._step_with_controls(grads, extra_args, measures, spends)
            steps, _ = self._at_step
        finally:
            self._busy = False
        norm = next((norm for norm in norms if norm is not None), None)
        update_norm, param_norm = self._bound.sizes() or (None, None)
        return steps, norm, finite, update_norm, param_norm, None

    def _step_with_controls(
        self, updates: PyTree, extra_args: dict[str, Any], measures: bool, spends: bool
    ) -> tuple[list[float | None], bool]:
        """A step with parts that are written in Python, or that do not run in each step."""
        if self._kept:
            updates = self._treespec.unflatten(without(self._matched(updates), self._kept))
        context = StepContext(updates, self._master, extra_args)
        states, (norms, finite), (leaves, scalars, off, new_states) = self._runs.begin(
            updates, self._states(), context, self._select, self._matched
        )

        def after(found: _Found) -> list[PyTree]:
            return [*states, *new_states(found[2])]

        self._pending = after
        self._bound.step_with(leaves, scalars, off, scoped.get(), measures, spends)
        self._states()
        _, last = self._bound.last()
        assert last is not None  # noqa: S101  (for the type checker: the step has been taken)
        return [*norms, *last[0]], finite and last[1]

    def __repr__(self) -> str:
        """Name the number of leaves and steps."""
        steps, _ = self._bound.last()
        return f"Optimizer({self._treespec.num_leaves} leaves, {steps} steps)"
