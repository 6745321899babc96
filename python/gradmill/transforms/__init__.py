"""Transformations, one family in a file, under the name of the op in Rust."""

from gradmill.transforms._adam import ScaleByAdamState as ScaleByAdamState
from gradmill.transforms._adam import scale_by_adam as scale_by_adam
from gradmill.transforms._clip import clip as clip
from gradmill.transforms._decayed_weights import WeightDecaySchedule as WeightDecaySchedule
from gradmill.transforms._decayed_weights import add_decayed_weights as add_decayed_weights
from gradmill.transforms._global_norm import clip_by_global_norm as clip_by_global_norm
from gradmill.transforms._identity import identity as identity
from gradmill.transforms._scale import ScaleByScheduleState as ScaleByScheduleState
from gradmill.transforms._scale import scale as scale
from gradmill.transforms._scale import scale_by_learning_rate as scale_by_learning_rate
from gradmill.transforms._scale import scale_by_schedule as scale_by_schedule
from gradmill.transforms._trace import TraceState as TraceState
from gradmill.transforms._trace import trace as trace
