"""Algorithms from papers: those in ``optax.contrib``, under the same names, and others."""

from gradmill.contrib._acprop import acprop as acprop
from gradmill.contrib._acprop import scale_by_acprop as scale_by_acprop
from gradmill.contrib._adam_mini import adam_mini as adam_mini
from gradmill.contrib._adam_mini import scale_by_adam_mini as scale_by_adam_mini
from gradmill.contrib._ademamix import ScaleByAdemamixState as ScaleByAdemamixState
from gradmill.contrib._ademamix import ademamix as ademamix
from gradmill.contrib._ademamix import scale_by_ademamix as scale_by_ademamix
from gradmill.contrib._adopt import adopt as adopt
from gradmill.contrib._adopt import scale_by_adopt as scale_by_adopt
from gradmill.contrib._apollo_mini import ScaleByApolloMiniState as ScaleByApolloMiniState
from gradmill.contrib._apollo_mini import apollo_mini as apollo_mini
from gradmill.contrib._apollo_mini import scale_by_apollo_mini as scale_by_apollo_mini
from gradmill.contrib._cautious import CautiousState as CautiousState
from gradmill.contrib._cautious import cautious as cautious
from gradmill.contrib._cautious import cautious_adamw as cautious_adamw
from gradmill.contrib._cautious import cautious_weight_decay as cautious_weight_decay
from gradmill.contrib._cocob import COCOBState as COCOBState
from gradmill.contrib._cocob import cocob as cocob
from gradmill.contrib._cocob import scale_by_cocob as scale_by_cocob
from gradmill.contrib._complex_valued import (
    SplitRealAndImaginaryState as SplitRealAndImaginaryState,
)
from gradmill.contrib._complex_valued import split_real_and_imaginary as split_real_and_imaginary
from gradmill.contrib._dadapt_adamw import DAdaptAdamWState as DAdaptAdamWState
from gradmill.contrib._dadapt_adamw import dadapt_adamw as dadapt_adamw
from gradmill.contrib._dog import DoGState as DoGState
from gradmill.contrib._dog import dog as dog
from gradmill.contrib._dowg import DoWGState as DoWGState
from gradmill.contrib._dowg import dowg as dowg
from gradmill.contrib._galore import GaLoreDimensionNumbers as GaLoreDimensionNumbers
from gradmill.contrib._galore import GaLoreState as GaLoreState
from gradmill.contrib._galore import galore as galore
from gradmill.contrib._galore import scale_by_galore as scale_by_galore
from gradmill.contrib._hutchinson import HutchinsonState as HutchinsonState
from gradmill.contrib._hutchinson import (
    hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian,
)
from gradmill.contrib._madgrad import MadgradState as MadgradState
from gradmill.contrib._madgrad import madgrad as madgrad
from gradmill.contrib._madgrad import scale_by_madgrad as scale_by_madgrad
from gradmill.contrib._mars import ScaleByMarsState as ScaleByMarsState
from gradmill.contrib._mars import mars as mars
from gradmill.contrib._mars import scale_by_mars as scale_by_mars
from gradmill.contrib._matrices import MuonDimensionNumbers as MuonDimensionNumbers
from gradmill.contrib._mechanic import MechanicState as MechanicState
from gradmill.contrib._mechanic import mechanize as mechanize
from gradmill.contrib._momo import MomoState as MomoState
from gradmill.contrib._momo import momo as momo
from gradmill.contrib._momo_adam import MomoAdamState as MomoAdamState
from gradmill.contrib._momo_adam import momo_adam as momo_adam
from gradmill.contrib._muon import MuonState as MuonState
from gradmill.contrib._muon import muon as muon
from gradmill.contrib._muon import scale_by_muon as scale_by_muon
from gradmill.contrib._normalize import NormalizeState as NormalizeState
from gradmill.contrib._normalize import normalize as normalize
from gradmill.contrib._normuon import NorMuonState as NorMuonState
from gradmill.contrib._normuon import normuon as normuon
from gradmill.contrib._normuon import scale_by_normuon as scale_by_normuon
from gradmill.contrib._privacy import (
    DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState,
)
from gradmill.contrib._privacy import (
    differentially_private_aggregate as differentially_private_aggregate,
)
from gradmill.contrib._privacy import dpsgd as dpsgd
from gradmill.contrib._prodigy import ProdigyState as ProdigyState
from gradmill.contrib._prodigy import prodigy as prodigy
from gradmill.contrib._reduce_on_plateau import ReduceLROnPlateauState as ReduceLROnPlateauState
from gradmill.contrib._reduce_on_plateau import reduce_on_plateau as reduce_on_plateau
from gradmill.contrib._sam import SAMState as SAMState
from gradmill.contrib._sam import sam as sam
from gradmill.contrib._schedule_free import ScheduleFreeState as ScheduleFreeState
from gradmill.contrib._schedule_free import schedule_free as schedule_free
from gradmill.contrib._schedule_free import schedule_free_adamw as schedule_free_adamw
from gradmill.contrib._schedule_free import schedule_free_eval_params as schedule_free_eval_params
from gradmill.contrib._schedule_free import schedule_free_sgd as schedule_free_sgd
from gradmill.contrib._simplified_ademamix import (
    ScaleBySimplifiedAdEMAMixState as ScaleBySimplifiedAdEMAMixState,
)
from gradmill.contrib._simplified_ademamix import (
    scale_by_simplified_ademamix as scale_by_simplified_ademamix,
)
from gradmill.contrib._simplified_ademamix import simplified_ademamix as simplified_ademamix
from gradmill.contrib._soap import ScaleBySoapState as ScaleBySoapState
from gradmill.contrib._soap import scale_by_soap as scale_by_soap
from gradmill.contrib._soap import soap as soap
from gradmill.contrib._sophia import SophiaState as SophiaState
from gradmill.contrib._sophia import sophia as sophia

__all__ = [name for name in dir() if not name.startswith("_")]
