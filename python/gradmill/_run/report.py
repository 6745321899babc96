"""What a step in place met on its way."""

from __future__ import annotations

from typing import NamedTuple


class StepReport(NamedTuple):
    """What a step of :class:`Optimizer` met on its way.

    Attributes:
        step: Number of steps taken, this one included.
        global_norm: The global norm of the gradients before the first ``clip_by_global_norm`` of
            the chain, or None where there is none.
        finite: Whether every gradient was finite.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.chain(gm.clip_by_global_norm(1.0), gm.sgd(0.1)), np.zeros(2))
        >>> opt.step(np.array([3.0, 4.0]))
        StepReport(step=1, global_norm=5.0, finite=True)
    """

    step: int
    global_norm: float | None
    finite: bool


make = tuple.__new__
"""Makes a StepReport, of the class and a tuple, in half the time that the class takes."""
