"""Arithmetic of the host, written down once and run by the core.

A tape is a namespace of array functions, as :mod:`gradmill._data.numbers` has them: schedules and
controls that are called with its numbers leave behind the operations that they consist of. The core
runs these in float64, in the order and with the bits of Python's own.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Callable

_CODES = dict(_core.tape_codes())
_FLOAT64 = np.dtype(np.float64)
_BOOL = np.dtype(np.bool_)

EXACT = 2**53
"""The integers up to here are float64s."""

Place: TypeAlias = "tuple[str, int]"
"""Where a value is: among constants and inputs, or among what operations make."""


class UnwritableError(Exception):
    """What is asked of a number depends on its value, or is none of the operations."""


def is_own(factory: object) -> bool:
    """Whether a function is one of this package's, which take a tape's numbers for any others."""
    while isinstance(factory, partial):
        factory = factory.func
    module = sys.modules.get(getattr(factory, "__module__", None) or "")
    is_of_package = module is not None and module.__name__.split(".")[0] == __name__.split(".")[0]
    name = getattr(factory, "__name__", "")
    return is_of_package and getattr(module, name, None) is factory


def _unknown(*_: Any, **__: Any) -> Any:
    raise UnwritableError


class Number:
    """A number that is known when the tape runs.

    Attributes:
        tape: The tape.
        place: Where it is.
        dtype: Its dtype.
    """

    __slots__ = ("dtype", "place", "tape")
    shape: tuple[int, ...] = ()
    ndim = 0
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, tape: Tape, place: Place, dtype: np.dtype[Any] = _FLOAT64) -> None:
        self.tape = tape
        self.place = place
        self.dtype = dtype

    def __array_namespace__(self, **_: Any) -> Tape:
        return self.tape

    def __add__(self, other: Any) -> Any:
        return self.tape.op("Add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self.tape.op("Add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self.tape.op("Sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.tape.op("Sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self.tape.op("Mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.tape.op("Mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.tape.op("Div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.tape.op("Div", other, self)

    def __neg__(self) -> Any:
        return self.tape.op("Neg", self)

    def __mod__(self, other: Any) -> Any:
        if not (type(other) is int and other > 0):
            raise UnwritableError
        return self.tape.op("Mod", self, other)

    def __lt__(self, other: Any) -> Any:
        return self.tape.op("Less", self, other, dtype=_BOOL)

    def __gt__(self, other: Any) -> Any:
        return self.tape.op("Less", other, self, dtype=_BOOL)

    def __le__(self, other: Any) -> Any:
        return self.tape.op("AtMost", self, other, dtype=_BOOL)

    def __ge__(self, other: Any) -> Any:
        return self.tape.op("AtMost", other, self, dtype=_BOOL)

    def __eq__(self, other: object) -> Any:
        return self.tape.op("Equal", self, other, dtype=_BOOL)

    def __and__(self, other: Any) -> Any:
        return self.tape.logical_and(self, other)

    __rand__ = __and__
    __ne__ = __pow__ = __rpow__ = __abs__ = __floordiv__ = __rfloordiv__ = _unknown
    __bool__ = __float__ = __int__ = __index__ = __array__ = __getattr__ = _unknown


class _Row:
    """Several values, of which one is picked."""

    def __init__(self, tape: Tape, values: tuple[Any, ...]) -> None:
        self.tape = tape
        self.values = values

    def __getitem__(self, at: Any) -> Any:
        picked = self.values[0]
        for index, value in enumerate(self.values[1:], 1):
            picked = self.tape.where(self.tape.op("AtMost", index, at), value, picked)
        return picked


class Tape:
    """Operations as they are written down, and the functions that write them."""

    def __init__(self) -> None:
        self._constants: list[float] = []
        self._known: dict[tuple[float, float], Place] = {}
        self.ops: list[tuple[str, Any, Any, Any]] = []
        self.functions: list[Callable[[int], Any]] = []

    def input(self, dtype: np.dtype[Any] = _FLOAT64) -> Number:
        """A number that whoever runs the tape puts there."""
        self._constants.append(0.0)
        return Number(self, ("constant", len(self._constants) - 1), dtype)

    def place(self, value: Any) -> Place:
        """Where a value is, which may be a number of Python's or NumPy's."""
        if type(value) is Number:
            return value.place
        if not isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
            raise UnwritableError
        if isinstance(value, int) and abs(value) > EXACT:
            raise UnwritableError
        constant = float(value)
        if not np.isfinite(constant):
            raise UnwritableError
        # Zeros of both signs are equal.
        key = constant, np.copysign(1.0, constant)
        if key not in self._known:
            self._known[key] = self.input().place
            self._constants[-1] = constant
        return self._known[key]

    def op(self, code: str, *operands: Any, dtype: np.dtype[Any] = _FLOAT64) -> Any:
        """Write down an operation on values."""
        return self._write(code, [self.place(operand) for operand in operands], dtype)

    def _write(self, code: str, operands: list[Any], dtype: np.dtype[Any]) -> Number:
        first, second, third, *_ = [*operands, operands[0], operands[0]]
        self.ops.append((code, first, second, third))
        return Number(self, ("op", len(self.ops) - 1), dtype)

    def call(self, function: Callable[[int], Any], count: Any) -> Number:
        """What a function of a count returns: a float or a bool."""
        self.functions.append(function)
        return self._write("Call", [self.place(count), len(self.functions) - 1], _FLOAT64)

    def need(self, condition: Any) -> None:
        """Let Python take over where a condition does not hold."""
        self.op("Need", condition)

    def within(
        self,
        number: Any,
        above: float | None,
        at_least: float | None,
        below: float | None,
        at_most: float | None,
    ) -> None:
        """Let Python take over where a number is out of bounds."""
        if above is not None:
            self.need(number > above)
        if at_least is not None:
            self.need(number >= at_least)
        if below is not None:
            self.need(number < below)
        if at_most is not None:
            self.need(number <= at_most)

    def number(self, value: Any) -> Number:
        """A value as a number of the tape."""
        return value if type(value) is Number else Number(self, self.place(value))

    def index(self, number: Number) -> int:
        """The place of a number among all; to be asked when nothing is added any more."""
        return self._index(number.place)

    def _index(self, place: Place) -> int:
        kind, at = place
        return at if kind == "constant" else len(self._constants) + at

    def written(self) -> tuple[list[float], list[tuple[int, int, int, int]]]:
        """Constants and operations, as the core takes them."""

        def number(operand: Any) -> int:
            return self._index(operand) if isinstance(operand, tuple) else operand

        ops = [(_CODES[code], number(a), number(b), number(c)) for code, a, b, c in self.ops]
        return self._constants, ops

    # Functions by the names that array libraries have for them.

    def asarray(self, value: Any, dtype: Any = None) -> Any:  # noqa: ARG002  (all are float64)
        """A value as it is, several as a row."""
        return _Row(self, value) if isinstance(value, tuple) else value

    def searchsorted(self, row: _Row, value: Any, side: str) -> Any:  # noqa: ARG002  (the right one)
        """How many of a row in ascending order are not above a value."""
        passed: Any = 0
        for bound in row.values:
            passed = self.op("Add", passed, self.op("AtMost", bound, value))
        return passed

    def cos(self, value: Any) -> Any:
        """Its cosine."""
        return self.op("Cos", value)

    def sqrt(self, value: Any) -> Any:
        """Its root."""
        return self.op("Sqrt", value)

    def floor(self, value: Any) -> Any:
        """The integer below."""
        return self.op("Floor", value)

    def minimum(self, first: Any, second: Any) -> Any:
        """The lesser of two."""
        return self.op("Min", first, second)

    def maximum(self, first: Any, second: Any) -> Any:
        """The larger of two."""
        return self.op("Max", first, second)

    def power(self, base: Any, exponent: Any) -> Any:
        """A power."""
        if type(exponent) is not Number and exponent == 1:
            return base
        return self.op("Pow", base, exponent)

    def isfinite(self, value: Any) -> Any:
        """Whether it is neither infinite nor NaN."""
        most = sys.float_info.max
        return self.logical_and(value >= -most, value <= most)

    def logical_not(self, value: Any) -> Any:
        """Whether it does not hold."""
        return not value if type(value) is not Number else self.op("Not", value, dtype=_BOOL)

    def logical_and(self, first: Any, second: Any) -> Any:
        """Whether both hold."""
        return self.op("And", first, second, dtype=_BOOL)

    def where(self, condition: Any, first: Any, second: Any) -> Any:
        """One of two values."""
        if type(condition) is not Number:
            return first if condition else second
        if self.place(first) == self.place(second):
            return first
        return self.op("Where", condition, first, second)
