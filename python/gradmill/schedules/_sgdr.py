from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from gradmill._data.checks import number
from gradmill._data.recorded import recorded
from gradmill.schedules._join import join_schedules, warmup_cosine_decay_schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gradmill.schedules._base import BuiltinSchedule


@recorded
def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> BuiltinSchedule:
    """Rise and decay again and again: warm restarts (SGDR).

    Args:
        cosine_kwargs: For each cycle the arguments of :func:`warmup_cosine_decay_schedule`, by
            name; ``decay_steps`` is the number of steps until the next cycle begins.

    Returns:
        A function of the step count. After the last cycle its last value stays.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: There is no cycle, or in one ``decay_steps`` is not larger than
            ``warmup_steps``.

    Example:
        >>> import gradmill as gm
        >>> cycle = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 1, "decay_steps": 3}
        >>> schedule = gm.sgdr_schedule([cycle, {**cycle, "peak_value": 0.5}])
        >>> [round(schedule(count), 6) for count in range(7)]
        [0.0, 1.0, 0.5, 0.0, 0.5, 0.25, 0.0]

    References:
        Loshchilov and Hutter, `SGDR: Stochastic Gradient Descent with Warm Restarts
        <https://arxiv.org/abs/1608.03983>`_, 2017.
    """
    cycles = list(cosine_kwargs)
    if not cycles:
        raise ValueError("sgdr_schedule needs at least one cycle")
    schedules = [warmup_cosine_decay_schedule(**cycle) for cycle in cycles]
    ends = list(accumulate(number("decay_steps", cycle["decay_steps"]) for cycle in cycles))
    return join_schedules(schedules, ends[:-1])
