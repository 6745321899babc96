"""An optimizer as trees and a few words, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.rounding import rounding_key
from gradmill._data.trees import flatten
from gradmill._optimizer import Optimizer
from gradmill._run.copies import number_of_steps
from gradmill.checkpoints._fit import Fit
from gradmill.checkpoints._structure import CONSTANTS, Other
from gradmill.errors import CheckpointError

if TYPE_CHECKING:
    from gradmill._data.types import PyTree
    from gradmill.checkpoints._source import Source

PARTS = frozenset({"params", "state", "master"})
"""The trees of an optimizer."""


def check(optimizer: object) -> None:
    """See that it is one.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a gradmill.Optimizer, got {type(optimizer).__name__}")


def parts_of(optimizer: Optimizer) -> tuple[dict[str, PyTree], dict[str, Any]]:
    """The trees of an optimizer, and what else there is to it.

    Raises:
        LeafValueError, TreeError: ``params`` or ``master`` holds arrays other than the ones bound.
        RuntimeError: A step broke off halfway, or another thread is inside one.
    """
    check(optimizer)
    kept = optimizer.__getstate__()
    leaves, spec = flatten(kept["params"])
    trees = {
        "params": spec.unflatten([_kept(leaf) for leaf in leaves]),
        "state": kept["state"],
    }
    if any(copy is not None for copy in kept["_masters"]):
        trees["master"] = spec.unflatten(kept["_masters"])
    key = kept["_rounding"]
    about = {
        "transformation": repr(kept["_tx"]),
        "steps": kept["steps"],
        "rounding": "nearest" if key is None else "stochastic",
        "seed": 0 if key is None else key[0] * 2**32 + key[1],
    }
    return trees, about


def _kept(leaf: Any) -> Any:
    """A parameter; one that is not an array is looked at by no step, and need not be written."""
    is_known = hasattr(leaf, "__array__") or type(leaf) in CONSTANTS
    return leaf if is_known else Other(type(leaf).__name__)


def restore(optimizer: Optimizer, source: Source) -> None:
    """Have an optimizer go on with what is in a file; nothing is written before all is read.

    Raises:
        TreeError: A tree or a leaf is missing, unexpected, or of another kind.
        LeafValueError: A shape or dtype differs, or an array of the optimizer's is read-only.
        CheckpointError: The file is cut off or damaged.
    """
    check(optimizer)
    about = source.header.optimizer
    fit = Fit(source)
    leaves, spec = flatten(optimizer.params)
    copies = optimizer._masters
    params = fit.tree("params", optimizer.params)
    state = fit.tree("state", optimizer.state)
    master = spec.unflatten([None] * len(leaves))
    if any(copy is not None for copy in copies) and (about or "master" in source.header.trees):
        master = fit.tree("master", spec.unflatten(copies))
    else:
        fit.refuse("master")
    fit.check()
    steps, key = None, optimizer._rounding
    if about is not None:
        try:
            steps = number_of_steps(about["steps"])
            key = rounding_key(about["rounding"], about["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{source.file}: the header is malformed: {error!s:.100}"
            ) from None
    given = list(zip(leaves, flatten(params)[0], flatten(master)[0], strict=True))
    # A parameter is not always its copy rounded to nearest.
    rounded = [(own, np.array(new)) for own, new, copy in given if copy is not None]
    whole = spec.unflatten([new if copy is None else copy for _, new, copy in given])
    optimizer.load(whole, state, steps=steps)
    for own, new in rounded:
        np.copyto(own, new)
    optimizer._round_with(key)
