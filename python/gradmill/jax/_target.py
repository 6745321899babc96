"""The custom call through which XLA runs gradmill's kernels, registered when first needed."""

from __future__ import annotations

import os
import warnings
from functools import cache

from jax import ffi, local_devices

from gradmill import _core
from gradmill.jax._header import difference

TARGET = "gradmill.step.v1"
"""Programs that JAX keeps on disk refer to it by this name, which changes with what it means."""


def cpus() -> int:
    """How many devices JAX makes of the CPU; none where it is told to leave it alone.

    There is a backend afterwards, if there can be one: a target that XLA does not take, registered
    before there is, would spoil it.
    """
    try:
        return len(local_devices(backend="cpu"))
    except RuntimeError:
        return 0


@cache
def target_ready() -> bool:
    """Whether programs on the CPU, which there is, can call the target; if not, a warning says why.

    ``GRADMILL_XLA=0`` in the environment says no without one.
    """
    if os.environ.get("GRADMILL_XLA") == "0":
        return False
    try:
        problem = difference(ffi.include_dir())
        if problem is None:
            ffi.register_ffi_target(TARGET, _core.xla_handler(), platform="cpu")
    except Exception as error:  # noqa: BLE001  (whatever it is, steps can do without)
        problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        warnings.warn(
            f"gradmill.jax.step runs as JAX operations, not as one kernel: {problem}",
            RuntimeWarning,
            stacklevel=3,
        )
    return problem is None
