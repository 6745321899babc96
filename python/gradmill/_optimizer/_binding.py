"""Arrays that steps overwrite, and the state that goes with them."""

from __future__ import annotations

import copy
import operator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Self

from gradmill._data.trees import Flattener, flatten
from gradmill._data.types import P
from gradmill._plan.masks import Selection
from gradmill._plan.match import flatten_like
from gradmill._run.bound import ANYTHING, check_bound, leaves_now, owned, without
from gradmill._run.copies import copy_all, new_values, read_states
from gradmill._run.in_place import InPlaceRuns
from gradmill._run.quick import quick_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._core import _Found
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._optimizer._mapped import StateFile


def _in_a_list(leaf: Any) -> list[Any]:
    return [leaf]


class Binding(Generic[P]):
    """A transformation bound to parameters and state: what these are, and how they are replaced."""

    _has_digest = False  # parameters and state have one
    _file: StateFile | None = None  # a copy keeps its arrays in memory

    _rounding: tuple[int, int] | None
    _masters: list[Any]
    _kept: set[int]

    def _set_up(self, tx: TransformationLike, params: P) -> None:
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
        own = [leaf if copy is None else copy for leaf, copy in pairs]
        return self._treespec.unflatten(without(own, self._kept))

    def _selection(self, leaves: list[Any]) -> Selection:
        """What masks leave of these leaves."""
        return Selection(leaves, self._structure, "params")

    def _first_state(self, params: PyTree) -> PyTree:
        """The state that steps start from."""
        return self._tx.init(params)

    def _bind(self, leaves: list[Any], states: list[PyTree], steps: int) -> None:
        """Bind the core to ``leaves``, those of ``params``, and states that so many steps led to.

        Raises:
            LeafValueError: An array is none that can be written to, or overlaps another.
            LeafTypeError: One is not an array of floats.
        """
        master = self._works_on(leaves)
        bound, select, unbound = self._runs.bind(
            self._structure,
            leaves,
            master,
            self._masters,
            states,
            self._rounding,
            self._kept,
            self._selection,
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

    def init_from(self, state: PyTree, *, steps: int | None = None) -> None:
        """Continue from a state, such as one from a checkpoint.

        Its arrays are copied into the optimizer's own; later steps do not touch ``state``.

        Args:
            state: A tree with the structure, shapes and dtypes of :attr:`state`.
            steps: The number of steps taken, for reports and for stochastic rounding; None for the
                largest count in the state.

        Raises:
            TreeError: The structures differ.
            LeafTypeError: A leaf is not an array.
            LeafValueError: A shape or dtype differs, a count is negative, or an array of the
                optimizer's was made read-only. The optimizer's state is then unchanged.
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
        self, params: P | None = None, state: PyTree = None, *, steps: int | None = None
    ) -> None:
        """Continue from parameters and state, such as those of a checkpoint.

        Values are copied into the optimizer's own arrays; later steps do not touch what you passed
        in. If you replaced an array in :attr:`params` by another, ``load(opt.params)`` keeps the
        state and continues with the new array.

        Args:
            params: A tree with the structure, shapes and dtypes of :attr:`params`, or None to keep
                the current values. A parameter with a master copy also takes float32, as in
                :attr:`master`; both are written.
            state: As for :meth:`init_from`; None to keep the current state.
            steps: As for :meth:`init_from`; it needs ``state``.

        Raises:
            TreeError: The structures differ.
            LeafTypeError: A leaf is not an array.
            LeafValueError: A shape or dtype differs, a count is negative, or an array of the
                optimizer's is read-only or overlaps another. Everything is then unchanged.
            ValueError: ``steps`` is negative or comes without ``state``.
            RuntimeError: A step broke off halfway, and you did not pass everything that it wrote.

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
            raise ValueError("steps needs a state, and none was given")
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

    def rebind(self, params: P) -> None:
        """Continue with other arrays, whose values are the parameters from now on.

        State, step count and schedules stay. Master copies take the values of their parameters. The
        arrays bound before are left as they are.

        Args:
            params: A tree with the structure, shapes and dtypes of :attr:`params`, which it
                replaces. If its arrays are the ones bound already, nothing happens.

        Raises:
            TreeError: The structures differ.
            LeafTypeError: A leaf is not an array.
            LeafValueError: A shape or dtype differs, or an array is read-only or overlaps another.
                Everything is then unchanged.
            RuntimeError: A step broke off halfway.

        Example:
            >>> import numpy as np
            >>> import gradmill as gm
            >>> opt = gm.Optimizer(gm.sgd(0.5, momentum=0.9), np.zeros(2))
            >>> _ = opt.step(np.ones(2))
            >>> other = np.array([3.0, 4.0])
            >>> opt.rebind(other)
            >>> _ = opt.step(np.zeros(2))
            >>> other
            array([2.55, 3.55])
        """
        before, self.params = self.params, params
        try:
            self.load(params)
        except BaseException:
            self.params = before
            raise

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
            LeafValueError, TreeError: ``params`` or ``master`` holds arrays other than the ones
                bound.
            RuntimeError: A step broke off halfway, or another thread is inside one.
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


_DERIVED = set(
    "_at_step _bound _busy _copies _due _file _flatten_up_to _half _half_lock _is_simple"  # noqa: SIM905  (quotes hide the names)
    " _leaves _master _nones _pending _places _quick _runs _select _structure _treespec".split()
)
"""Attributes that are made anew in a copy."""
