"""Running averages of parameters."""

from __future__ import annotations

from typing import Any

from gradmill._data.numbers import is_traced
from gradmill._ops.common import average as mix
from gradmill._ops.op import op

Array = Any


@op
def parameter_average(
    xp: Any,
    u: Array,
    p: Array,
    average: Array,
    *,
    decay: Array,
    polyak: Any,
    start: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Hand on the update, and average what the parameters become."""
    return u, mix(_weight_of_past(decay, polyak, start, count), average, p + u)


def _weight_of_past(decay: Array, polyak: Any, start: Any, count: Any) -> Any:
    """That of all parameters before, of which those before ``start`` have none."""
    steps = count - start
    if not is_traced(steps):
        taken = max(steps, 0.0)
        return taken / (taken + 1.0) if polyak else decay * float(steps >= 0)
    xp = steps.__array_namespace__()
    taken = xp.maximum(steps, 0.0)
    return taken / (taken + 1.0) if polyak else xp.where(steps >= 0, decay, 0.0)
