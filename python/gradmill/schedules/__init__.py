"""Functions of the step count, evaluated in float64."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from gradmill._data.types import Schedule as Schedule
from gradmill._data.types import WrappedScheduleState as WrappedScheduleState
from gradmill.schedules._constant import constant_schedule as constant_schedule
from gradmill.schedules._cosine import cosine_decay_schedule as cosine_decay_schedule
from gradmill.schedules._exponential import exponential_decay as exponential_decay
from gradmill.schedules._join import join_schedules as join_schedules
from gradmill.schedules._join import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from gradmill.schedules._onecycle import cosine_onecycle_schedule as cosine_onecycle_schedule
from gradmill.schedules._onecycle import linear_onecycle_schedule as linear_onecycle_schedule
from gradmill.schedules._piecewise import piecewise_constant_schedule as piecewise_constant_schedule
from gradmill.schedules._piecewise import (
    piecewise_interpolate_schedule as piecewise_interpolate_schedule,
)
from gradmill.schedules._polynomial import linear_schedule as linear_schedule
from gradmill.schedules._polynomial import polynomial_schedule as polynomial_schedule
from gradmill.schedules._sgdr import sgdr_schedule as sgdr_schedule
from gradmill.schedules._stateful import StatefulSchedule as StatefulSchedule
from gradmill.schedules._stateful import WrappedSchedule as WrappedSchedule
from gradmill.schedules._warmup import warmup_constant_schedule as warmup_constant_schedule
from gradmill.schedules._warmup import (
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
)
from gradmill.schedules._warmup_stable_decay import (
    warmup_stable_decay_schedule as warmup_stable_decay_schedule,
)

_OF_TRANSFORMS = (
    *("InjectHyperparamsState", "InjectStatefulHyperparamsState"),
    *("inject_hyperparams", "inject_stateful_hyperparams"),
)
"""What optax has here as well, and this package in rooms above."""

__all__ = [name for name in (*dir(), *_OF_TRANSFORMS) if not name.startswith("_")]

if _TYPE_CHECKING:
    InjectHyperparamsState: type[_Any]
    InjectStatefulHyperparamsState: type[_Any]
    inject_hyperparams: _Any
    inject_stateful_hyperparams: _Any
else:

    def __getattr__(name: str) -> _Any:
        """What stands in a room above."""
        if name in _OF_TRANSFORMS:
            return getattr(_import_module("gradmill"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
