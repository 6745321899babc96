"""What optax has in ``contrib``."""

from __future__ import annotations

import numpy as np

from tests.case import Case
from tests.cases.arguments import (
    MASK,
    are_matrices,
    axes,
    axes_of_masked,
    bound,
    decay,
    only_kernels,
)

CONTRIB = [
    Case("scale_by_ademamix", lambda m: m.contrib.scale_by_ademamix()),
    Case(
        "scale_by_ademamix_args",
        lambda m: m.contrib.scale_by_ademamix(0.8, 0.95, 0.99, 3.0, 1e-3, 1e-4),
    ),
    Case(
        "ademamix_schedules",
        lambda m: m.contrib.ademamix(
            0.1,
            b3=m.linear_schedule(0.9, 0.99, 7),
            alpha=m.linear_schedule(0.0, 5.0, 7),
            weight_decay=0.01,
            mask=only_kernels,
        ),
        single=True,
    ),
    Case("ademamix", lambda m: m.contrib.ademamix(0.1)),
    Case("scale_by_adopt", lambda m: m.contrib.scale_by_adopt(), loose=100),
    Case("scale_by_adopt_nesterov", lambda m: m.contrib.scale_by_adopt(0.8, 0.99, nesterov=True)),
    Case(
        "scale_by_adopt_free",
        lambda m: m.contrib.scale_by_adopt(0.9, 0.99, use_clipping=False),
        loose=10,
    ),
    Case("adopt", lambda m: m.contrib.adopt(0.1, b2=0.99, clip_value_fn=bound)),
    Case(
        "schedule_free",
        lambda m: m.contrib.schedule_free(m.adam(0.1, b1=0.0), decay, 0.8, 1.5),
        loose=30,
    ),
    Case(
        "schedule_free_sgd",
        lambda m: m.contrib.schedule_free_sgd(0.3, 4, weight_decay=0.01),
        single=True,
        loose=5,
    ),
    Case("schedule_free_adamw", lambda m: m.contrib.schedule_free_adamw(0.1), loose=30),
    Case("prodigy", lambda m: m.contrib.prodigy()),
    Case(
        "prodigy_args",
        lambda m: m.contrib.prodigy(
            decay, (0.8, 0.95), 0.9, 1e-3, 0.1, 2.0, 0.01, safeguard_warmup=True
        ),
    ),
    Case("dadapt_adamw", lambda m: m.contrib.dadapt_adamw()),
    Case("dadapt_args", lambda m: m.contrib.dadapt_adamw(decay, (0.8, 0.95), 1e-3, 0.1, 0.01)),
    Case("dog", lambda m: m.contrib.dog()),
    Case("dog_distance", lambda m: m.contrib.dog(0.5, ("distance", 0.1), 1e-3, 0.01, MASK)),
    Case("dog_rate", lambda m: m.contrib.dog(init_step=("learning_rate", 0.1))),
    Case("mechanize", lambda m: m.contrib.mechanize(m.adam(0.1))),
    Case(
        "mechanize_args",
        lambda m: m.contrib.mechanize(m.sgd(1.0, momentum=0.9), 0.1, 1e-3, 0.1, 3),
    ),
    Case(
        "scale_by_muon",
        lambda m: m.masked(
            m.contrib.scale_by_muon(weight_dimension_numbers=axes_of_masked), are_matrices
        ),
        loose=30,
    ),
    Case(
        "muon_aol",
        lambda m: m.masked(
            m.contrib.scale_by_muon(
                ((4.0, -6.0, 3.0), (2.5, -3.0, 1.5)),
                4,
                0.8,
                1e-3,
                np.float32,
                nesterov=False,
                adaptive=True,
                preconditioning="aol",
                weight_dimension_numbers=axes_of_masked,
            ),
            are_matrices,
        ),
        single=True,
        loose=300,
    ),
    Case("muon", lambda m: m.contrib.muon(0.1, muon_weight_dimension_numbers=axes), loose=30),
    Case(
        "muon_args",
        lambda m: m.contrib.muon(
            decay,
            "dion",
            weight_decay=0.01,
            weight_decay_mask=only_kernels,
            nesterov=False,
            preconditioning="schatten",
            adam_weight_decay=0.1,
            adam_learning_rate=0.2,
            muon_weight_dimension_numbers=axes,
            consistent_rms=0.2,
        ),
        loose=30,
    ),
    Case("scale_by_acprop", lambda m: m.contrib.scale_by_acprop()),
    Case("scale_by_acprop_args", lambda m: m.contrib.scale_by_acprop(0.8, 0.95, 1e-3, 1e-4)),
    Case("acprop", lambda m: m.contrib.acprop(0.1, weight_decay=0.01, mask=only_kernels)),
    Case("scale_by_simplified_ademamix", lambda m: m.contrib.scale_by_simplified_ademamix()),
    Case(
        "scale_by_simplified_ademamix_args",
        lambda m: m.contrib.scale_by_simplified_ademamix(0.8, 0.95, bound, 1e-3, 1e-4),
    ),
    Case(
        "simplified_ademamix",
        lambda m: m.contrib.simplified_ademamix(
            0.1, alpha=3.0, weight_decay=0.01, mask=only_kernels
        ),
    ),
    Case("scale_by_madgrad", lambda m: m.contrib.scale_by_madgrad(0.1), single=True, early=True),
    Case("madgrad", lambda m: m.contrib.madgrad(decay, 0.5, 0.01, 1e-3), single=True, early=True),
    Case("scale_by_cocob", lambda m: m.contrib.scale_by_cocob()),
    Case("scale_by_cocob_args", lambda m: m.contrib.scale_by_cocob(1.0, 0.1)),
    Case("cocob", lambda m: m.contrib.cocob(0.5, weight_decay=0.01, mask=only_kernels)),
    Case("dowg", lambda m: m.contrib.dowg()),
    Case("dowg_args", lambda m: m.contrib.dowg(0.5, 0.1, 1e-3, 0.01, MASK)),
    Case("contrib_normalize", lambda m: m.contrib.normalize()),
    Case(
        "sam",
        lambda m: m.contrib.sam(m.sgd(0.1), m.chain(m.contrib.normalize(), m.sgd(0.05))),
        selects=True,
    ),
    Case(
        "sam_args",
        lambda m: m.contrib.sam(m.adam(0.1), m.adam(0.05), 3, reset_state=False),
        selects=True,
    ),
]
