"""What tests do not collect: adapters of programs that are not installed."""

from __future__ import annotations

from importlib.util import find_spec

CLIENTS = {"torch": "torch"}
"""What each adapter imports."""

collect_ignore = [
    f"python/gradmill/adapters/{name}{suffix}"
    for name, client in CLIENTS.items()
    for suffix in ("", ".py")
    if find_spec(client) is None
]
