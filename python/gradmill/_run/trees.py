"""Tree formulas: transformations that couple leaves or multiply matrices, in array code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradmill._core import in_default_mode
from gradmill._data.arrays import as_native, is_half
from gradmill._data.numbers import is_foreign
from gradmill._data.trees import flatten, leaf_path, tree_map
from gradmill._data.types import NO_PARAMS_MSG, is_transformation
from gradmill._plan.align import hint_for
from gradmill._plan.match import Match, match
from gradmill._run.frame import Framer
from gradmill.errors import LeafTypeError, LeafValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._run.frame import Frame


Init: TypeAlias = "Callable[..., PyTree]"
"""``init(xp, params, **hyper)`` makes the first state."""

Update: TypeAlias = "Callable[..., tuple[PyTree, PyTree]]"
"""``update(xp, updates, state, params, extra, **hyper)`` returns new updates and the new state.

It writes to no argument. ``extra`` are the extra arguments by name.
"""


class TreeFormula:
    """Two functions of trees with their hyperparameters, for NumPy arrays and JAX's.

    Both are functions of a module, by whose names a transformation pickles. They compute with
    :mod:`gradmill.tree` and with ``xp``, the functions of the library that the arrays are of.

    Updates, parameters and slots come in the structure of the parameters, with None where there is
    no update, and in float32 at least, but for slots in a dtype of their own. Fields of the new
    state go back into the structures and the dtypes of the old ones.

    Args:
        init: Makes the first state.
        update: Takes a step.
        hyper: The hyperparameters, transformations among them.
        slots: The fields of the state that are trees like the parameters.
        reads_params: Whether there have to be parameters.
    """

    xp: Any = np
    """The functions of the library whose arrays it is for."""

    def __init__(
        self,
        init: Init,
        update: Update,
        hyper: Mapping[str, Any],
        slots: Sequence[str] = (),
        *,
        reads_params: bool = False,
    ) -> None:
        self._init = init
        self._update = update
        self._hyper = dict(hyper)
        self._slots = tuple(slots)
        self.reads_params = reads_params

    @property
    def name(self) -> str:
        """That of the function which takes a step."""
        return str(getattr(self._update, "__name__", self._update)).strip("_")

    def on(self, xp: Any, lower: Callable[[TransformationLike], TransformationLike]) -> TreeFormula:
        """The same for arrays of another library; ``lower`` does so for transformations inside."""
        hyper = {
            name: lower(value) if is_transformation(value) else value
            for name, value in self._hyper.items()
        }
        other = type(self)(
            self._init, self._update, hyper, self._slots, reads_params=self.reads_params
        )
        other.xp = xp
        return other

    def init(self, params: PyTree) -> PyTree:
        """Return the initial state for ``params``."""
        return self._quietly(self._first, params)

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates and the new state."""
        if params is None and self.reads_params:
            raise ValueError(f"{self.name} {NO_PARAMS_MSG}")
        new: tuple[PyTree, PyTree]
        new = self._quietly(self._updated, updates, state, params, extra_args)
        return new

    def _quietly(self, function: Callable[..., Any], *args: Any) -> Any:
        """What a function returns, in the default floating-point mode and without warnings."""
        if self.xp is not np:
            return function(*args)
        with np.errstate(all="ignore"):
            return in_default_mode(function, *args)

    def _first(self, params: PyTree) -> PyTree:
        leaves, spec = flatten(params)
        own = spec.unflatten(self._arrays("params", leaves, spec))
        first = self._init(self.xp, own, **self._hyper)
        return tree_map(lambda value: settled(self.xp, value), first)

    def _updated(
        self, updates: PyTree, state: Any, params: PyTree | None, extra: Mapping[str, Any]
    ) -> tuple[PyTree, PyTree]:
        frame = Framer()(updates, params, needs_params=True)
        step = self._step(frame, state)
        spec = frame.structure.spec
        seen = {name: spec.unflatten(step.kept(old.leaves)) for name, old in step.slots.items()}
        new, after = self._update(
            self.xp,
            spec.unflatten(step.updates),
            state._replace(**seen) if seen else state,
            None if step.params is None else spec.unflatten(step.params),
            extra,
            **self._hyper,
        )
        leaves = match(new, frame.structure, "the updates", "those before").leaves
        return frame.updates.rebuild(leaves), self._after(frame, step, state, after)

    def _step(self, frame: Frame, state: Any) -> _Step:
        """The arrays of a step, each in its place."""
        spec = frame.structure.spec
        given = self._arrays("updates", frame.updates.leaves, spec)
        own = None
        if frame.params is not None:
            pairs = zip(frame.params, given, strict=True)
            kept = [None if update is None else param for param, update in pairs]
            own = self._arrays("params", kept, spec)
            for at, (update, param) in enumerate(zip(given, own, strict=True)):
                if update is not None and (param is None or update.shape != param.shape):
                    problem = "None" if param is None else f"one of shape {param.shape}"
                    path = leaf_path(spec, at, "updates")
                    raise LeafValueError(
                        f"{path}: shape {update.shape}, params has {problem} ({self.name})"
                    )
        other = "updates" if frame.params is None else "params"
        slots = {
            name: match(getattr(state, name), frame.structure, f"state.{name}", other)
            for name in self._slots
        }
        if self.xp is np:
            slots = {name: slot._replace(leaves=_row_by_row(slot)) for name, slot in slots.items()}
        return _Step(given, own, slots)

    def _after(self, frame: Frame, step: _Step, before: Any, after: Any) -> Any:
        """The state, in the structures and dtypes of the one before."""
        if not hasattr(after, "_fields"):
            return after
        changes: dict[str, Any] = {}
        for name, value in zip(after._fields, after, strict=True):
            old = getattr(before, name)
            if name in step.slots:
                was = step.slots[name]
                made = match(value, frame.structure, f"state.{name}", "that before").leaves
                pairs = zip(made, was.leaves, strict=True)
                changes[name] = was.rebuild(
                    [last if new is None else settled(self.xp, new, last) for new, last in pairs]
                )
            elif hasattr(old, "dtype"):
                changes[name] = settled(self.xp, value, old)
        return after._replace(**changes)

    def _arrays(self, name: str, leaves: Sequence[Any], spec: Treespec) -> list[Any]:
        """Leaves as arrays of floats, of float32 at least.

        Raises:
            LeafTypeError: One is none.
        """
        arrays: list[Any] = []
        for at, leaf in enumerate(leaves):
            if leaf is None:
                arrays.append(None)
                continue
            try:
                array = leaf if self.xp is not np and is_foreign(leaf) else as_native(leaf)
            except TypeError as error:
                path = leaf_path(spec, at, name)
                problem = f"{error} ({self.name}){hint_for(leaf)}"
                raise LeafTypeError(f"{path}: {problem}") from None
            if is_half(array.dtype):
                array = array.astype(np.float32)
            # NumPy adds up in the order in which elements lie.
            arrays.append(np.asarray(array, order="C") if self.xp is np else array)
        return arrays


