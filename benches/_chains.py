"""The chains that are timed, each described once for gradmill and optax together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import _by_hand
import _torch_steps
from _settings import CLIP, DECAY, DECAY_STEPS, MOMENTUM, RATE, WARMUP_STEPS
from _trees import leaves, map_tree

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
        by_hand: The step in NumPy, on parameters and gradients, if anybody writes it.
        in_torch: The step in PyTorch.
        bytes_per_param: What a step must at least read and write for each parameter.
        norm: Whether it reads the gradients once more beforehand, for their norm.
        sizes: The sizes it is timed at; None for all.
        in_optax: Whether optax takes part.
        dtype: That of parameters and gradients.
        period: Steps after which it does the same again; times are the mean over them.
    """

    name: str
    build: Callable[[Any], Any]
    by_hand: Callable[[Leaves, Leaves], Step] | None
    in_torch: Callable[[Leaves, Leaves], Step] | None
    bytes_per_param: float
    norm: bool = False
    sizes: tuple[str, ...] | None = None
    in_optax: bool = True
    dtype: str = "float32"
    period: int = 1


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


def _sgd(api: Any) -> Any:
    return api.sgd(RATE)


def _sgd_momentum(api: Any) -> Any:
    return api.sgd(RATE, momentum=MOMENTUM)


def _rmsprop(api: Any) -> Any:
    return api.rmsprop(RATE)


def _lion(api: Any) -> Any:
    return api.lion(RATE, weight_decay=DECAY)


def _amsgrad(api: Any) -> Any:
    return api.amsgrad(RATE)


def _adan(api: Any) -> Any:
    return api.adan(RATE, weight_decay=DECAY)


def _adabelief(api: Any) -> Any:
    return api.adabelief(RATE)


LABELS = 8


def _labels(tree: Any) -> Any:
    """A tree of labels that go round."""
    paths = iter(range(len(leaves(tree))))
    return map_tree(lambda _: next(paths) % LABELS, tree)


def _partition(api: Any) -> Any:
    groups = {label: api.adamw(RATE * (label + 1), weight_decay=DECAY) for label in range(LABELS)}
    return api.partition(groups, _labels)


def _multi_steps(api: Any) -> Any:
    return api.MultiSteps(_adamw(api), 4).gradient_transformation()


def _accumulate(api: Any) -> Any:
    return api.MultiSteps(_adamw(api), 2**30).gradient_transformation()


def _half_moments(api: Any) -> Any:
    return api.adamw(RATE, weight_decay=DECAY, mu_dtype="bfloat16", nu_dtype="bfloat16")


def _clip_finite(api: Any) -> Any:
    return api.apply_if_finite(_clip_adamw(api), 10)


MANY = ("1000x64", "200x5000")
LARGE = ("1e6", "1e7", "3e7")

CHAINS = {
    chain.name: chain
    for chain in (
        Chain("adamw", _adamw, _by_hand.adamw, _torch_steps.adamw, 28),
        Chain("clip_adamw", _clip_adamw, _by_hand.clip_adamw, _torch_steps.clip_adamw, 32, True),
        Chain("demo", _demo, _by_hand.demo, _torch_steps.demo, 32, True, sizes=("mlp", "1e7")),
        Chain("sgd_momentum", _sgd_momentum, _by_hand.sgd_momentum, _torch_steps.sgd_momentum, 20),
        Chain("sgd", _sgd, None, None, 12, sizes=("mlp", "1e5", "1e7")),
        Chain("rmsprop", _rmsprop, None, None, 20, sizes=("mlp", "1e5", "1e7")),
        Chain("lion", _lion, None, None, 20, sizes=("mlp", "1e5", "1e7")),
        Chain("amsgrad", _amsgrad, None, None, 36, sizes=("mlp", "1e5", "1e7")),
        Chain("adan", _adan, None, None, 44, sizes=("mlp", "1e5", "1e7")),
        Chain("adabelief", _adabelief, None, None, 28, sizes=("mlp", "1e5", "1e7")),
        Chain("partition", _partition, None, None, 28, sizes=MANY, in_optax=False),
        Chain(
            "multi_steps", _multi_steps, None, None, 18, sizes=("mlp", *LARGE), period=4
        ),  # three times 12 bytes, then 36
        Chain("accumulate", _accumulate, None, None, 12, sizes=("mlp", *LARGE), in_optax=False),
        Chain("clip_finite", _clip_finite, None, None, 32, True, sizes=("mlp", *LARGE)),
        Chain("adamw_bf16", _adamw, None, None, 22, sizes=LARGE, in_optax=False, dtype="bfloat16"),
        Chain("bf16_moments", _half_moments, None, None, 20, sizes=LARGE, in_optax=False),
    )
}
