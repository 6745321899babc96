"""The instruction sets that kernels are written for."""

from __future__ import annotations

from gradmill import _core

TIERS = ["scalar", "avx2", "avx512"]


def force(tier: str, *, fuse: bool = True) -> bool:
    """Use that one from here on; whether this machine has it."""
    try:
        _core.force(tier, fuse)
    except ValueError:
        return False
    return True


def available_tiers() -> list[str]:
    """Those of this machine; the usual one is in use afterwards."""
    found = [tier for tier in TIERS if force(tier)]
    _core.force()
    return found
