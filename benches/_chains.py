"""The chains that are timed, each described once for gradmill and optax together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import _by_hand
import _torch_steps
from _settings import CLIP, DECAY, DECAY_STEPS, MOMENTUM, RATE, WARMUP_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from _settings import Step
    from _trees import Leaves


@dataclass(frozen=True)
class Chain:
    """One table.

    Attributes:
        name: What it is called on the command line.
        build: Makes the chain with the functions of gradmill or optax, whichever it is given.
        by_hand: The step in NumPy, on parameters and gradients.
        in_torch: The step in PyTorch.
        bytes_per_param: What a step must at least read and write for each parameter.
        norm: Whether it reads the gradients once more beforehand, for their norm.
    """

    name: str
    build: Callable[[Any], Any]
    by_hand: Callable[[Leaves, Leaves], Step]
    in_torch: Callable[[Leaves, Leaves], Step]
    bytes_per_param: int
    norm: bool = False


def _adamw(api: Any) -> Any:
    return api.adamw(RATE, weight_decay=DECAY)


def _clip_adamw(api: Any) -> Any:
    return api.chain(api.clip_by_global_norm(CLIP), _adamw(api))


def _demo(api: Any) -> Any:
    schedule = api.warmup_cosine_decay_schedule(0.0, RATE, WARMUP_STEPS, DECAY_STEPS)
    return api.chain(
        api.clip_by_global_norm(CLIP),
        api.add_decayed_weights(DECAY),
        api.scale_by_adam(),
        api.scale_by_schedule(lambda count: -schedule(count)),
    )


def _sgd_momentum(api: Any) -> Any:
    return api.sgd(RATE, momentum=MOMENTUM)


CHAINS = {
    chain.name: chain
    for chain in (
        Chain("adamw", _adamw, _by_hand.adamw, _torch_steps.adamw, 28),
        Chain("clip_adamw", _clip_adamw, _by_hand.clip_adamw, _torch_steps.clip_adamw, 32, True),
        Chain("demo", _demo, _by_hand.demo, _torch_steps.demo, 32, True),
        Chain("sgd_momentum", _sgd_momentum, _by_hand.sgd_momentum, _torch_steps.sgd_momentum, 20),
    )
}
