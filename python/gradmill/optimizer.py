"""The one door to updates in place."""

from __future__ import annotations

import operator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import _core, errors
from gradmill._arrays import as_native, is_float, is_half, plain_view
from gradmill._control import COUNT_TOP, Context, FieldError
from gradmill._frame import Frame
from gradmill._layout import layout_of
from gradmill._masks import Selection
from gradmill._native import left_out
from gradmill._run import runs_in_place
from gradmill._spec import is_integer
from gradmill._state import check_counts, new_fields
from gradmill._threads import scoped
from gradmill._tree import Flattener, Match, Structure, Treespec, flatten, leaf_path, match
from gradmill._update import none_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._base import PyTree, TransformationLike
    from gradmill._core import _Found


class StepReport(NamedTuple):
    """What a step of :class:`Optimizer` met on its way.

    Attributes:
        step: Number of steps taken, this one included.
        global_norm: The global norm of the gradients before the first ``clip_by_global_norm`` of
            the chain, or None where there is none.
        finite: Whether every gradient was finite.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.chain(gm.clip_by_global_norm(1.0), gm.sgd(0.1)), np.zeros(2))
        >>> opt.step(np.array([3.0, 4.0]))
        StepReport(step=1, global_norm=5.0, finite=True)
    """

    step: int
    global_norm: float | None
    finite: bool


_report = tuple.__new__
"""Makes a StepReport in half the time that its class takes."""


def _in_a_list(leaf: Any) -> list[Any]:
    return [leaf]


