"""Transformations, one family in a file, under the name of the op in Rust."""

from gradmill.transforms._adadelta import ScaleByAdaDeltaState as ScaleByAdaDeltaState
from gradmill.transforms._adadelta import scale_by_adadelta as scale_by_adadelta
from gradmill.transforms._adam import ScaleByAdamState as ScaleByAdamState
from gradmill.transforms._adam import scale_by_adam as scale_by_adam
from gradmill.transforms._adan import ScaleByAdanState as ScaleByAdanState
from gradmill.transforms._adan import scale_by_adan as scale_by_adan
from gradmill.transforms._amsgrad import ScaleByAmsgradState as ScaleByAmsgradState
from gradmill.transforms._amsgrad import scale_by_amsgrad as scale_by_amsgrad
from gradmill.transforms._backtracking import (
    ScaleByBacktrackingLinesearchState as ScaleByBacktrackingLinesearchState,
)
from gradmill.transforms._backtracking import (
    scale_by_backtracking_linesearch as scale_by_backtracking_linesearch,
)
from gradmill.transforms._belief import ScaleByBeliefState as ScaleByBeliefState
from gradmill.transforms._belief import scale_by_belief as scale_by_belief
from gradmill.transforms._clip import clip as clip
from gradmill.transforms._conditional import ConditionallyMaskState as ConditionallyMaskState
from gradmill.transforms._conditional import (
    ConditionallyTransformState as ConditionallyTransformState,
)
from gradmill.transforms._conditional import conditionally_mask as conditionally_mask
from gradmill.transforms._conditional import conditionally_transform as conditionally_transform
from gradmill.transforms._decayed_weights import WeightDecaySchedule as WeightDecaySchedule
from gradmill.transforms._decayed_weights import add_decayed_weights as add_decayed_weights
from gradmill.transforms._ema import EmaState as EmaState
from gradmill.transforms._ema import ema as ema
from gradmill.transforms._every import ApplyEvery as ApplyEvery
from gradmill.transforms._every import ApplyEveryInner as ApplyEveryInner
from gradmill.transforms._every import apply_every as apply_every
from gradmill.transforms._factored import FactoredState as FactoredState
from gradmill.transforms._factored import scale_by_factored_rms as scale_by_factored_rms
from gradmill.transforms._flatten import flatten as flatten
from gradmill.transforms._from_state import value_and_grad_from_state as value_and_grad_from_state
from gradmill.transforms._global_norm import clip_by_global_norm as clip_by_global_norm
from gradmill.transforms._global_norm import normalize_by_update_norm as normalize_by_update_norm
from gradmill.transforms._identity import identity as identity
from gradmill.transforms._inject import (
    InjectStatefulHyperparamsState as InjectStatefulHyperparamsState,
)
from gradmill.transforms._inject import inject_hyperparams as inject_hyperparams
from gradmill.transforms._lbfgs import ScaleByLBFGSState as ScaleByLBFGSState
from gradmill.transforms._lbfgs import scale_by_lbfgs as scale_by_lbfgs
from gradmill.transforms._lion import ScaleByLionState as ScaleByLionState
from gradmill.transforms._lion import scale_by_lion as scale_by_lion
from gradmill.transforms._masking import freeze as freeze
from gradmill.transforms._masking import masked as masked
from gradmill.transforms._masking import partition as partition
from gradmill.transforms._masking import selective_transform as selective_transform
from gradmill.transforms._multi_steps import MultiSteps as MultiSteps
from gradmill.transforms._multi_steps import MultiStepsState as MultiStepsState
from gradmill.transforms._noise import AddNoiseState as AddNoiseState
from gradmill.transforms._noise import add_noise as add_noise
from gradmill.transforms._nonnegative import keep_params_nonnegative as keep_params_nonnegative
from gradmill.transforms._novograd import ScaleByNovogradState as ScaleByNovogradState
from gradmill.transforms._novograd import scale_by_novograd as scale_by_novograd
from gradmill.transforms._param_block import scale_by_param_block_norm as scale_by_param_block_norm
from gradmill.transforms._param_block import scale_by_param_block_rms as scale_by_param_block_rms
from gradmill.transforms._radam import scale_by_radam as scale_by_radam
from gradmill.transforms._rms import ScaleByRmsState as ScaleByRmsState
from gradmill.transforms._rms import ScaleByRmsWithCountState as ScaleByRmsWithCountState
from gradmill.transforms._rms import ScaleByRStdDevState as ScaleByRStdDevState
from gradmill.transforms._rms import ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState
from gradmill.transforms._rms import scale_by_rms as scale_by_rms
from gradmill.transforms._rms import scale_by_stddev as scale_by_stddev
from gradmill.transforms._rprop import ScaleByRpropState as ScaleByRpropState
from gradmill.transforms._rprop import scale_by_rprop as scale_by_rprop
from gradmill.transforms._scale import ScaleByScheduleState as ScaleByScheduleState
from gradmill.transforms._scale import scale as scale
from gradmill.transforms._scale import scale_by_learning_rate as scale_by_learning_rate
from gradmill.transforms._scale import scale_by_schedule as scale_by_schedule
from gradmill.transforms._sign import scale_by_sign as scale_by_sign
from gradmill.transforms._skip import skip_large_updates as skip_large_updates
from gradmill.transforms._skip import skip_not_finite as skip_not_finite
from gradmill.transforms._sm3 import ScaleBySM3State as ScaleBySM3State
from gradmill.transforms._sm3 import scale_by_sm3 as scale_by_sm3
from gradmill.transforms._stateless import init_empty_state as init_empty_state
from gradmill.transforms._stateless import stateless as stateless
from gradmill.transforms._stateless import stateless_with_tree_map as stateless_with_tree_map
from gradmill.transforms._stateless import with_extra_args_support as with_extra_args_support
from gradmill.transforms._trace import TraceState as TraceState
from gradmill.transforms._trace import trace as trace
from gradmill.transforms._unitwise import adaptive_grad_clip as adaptive_grad_clip
from gradmill.transforms._unitwise import centralize as centralize
from gradmill.transforms._unitwise import clip_by_block_rms as clip_by_block_rms
from gradmill.transforms._unitwise import scale_by_trust_ratio as scale_by_trust_ratio
from gradmill.transforms._yogi import scale_by_yogi as scale_by_yogi
from gradmill.transforms._zero import ApplyIfFiniteState as ApplyIfFiniteState
from gradmill.transforms._zero import ZeroNansState as ZeroNansState
from gradmill.transforms._zero import apply_if_finite as apply_if_finite
from gradmill.transforms._zero import set_to_zero as set_to_zero
from gradmill.transforms._zero import zero_nans as zero_nans
from gradmill.transforms._zoom import ScaleByZoomLinesearchState as ScaleByZoomLinesearchState
from gradmill.transforms._zoom import ZoomLinesearchInfo as ZoomLinesearchInfo
from gradmill.transforms._zoom import scale_by_zoom_linesearch as scale_by_zoom_linesearch
