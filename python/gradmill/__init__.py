"""Gradient transformations for NumPy: optax's API, one pass over memory."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from gradmill import checkpoints as checkpoints
from gradmill import contrib as contrib
from gradmill import errors as errors
from gradmill import evolution as evolution
from gradmill import experimental as experimental
from gradmill import projections as projections
from gradmill import schedules as schedules
from gradmill import transforms as transforms
from gradmill import tree as tree
from gradmill import tree_utils as tree_utils
from gradmill._data.codes import Quantized as Quantized
from gradmill._data.info import build_info as build_info
from gradmill._data.info import warn_if_debug as _warn_if_debug
from gradmill._data.memory import clear_cache as clear_cache
from gradmill._data.scope import missing as _missing
from gradmill._data.threads import num_threads as num_threads
from gradmill._data.threads import set_num_threads as set_num_threads
from gradmill._data.trees import MaskedNode as MaskedNode
from gradmill._data.trees import Path as Path
from gradmill._data.types import EmptyState as EmptyState
from gradmill._data.types import Mask as Mask
from gradmill._data.types import MaskedState as MaskedState
from gradmill._data.types import MaskOrFn as MaskOrFn
from gradmill._data.types import OptState as OptState
from gradmill._data.types import Params as Params
from gradmill._data.types import PartitionState as PartitionState
from gradmill._data.types import ScalarOrSchedule as ScalarOrSchedule
from gradmill._data.types import Schedule as Schedule
from gradmill._data.types import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
from gradmill._data.types import TransformInitFn as TransformInitFn
from gradmill._data.types import TransformUpdateExtraArgsFn as TransformUpdateExtraArgsFn
from gradmill._data.types import TransformUpdateFn as TransformUpdateFn
from gradmill._data.types import Updates as Updates
from gradmill._optimizer import Optimizer as Optimizer
from gradmill._plan.scalars import safe_increment as safe_increment
from gradmill._run.digest import state_digest as state_digest
from gradmill._run.explain import explain as explain
from gradmill._run.explanation import Explanation as Explanation
from gradmill._run.report import StepReport as StepReport
from gradmill._run.sums import weighted_sum as weighted_sum
from gradmill._run.target import incremental_update as incremental_update
from gradmill._run.target import periodic_update as periodic_update
from gradmill._run.transformation import GradientTransformation as GradientTransformation
from gradmill._run.transformation import (
    GradientTransformationExtraArgs as GradientTransformationExtraArgs,
)
from gradmill._run.update import apply_updates as apply_updates
from gradmill._run.update import global_norm as global_norm
from gradmill.checkpoints import load as load
from gradmill.checkpoints import save as save
from gradmill.optimizers import adabelief as adabelief
from gradmill.optimizers import adadelta as adadelta
from gradmill.optimizers import adafactor as adafactor
from gradmill.optimizers import adagrad as adagrad
from gradmill.optimizers import adam as adam
from gradmill.optimizers import adamax as adamax
from gradmill.optimizers import adamaxw as adamaxw
from gradmill.optimizers import adamw as adamw
from gradmill.optimizers import adan as adan
from gradmill.optimizers import amsgrad as amsgrad
from gradmill.optimizers import fromage as fromage
from gradmill.optimizers import lamb as lamb
from gradmill.optimizers import lars as lars
from gradmill.optimizers import lbfgs as lbfgs
from gradmill.optimizers import lion as lion
from gradmill.optimizers import nadam as nadam
from gradmill.optimizers import nadamw as nadamw
from gradmill.optimizers import noisy_sgd as noisy_sgd
from gradmill.optimizers import novograd as novograd
from gradmill.optimizers import optimistic_adam as optimistic_adam
from gradmill.optimizers import optimistic_adam_v2 as optimistic_adam_v2
from gradmill.optimizers import optimistic_gradient_descent as optimistic_gradient_descent
from gradmill.optimizers import polyak_sgd as polyak_sgd
from gradmill.optimizers import radam as radam
from gradmill.optimizers import rmsprop as rmsprop
from gradmill.optimizers import rprop as rprop
from gradmill.optimizers import sgd as sgd
from gradmill.optimizers import sign_sgd as sign_sgd
from gradmill.optimizers import signum as signum
from gradmill.optimizers import sm3 as sm3
from gradmill.optimizers import yogi as yogi
from gradmill.schedules import WrappedSchedule as WrappedSchedule
from gradmill.schedules import constant_schedule as constant_schedule
from gradmill.schedules import cosine_decay_schedule as cosine_decay_schedule
from gradmill.schedules import cosine_onecycle_schedule as cosine_onecycle_schedule
from gradmill.schedules import exponential_decay as exponential_decay
from gradmill.schedules import join_schedules as join_schedules
from gradmill.schedules import linear_onecycle_schedule as linear_onecycle_schedule
from gradmill.schedules import linear_schedule as linear_schedule
from gradmill.schedules import piecewise_constant_schedule as piecewise_constant_schedule
from gradmill.schedules import piecewise_interpolate_schedule as piecewise_interpolate_schedule
from gradmill.schedules import polynomial_schedule as polynomial_schedule
from gradmill.schedules import sgdr_schedule as sgdr_schedule
from gradmill.schedules import warmup_constant_schedule as warmup_constant_schedule
from gradmill.schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from gradmill.schedules import (
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
)
from gradmill.schedules import warmup_stable_decay_schedule as warmup_stable_decay_schedule
from gradmill.transforms import AddNoiseState as AddNoiseState
from gradmill.transforms import ApplyEvery as ApplyEvery
from gradmill.transforms import ApplyEveryInner as ApplyEveryInner
from gradmill.transforms import ApplyIfFiniteState as ApplyIfFiniteState
from gradmill.transforms import ConditionallyMaskState as ConditionallyMaskState
from gradmill.transforms import ConditionallyTransformState as ConditionallyTransformState
from gradmill.transforms import EmaState as EmaState
from gradmill.transforms import FactoredState as FactoredState
from gradmill.transforms import InjectHyperparamsState as InjectHyperparamsState
from gradmill.transforms import InjectStatefulHyperparamsState as InjectStatefulHyperparamsState
from gradmill.transforms import LookaheadParams as LookaheadParams
from gradmill.transforms import LookaheadState as LookaheadState
from gradmill.transforms import MonitorState as MonitorState
from gradmill.transforms import MultiSteps as MultiSteps
from gradmill.transforms import MultiStepsState as MultiStepsState
from gradmill.transforms import ParameterAverageState as ParameterAverageState
from gradmill.transforms import ScaleByAdaDeltaState as ScaleByAdaDeltaState
from gradmill.transforms import ScaleByAdamState as ScaleByAdamState
from gradmill.transforms import ScaleByAdanState as ScaleByAdanState
from gradmill.transforms import ScaleByAmsgradState as ScaleByAmsgradState
from gradmill.transforms import (
    ScaleByBacktrackingLinesearchState as ScaleByBacktrackingLinesearchState,
)
from gradmill.transforms import ScaleByBeliefState as ScaleByBeliefState
from gradmill.transforms import ScaleByClipUpState as ScaleByClipUpState
from gradmill.transforms import (
    ScaleByDistanceOverGradientsState as ScaleByDistanceOverGradientsState,
)
from gradmill.transforms import ScaleByLBFGSState as ScaleByLBFGSState
from gradmill.transforms import ScaleByLionState as ScaleByLionState
from gradmill.transforms import ScaleByNovogradState as ScaleByNovogradState
from gradmill.transforms import ScaleByOptimisticGradientState as ScaleByOptimisticGradientState
from gradmill.transforms import ScaleByRmsState as ScaleByRmsState
from gradmill.transforms import ScaleByRmsWithCountState as ScaleByRmsWithCountState
from gradmill.transforms import ScaleByRpropState as ScaleByRpropState
from gradmill.transforms import ScaleByRssState as ScaleByRssState
from gradmill.transforms import ScaleByRStdDevState as ScaleByRStdDevState
from gradmill.transforms import ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState
from gradmill.transforms import ScaleByScheduleState as ScaleByScheduleState
from gradmill.transforms import ScaleBySM3State as ScaleBySM3State
from gradmill.transforms import ScaleByZoomLinesearchState as ScaleByZoomLinesearchState
from gradmill.transforms import SnapshotState as SnapshotState
from gradmill.transforms import TraceState as TraceState
from gradmill.transforms import WeightDecaySchedule as WeightDecaySchedule
from gradmill.transforms import ZeroNansState as ZeroNansState
from gradmill.transforms import ZoomLinesearchInfo as ZoomLinesearchInfo
from gradmill.transforms import adaptive_grad_clip as adaptive_grad_clip
from gradmill.transforms import add_decayed_weights as add_decayed_weights
from gradmill.transforms import add_noise as add_noise
from gradmill.transforms import apply_every as apply_every
from gradmill.transforms import apply_if_finite as apply_if_finite
from gradmill.transforms import centralize as centralize
from gradmill.transforms import clip as clip
from gradmill.transforms import clip_by_block_rms as clip_by_block_rms
from gradmill.transforms import clip_by_global_norm as clip_by_global_norm
from gradmill.transforms import conditionally_mask as conditionally_mask
from gradmill.transforms import conditionally_transform as conditionally_transform
from gradmill.transforms import dequantize_state as dequantize_state
from gradmill.transforms import ema as ema
from gradmill.transforms import flatten as flatten
from gradmill.transforms import freeze as freeze
from gradmill.transforms import identity as identity
from gradmill.transforms import init_empty_state as init_empty_state
from gradmill.transforms import inject_hyperparams as inject_hyperparams
from gradmill.transforms import keep_params_nonnegative as keep_params_nonnegative
from gradmill.transforms import lookahead as lookahead
from gradmill.transforms import masked as masked
from gradmill.transforms import matrix_inverse_pth_root as matrix_inverse_pth_root
from gradmill.transforms import maximize as maximize
from gradmill.transforms import measure_with_ema as measure_with_ema
from gradmill.transforms import monitor as monitor
from gradmill.transforms import normalize_by_update_norm as normalize_by_update_norm
from gradmill.transforms import parameter_average as parameter_average
from gradmill.transforms import partition as partition
from gradmill.transforms import power_iteration as power_iteration
from gradmill.transforms import quantize_state as quantize_state
from gradmill.transforms import quantized_state as quantized_state
from gradmill.transforms import safe_norm as safe_norm
from gradmill.transforms import safe_root_mean_squares as safe_root_mean_squares
from gradmill.transforms import scale as scale
from gradmill.transforms import scale_by_adadelta as scale_by_adadelta
from gradmill.transforms import scale_by_adam as scale_by_adam
from gradmill.transforms import scale_by_adamax as scale_by_adamax
from gradmill.transforms import scale_by_adan as scale_by_adan
from gradmill.transforms import scale_by_amsgrad as scale_by_amsgrad
from gradmill.transforms import (
    scale_by_backtracking_linesearch as scale_by_backtracking_linesearch,
)
from gradmill.transforms import scale_by_belief as scale_by_belief
from gradmill.transforms import scale_by_clip_up as scale_by_clip_up
from gradmill.transforms import scale_by_distance_over_gradients as scale_by_distance_over_gradients
from gradmill.transforms import scale_by_factored_rms as scale_by_factored_rms
from gradmill.transforms import scale_by_lbfgs as scale_by_lbfgs
from gradmill.transforms import scale_by_learning_rate as scale_by_learning_rate
from gradmill.transforms import scale_by_lion as scale_by_lion
from gradmill.transforms import scale_by_novograd as scale_by_novograd
from gradmill.transforms import scale_by_optimistic_gradient as scale_by_optimistic_gradient
from gradmill.transforms import scale_by_param_block_norm as scale_by_param_block_norm
from gradmill.transforms import scale_by_param_block_rms as scale_by_param_block_rms
from gradmill.transforms import scale_by_polyak as scale_by_polyak
from gradmill.transforms import scale_by_radam as scale_by_radam
from gradmill.transforms import scale_by_rms as scale_by_rms
from gradmill.transforms import scale_by_rprop as scale_by_rprop
from gradmill.transforms import scale_by_rss as scale_by_rss
from gradmill.transforms import scale_by_schedule as scale_by_schedule
from gradmill.transforms import scale_by_sign as scale_by_sign
from gradmill.transforms import scale_by_sm3 as scale_by_sm3
from gradmill.transforms import scale_by_stddev as scale_by_stddev
from gradmill.transforms import scale_by_trust_ratio as scale_by_trust_ratio
from gradmill.transforms import scale_by_yogi as scale_by_yogi
from gradmill.transforms import scale_by_zoom_linesearch as scale_by_zoom_linesearch
from gradmill.transforms import selective_transform as selective_transform
from gradmill.transforms import set_to_zero as set_to_zero
from gradmill.transforms import skip_large_updates as skip_large_updates
from gradmill.transforms import skip_not_finite as skip_not_finite
from gradmill.transforms import snapshot as snapshot
from gradmill.transforms import stateless as stateless
from gradmill.transforms import stateless_with_tree_map as stateless_with_tree_map
from gradmill.transforms import trace as trace
from gradmill.transforms import use_params as use_params
from gradmill.transforms import value_and_grad_from_state as value_and_grad_from_state
from gradmill.transforms import with_extra_args_support as with_extra_args_support
from gradmill.transforms import zero_nans as zero_nans
from gradmill.transforms._chain import chain as chain
from gradmill.transforms._chain import named_chain as named_chain
from gradmill.transforms._per_example import PerExampleClipState as PerExampleClipState
from gradmill.transforms._per_example import (
    per_example_global_norm_clip as per_example_global_norm_clip,
)
from gradmill.transforms._per_example import (
    per_example_layer_norm_clip as per_example_layer_norm_clip,
)
from gradmill.tree import bias_correction as bias_correction
from gradmill.tree import update_infinity_moment as update_infinity_moment
from gradmill.tree import update_moment as update_moment
from gradmill.tree import update_moment_per_elem_norm as update_moment_per_elem_norm

# Other spellings of optax's.
AdaptiveGradClipState = EmptyState
AddDecayedWeightsState = EmptyState
ClipByGlobalNormState = EmptyState
ClipState = EmptyState
MultiTransformState = PartitionState
NonNegativeParamsState = EmptyState
ScaleByTrustRatioState = EmptyState
ScaleState = EmptyState
inject_stateful_hyperparams = inject_hyperparams
multi_transform = partition
safe_int32_increment = safe_increment
tree_map_params = tree.map_params

__version__: str = build_info()["version"]

__all__ = [name for name in dir() if not name.startswith("_")]

if not _TYPE_CHECKING:

    def __getattr__(name: str) -> None:
        """Say of a name that is optax's why it is none of this package's."""
        raise _missing(__name__, name)


_warn_if_debug()