class Optimizer:
    """A transformation bound to parameters, which it updates in place.

    A step validates the gradients, runs the whole chain in as few passes over memory as it allows,
    and overwrites parameters and state. A step that raises leaves both bit for bit as they were.
    Where a chain has members written in Python, the part behind the last of them runs in place, and
    what comes before returns new state.

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
        params: The tree that was passed in.
        state: The state, of the same structure as ``tx.init(params)`` gives. Native states are
            overwritten by each step; copy them for a snapshot.
        master: The parameters that the chain works on: the float32 copies, and the parameters
            themselves where there are none.

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

    def __init__(
        self,
        tx: TransformationLike,
        params: PyTree,
        *,
        master: bool | PyTree = False,
        rounding: str = "nearest",
        seed: int = 0,
    ) -> None:
        self.params = params
        self._busy = False
        self._pending: Callable[[_Found], list[PyTree]] | None = None
        leaves, self._structure = Flattener()(params)
        self._treespec = self._structure.spec
        # A gradient alone needs no help of the tree's.
        alone = self._treespec.is_leaf(strict=True)
        self._flatten_up_to = _in_a_list if alone else self._treespec.flatten_up_to
        *self._head, self._tail = runs_in_place(tx)
        self._layout = layout_of(tx)
        masters = _masters(master, leaves, self._structure)
        works_on = [
            own if copy is None else copy for own, copy in zip(leaves, masters, strict=True)
        ]
        self.master = self._treespec.unflatten(works_on)
        states = self._layout.parts(tx.init(self.master))
        self._at_step = 0, states
        self._at = len(states) - len(self._tail.links)
        own = states[self._at :]
        self._params = works_on
        self._select = Selection(works_on, self._structure, "params")
        skips = self._tail.skips(self._select)
        links = [link for run in (*self._head, self._tail) for link in run.links]
        unbound = left_out(links, self._select, leaves)
        # Where a gradient is an error; for what is left out it is not looked at.
        self._nones = [at for at, leaf in enumerate(leaves) if leaf is None and at not in unbound]
        bound = [None if at in unbound else plain_view(leaf) for at, leaf in enumerate(leaves)]
        frame = Frame(self._structure, Match(works_on, self._treespec), works_on)
        slots = self._tail.slot_matches(own, frame)
        try:
            self._bound = _core.InPlace(
                self._tail.program,
                bound,
                [slot.leaves for slot in slots],
                skips,
                self._tail.clocks(own),
                masters,
                _rounding_key(rounding, seed),
            )
        except _core.CoreError as fault:
            raise self._tail.error(fault, self._structure, params=leaves) from None
        self._is_simple = not (self._head or self._tail.has_controls)

    @property
    def state(self) -> PyTree:
        """The state, of the same structure as ``tx.init(params)`` gives."""
        return self._layout.join(iter(self._states()))

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
                try:
                    leaves = self._flatten_up_to(grads)
                except ValueError:
                    leaves = self._matched(grads)
                if self._nones:
                    self._check_nones(leaves)
                norm, finite, steps = self._bound.step(leaves, scoped.get())
            else:
                norm, finite, steps = self._step_alone(grads, extra_args)
        except _core.CoreError as fault:
            raise self._fault(fault, grads) from None
        return _report(StepReport, (steps, norm, finite))

    def _matched(self, updates: PyTree) -> list[Any]:
        """The leaves of updates in the order of the parameters."""
        return match(updates, self._structure, "updates", "params", leaves=self._params).leaves

    def _check_nones(self, updates: Sequence[Any]) -> None:
        for at in self._nones:
            if updates[at] is not None:
                raise none_error(updates[at], self._treespec, at)

    def _fault(self, fault: _core.CoreError, grads: PyTree) -> errors.GradmillError:
        """The error for what the core reports of a step."""
        if not self._is_simple:
            return self._tail.error(fault, self._structure)
        try:
            # It may have met a tree in the place of an array.
            return self._tail.error(fault, self._structure, updates=self._matched(grads))
        except errors.TreeError as error:
            return error

    def _step_alone(
        self, grads: PyTree, extra_args: dict[str, Any]
    ) -> tuple[float | None, bool, int]:
        """A step that the host takes part in, and no other thread meanwhile."""
        if self._busy:
            raise RuntimeError("another thread is inside a step of this optimizer")
        self._busy = True
        try:
            norms, finite = self._step_with_controls(grads, extra_args)
            steps, _ = self._at_step
        finally:
            self._busy = False
        return next((norm for norm in norms if norm is not None), None), finite, steps

    def _step_with_controls(
        self, updates: PyTree, extra_args: dict[str, Any]
    ) -> tuple[list[float | None], bool]:
        """A step with parts that are written in Python, or that do not run in each step."""
        context = Context(updates, self.master, extra_args)
        before = self._states()
        states: list[PyTree] = []
        norms: list[float | None] = []
        finite = True
        for run in self._head:
            own = before[len(states) : len(states) + len(run.links)]
            updates, own, found = run.update(updates, own, context)
            states += own
            norms += found.norms
            finite = finite and found.finite
        context.updates = updates
        own = before[self._at :]
        leaves = self._matched(updates)
        if self._nones:
            self._check_nones(leaves)
        frame = Frame(self._structure, Match(leaves, self._treespec), self._params)
        seen = (frame, self._select) if self._tail.selects else None
        scalars, off, plans = self._tail.plan(own, context, seen)

        def after(found: _Found) -> list[PyTree]:
            changes = self._tail.advance(own, context, plans, found[2], self._structure)
            return [*states, *map(new_fields, own, changes)]

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
        self._layout.parts(state)
        current, treespec = flatten(self.state)
        given = match(state, Structure(treespec), "state", "the optimizer's state").leaves
        copies = [
            _copied(old, new, treespec, index)
            for index, (old, new) in enumerate(zip(current, given, strict=True))
        ]
        kept = [
            old if isinstance(old, np.ndarray) else new
            for old, new in zip(current, copies, strict=True)
        ]
        parts = self._layout.parts(treespec.unflatten(copies))
        tail = self._layout.parts(treespec.unflatten(kept))[self._at :]
        counted = self._count_in(parts)
        taken = counted if steps is None else _number_of_steps(steps)
        for old, new in zip(flatten(tail)[0], flatten(parts[self._at :])[0], strict=True):
            if isinstance(old, np.ndarray):
                np.copyto(old, new)
        self._pending = None
        self._at_step = taken, [*parts[: self._at], *tail]
        self._bound.restart(taken)

    def _count_in(self, states: list[PyTree]) -> int:
        """The largest count of steps among states of all links."""
        counts = [0]
        links = [link for run in (*self._head, self._tail) for link in run.links]
        for link, state in zip(links, states, strict=True):
            try:
                check_counts(link, state)
            except FieldError as fault:
                raise fault.at(link.path) from None
            if link.spec is not None and "count" in link.spec.state._fields:
                counts.append(int(state.count))
        return max(counts)

    def __repr__(self) -> str:
        """Name the number of leaves and steps."""
        steps, _ = self._bound.last()
        return f"Optimizer({self._treespec.num_leaves} leaves, {steps} steps)"


def _masters(master: bool | PyTree, leaves: list[Any], structure: Structure) -> list[Any]:
    """For each leaf the float32 array that the chain works on, or None for the leaf itself."""
    if master is False:
        return [None] * len(leaves)
    halves = [isinstance(leaf, np.ndarray) and is_half(leaf.dtype) for leaf in leaves]
    sources = leaves if master is True else match(master, structure, "master", "params").leaves
    masters: list[Any] = []
    for index, (source, leaf, half) in enumerate(zip(sources, leaves, halves, strict=True)):
        path = partial(leaf_path, structure.spec, index, "master")
        masters.append(_master(source, leaf.shape, path) if half else None)
    return masters


def _master(source: Any, shape: tuple[int, ...], path: Callable[[], str]) -> np.ndarray[Any, Any]:
    try:
        array = as_native(source)
    except TypeError as error:
        raise errors.LeafTypeError(f"{path()}: {error}") from None
    if array.shape != shape:
        raise errors.LeafValueError(f"{path()}: shape {array.shape}, params has {shape}")
    try:
        with np.errstate(over="raise"):
            return np.array(array, np.float32)
    except FloatingPointError:
        raise errors.LeafValueError(f"{path()}: has numbers beyond those of float32") from None


def _rounding_key(rounding: str, seed: int) -> tuple[int, int] | None:
    if rounding not in {"nearest", "stochastic"}:
        raise ValueError(f'rounding must be "nearest" or "stochastic", got {rounding!r}')
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be from 0 to 2**64 - 1, got {seed}")
    return None if rounding == "nearest" else divmod(seed, 2**32)


def _number_of_steps(steps: object) -> int:
    if not is_integer(steps):
        raise TypeError(f"steps must be an integer, got {steps!r}")
    taken = operator.index(steps)  # type: ignore[arg-type]  # which is_integer has seen
    if not 0 <= taken <= COUNT_TOP:
        raise ValueError(f"steps must be from 0 to 2**63 - 1, got {taken}")
    return taken


def _copied(old: Any, new: Any, treespec: Treespec, index: int) -> Any:
    """A copy of what is to take the place of the array ``old``."""
    if not isinstance(old, np.ndarray):
        return new
    path = partial(leaf_path, treespec, index, "state")
    if isinstance(new, np.ma.MaskedArray):
        raise errors.LeafTypeError(f"{path()}: is a masked array, whose mask would be lost")
    try:
        # A hyperparameter may have been assigned as a plain number.
        is_number = isinstance(new, int) or (isinstance(new, float) and is_float(old.dtype))
        array = np.array(new, old.dtype if is_number else None)
    except Exception as error:  # noqa: BLE001  (an __array__ may raise anything)
        raise errors.LeafTypeError(f"{path()}: is no array: {error}") from None
    if (array.shape, array.dtype) != (old.shape, old.dtype):
        raise errors.LeafValueError(
            f"{path()}: {array.dtype} of shape {array.shape}, "
            f"expected {old.dtype} of shape {old.shape}"
        )
    if not old.flags.writeable:
        raise errors.LeafValueError(f"{path()}: was made read-only in the optimizer")
    return array
