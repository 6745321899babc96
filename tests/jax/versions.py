"""What older versions of JAX have under other names."""

from __future__ import annotations

from typing import Any

import jax
import jax.experimental

MIXES_DTYPES = hasattr(jax, "enable_x64")
"""Whether a program can be float64 in part; schedules are evaluated in float32 otherwise."""

HAS_SHARD_MAP = hasattr(jax, "shard_map")

enable_x64: Any = jax.enable_x64 if MIXES_DTYPES else jax.experimental.enable_x64
