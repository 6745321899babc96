"""Rows of ``bench_adapters.py`` for ``gradmill.adapters.torch``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from _adapters import Row
from _settings import CLIP, DECAY, RATE
from gradmill.adapters.torch import AdamW

if TYPE_CHECKING:
    from _settings import Step

SIZES = {
    "1M": [(1000, 500), (1000,), (500, 998)],
    "20M": [(1000, 1000)] * 20,
}


def params_of(shapes: list[tuple[int, ...]], dtype: Any = torch.float32) -> list[Any]:
    """Parameters with gradients."""
    source = torch.Generator().manual_seed(1)
    made = [torch.randn(shape, generator=source) for shape in shapes]
    params = [torch.nn.Parameter(values.to(dtype)) for values in made]
    for param, values in zip(params, made, strict=True):
        param.grad = (0.01 * values).to(dtype)
    return params


def fused(params: list[Any]) -> Any:
    """Torch's fastest."""
    return torch.optim.AdamW(params, lr=RATE, weight_decay=DECAY, fused=True)


def plain(shapes: list[tuple[int, ...]]) -> tuple[Step, Step]:
    """AdamW."""
    ours = AdamW(params_of(shapes), lr=RATE, weight_decay=DECAY)
    return fused(params_of(shapes)).step, ours.step


def clipped(shapes: list[tuple[int, ...]]) -> tuple[Step, Step]:
    """AdamW of clipped gradients. torch overwrites them: clipped once, they stay as they are."""
    params = params_of(shapes)
    theirs = fused(params)
    ours = AdamW(params_of(shapes), lr=RATE, weight_decay=DECAY, max_norm=CLIP)

    def before() -> None:
        torch.nn.utils.clip_grad_norm_(params, CLIP)
        theirs.step()

    return before, ours.step


def with_master(shapes: list[tuple[int, ...]]) -> tuple[Step, Step]:
    """bfloat16 with float32 copies."""
    halves = params_of(shapes, torch.bfloat16)
    copies = [torch.nn.Parameter(param.detach().float()) for param in halves]
    theirs = fused(copies)
    ours = AdamW(params_of(shapes, torch.bfloat16), lr=RATE, weight_decay=DECAY, master=True)

    def before() -> None:
        for half, copy in zip(halves, copies, strict=True):
            copy.grad = half.grad.float()
        theirs.step()
        with torch.no_grad():
            for half, copy in zip(halves, copies, strict=True):
                half.copy_(copy)

    return before, ours.step


def training() -> tuple[Step, Step]:
    """Steps of training: a network for the digits, with forward and backward."""

    def steps(make: Any) -> Step:
        torch.manual_seed(0)
        layers = torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
        net = torch.nn.Sequential(*layers)
        opt = make(net.parameters(), lr=RATE)
        images, digits = torch.randn(64, 64), torch.randint(10, (64,))

        def step() -> None:
            opt.zero_grad()
            torch.nn.functional.cross_entropy(net(images), digits).backward()
            opt.step()

        return step

    return steps(partial(torch.optim.AdamW, fused=True)), steps(AdamW)


def rows() -> list[Row]:
    """The rows."""
    kinds: list[tuple[str, Any, float]] = [("AdamW", plain, 1.0), ("AdamW, clipped", clipped, 1.3)]
    kinds.append(("AdamW, bfloat16 with master copies", with_master, 1.3))
    found = [
        Row("torch", f"{name}, {size}", partial(make, shapes), least)
        for name, make, least in kinds
        for size, shapes in SIZES.items()
    ]
    return [*found, Row("torch", "training on digits, a step", training, 1.0)]


def set_threads(count: int) -> None:
    """Let torch use so many threads; ours are no more."""
    torch.set_num_threads(count)
