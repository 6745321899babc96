"""Transformations, one family per file, named as the op in Rust."""

from gradmill._data.trees import MaskedNode as MaskedNode
from gradmill._data.types import ConditionFn as ConditionFn
from gradmill._data.types import EmptyState as _EmptyState
from gradmill._data.types import MaskedState as MaskedState
from gradmill._data.types import PartitionState as PartitionState
from gradmill._data.types import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
from gradmill.transforms._adadelta import ScaleByAdaDeltaState as ScaleByAdaDeltaState
from gradmill.transforms._adadelta import scale_by_adadelta as scale_by_adadelta
from gradmill.transforms._adam import ScaleByAdamState as ScaleByAdamState
from gradmill.transforms._adam import scale_by_adam as scale_by_adam
from gradmill.transforms._adamax import scale_by_adamax as scale_by_adamax
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
from gradmill.transforms._chain import chain as chain
from gradmill.transforms._chain import named_chain as named_chain
from gradmill.transforms._clip import clip as clip
from gradmill.transforms._clip_up import ScaleByClipUpState as ScaleByClipUpState
from gradmill.transforms._clip_up import scale_by_clip_up as scale_by_clip_up
from gradmill.transforms._conditional import ConditionallyMaskState as ConditionallyMaskState
from gradmill.transforms._conditional import (
    ConditionallyTransformState as ConditionallyTransformState,
)
from gradmill.transforms._conditional import conditionally_mask as conditionally_mask
from gradmill.transforms._conditional import conditionally_transform as conditionally_transform
from gradmill.transforms._decayed_weights import WeightDecaySchedule as WeightDecaySchedule
from gradmill.transforms._decayed_weights import add_decayed_weights as add_decayed_weights
from gradmill.transforms._distance_over_gradients import (
    ScaleByDistanceOverGradientsState as ScaleByDistanceOverGradientsState,
)
from gradmill.transforms._distance_over_gradients import (
    scale_by_distance_over_gradients as scale_by_distance_over_gradients,
)
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
from gradmill.transforms._inject import InjectHyperparamsState as InjectHyperparamsState
from gradmill.transforms._inject import (
    InjectStatefulHyperparamsState as InjectStatefulHyperparamsState,
)
from gradmill.transforms._inject import inject_hyperparams as inject_hyperparams
from gradmill.transforms._lbfgs import ScaleByLBFGSState as ScaleByLBFGSState
from gradmill.transforms._lbfgs import scale_by_lbfgs as scale_by_lbfgs
from gradmill.transforms._lion import ScaleByLionState as ScaleByLionState
from gradmill.transforms._lion import scale_by_lion as scale_by_lion
from gradmill.transforms._lookahead import LookaheadParams as LookaheadParams
from gradmill.transforms._lookahead import LookaheadState as LookaheadState
from gradmill.transforms._lookahead import lookahead as lookahead
from gradmill.transforms._masking import freeze as freeze
from gradmill.transforms._masking import masked as masked
from gradmill.transforms._masking import partition as partition
from gradmill.transforms._masking import selective_transform as selective_transform
from gradmill.transforms._matrices import matrix_inverse_pth_root as matrix_inverse_pth_root
from gradmill.transforms._matrices import power_iteration as power_iteration
from gradmill.transforms._maximize import maximize as maximize
from gradmill.transforms._measure import MonitorState as MonitorState
from gradmill.transforms._measure import SnapshotState as SnapshotState
from gradmill.transforms._measure import measure_with_ema as measure_with_ema
from gradmill.transforms._measure import monitor as monitor
from gradmill.transforms._measure import snapshot as snapshot
from gradmill.transforms._multi_steps import MultiSteps as MultiSteps
from gradmill.transforms._multi_steps import MultiStepsState as MultiStepsState
from gradmill.transforms._noise import AddNoiseState as AddNoiseState
from gradmill.transforms._noise import add_noise as add_noise
from gradmill.transforms._nonnegative import keep_params_nonnegative as keep_params_nonnegative
from gradmill.transforms._norms import safe_norm as safe_norm
from gradmill.transforms._norms import safe_root_mean_squares as safe_root_mean_squares
from gradmill.transforms._novograd import ScaleByNovogradState as ScaleByNovogradState
from gradmill.transforms._novograd import scale_by_novograd as scale_by_novograd
from gradmill.transforms._optimistic import (
    ScaleByOptimisticGradientState as ScaleByOptimisticGradientState,
)
from gradmill.transforms._optimistic import (
    scale_by_optimistic_gradient as scale_by_optimistic_gradient,
)
from gradmill.transforms._param_block import scale_by_param_block_norm as scale_by_param_block_norm
from gradmill.transforms._param_block import scale_by_param_block_rms as scale_by_param_block_rms
from gradmill.transforms._parameter_average import ParameterAverageState as ParameterAverageState
from gradmill.transforms._parameter_average import parameter_average as parameter_average
from gradmill.transforms._parameter_average import use_params as use_params
from gradmill.transforms._per_example import PerExampleClipState as PerExampleClipState
from gradmill.transforms._per_example import (
    per_example_global_norm_clip as per_example_global_norm_clip,
)
from gradmill.transforms._per_example import (
    per_example_layer_norm_clip as per_example_layer_norm_clip,
)
from gradmill.transforms._polyak import scale_by_polyak as scale_by_polyak
from gradmill.transforms._quantized import dequantize_state as dequantize_state
from gradmill.transforms._quantized import quantize_state as quantize_state
from gradmill.transforms._quantized import quantized_state as quantized_state
from gradmill.transforms._radam import scale_by_radam as scale_by_radam
from gradmill.transforms._rms import ScaleByRmsState as ScaleByRmsState
from gradmill.transforms._rms import ScaleByRmsWithCountState as ScaleByRmsWithCountState
from gradmill.transforms._rms import ScaleByRStdDevState as ScaleByRStdDevState
from gradmill.transforms._rms import ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState
from gradmill.transforms._rms import scale_by_rms as scale_by_rms
from gradmill.transforms._rms import scale_by_stddev as scale_by_stddev
from gradmill.transforms._rprop import ScaleByRpropState as ScaleByRpropState
from gradmill.transforms._rprop import scale_by_rprop as scale_by_rprop
from gradmill.transforms._rss import ScaleByRssState as ScaleByRssState
from gradmill.transforms._rss import scale_by_rss as scale_by_rss
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
from gradmill.transforms._unitwise import unitwise_clip as unitwise_clip
from gradmill.transforms._unitwise import unitwise_norm as unitwise_norm
from gradmill.transforms._yogi import scale_by_yogi as scale_by_yogi
from gradmill.transforms._zero import ApplyIfFiniteState as ApplyIfFiniteState
from gradmill.transforms._zero import ZeroNansState as ZeroNansState
from gradmill.transforms._zero import apply_if_finite as apply_if_finite
from gradmill.transforms._zero import set_to_zero as set_to_zero
from gradmill.transforms._zero import zero_nans as zero_nans
from gradmill.transforms._zoom import ScaleByZoomLinesearchState as ScaleByZoomLinesearchState
from gradmill.transforms._zoom import ZoomLinesearchInfo as ZoomLinesearchInfo
from gradmill.transforms._zoom import scale_by_zoom_linesearch as scale_by_zoom_linesearch

NonNegativeParamsState = _EmptyState  # optax's name for it

__all__ = [name for name in dir() if not name.startswith("_")]
