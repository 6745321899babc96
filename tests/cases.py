"""THE table: every transformation and alias once, for all suites.

``make`` builds the transformation from a module, so that one row serves gradmill and optax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Module = Any


@dataclass(frozen=True)
class Case:
    """One transformation with its arguments.

    Attributes:
        name: The test's name.
        make: Builds it from a module that has optax's names.
        ops: The native ops that it consists of.
        single: Whether part of it is float32 even for float64 leaves: slots that the row asks for,
            or optax's linear schedules.
    """

    name: str
    make: Callable[[Module], Any]
    ops: tuple[str, ...]
    single: bool = False


def _only_kernels(params: Any) -> Any:
    return {key: key != "bias" for key in params}


def _decay(count: Any) -> Any:
    return 1e-2 / (count + 1)


_MASK = {"bias": False, "kernel": True, "conv": True, "scalar": True, "empty": False, "none": True}

ADAM = "scale_by_adam"
NADAM = "scale_by_adam_nesterov"
DECAY = "add_decayed_weights"

CASES = [
    Case("identity", lambda m: m.identity(), ()),
    Case("scale", lambda m: m.scale(-0.3), ("scale",)),
    Case("scale_by_learning_rate", lambda m: m.scale_by_learning_rate(0.3), ("scale",)),
    Case("scale_up", lambda m: m.scale_by_learning_rate(0.3, flip_sign=False), ("scale",)),
    Case(
        "scale_by_learning_rate_schedule",
        lambda m: m.scale_by_learning_rate(m.linear_schedule(0.1, 0.01, 7)),
        ("scale",),
        single=True,
    ),
    Case(
        "scale_by_schedule",
        lambda m: m.scale_by_schedule(m.cosine_decay_schedule(0.1, 8, alpha=0.1)),
        ("scale",),
    ),
    Case("clip", lambda m: m.clip(0.5), ("clip",)),
    Case("clip_by_global_norm", lambda m: m.clip_by_global_norm(1.0), ("clip_by_global_norm",)),
    Case("clip_inactive", lambda m: m.clip_by_global_norm(1e6), ("clip_by_global_norm",)),
    Case("add_decayed_weights", lambda m: m.add_decayed_weights(0.01), (DECAY,)),
    Case("decay_mask_tree", lambda m: m.add_decayed_weights(0.01, mask=_MASK), (DECAY,)),
    Case("decay_mask_function", lambda m: m.add_decayed_weights(0.01, _only_kernels), (DECAY,)),
    Case("decay_schedule", lambda m: m.add_decayed_weights(_decay), (DECAY,)),
    Case("scale_by_adam", lambda m: m.scale_by_adam(), (ADAM,)),
    Case("scale_by_adam_args", lambda m: m.scale_by_adam(0.8, 0.95, 1e-3, 1e-4), (ADAM,)),
    Case("scale_by_adam_nesterov", lambda m: m.scale_by_adam(nesterov=True), (NADAM,)),
    Case("adam_mu_f32", lambda m: m.scale_by_adam(mu_dtype=np.float32), (ADAM,), single=True),
    Case("trace", lambda m: m.trace(0.9), ("trace",)),
    Case("trace_nesterov", lambda m: m.trace(0.8, nesterov=True), ("trace_nesterov",)),
    Case("trace_f32", lambda m: m.trace(0.9, False, np.float32), ("trace",), single=True),
    Case("adam", lambda m: m.adam(0.1), (ADAM, "scale")),
    Case("nadam", lambda m: m.adam(0.1, nesterov=True), (NADAM, "scale")),
    Case("adamw", lambda m: m.adamw(0.1, weight_decay=0.01), (ADAM, DECAY, "scale")),
    Case(
        "adamw_schedule_mask",
        lambda m: m.adamw(m.warmup_cosine_decay_schedule(0.0, 0.1, 3, 9, 0.01), mask=_only_kernels),
        (ADAM, DECAY, "scale"),
        single=True,
    ),
    Case("sgd", lambda m: m.sgd(0.1), ("scale",)),
    Case("sgd_momentum", lambda m: m.sgd(0.1, momentum=0.9), ("trace", "scale")),
    Case("sgd_nesterov", lambda m: m.sgd(0.1, 0.9, nesterov=True), ("trace_nesterov", "scale")),
    Case(
        "clip_adamw",
        lambda m: m.chain(m.clip_by_global_norm(1.0), m.adamw(1e-3)),
        ("clip_by_global_norm", ADAM, DECAY, "scale"),
    ),
    Case(
        "demo",
        lambda m: m.chain(
            m.clip_by_global_norm(1.0),
            m.add_decayed_weights(1e-4),
            m.scale_by_adam(),
            m.scale_by_schedule(m.linear_schedule(-1e-3, 0.0, 20)),
        ),
        ("clip_by_global_norm", DECAY, ADAM, "scale"),
        single=True,
    ),
    Case(
        "clip_after_adam",
        lambda m: m.chain(m.scale_by_adam(), m.clip_by_global_norm(0.5), m.trace(0.9)),
        (ADAM, "clip_by_global_norm", "trace"),
    ),
    Case(
        "two_norms",
        lambda m: m.chain(m.clip_by_global_norm(2.0), m.clip(0.3), m.clip_by_global_norm(0.5)),
        ("clip_by_global_norm", "clip", "clip_by_global_norm"),
    ),
    Case(
        "nested",
        lambda m: m.chain(m.chain(m.scale(2.0), m.trace(0.5)), m.chain(m.clip(1.0), m.adam(0.1))),
        ("scale", "trace", "clip", ADAM, "scale"),
    ),
]
