"""The one door to updates in place."""

from __future__ import annotations

import copy
import operator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from gradmill import _core, errors
from gradmill._data.rounding import rounding_key
from gradmill._data.threads import scoped, threads_asked
from gradmill._data.trees import Flattener, flatten
from gradmill._plan.context import StepContext
from gradmill._plan.match import flatten_like, match
from gradmill._run.bound import ANYTHING, check_bound, leaves_now, owned
from gradmill._run.copies import copy_all, masters_of, new_values, read_states
from gradmill._run.in_place import InPlaceRuns
from gradmill._run.quick import quick_step
from gradmill._run.report import StepReport, make
from gradmill._run.update import none_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._core import _Found
    from gradmill._data.types import PyTree, TransformationLike


def _in_a_list(leaf: Any) -> list[Any]:
    return [leaf]


class Optimizer:
    """A transformation bound to parameters, which it updates in place.

    A step validates the gradients, runs the whole chain in as few passes over memory as it allows,
    and overwrites parameters and state. A step that raises leaves both bit for bit as they were.
    Where a chain has members written in Python, the part behind the last of them runs in place, and
    what comes before returns new state.

    An optimizer can be copied and pickled, with parameters, state, master copies, steps taken and
    what rounding draws with; the copy has arrays of its own and goes on with the same bits. What
    else the same ``deepcopy`` or pickle holds of these arrays, it holds in the copy as well.

    Steps allocate nothing once a few have been taken. Where a chain has to know its update as a
    whole behind an op with state, as for a clip behind Adam, the optimizer keeps memory of that
    size.

    Two optimizers may be bound to the same parameters, as for two losses. Their steps then follow
    each other on the same numbers; from two threads at once they are torn.

    Args:
        tx: The transformation.
        params: A tree of float arrays: one flat vector, a list, a dict, a NamedTuple, or any class
            registered with optree. The arrays are kept and overwritten; none may share memory with
            another. They may be strided, Fortran-ordered or memory-mapped. None is passed over, and
            so is what is frozen, and what masks leave to nobody and is no array of floats: these
            are not looked at, nor are their gradients.
        master: Whether to keep a float32 copy of each float16 or bfloat16 parameter, on which the
            chain works and which the parameter is rounded from, in the same pass. Steps too small
            for half precision add up there. Or a tree like ``params`` of such copies, from
            :attr:`master` of another optimizer; float32 and float64 parameters need none.
        rounding: How float16 and bfloat16 parameters and state are rounded: "nearest", with ties to
            even, or "stochastic", up or down with the chances that make it right on average.
        seed: What stochastic rounding draws with, from 0 to 2**64 - 1. It depends on the seed, the
            number of steps taken, the leaf and the element alone.

    Attributes:
        params: The tree that was passed in. Write into its arrays to change them. Where one has
            been replaced by another array, the next step says so; see :meth:`load`.
        state: The state, of the same structure as ``tx.init(params)`` gives. Native states are
            overwritten by each step; copy them for a snapshot, and write into their arrays.
        master: The parameters that the chain works on: the float32 copies, and the parameters
            themselves where there are none. Steps round parameters from them and overwrite what is
            written into a parameter that has such a copy; :meth:`load` writes both.

    Raises:
        LeafTypeError: A parameter is no NumPy array of floats.
        LeafValueError: A parameter is read-only, byte-swapped, misaligned or overlaps another.
        TreeError: ``master`` has another structure than ``params``.
        ValueError: ``rounding`` is none of the two, or ``seed`` is out of range.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = {"w": np.array([1.0, 2.0]), "b": np.array(0.5)}
        >>> opt = gm.Optimizer(gm.chain(gm.trace(0.9), gm.scale(-0.1)), params)
        >>> opt.step({"w": np.array([1.0, -1.0]), "b": np.array(1.0)})
        StepReport(step=1, global_norm=None, finite=True)
        >>> params
        {'w': array([0.9, 2.1]), 'b': array(0.4)}

        A ten-thousandth is too little for a float16 of one:

        >>> half = np.ones(1, np.float16)
        >>> opt = gm.Optimizer(gm.sgd(1e-4), half, master=True)
        >>> for _ in range(100):
        ...     _ = opt.step(np.ones(1, np.float16))
        >>> half, opt.master.round(5)
        (array([0.99], dtype=float16), array([0.99], dtype=float32))
    """

    _has_digest = False  # parameters and state have one

    def __init__(
        self,
        tx: TransformationLike,
        params: PyTree,
        *,
        master: bool | PyTree = False,
        rounding: str = "nearest",
        seed: int = 0,
    ) -> None:
        self._rounding = rounding_key(rounding, seed)
        leaves, treespec = flatten(params)
        self._masters = masters_of(master, leaves, treespec)
        self._set_up(tx, params)
        self._bind(leaves, self._runs.layout.parts(tx.init(self._works_on(leaves))), 0)

    def _set_up(self, tx: TransformationLike, params: PyTree) -> None:
        """Take ``params`` and derive what does not depend on the state."""
        self.params = params
        self._tx = tx
        self._busy = False
        self._structure = Flattener()(params)[1]
        self._treespec = self._structure.spec
        # A gradient alone needs no help of the tree's.
        alone = self._treespec.is_leaf(strict=True)
        self._flatten_up_to = _in_a_list if alone else self._treespec.flatten_up_to
        self._runs = InPlaceRuns(tx)
        self._is_simple = self._runs.is_simple

    def _works_on(self, leaves: list[Any]) -> PyTree:
        """What the chain works on where these are the parameters."""
        pairs = zip(leaves, self._masters, strict=True)
        return self._treespec.unflatten([leaf if copy is None else copy for leaf, copy in pairs])

    def _bind(self, leaves: list[Any], states: list[PyTree], steps: int) -> None:
        """Bind the core to ``leaves``, those of ``params``, and states that so many steps led to.

        Raises:
            LeafValueError: An array is none that can be written to, or overlaps another.
            LeafTypeError: One is no array of floats.
        """
        master = self._works_on(leaves)
        bound, select, unbound = self._runs.bind(
            self._structure, leaves, master, self._masters, states, self._rounding
        )
        bound.restart(steps)
        # Where a gradient is an error; for what is left out it is not looked at.
        self._nones = [at for at, leaf in enumerate(leaves) if leaf is None and at not in unbound]
        leaves = [ANYTHING if at in unbound else leaf for at, leaf in enumerate(leaves)]
        self._bound, self._select, self._leaves, self._master = bound, select, leaves, master
        self._at_step = steps, states
        self._quick = quick_step(self._runs.head, self._runs.tail, bound, master)
        self._pending: Callable[[_Found], list[PyTree]] | None = None
        has_copies = any(copy is not None for copy in self._masters)
        self._copies = master if has_copies else None

    @property
    def master(self) -> PyTree:
        """The parameters that the chain works on."""
        return self._master

    @property
    def state(self) -> PyTree:
        """The state, of the same structure as ``tx.init(params)`` gives."""
        return self._runs.layout.join(iter(self._states()))

    def _states(self) -> list[PyTree]:
        """The states of all links, those that the host keeps at the step that the arrays are at.

        An interrupt may arrive between the two. Then the state is brought up to date here, by a
        single assignment.
        """
        steps, states = self._at_step
        if self._pending is not None:
            taken, found = self._bound.last()
            if taken != steps and found is not None:
                states = self._pending(found)
                self._at_step = taken, states
            self._pending = None
        return states

    def step(self, grads: PyTree, **extra_args: Any) -> StepReport:
        """Update parameters and state in place.

        Args:
            grads: A tree like ``params``; mappings of any kind match by key. A None leaves its
                parameter and its state as they are.
            **extra_args: Handed to the members of the chain that take extra arguments.

        Returns:
            What the step met on its way.

        Raises:
            TreeError: ``grads`` has another structure than ``params``, or an array where that has
                None; the message has the first place where they differ.
            LeafValueError: A gradient has the wrong shape, or shares memory with parameters or
                state.
            LeafTypeError: A gradient is no array of floats.
            LeafValueError, TreeError: ``params`` or ``master`` hold other arrays than those that
                steps write to.
            RuntimeError: Another thread is inside a step of this optimizer.

        Example:
            >>> import numpy as np
            >>> import gradmill as gm
            >>> opt = gm.Optimizer(gm.sgd(0.5), np.array([1.0]))
            >>> opt.step(np.array([1.0])).step
            1
            >>> opt.params
            array([0.5])
        """
        try:
            if self._is_simple:
                done = self._bound.step_soon(self.params, self._copies, grads, threads_asked)
                if done is None:
                    done = self._bound.step(self._leaves_of(grads), scoped.get())
            else:
                done = None
                if self._quick is not None and not self._busy:
                    states = self._at_step[1] if self._pending is None else self._states()
                    done = self._quick(self.params, self._copies, grads, self._leaves_of, states)
                if done is None:
                    done = self._step_alone(grads, extra_args)
        except _core.CoreError as fault:
            raise self._fault(fault, grads) from None
        return make(StepReport, done)

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

    def _check_bound(self) -> None:
        """See that the trees hold the arrays that are bound.

        Raises:
            TreeError: One has another structure.
            LeafValueError: One holds another array.
        """
        if self._bound.holds(self.params, self._copies):
            return
        check_bound(self._treespec, self.params, "params", self._leaves)
        if self._copies is not None:
            check_bound(
                self._treespec, self._copies, "master", flatten(self._works_on(self._leaves))[0]
            )
        self._bound.learn(self.params, self._copies, None)

    def _step_alone(
        self, grads: PyTree, extra_args: dict[str, Any]
    ) -> tuple[int, float | None, bool]:
        """A step that the host takes part in, and no other thread meanwhile."""
        if self._busy:
            raise RuntimeError("another thread is inside a step of this optimizer")
        self._check_bound()
        self._busy = True
        try:
            norms, finite = self._step_with_controls(grads, extra_args)
            steps, _ = self._at_step
        finally:
            self._busy = False
        return steps, next((norm for norm in norms if norm is not None), None), finite

    def _step_with_controls(
        self, updates: PyTree, extra_args: dict[str, Any]
    ) -> tuple[list[float | None], bool]:
        """A step with parts that are written in Python, or that do not run in each step."""
        context = StepContext(updates, self._master, extra_args)
        states, (norms, finite), (leaves, scalars, off, new_states) = self._runs.begin(
            updates, self._states(), context, self._select, self._matched
        )

        def after(found: _Found) -> list[PyTree]:
            return [*states, *new_states(found[2])]

        self._pending = after
        self._bound.step_with(leaves, scalars, off, scoped.get())
        self._states()
        _, last = self._bound.last()
        assert last is not None  # noqa: S101  (for the type checker: the step has been taken)
        return [*norms, *last[0]], finite and last[1]

    def init_from(self, state: PyTree, *, steps: int | None = None) -> None:
        """Continue from a state, such as one from a checkpoint.

        Its arrays are copied into this optimizer's; later steps do not touch ``state``.

        Args:
            state: A tree of the same structure, shapes and dtypes as :attr:`state`.
            steps: The number of steps taken, by which reports count and stochastic rounding draws;
                None for the largest count in the state.

        Raises:
            TreeError: The structure differs.
            LeafTypeError: A leaf is no array.
            LeafValueError: A shape or dtype differs, a count is negative, or an array of the
                optimizer's was made read-only. The optimizer's state is as it was then.
            ValueError: ``steps`` is negative.

        Example:
            >>> import numpy as np
            >>> import gradmill as gm
            >>> first = gm.Optimizer(gm.adam(0.1), np.array([1.0]))
            >>> _ = first.step(np.array([1.0]))
            >>> second = gm.Optimizer(gm.adam(0.1), first.params.copy())
            >>> second.init_from(first.state)
            >>> second.state[0].count
            array(1, dtype=int32)
        """
        taken, states, values = self._read(state, steps)
        copy_all(values)
        self._go_on(taken, states)

    def load(
        self, params: PyTree = None, state: PyTree = None, *, steps: int | None = None
    ) -> None:
        """Continue from parameters and state, such as those of a checkpoint.

        Values are copied into this optimizer's arrays; later steps do not touch what was given.
        Where an array of :attr:`params` has been replaced by another, ``load(opt.params)`` keeps
        the state and goes on with the arrays that are there now.

        Args:
            params: A tree of the same structure, shapes and dtypes as :attr:`params`, or None for
                the values there. A parameter with a master copy also takes float32, as
                :attr:`master` has it; both are written.
            state: As for :meth:`init_from`, or None to keep the state.
            steps: As for :meth:`init_from`; it goes with ``state``.

        Raises:
            TreeError: A structure differs.
            LeafTypeError: A leaf is no array.
            LeafValueError: A shape or dtype differs, a count is negative, or an array of the
                optimizer's is read-only or overlaps another. All is as it was then.
            ValueError: ``steps`` is negative or comes without ``state``.
            RuntimeError: A step broke off in the middle, and not all that it wrote is given.

        Example:
            >>> import numpy as np
            >>> import gradmill as gm
            >>> params = {"w": np.zeros(2)}
            >>> opt = gm.Optimizer(gm.sgd(0.5), params)
            >>> opt.load({"w": np.array([3.0, 4.0])})
            >>> _ = opt.step({"w": np.ones(2)})
            >>> params
            {'w': array([2.5, 3.5])}
        """
        if steps is not None and state is None:
            raise ValueError("steps goes with state, and no state is given")
        now = leaves_now(self._treespec, self.params, "params")
        given = now
        if params is not None:
            given = flatten_like(self._treespec, params, "params", "the optimizer's params")
        values = new_values(self._treespec, self._leaves, now, given, self._masters)
        taken, states = self._bound.last()[0], self._states()
        if state is not None:
            taken, states, more = self._read(state, steps)
            values += more
        if any(map(operator.is_not, now, self._leaves)):
            if params is None or state is None:
                self._check_whole()
            self._bind(now, states, taken)
        copy_all(values)
        if state is not None:
            self._go_on(taken, states)

    def _read(
        self, state: PyTree, steps: int | None
    ) -> tuple[int, list[PyTree], list[tuple[Any, Any]]]:
        """Of a state that is given the steps taken, the links' states, and what to copy where."""
        return read_states(
            self.state, state, self._runs.layout, self._runs.links, self._runs.at, steps
        )

    def _go_on(self, steps: int, states: list[PyTree]) -> None:
        """Take it that so many steps led to these states."""
        self._pending = None
        self._at_step = steps, states
        self._bound.restart(steps)

    def _round_with(self, key: tuple[int, int] | None) -> None:
        """Round from now on as :func:`rounding_key` says."""
        if key != self._rounding:
            self._rounding = key
            leaves = leaves_now(self._treespec, self.params, "params")
            self._bind(leaves, self._states(), self._bound.last()[0])

    def _check_whole(self) -> None:
        """See that no step has broken off in the middle.

        Raises:
            RuntimeError: One has, or another thread is inside of one.
        """
        # No step takes so many updates; an optimizer that takes none at all says so first.
        with suppress(ValueError):
            self._bound.step_with([None] * (self._treespec.num_leaves + 1), [])

    def __getstate__(self) -> dict[str, Any]:
        """Hand over what the rest is derived from; attributes of a subclass are among it.

        Raises:
            LeafValueError, TreeError: ``params`` or ``master`` hold other arrays than are bound.
            RuntimeError: A step broke off in the middle, or another thread is inside of one.
        """
        self._check_whole()
        self._check_bound()
        kept = {name: value for name, value in vars(self).items() if name not in _DERIVED}
        return {**kept, "state": self.state, "steps": self._bound.last()[0]}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Bind what another optimizer handed over, in copies."""
        kept = dict(kept)
        state, steps = kept.pop("state"), kept.pop("steps")
        vars(self).update(kept)
        self._masters = owned(self._masters)
        self._set_up(self._tx, owned(self.params))
        self._bind(flatten(self.params)[0], self._runs.layout.parts(owned(state)), steps)

    def __copy__(self) -> Self:
        """Copy all but the transformation: two optimizers with the same arrays would clash."""
        return copy.deepcopy(self, {id(self._tx): self._tx})

    def __repr__(self) -> str:
        """Name the number of leaves and steps."""
        steps, _ = self._bound.last()
        return f"Optimizer({self._treespec.num_leaves} leaves, {steps} steps)"


_DERIVED = set(
    "_at_step _bound _busy _copies _flatten_up_to _is_simple _leaves _master _nones"  # noqa: SIM905
    " _pending _quick _runs _select _structure _treespec".split()
)
"""Attributes that are made anew in a copy."""
