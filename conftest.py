"""What is not collected: adapters whose program is not installed, and what tests them."""

from __future__ import annotations

from importlib.util import find_spec

PROGRAMS = {
    "autograd": "autograd",
    "flower": "flwr",
    "sklearn": "sklearn",
    "thinc": "thinc",
    "torch": "torch",
}
"""The program of each adapter."""

# Settings of another program.
collect_ignore = ["docs/conf.py"]
collect_ignore_glob = [
    pattern
    for adapter, program in PROGRAMS.items()
    if find_spec(program) is None
    for pattern in (f"python/gradmill/adapters/{adapter}*", f"tests/adapters/{adapter}_*")
]
