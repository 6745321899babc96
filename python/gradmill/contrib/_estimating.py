"""Numbers of a state that an op estimates from sums over the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.numbers import HOST, TRACED, integer, is_traced, namespace_of
from gradmill._plan.control import Control, FieldError, Plan
from gradmill._plan.scalars import counted
from gradmill.contrib._numbers import dtype_of_numbers, rate_at, real_number
from gradmill.errors import LeafTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree
    from gradmill._ops.op import Op
    from gradmill._plan.control import Context


class Estimating(Control):
    """Keeps what an op estimates.

    Args:
        op: The op, whose scalars are hyperparameters, fields of the state, and the count.
        hyper: The hyperparameters, among them schedules.
        first: The fields that it estimates, in order, with their first values: numbers, or
            functions of the parameters.
    """

    def __init__(self, op: Op, hyper: Mapping[str, Any], first: Mapping[str, Any]) -> None:
        self.op = op
        self.hyper = dict(hyper)
        self.first = dict(first)
        self.counts = ("count",) if "count" in op.scalars else ()

    def init(self, params: PyTree) -> dict[str, Any]:
        dtype = dtype_of_numbers(params)
        fields: dict[str, Any] = {name: np.zeros((), np.int32) for name in self.counts}
        for name, first in self.first.items():
            value = first(params) if callable(first) else first
            fields[name] = value.astype(dtype) if is_traced(value) else np.asarray(value, dtype)
        return fields

    def plan(self, state: Any, context: Context) -> Plan:
        return self.planned(state, context, self.hyper)

    def planned(self, state: Any, context: Context, hyper: Mapping[str, Any]) -> Plan:
        """The step to come with some hyperparameters."""
        numbers: dict[str, Any] = {}
        for name in self.first:
            value = getattr(state, name)
            if context.xp is HOST and is_traced(value):
                raise FieldError(name, TRACED, LeafTypeError)
            numbers[name] = real_number(value)
        numbers["count"] = integer(state.count) if self.counts else 0
        numbers |= {name: rate_at(value, numbers["count"]) for name, value in hyper.items()}
        return Plan(tuple(numbers[name] for name in self.op.scalars))

    def advance(self, state: Any, plan: Plan, found: Any) -> dict[str, Any]:
        fields = counted(self.counts, state)
        for name, value in zip(self.first, found, strict=True):
            fields[name] = _stored(value, getattr(state, name))
        return fields


def _stored(value: Any, old: Any) -> Any:
    """Zero for what is subnormal in the dtype of ``old``, as in the arrays of a state."""
    least = float(np.finfo(getattr(old, "dtype", np.float64)).tiny)
    return namespace_of(value).where(abs(value) < least, 0.0, value)
