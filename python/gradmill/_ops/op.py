"""What an op is: a formula, and what follows from it.

An op is declared once, by the formula that :func:`op` stands before. Its signature says the rest:
the hyperparameters, the slots, whether it reads the parameter, and what it has to know beside the
element. Whether Rust runs it too is for the core to say, by the same name.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    TypeAlias,
    TypedDict,
    Unpack,
    overload,
)

from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Callable

Array: TypeAlias = Any
"""An array of the library whose functions a formula is given."""

Formula: TypeAlias = "Callable[..., tuple[Array, ...]]"
"""``formula(xp, u, p, *slots, hyperparameters, count, known) -> (update, *slots)``.

``xp`` has the functions over arrays: NumPy's, or those of ``jax.numpy``. ``u`` is the update that
reaches the op. ``p`` is the parameter; a formula that does not read it has no such argument. Then
come the slots, by position. All else comes by name: hyperparameters as the factory has checked
them, and what is in :data:`KNOWN`.
"""

KNOWN = ("count", "norm", "finite", "axes", "normal", "estimates")
"""What a formula may ask for by name.

``count``: steps taken before this one. ``norm``: the global norm of the update. ``finite``: whether
all updates are finite. ``axes``: those that a unit extends over, where the caller chose them, else
None. ``normal``: normally distributed numbers, one for each element. ``estimates``: what became of
the op's own sums over the tree.
"""

Finds: TypeAlias = Literal["norm", "finite", "nans", "units", "estimates"]
"""What has to be found in the update as a whole before an op can run."""

Numbers: TypeAlias = Any
"""The scalars of an op as attributes."""


class Sums(NamedTuple):
    """Sums over the tree that an op forms before it runs.

    Attributes:
        addends: ``addends(xp, u, p, *slots, numbers)`` gives two arrays, of a leaf and of the state
            before the step, each of which is summed over all elements of the tree.
        estimates: ``estimates(xp, sum, other, numbers)`` makes two numbers of the sums.
    """

    addends: Callable[..., tuple[Array, Array]]
    estimates: Callable[..., tuple[Array, Array]]


OPS: dict[str, Op] = {}
"""All ops by name, native or not."""


class Op:
    """The arithmetic of one transformation.

    Attributes:
        name: Its name, that of the formula.
        formula: Its definition; see :data:`Formula`.
        scalars: The numbers that it takes in each step: its hyperparameters, and the count last.
        slots: The state arrays that it owns.
        reads_params: Whether it reads the parameter.
        finds: What has to be found in the update as a whole before it runs.
        sums: How its estimates are found, where it asks for such.
        summed: Those of its slots that sums of its own read, before it runs.
        fixed: Those of its slots that stay as they are, so that steps in place leave them alone.
        words: Those of its scalars that are integers of 32 bits, such as the words of a key.
        zeroes: Whether each update that leaves it is zero, be the leaf what it may.
        makes_steps: Whether what leaves it is meant to be added to parameters; what bounds, guards
            or collects gradients hands on gradients.
    """

    def __init__(
        self,
        formula: Formula,
        *,
        finds: Finds | None = None,
        sums: Sums | None = None,
        summed: tuple[str, ...] = (),
        fixed: tuple[str, ...] = (),
        words: tuple[str, ...] = (),
        zeroes: bool = False,
        makes_steps: bool = True,
    ) -> None:
        self.name = formula.__name__
        self.formula = formula
        self.__module__, self.__doc__ = formula.__module__, formula.__doc__
        _, _, *rest = inspect.signature(formula).parameters.values()
        by_place = [each.name for each in rest if each.kind is not inspect.Parameter.KEYWORD_ONLY]
        by_name = [each.name for each in rest if each.kind is inspect.Parameter.KEYWORD_ONLY]
        self.reads_params = by_place[:1] == ["p"]
        self.slots = tuple(by_place[self.reads_params :])
        self.knows = frozenset(by_name).intersection(KNOWN)
        self.finds = finds
        self.sums = sums
        read = summed if sums is None else inspect.signature(sums.addends).parameters
        self.summed = tuple(slot for slot in self.slots if slot in read)
        self.fixed = fixed
        own = tuple(name for name in by_name if name not in KNOWN)
        self.scalars = own + ("count",) * ("count" in self.knows)
        self.words = words
        self.zeroes = zeroes
        self.makes_steps = makes_steps
        OPS[self.name] = self

    def __reduce__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers, with a key of two words."""
        return "normal" in self.knows

    @cached_property
    def is_native(self) -> bool:
        """Whether the core runs it."""
        return self.name in NATIVE

    @cached_property
    def members(self) -> int:
        """How many of a program's members it makes: two where leaves of other shapes have one."""
        return NATIVE.get(self.name, 1)


class _Facts(TypedDict, total=False):
    finds: Finds | None
    sums: Sums | None
    summed: tuple[str, ...]
    fixed: tuple[str, ...]
    words: tuple[str, ...]
    zeroes: bool
    makes_steps: bool


@overload
def op(formula: Formula, /) -> Op: ...
@overload
def op(**facts: Unpack[_Facts]) -> Callable[[Formula], Op]: ...
def op(formula: Formula | None = None, /, **facts: Unpack[_Facts]) -> Any:
    """Make an op of a formula; ``facts`` are those of :class:`Op` that no signature tells."""
    if formula is None:
        return lambda formula: Op(formula, **facts)
    return Op(formula)


NATIVE = {row["name"]: row["members"] for row in _core.list_ops()}
"""The ops that the core lists by name, each with how many members of a program it makes."""
