"""Tree formulas: transformations that couple leaves or multiply matrices, in array code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gradmill._data.numbers import library_of
from gradmill._data.trees import flatten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree


class Init(Protocol):
    """Makes the first state."""

    def __call__(self, xp: Any, params: PyTree, **hyper: Any) -> PyTree:
        """Return it; ``xp`` has the functions of the library that the parameters are of."""
        ...


class Update(Protocol):
    """Takes a step."""

    def __call__(
        self,
        xp: Any,
        updates: PyTree,
        state: Any,
        params: PyTree | None,
        extra: Mapping[str, Any],
        **hyper: Any,
    ) -> tuple[PyTree, PyTree]:
        """Return new updates and the new state, and write to no argument."""
        ...


class TreeFormula:
    """Two functions of trees with their hyperparameters, for NumPy's arrays and JAX's.

    Both are functions of a module, by whose names a transformation pickles. They compute with
    :mod:`gradmill.tree` and the functions of ``xp``.
    """

    def __init__(self, init: Init, update: Update, hyper: Mapping[str, Any]) -> None:
        self._init = init
        self._update = update
        self._hyper = dict(hyper)

    @property
    def name(self) -> str:
        """That of the function which takes a step."""
        return str(getattr(self._update, "__name__", self._update))

    def init(self, params: PyTree) -> PyTree:
        """Return the initial state for ``params``."""
        return self._init(_library(params), params, **self._hyper)

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates and the new state."""
        xp = _library(updates)
        return self._update(xp, updates, state, params, extra_args, **self._hyper)


def _library(tree: PyTree) -> Any:
    """The functions of the library that the leaves of ``tree`` are of."""
    leaves = [leaf for leaf in flatten(tree)[0] if leaf is not None]
    return library_of(leaves[0] if leaves else 0.0)
