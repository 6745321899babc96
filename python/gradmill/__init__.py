"""Gradient transformations for NumPy: optax's API, one pass over memory."""

from gradmill import errors as errors
from gradmill import schedules as schedules
from gradmill import transforms as transforms
from gradmill._base import EmptyState as EmptyState
from gradmill._base import GradientTransformation as GradientTransformation
from gradmill._base import GradientTransformationExtraArgs as GradientTransformationExtraArgs
from gradmill._chain import chain as chain
from gradmill._explain import explain as explain
from gradmill._info import build_info as build_info
from gradmill._info import warn_if_debug as _warn_if_debug
from gradmill._scalars import safe_increment as safe_increment
from gradmill._state import MaskedNode as MaskedNode
from gradmill._state import MaskedState as MaskedState
from gradmill._threads import num_threads as num_threads
from gradmill._threads import set_num_threads as set_num_threads
from gradmill._update import apply_updates as apply_updates
from gradmill._update import global_norm as global_norm
from gradmill.optimizer import Optimizer as Optimizer
from gradmill.optimizer import StepReport as StepReport
from gradmill.optimizers import adam as adam
from gradmill.optimizers import adamw as adamw
from gradmill.optimizers import sgd as sgd
from gradmill.schedules import constant_schedule as constant_schedule
from gradmill.schedules import cosine_decay_schedule as cosine_decay_schedule
from gradmill.schedules import join_schedules as join_schedules
from gradmill.schedules import linear_schedule as linear_schedule
from gradmill.schedules import polynomial_schedule as polynomial_schedule
from gradmill.schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from gradmill.transforms import ScaleByAdamState as ScaleByAdamState
from gradmill.transforms import ScaleByScheduleState as ScaleByScheduleState
from gradmill.transforms import TraceState as TraceState
from gradmill.transforms import WeightDecaySchedule as WeightDecaySchedule
from gradmill.transforms import add_decayed_weights as add_decayed_weights
from gradmill.transforms import clip as clip
from gradmill.transforms import clip_by_global_norm as clip_by_global_norm
from gradmill.transforms import identity as identity
from gradmill.transforms import scale as scale
from gradmill.transforms import scale_by_adam as scale_by_adam
from gradmill.transforms import scale_by_learning_rate as scale_by_learning_rate
from gradmill.transforms import scale_by_schedule as scale_by_schedule
from gradmill.transforms import trace as trace

__version__: str = build_info()["version"]

_warn_if_debug()
