"""What optax has in ``optax.contrib``: algorithms of papers, under the same names."""

from gradmill.contrib._ademamix import ScaleByAdemamixState as ScaleByAdemamixState
from gradmill.contrib._ademamix import ademamix as ademamix
from gradmill.contrib._ademamix import scale_by_ademamix as scale_by_ademamix
from gradmill.contrib._adopt import adopt as adopt
from gradmill.contrib._adopt import scale_by_adopt as scale_by_adopt
from gradmill.contrib._dadapt_adamw import DAdaptAdamWState as DAdaptAdamWState
from gradmill.contrib._dadapt_adamw import dadapt_adamw as dadapt_adamw
from gradmill.contrib._dog import DoGState as DoGState
from gradmill.contrib._dog import dog as dog
from gradmill.contrib._galore import GaLoreDimensionNumbers as GaLoreDimensionNumbers
from gradmill.contrib._galore import GaLoreState as GaLoreState
from gradmill.contrib._galore import galore as galore
from gradmill.contrib._galore import scale_by_galore as scale_by_galore
from gradmill.contrib._mechanic import MechanicState as MechanicState
from gradmill.contrib._mechanic import mechanize as mechanize
from gradmill.contrib._muon import MuonDimensionNumbers as MuonDimensionNumbers
from gradmill.contrib._muon import MuonState as MuonState
from gradmill.contrib._muon import muon as muon
from gradmill.contrib._muon import scale_by_muon as scale_by_muon
from gradmill.contrib._prodigy import ProdigyState as ProdigyState
from gradmill.contrib._prodigy import prodigy as prodigy
from gradmill.contrib._schedule_free import ScheduleFreeState as ScheduleFreeState
from gradmill.contrib._schedule_free import schedule_free as schedule_free
from gradmill.contrib._schedule_free import schedule_free_adamw as schedule_free_adamw
from gradmill.contrib._schedule_free import schedule_free_eval_params as schedule_free_eval_params
from gradmill.contrib._schedule_free import schedule_free_sgd as schedule_free_sgd
