"""A factory's arguments: which are numbers, which are schedules, and which are neither."""

from __future__ import annotations

import ast
import re
import typing
from types import UnionType
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import is_real
from gradmill.schedules import StatefulSchedule, WrappedSchedule
from gradmill.schedules._named import named

if TYPE_CHECKING:
    import inspect
    from collections.abc import Iterable, Mapping

_NUMBERS = {
    *("float", "int", "complex", "number", "Number", "Real", "Numeric", "Scalar"),
    *("Array", "ArrayLike", "ndarray", "NDArray", "ScalarOrSchedule"),
}
"""Types of an argument that takes a number, or a schedule of it."""

_FUNCTIONS = {"Callable", "Mask", "MaskOrFn"}
"""Types of an argument that takes a function which is handed on."""

_NO_SCHEDULE = re.compile(r"f|(.*_)?(fn|func|function|schedule)|.*(mask|label|filter|callback).*")
"""Names of arguments that take a function, not a number that may change."""


class Arguments(NamedTuple):
    """The arguments of a call by name.

    Attributes:
        fixed: Those that are handed on as they are.
        numbers: Real scalars.
        schedules: What gives a number in each step.
    """

    fixed: dict[str, Any]
    numbers: dict[str, Any]
    schedules: dict[str, StatefulSchedule]


def sort_arguments(
    arguments: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter], static: set[str]
) -> Arguments:
    """Tell the arguments of a factory apart; those named in ``static`` are handed on."""
    sorted_ = Arguments({}, {}, {})
    for name, value in arguments.items():
        if name in static:
            sorted_.fixed[name] = value
        elif is_real(value):
            sorted_.numbers[name] = value
        elif isinstance(value, type) or not callable(value):
            sorted_.fixed[name] = value
        elif isinstance(value, StatefulSchedule):
            sorted_.schedules[name] = value
        elif _takes_schedule(parameters[name]):
            sorted_.schedules[name] = WrappedSchedule(named(name, value))
        else:
            sorted_.fixed[name] = value
    return sorted_


def _takes_schedule(parameter: inspect.Parameter) -> bool:
    """Whether a function is a schedule, where it is the argument for ``parameter``."""
    kinds = set(_members(parameter.annotation))
    if kinds & _NUMBERS:
        return True
    return not (kinds & _FUNCTIONS or _NO_SCHEDULE.fullmatch(parameter.name))


def _members(annotation: Any) -> Iterable[str]:
    """The names of the types that an annotation allows, without what these are made of."""
    if isinstance(annotation, str):
        try:
            yield from _names(ast.parse(annotation, mode="eval").body)
        except SyntaxError:
            return
    elif typing.get_origin(annotation) in (typing.Union, UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    else:
        kind = typing.get_origin(annotation) or annotation
        yield getattr(kind, "__name__", "").rpartition(".")[2]


def _names(node: ast.expr) -> Iterable[str]:
    """The same of an annotation that is not evaluated."""
    match node:
        case ast.Constant(str(text)):
            yield from _members(text)
        case ast.BinOp(left, ast.BitOr(), right):
            yield from _names(left)
            yield from _names(right)
        case ast.Subscript(value, inside) if {"Union", "Optional", "Annotated"} & set(
            _names(value)
        ):
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            for part in parts[:1] if "Annotated" in _names(value) else parts:
                yield from _names(part)
        case ast.Subscript(value):
            yield from _names(value)
        case ast.Attribute(_, name) | ast.Name(name):
            yield name
