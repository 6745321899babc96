"""The chains in PyTorch with ``fused=True``; on a CPU this needs PyTorch 2.4 or newer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from _settings import CLIP, DECAY, MOMENTUM, RATE, learning_rate

try:
    import torch
except ImportError:
    torch = None

if TYPE_CHECKING:
    from _settings import Step
    from _trees import Leaves


def installed() -> bool:
    """Whether PyTorch is there."""
    return torch is not None


def set_num_threads(count: int) -> None:
    """Set the number of threads, if PyTorch is there."""
    if torch is not None:
        torch.set_num_threads(count)


def tensors_over(params: Leaves, grads: Leaves) -> list[Any]:
    """Tensors in the memory of ``params``, with ``grads`` as their gradients."""
    tensors = [torch.from_numpy(p).requires_grad_() for p in params]
    for tensor, g in zip(tensors, grads, strict=True):
        tensor.grad = torch.from_numpy(g)
    return tensors


def adamw(params: Leaves, grads: Leaves) -> Step:
    """AdamW."""
    tensors = tensors_over(params, grads)
    step: Step = torch.optim.AdamW(tensors, lr=RATE, weight_decay=DECAY, fused=True).step
    return step


def clip_adamw(params: Leaves, grads: Leaves) -> Step:
    """AdamW of clipped gradients, which are overwritten: clipped once, they stay as they are."""
    tensors = tensors_over(params, grads)
    optimizer = torch.optim.AdamW(tensors, lr=RATE, weight_decay=DECAY, fused=True)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(tensors, CLIP)
        optimizer.step()

    return step


def demo(params: Leaves, grads: Leaves) -> Step:
    """Adam of clipped gradients with decayed weights added, on a schedule."""
    tensors = tensors_over(params, grads)
    optimizer = torch.optim.Adam(tensors, lr=1.0, weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(tensors, CLIP)
        optimizer.step()
        schedule.step()

    return step


def sgd_momentum(params: Leaves, grads: Leaves) -> Step:
    """Gradient descent with momentum."""
    tensors = tensors_over(params, grads)
    step: Step = torch.optim.SGD(tensors, lr=RATE, momentum=MOMENTUM, fused=True).step
    return step
