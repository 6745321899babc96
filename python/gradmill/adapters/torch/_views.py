"""Tensors seen as arrays and arrays as tensors, in the same memory."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch

from gradmill.errors import LeafTypeError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


class Name(str):
    """What a parameter is called in a tree of arrays and in errors."""

    __slots__ = ()


def array_of(tensor: torch.Tensor, name: str, what: str = "") -> Any:
    """The array in the memory of a tensor.

    Args:
        tensor: A dense tensor of floats on the CPU.
        name: The name of the parameter.
        what: What of it this is, for errors.

    Raises:
        LeafTypeError: It is none.
    """
    dtype = tensor.dtype
    if tensor.requires_grad:
        tensor = tensor.detach()
    try:
        if dtype is torch.bfloat16:
            return tensor.view(torch.int16).numpy().view(BFLOAT16)
        array = tensor.numpy()
    except (TypeError, RuntimeError) as error:
        check(tensor, name + what)
        raise LeafTypeError(f"{name}{what}: {error}") from None
    if dtype not in FLOATS:
        check(tensor, name + what)
    return array


def check(tensor: torch.Tensor, what: str) -> None:
    """See that a tensor is a dense one of floats on the CPU.

    Raises:
        LeafTypeError: It is none.
    """
    problem = None
    if tensor.device.type != "cpu":
        problem = f"is on {tensor.device}, expected a tensor on the CPU"
    elif tensor.layout is not torch.strided:
        name = str(tensor.layout).removeprefix("torch.")
        problem = f"is sparse ({name}), expected a dense tensor; nn.Embedding has sparse=False"
    elif tensor.is_complex():
        problem = f"is complex ({tensor.dtype}), expected floats; see torch.view_as_real"
    elif tensor.dtype not in FLOATS:
        problem = f"is of {tensor.dtype}, expected float16, bfloat16, float32 or float64"
    if problem is not None:
        raise LeafTypeError(f"{what}: {problem}")


def tensor_of(array: Any) -> torch.Tensor:
    """The tensor in the memory of an array."""
    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def place(tensor: torch.Tensor) -> tuple[int, tuple[int, ...]]:
    """Where a tensor lies in memory; another one after ``p.data = …``."""
    return tensor.data_ptr(), tensor.stride()
