"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

import gradmill as gm

Facts: TypeAlias = dict[str, str | int | float | None]


def cpus() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def facts() -> Facts:
    """Facts about machine, libraries and build, for the head of a report."""
    found: Facts = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "cores used": cpus(),
        "caches": _caches(),
        "memory GiB": _memory(),
        "huge pages": _chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
    for package in ("numpy", "jax", "jaxlib", "optax", "torch"):
        found[package] = _version(package)
    for name, value in gm.build_info().items():
        found[f"gradmill {name}"] = value if isinstance(value, int) else str(value)
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _cpu() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in _read("/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def _caches() -> str | None:
    found = []
    for index in range(8):
        root = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        level, kind, size = (_read(f"{root}/{name}") for name in ("level", "type", "size"))
        if size and kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found) or None


def _memory() -> float | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _chosen(path: str) -> str | None:
    _, _, rest = _read(path).partition("[")
    return rest.partition("]")[0] or None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
