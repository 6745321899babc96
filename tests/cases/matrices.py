"""What solves for a step, or projects one, by products of matrices and vectors."""

from __future__ import annotations

from tests.case import Case
from tests.cases.arguments import are_arrays, only_kernels, planes

MATRICES = [
    Case("scale_by_lbfgs", lambda m: m.scale_by_lbfgs()),
    Case("scale_by_lbfgs_args", lambda m: m.scale_by_lbfgs(3, scale_init_precond=False)),
    Case("lbfgs", lambda m: m.lbfgs(0.1, linesearch=None)),
    Case(
        "scale_by_galore",
        lambda m: m.masked(m.contrib.scale_by_galore(4), are_arrays),
        single=True,
        loose=30,
        up_to_signs=True,
    ),
    # In optax, momentum meets singular vectors of other signs when these are formed anew.
    Case(
        "scale_by_galore_args",
        lambda m: m.masked(m.contrib.scale_by_galore(3, 4, 0.5, m.clip(0.3), planes), are_arrays),
        single=True,
        loose=30,
        up_to_signs=True,
    ),
    Case(
        "galore",
        lambda m: m.masked(
            m.contrib.galore(0.1, 2, 20, weight_decay=0.01, mask=only_kernels), are_arrays
        ),
        single=True,
        loose=30,
        up_to_signs=True,
    ),
]
