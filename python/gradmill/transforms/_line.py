"""A function along an update, and what line searches have in common."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.arrays import as_native, is_half
from gradmill._data.checks import number_of
from gradmill._data.numbers import is_traced
from gradmill._data.trees import Flattener, flatten, leaf_path, tree_map
from gradmill._data.types import NO_PARAMS_MSG
from gradmill._plan.align import hint_for
from gradmill._plan.match import match
from gradmill._run.update import apply_updates
from gradmill.errors import LeafTypeError, LeafValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradmill._data.types import PyTree


class Objective:
    """The function to minimize, as somebody hands it to a step.

    Args:
        name: What errors call who asks.
        value_fn: Called with parameters, returns a value; None if there is but the other.
        value_and_grad_fn: Returns a value and a gradient; None if there is but the first.
        extra: The extra arguments, each for those of the two that have such a parameter.

    Raises:
        TypeError: Both functions are missing, or neither takes an argument that was given.
    """

    def __init__(
        self,
        name: str,
        value_fn: Callable[..., Any] | None,
        value_and_grad_fn: Callable[..., Any] | None,
        extra: Mapping[str, Any],
    ) -> None:
        if value_fn is None and value_and_grad_fn is None:
            raise TypeError(f"{name} needs value_fn or value_and_grad_fn: {_CALL}")
        self._name = name
        self._value_fn, self._both_fn = value_fn, value_and_grad_fn
        self._of_value, self._of_both = (
            _taken(function, extra) for function in (value_fn, value_and_grad_fn)
        )
        left = sorted(extra.keys() - self._of_value.keys() - self._of_both.keys())
        if left:
            raise TypeError(f"{name}: the function takes no argument {', '.join(left)}")

    @property
    def has_grad(self) -> bool:
        """Whether it gives gradients."""
        return self._both_fn is not None

    def value(self, params: PyTree) -> tuple[float, PyTree | None]:
        """The value, and the gradient where that costs no further call."""
        if self._value_fn is None:
            return self.value_and_grad(params)
        return self._number(self._value_fn(params, **self._of_value)), None

    def value_and_grad(self, params: PyTree) -> tuple[float, PyTree]:
        """The value and the gradient."""
        assert self._both_fn is not None  # noqa: S101  (for the type checker)
        value, grad = self._both_fn(params, **self._of_both)
        return self._number(value), grad

    def _number(self, value: Any) -> float:
        return checked_value(self._name, "the function returned", value)


_CALL = "call update(updates, state, params, value=..., grad=..., value_fn=...)"


def checked_value(name: str, what: str, value: Any) -> float:
    """A value as a float; it may be a NaN.

    Raises:
        TypeError: It is not a number at hand.
    """
    if is_traced(value):
        raise TypeError(f"{name} {ON_THE_HOST}")
    found = number_of(value)
    if found is None:
        raise TypeError(f"{name}: {what} {value!r:.80}, expected a number")
    return float(found)


ON_THE_HOST = (
    "calls your function on the host until it finds a step, which no JAX program can do; call"
    " update outside jit, or use optax's line search"
)
"""What is wrong with values that are traced."""


def _taken(function: Callable[..., Any] | None, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The extra arguments that are for a function."""
    if function is None or not extra:
        return {}
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # one of C says nothing of them
        return dict(extra)
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return dict(extra)
    return {name: value for name, value in extra.items() if name in parameters}


class Point(NamedTuple):
    """The function at a multiple of the updates.

    Attributes:
        rate: The multiple.
        value: The value there.
        slope: The derivative by the multiple; NaN where it is not known.
        grads: The leaves of the gradient; None where it is not known.
    """

    rate: float
    value: float
    slope: float
    grads: list[Any] | None


