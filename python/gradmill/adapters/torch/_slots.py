"""The state of a transformation, parameter by parameter and under torch's names."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from gradmill._data.trees import flatten
from gradmill.adapters.torch._views import Name, tensor_of
from gradmill.errors import LeafValueError, TreeError
from gradmill.transforms import ScaleByAdamState, ScaleByRssState, TraceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gradmill._data.types import PyTree

STEP, MASTER = "step", "master_param"

TORCHS = {
    (ScaleByAdamState, "mu"): "exp_avg",
    (ScaleByAdamState, "nu"): "exp_avg_sq",
    (TraceState, "trace"): "momentum_buffer",
    (ScaleByRssState, "sum_of_squares"): "sum",
}


class Leaf(NamedTuple):
    """A leaf of a state.

    Attributes:
        key: What it is called in the state of a parameter.
        owner: The parameter that it belongs to; None for one that belongs to all.
    """

    key: str
    owner: Name | None


class Slots:
    """How the leaves of a state are called.

    Args:
        state: The state.
        scaled: Whether a factor stands in front of the transformation, whose state is left out.

    Attributes:
        keys: What all are called.
        common: What those are called that belong to no parameter alone.
    """

    def __init__(self, state: PyTree, scaled: bool) -> None:
        _, self.spec = flatten(state)
        paths = [_read(accessor, scaled) for accessor in self.spec.accessors()]
        short = Counter(name for name, _ in {(p.short, p.long) for p in paths if p is not None})
        self.leaves = [
            None if p is None else Leaf(p.short if short[p.short] == 1 else p.long, p.owner)
            for p in paths
        ]
        named = [leaf for leaf in self.leaves if leaf is not None]
        self.keys = {leaf.key for leaf in named}
        self.common = {leaf.key for leaf in named if leaf.owner is None}

    def saved(self, state: PyTree, names: Iterable[Name], steps: int) -> dict[Name, dict[str, Any]]:
        """For each parameter what belongs to it, in the same memory, and what belongs to all.

        A count that is that of the steps is not repeated.
        """
        found: dict[Name, dict[str, Any]] = {name: {STEP: _number(steps)} for name in names}
        for leaf, value in zip(self.leaves, flatten(state)[0], strict=True):
            if leaf is None or value is None:
                continue
            if leaf.owner is not None:
                found[leaf.owner][leaf.key] = tensor_of(value)
                continue
            array = np.asarray(value)
            if not _is_count(array) or array != steps:
                for entries in found.values():
                    entries[leaf.key] = torch.tensor(array)
        return found

    def filled(
        self,
        state: PyTree,
        values: Mapping[Name, Mapping[str, Any]],
        steps: int,
        strict: bool,
    ) -> PyTree:
        """The state with values for each parameter, as :meth:`saved` gives them.

        Raises:
            TreeError: A value is missing or, where ``strict``, is none that the state has.
            LeafValueError: One has another shape.
        """
        for name, entries in values.items() if strict else ():
            self._check(name, entries)
        first = next(iter(values))
        leaves = []
        for leaf, own in zip(self.leaves, flatten(state)[0], strict=True):
            if leaf is None or own is None:
                leaves.append(own)
            else:
                name = first if leaf.owner is None else leaf.owner
                leaves.append(_value(name, leaf.key, values[name].get(leaf.key), own, steps))
        return self.spec.unflatten(leaves)

    def _check(self, name: Name, entries: Mapping[str, Any]) -> None:
        for key, value in entries.items():
            if key not in self.keys and key not in {STEP, MASTER} and value is not None:
                known = sorted({STEP, *self.keys})
                raise TreeError(f"state of {name}: has {key!r}, expected {known}")


class _Path(NamedTuple):
    short: str
    long: str
    owner: Name | None


def _read(accessor: Any, scaled: bool) -> _Path | None:
    """What a path says; None for a hyperparameter, which groups have."""
    entries = list(accessor)
    if scaled:
        if entries[0].entry == 0:
            return None
        del entries[0]
    if entries and getattr(entries[0], "field", None) == "hyperparams":
        return None
    owner = next((entry.entry for entry in entries if isinstance(entry.entry, Name)), None)
    parts = [entry for entry in entries if entry.entry is not owner]
    names = [str(getattr(entry, "field", entry.entry)) for entry in parts]
    short = names[-1] if names else "state"
    if parts:
        short = TORCHS.get((parts[-1].type, names[-1]), short)
    return _Path(short, ".".join(names), owner)


def _number(steps: int) -> torch.Tensor:
    """A count as torch keeps it."""
    return torch.tensor(float(steps), dtype=torch.float32)


def _is_count(array: Any) -> bool:
    return array.dtype.kind in "iu" and not array.shape


def _value(name: Name, key: str, given: Any, own: Any, steps: int) -> Any:
    """What a leaf of a state becomes."""
    array = np.asarray(own)
    if given is None:
        if _is_count(array):
            return np.asarray(steps, array.dtype)
        if key == "momentum_buffer":
            # As torch has it in front of the first step.
            return np.zeros_like(array)
        raise TreeError(f"state of {name}: {key!r} is missing")
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu()
        given = (given.float() if given.dtype is torch.bfloat16 else given).numpy()
    given = np.asarray(given)
    if given.shape != array.shape:
        raise LeafValueError(
            f"state of {name}: {key!r} has shape {given.shape}, expected {array.shape}"
        )
    return given.astype(array.dtype)