class _Step(NamedTuple):
    """The arrays of a step, leaf by leaf.

    Attributes:
        updates: The updates.
        params: The parameters that have an update; None where there are none at all.
        slots: The slots by their names.
    """

    updates: list[Any]
    params: list[Any] | None
    slots: dict[str, Match]

    def kept(self, leaves: Sequence[Any]) -> list[Any]:
        """Those of some leaves that have an update."""
        pairs = zip(leaves, self.updates, strict=True)
        return [None if update is None else leaf for leaf, update in pairs]


def _row_by_row(slot: Match) -> list[Any]:
    """The arrays of a slot in C order."""
    return [leaf if leaf is None else np.asarray(leaf, order="C") for leaf in slot.leaves]


def settled(xp: Any, value: Any, old: Any = None) -> Any:
    """What a state holds in the place of ``old``: of NumPy in C order, and without subnormals."""
    if value is old and (xp is not np or old.flags.c_contiguous):
        return value
    dtype = None if old is None else old.dtype
    array = xp.asarray(value, dtype=dtype)
    if xp is not np:
        return array
    if array.dtype.kind == "f":
        small = np.abs(array) < np.finfo(array.dtype).tiny
        if small.any():
            array = np.where(small, array * 0, array)
    return np.asarray(array, order="C")


def formula_of(tx: TransformationLike) -> TreeFormula | None:
    """The tree formula that a transformation is, if it is one."""
    owner = getattr(tx.update, "__self__", None)
    return owner if isinstance(owner, TreeFormula) else None
