"""What is not collected: adapters whose program is not installed, and what tests them."""

from __future__ import annotations

import sys
from importlib.util import find_spec

PROGRAMS = {
    "autograd": "autograd",
    "flower": "flwr",
    "sklearn": "sklearn",
    "thinc": "thinc",
    "torch": "torch",
}
"""The program of each adapter."""

OF_LINUX = ("tests/fault/test_memory.py", "tests/unit/test_process.py")
"""What looks into ``/proc``."""

OF_POSIX = (
    *("tests/fault/test_checkpoints.py", "tests/fault/test_concurrency.py"),
    *("tests/fault/test_fork.py", "tests/jax/test_target.py", "tests/unit/test_recycling.py"),
)
"""What forks, or sends signals."""

# The first has the settings of another program.
collect_ignore = [
    "docs/conf.py",
    *(OF_LINUX if sys.platform != "linux" else ()),
    *(OF_POSIX if sys.platform == "win32" else ()),
]
collect_ignore_glob = [
    pattern
    for adapter, program in PROGRAMS.items()
    if find_spec(program) is None
    for pattern in (f"python/gradmill/adapters/{adapter}*", f"tests/adapters/{adapter}_*")
]