class Line:
    """A function along updates.

    Candidates are what ``apply_updates`` makes of scaled updates, so a value is that at the very
    parameters which a step leads to.

    Args:
        name: What errors call who asks.
        updates: The updates.
        params: The parameters.
        value: The value at the parameters.
        grad: The gradient there.
        objective: The function.

    Raises:
        ValueError: Parameters are missing.
        TypeError: There is no value or gradient, or something is traced.
        TreeError: ``grad`` has another structure than the updates.
        LeafTypeError: A leaf is not an array of floats.
        LeafValueError: A gradient has another shape than its update.
    """

    def __init__(
        self,
        name: str,
        updates: PyTree,
        params: PyTree | None,
        value: Any,
        grad: PyTree | None,
        objective: Objective,
    ) -> None:
        if params is None:
            raise ValueError(f"{name} {NO_PARAMS_MSG}")
        if value is None or grad is None:
            raise TypeError(f"{name} needs the current value and gradient: {_CALL}")
        if any(is_traced(leaf) for given in (updates, params, grad) for leaf in flatten(given)[0]):
            raise TypeError(f"{name} {ON_THE_HOST}")
        self._name = name
        leaves, self._structure = Flattener()(updates)
        self._updates = self._arrays("updates", leaves)
        self._params, self._objective = params, objective
        self.start = self._point(0.0, checked_value(name, "value is", value), grad, "grad")

    def at(self, rate: float, *, with_grad: bool) -> Point:
        """The function at a multiple of the updates, with its gradient or as it comes."""
        params = apply_updates(self._params, self.scaled(rate))
        both = self._objective.value_and_grad if with_grad else self._objective.value
        value, grad = both(params)
        return self._point(rate, value, grad, "the gradient")

    def scaled(self, rate: float) -> PyTree:
        """A multiple of the updates; zeros for none of them, whatever they are."""
        leaves = tree.scale(rate, self._updates) if rate else tree.zeros_like(self._updates)
        return self._structure.rebuild(leaves)

    def kept(self, point: Point, old: PyTree) -> PyTree:
        """The gradient at a point as a tree like an older one; a leaf without one stays."""
        slot = match(old, self._structure, "state.grad", "updates")
        assert point.grads is not None  # noqa: S101  (for the type checker)
        pairs = zip(point.grads, slot.leaves, strict=True)
        return slot.rebuild(
            [last if new is None else np.array(new, last.dtype, order="C") for new, last in pairs]
        )

    def _point(self, rate: float, value: float, grad: PyTree | None, name: str) -> Point:
        if grad is None:
            return Point(rate, value, math.nan, None)
        found = match(grad, self._structure, name, "updates").leaves
        # Copies: the function may give the same memory again.
        grads = [None if leaf is None else leaf.copy() for leaf in self._arrays(name, found)]
        for at, (own, update) in enumerate(zip(grads, self._updates, strict=True)):
            if own is not None and update is not None and own.shape != update.shape:
                path = leaf_path(self._structure.spec, at, name)
                raise LeafValueError(
                    f"{path}: shape {own.shape}, updates has {update.shape} ({self._name})"
                )
        pairs = zip(self._updates, grads, strict=True)
        both = [(update, own) for update, own in pairs if update is not None and own is not None]
        slope = tree.vdot([update for update, _ in both], [own for _, own in both])
        return Point(rate, value, float(slope), grads)

    def _arrays(self, name: str, leaves: list[Any]) -> list[Any]:
        """Leaves as arrays of float32 or float64."""
        arrays: list[Any] = []
        for at, leaf in enumerate(leaves):
            if leaf is None:
                arrays.append(None)
                continue
            try:
                array = as_native(leaf)
            except TypeError as error:
                path = leaf_path(self._structure.spec, at, name)
                problem = f"{path}: {error} ({self._name}){hint_for(leaf)}"
                raise LeafTypeError(problem) from None
            arrays.append(array.astype(np.float32) if is_half(array.dtype) else array)
        return arrays


def excess(amount: float) -> float:
    """By how much a bound is missed: infinitely where nobody knows."""
    return math.inf if math.isnan(amount) else max(amount, 0.0)


def zeros_of_grad(params: PyTree) -> PyTree:
    """A gradient of zeros, of float32 at least."""

    def wide(leaf: Any) -> Any:
        return leaf.astype(np.float32) if is_half(leaf.dtype) else leaf

    return tree_map(wide, tree.zeros_like(params))


def like_the_old(state: Any, **changes: Any) -> Any:
    """A state with other numbers, in the dtypes of those before."""
    return state._replace(
        **{name: np.asarray(new, getattr(state, name).dtype) for name, new in changes.items()}
    )
