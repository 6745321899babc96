"""The chains as loops by hand in C, compiled for this processor where there is a compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _settings import (
    ADAN,
    B1,
    B2,
    BELIEF_EPS,
    CLIP,
    DECAY,
    EPS,
    LION,
    MOMENTUM,
    RATE,
    RMS_DECAY,
    RMS_EPS,
)

if TYPE_CHECKING:
    from _settings import Step
    from _trees import Leaves

FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-ffp-contract=off", "-shared", "-fPIC")

_ADAM = (B1, B2, EPS, DECAY, RATE, CLIP, 1.0, 1.0)
_SCALARS = {
    "adamw": _ADAM,
    "clip_adamw": _ADAM,
    "sgd": (RATE,),
    "sgd_momentum": (MOMENTUM, RATE),
    "rmsprop": (RMS_DECAY, RMS_EPS, RATE),
    "lion": (*LION, DECAY, RATE),
    "amsgrad": _ADAM,
    "adan": (*ADAN, EPS, DECAY, RATE, 1.0, 1.0, 1.0),
    "adabelief": (B1, B2, BELIEF_EPS, DECAY, RATE, CLIP, 1.0, 1.0),
}
_SLOTS = 4
"""Most arrays of state that a loop has for a leaf."""
CHAINS = tuple(_SCALARS)
"""The chains that there are loops for."""


def compiler() -> str | None:
    """The C compiler: that of the environment variable ``CC``, or one that is found."""
    names = (os.environ.get("CC"), "gcc", "clang", "cc")
    return next((found for name in names if name and (found := shutil.which(name))), None)


@cache
def _library() -> Any:
    own = compiler()
    assert own is not None
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "loops.so"
        source = Path(__file__).with_name("loops.c")
        subprocess.run([own, *FLAGS, "-o", made, source, "-lm"], check=True)  # noqa: S603
        return ctypes.CDLL(str(made))


def step_of(chain: str, params: Leaves, grads: Leaves) -> Step:
    """The step of a chain over leaves in single precision, which it overwrites: one call."""
    scalars = np.array(_SCALARS[chain])
    slots = [[np.zeros_like(array) for array in params] for _ in range(_SLOTS)]
    lengths = (ctypes.c_size_t * len(params))(*(array.size for array in params))

    def pointers(arrays: Leaves) -> Any:
        return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))

    rows = [pointers(arrays) for arrays in (grads, params)]
    of_slots = [pointers(arrays) for arrays in slots]
    rows.append((ctypes.c_void_p * _SLOTS)(*map(ctypes.addressof, of_slots)))
    count, address = ctypes.c_size_t(len(params)), ctypes.c_void_p(scalars.ctypes.data)
    function = getattr(_library(), chain)
    function.restype = None
    alive = (params, grads, slots, of_slots, scalars)

    def step() -> object:
        function(count, lengths, *rows, address)
        return alive

    return step
