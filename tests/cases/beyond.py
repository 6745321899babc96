"""What optax does not have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.case import Case
from tests.cases.arguments import (
    along_params,
    are_matrices,
    axes,
    axes_of_masked,
    decay,
    has_thirds,
    only_kernels,
    scale_by_sophia,
    square_axes,
    square_axes_of_masked,
)

_HAT: Any = {"eps": 1e-2, "eps_mode": "hat"}
_UNCORRECTED: Any = {"eps": 1e-2, "bias_correction": False}

_ROWS = [
    Case("adam_hat", lambda m: m.scale_by_adam(0.7, 0.95, **_HAT)),
    Case("nadam_hat", lambda m: m.nadam(0.1, 0.7, 0.95, **_HAT)),
    Case("adamw_uncorrected", lambda m: m.adamw(0.1, 0.7, 0.95, weight_decay=0.01, **_UNCORRECTED)),
    Case("nadam_uncorrected", lambda m: m.nadam(0.1, 0.7, 0.95, **_UNCORRECTED)),
    Case("amsgrad_hat", lambda m: m.amsgrad(0.1, 0.7, 0.95, **_HAT)),
    Case("radam_hat", lambda m: m.radam(0.1, 0.7, 0.95, **_HAT)),
    Case("adabelief_hat", lambda m: m.adabelief(0.1, 0.7, 0.95, eps_root=1e-4, **_HAT)),
    Case("yogi_hat", lambda m: m.yogi(0.1, 0.7, 0.95, **_HAT)),
    Case("yogi_uncorrected", lambda m: m.yogi(0.1, 0.7, 0.95, **_UNCORRECTED)),
    Case("adan_hat", lambda m: m.adan(0.1, 0.7, 0.95, 0.8, eps_root=0.0, **_HAT)),
    Case("adagrad_eps_beside", lambda m: m.adagrad(0.1, 0.0, 1e-2, eps_in_sqrt=False)),
    Case("ademamix_hat", lambda m: m.contrib.ademamix(0.1, 0.7, 0.95, 0.8, 2.0, **_HAT)),
    Case("parameter_average", lambda m: m.chain(m.sgd(0.1), m.parameter_average(0.7, start=3))),
    Case("parameter_average_polyak", lambda m: m.chain(m.sgd(0.1), m.parameter_average("polyak"))),
    Case("maximize", lambda m: m.chain(m.maximize(), m.sgd(0.1))),
    Case("cautious", lambda m: m.contrib.cautious(m.adam(0.1, b1=0.7))),
    Case(
        "cautious_args",
        lambda m: m.contrib.cautious(m.trace(0.8), descends=False, least_share=0.6),
    ),
    # What cautious does, with parameters for gradients.
    Case("along_params", lambda m: along_params(True, 0.3)),
    Case("cautious_weight_decay", lambda m: m.contrib.cautious_weight_decay(0.1)),
    Case(
        "cautious_weight_decay_schedule",
        lambda m: m.contrib.cautious_weight_decay(decay, only_kernels),
    ),
    Case("cautious_adamw", lambda m: m.contrib.cautious_adamw(0.1, 0.7, 0.95, 1e-3)),
    Case(
        "cautious_adamw_args",
        lambda m: m.contrib.cautious_adamw(
            decay, 0.7, weight_decay=0.1, mask=only_kernels, nesterov=True, cautious_decay=True
        ),
    ),
    Case("scale_by_mars", lambda m: m.contrib.scale_by_mars()),
    Case(
        "scale_by_mars_args",
        lambda m: m.contrib.scale_by_mars(0.8, 0.9, decay, 1e-3, max_norm=None),
    ),
    Case("mars", lambda m: m.contrib.mars(0.1, gamma=0.5, weight_decay=0.1, mask=only_kernels)),
    # What sophia does in each step; the Hessian, which nobody averages here, is zero.
    Case("scale_by_sophia", lambda m: scale_by_sophia(0.8, 2.0, 0.01, 0.5)),
    Case(
        "scale_by_apollo_mini",
        lambda m: m.masked(
            m.contrib.scale_by_apollo_mini(weight_dimension_numbers=axes_of_masked), are_matrices
        ),
        loose=30,
    ),
    Case(
        "apollo_mini_args",
        lambda m: m.contrib.apollo_mini(
            decay,
            0.8,
            0.9,
            1e-3,
            2.0,
            None,
            4,
            7,
            0.1,
            only_kernels,
            adam_learning_rate=0.2,
            weight_dimension_numbers=axes,
        ),
        loose=30,
    ),
    Case("apollo_mini", lambda m: m.contrib.apollo_mini(0.1), loose=30),
    Case("scale_by_adam_mini", lambda m: m.contrib.scale_by_adam_mini()),
    Case(
        "scale_by_adam_mini_leaf",
        lambda m: m.contrib.scale_by_adam_mini(0.8, 0.9, 1e-3, 1e-4, axis=None),
    ),
    Case(
        "adam_mini_heads",
        lambda m: m.masked(m.contrib.adam_mini(0.1, axis=0, num_blocks=3), has_thirds),
    ),
    Case("adam_mini", lambda m: m.contrib.adam_mini(0.1, weight_decay=0.1, mask=only_kernels)),
    Case(
        "scale_by_normuon",
        lambda m: m.masked(
            m.contrib.scale_by_normuon(weight_dimension_numbers=axes_of_masked), are_matrices
        ),
        loose=30,
    ),
    Case(
        "normuon_args",
        lambda m: m.contrib.normuon(
            decay,
            ((4.0, -6.0, 3.0), (2.5, -3.0, 1.5)),
            4,
            0.8,
            0.9,
            1e-3,
            0.1,
            only_kernels,
            nesterov=True,
            adam_learning_rate=0.2,
            weight_dimension_numbers=axes,
            consistent_rms=0.5,
        ),
        loose=30,
    ),
    Case("normuon", lambda m: m.contrib.normuon(0.1)),
    # Of matrices with more rows than columns, the first basis of rows is not unique.
    Case(
        "scale_by_soap",
        lambda m: m.masked(
            m.contrib.scale_by_soap(
                max_precondition_dim=8, weight_dimension_numbers=square_axes_of_masked
            ),
            are_matrices,
        ),
        loose=100,
    ),
    Case(
        "scale_by_soap_args",
        lambda m: m.masked(
            m.contrib.scale_by_soap(
                0.8, 0.9, 0.7, 1e-3, 3, 8, weight_dimension_numbers=square_axes_of_masked
            ),
            are_matrices,
        ),
        loose=100,
    ),
    Case(
        "soap",
        lambda m: m.contrib.soap(
            0.1,
            precondition_frequency=2,
            max_precondition_dim=8,
            weight_decay=decay,
            mask=only_kernels,
            weight_dimension_numbers=square_axes,
        ),
        loose=100,
    ),
]

BEYOND = [replace(case, beyond=True) for case in _ROWS]
