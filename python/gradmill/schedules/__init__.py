"""Functions of the step count, evaluated in float64."""

from gradmill.schedules._constant import constant_schedule as constant_schedule
from gradmill.schedules._cosine import cosine_decay_schedule as cosine_decay_schedule
from gradmill.schedules._join import join_schedules as join_schedules
from gradmill.schedules._join import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from gradmill.schedules._polynomial import linear_schedule as linear_schedule
from gradmill.schedules._polynomial import polynomial_schedule as polynomial_schedule
