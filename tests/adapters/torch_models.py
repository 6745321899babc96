"""Two equal models, one for torch's optimizer and one for ours, on the same batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
"""Largest difference of parameters after 100 steps, as a part of the largest parameter."""


def model(dtype: torch.dtype = torch.float32) -> torch.nn.Sequential:
    """A small network, the same each time."""
    torch.manual_seed(0)
    layers = torch.nn.Linear(10, 20), torch.nn.Tanh(), torch.nn.Linear(20, 3)
    return torch.nn.Sequential(*layers).to(dtype)


def batches(dtype: torch.dtype, steps: int) -> Iterator[torch.Tensor]:
    """Inputs, the same each time."""
    source = torch.Generator().manual_seed(1)
    for _ in range(steps):
        yield torch.randn(8, 10, generator=source).to(dtype)


def backward(net: Any, inputs: torch.Tensor) -> torch.Tensor:
    """Gradients of a loss."""
    loss: torch.Tensor = net(inputs).square().mean()
    loss.backward()
    return loss


def trained(
    make: Callable[[Any], Any],
    dtype: torch.dtype = torch.float32,
    steps: int = 100,
    each: Callable[[Any, Any], object] = lambda net, opt: None,
) -> tuple[Any, Any]:
    """A network and its optimizer after steps; ``each`` comes between backward and step."""
    net = model(dtype)
    opt = make(net)
    for inputs in batches(dtype, steps):
        opt.zero_grad()
        backward(net, inputs)
        each(net, opt)
        opt.step()
    return net, opt


def distance(first: Any, second: Any) -> float:
    """The largest difference between parameters, as a part of the largest parameter."""
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    with torch.no_grad():
        return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
