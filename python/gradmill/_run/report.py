"""What an in-place step reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import number_of
from gradmill._ops import scale as ops

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gradmill._data.types import PyTree
    from gradmill._plan.links import Link


class StepReport(NamedTuple):
    """What a step of :class:`Optimizer` found out on its way.

    Attributes:
        step: Number of steps taken, this one included.
        global_norm: The global norm of the gradients, before the first ``clip_by_global_norm`` of
            the chain; None if the chain has no such clip.
        finite: Whether every gradient was finite.
        update_norm: The global norm of what was added to the parameters, before any rounding to 16
            bits; None unless asked for.
        param_norm: The global norm of the parameters before the step, without those that no step
            writes; None unless asked for.
        learning_rate: The learning rate in force; None unless asked for, or if the chain has none.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.chain(gm.clip_by_global_norm(1.0), gm.sgd(0.1)), np.ones(2))
        >>> opt.step(np.array([3.0, 4.0]))
        StepReport(step=1, global_norm=5.0, finite=True)
        >>> report = opt.step(np.array([0.3, 0.4]), report=("update_ratio", "learning_rate"))
        >>> round(report.update_ratio, 4), report.learning_rate
        (0.038, 0.1)
    """

    step: int
    global_norm: float | None
    finite: bool
    update_norm: float | None = None
    param_norm: float | None = None
    learning_rate: float | None = None

    @property
    def update_ratio(self) -> float | None:
        """The norm of the step divided by that of the parameters before it; 0 if both are 0."""
        if self.update_norm is None or self.param_norm is None:
            return None
        if self.param_norm == 0.0:
            return float("inf") if self.update_norm else 0.0
        return self.update_norm / self.param_norm

    def __repr__(self) -> str:
        """Name what is always there, and what was asked for."""
        named = zip(self._fields, self, strict=True)
        shown = [
            f"{name}={value!r}"
            for at, (name, value) in enumerate(named)
            if at < 3 or value is not None
        ]
        return f"StepReport({', '.join(shown)})"


make = tuple.__new__
"""Makes a StepReport, of the class and a tuple, in half the time that the class takes."""

NORMS = {"update_norm", "param_norm", "update_ratio"}
"""What a step measures if it is asked to."""


def asked_for(report: Collection[str]) -> set[str]:
    """The names of what a step is to report.

    Raises:
        ValueError: A name is not one of those.
    """
    known = NORMS | {"learning_rate"}
    names = {report} if isinstance(report, str) else set(report)
    if not names <= known:
        unknown = ", ".join(map(repr, sorted(names - known)))
        raise ValueError(f"unknown in report: {unknown}; expected some of {sorted(known)}")
    return names


def last_factor(links: Sequence[Link], states: Sequence[PyTree]) -> float | None:
    """The size of the last factor by which a step from these states multiplies its updates."""
    for link, state in zip(reversed(links), reversed(states), strict=True):
        if link.spec is not None and link.op is ops.scale:
            factor = link.spec.hyper["step_size"]
            now: Any = factor(state.count) if callable(factor) else factor
            return abs(float(number_of(now)))
    return None


def injected_rate(states: Sequence[PyTree]) -> float | None:
    """The learning rate among the injected hyperparameters of the step to these states."""
    for state in states:
        injected = getattr(state, "hyperparams", {})
        if "learning_rate" in injected:
            return float(number_of(injected["learning_rate"]))
    return None
