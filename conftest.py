"""What doctests pass over: adapters whose program is not installed."""

from importlib.util import find_spec

_PROGRAMS = {
    "autograd": "autograd",
    "flower": "flwr",
    "sklearn": "sklearn",
    "thinc": "thinc",
    "torch": "torch",
}

collect_ignore = [
    f"python/gradmill/adapters/{module}.py"
    for module, program in _PROGRAMS.items()
    if find_spec(program) is None
]
