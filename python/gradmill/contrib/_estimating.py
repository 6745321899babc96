"""Numbers of a state that an op estimates from sums over the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.numbers import integer, is_traced
from gradmill._plan.control import Control, Plan
from gradmill._plan.scalars import next_count
from gradmill.contrib._numbers import dtype_of_numbers, rate_at, real_number

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

    counts = ("count",)

    def __init__(self, op: Op, hyper: Mapping[str, Any], first: Mapping[str, Any]) -> None:
        self.op = op
        self.hyper = dict(hyper)
        self.first = dict(first)

    def init(self, params: PyTree) -> dict[str, Any]:
        dtype = dtype_of_numbers(params)
        fields: dict[str, Any] = {"count": np.zeros((), np.int32)}
        for name, first in self.first.items():
            value = first(params) if callable(first) else first
            fields[name] = value.astype(dtype) if is_traced(value) else np.asarray(value, dtype)
        return fields

    def plan(self, state: Any, context: Context) -> Plan:
        numbers: dict[str, Any] = {"count": integer(state.count)}
        numbers |= {name: rate_at(value, state.count) for name, value in self.hyper.items()}
        numbers |= {name: real_number(getattr(state, name)) for name in self.first}
        return Plan(tuple(numbers[name] for name in self.op.scalars))

    def advance(self, state: Any, plan: Plan, found: Any) -> dict[str, Any]:
        return {"count": next_count(state.count), **dict(zip(self.first, found, strict=True))}
