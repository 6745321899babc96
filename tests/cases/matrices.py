"""What solves for a step, or projects one, by products of matrices and vectors."""

from __future__ import annotations

from tests.case import Case

MATRICES = [
    Case("scale_by_lbfgs", lambda m: m.scale_by_lbfgs()),
    Case("scale_by_lbfgs_args", lambda m: m.scale_by_lbfgs(3, scale_init_precond=False)),
    Case("lbfgs", lambda m: m.lbfgs(0.1, linesearch=None)),
]
