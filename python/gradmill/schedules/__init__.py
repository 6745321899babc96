"""Functions of the step count, evaluated in float64."""

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
