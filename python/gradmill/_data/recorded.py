"""The code that made a transformation or a schedule."""

from __future__ import annotations

import functools
import sys
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Call(NamedTuple):
    """A call of a function, whose code is put together when somebody looks."""

    function: object
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    more: str = ""

    def __str__(self) -> str:
        """Write the call as it stood, with the package as ``gm``; what follows it is ``more``."""
        row = [_code(value) for value in self.arguments]
        row += [f"{name}={_code(value)}" for name, value in self.keywords.items()]
        return f"{_code(self.function)}({', '.join(row)}){self.more}"


def recorded(factory: Callable[_P, _R], function: object = None) -> Callable[_P, _R]:
    """Let what ``factory`` makes know the call, which is its ``repr``.

    Of calls inside of each other the outermost counts, as it is the one that somebody wrote.
    ``function`` is what was called where that is not ``factory``.
    """

    @functools.wraps(factory)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        made = factory(*args, **kwargs)
        # One that was handed in is not made here.
        if hasattr(made, "_made_by") and not any(made is one for one in (*args, *kwargs.values())):
            # Schedules are frozen.
            object.__setattr__(made, "_made_by", Call(function or factory, args, kwargs))
        return made

    return call


def _code(value: Any) -> str:
    """``value`` as code, as far as there is code for it."""
    match value:
        case Call():
            code = str(value)
        case FunctionType() | BuiltinFunctionType() | type():
            code = _name(value)
        case dict() if type(value) is dict:
            pairs = [f"{_code(key)}: {_code(held)}" for key, held in value.items()]
            code = f"{{{', '.join(pairs)}}}"
        case list() if type(value) is list:
            code = f"[{', '.join(map(_code, value))}]"
        case tuple() if type(value) is tuple:
            code = f"({', '.join(map(_code, value))}{',' * (len(value) == 1)})"
        case tuple() if hasattr(value, "_fields") and not hasattr(value, "_made_by"):
            fields = dict(zip(value._fields, value, strict=True))
            code = str(Call(type(value), (), fields))
        case np.ndarray() | np.dtype():
            code = f"np.{value!r}"
        case _:
            code = repr(value)
    return code


def _name(value: Any) -> str:
    """The name by which users reach a function or a class."""
    package, *inside = str(value.__module__).split(".")
    short = {"gradmill": "gm", "numpy": "np"}.get(package)
    # Where the package itself does not have it, a part of it may, such as `contrib`.
    for path in ([], inside[:1], inside[:2]):
        module = sys.modules.get(".".join([package, *path]))
        if short and hasattr(module, value.__name__):
            return ".".join([short, *path, value.__name__])
    return str(value.__qualname__)
