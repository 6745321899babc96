"""What the host does in each step: counts, keys, and which parts of a chain run."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.numbers import HOST, TRACED, is_traced
from gradmill.errors import LeafTypeError, LeafValueError

if TYPE_CHECKING:
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.cells import After, Cells


class Context:
    """What a control may look at in a step.

    Attributes:
        updates: The updates that reach the run at hand.
        params: The parameters, or None.
        extra: The extra arguments of the call.
        xp: The namespace of counts and of what is computed with them.
    """

    __slots__ = ("extra", "params", "updates", "xp")

    def __init__(
        self, updates: PyTree, params: PyTree | None, extra: dict[str, Any], xp: Any = HOST
    ) -> None:
        self.updates = updates
        self.params = params
        self.extra = extra
        self.xp = xp


class Plan(NamedTuple):
    """What a link does in one step; numbers and bools of the context's namespace.

    Attributes:
        scalars: Those of its op.
        on: Whether its op runs.
        open: Whether the links that it governs run; None where its op decides.
        inner: The transformation whose hyperparameters those links take, where not their own.
        carry: What ``plan`` hands to ``advance``.
    """

    scalars: tuple[Any, ...] = ()
    on: Any = True
    open: Any = True
    inner: TransformationLike | None = None
    carry: Any = None


class FieldError(Exception):
    """Something is wrong with a field of a link's state, the path of which is to be added."""

    def __init__(self, field: str, problem: str, kind: type[Exception]) -> None:
        super().__init__(field, problem)
        self.kind = kind

    def at(self, path: str) -> Exception:
        """The error for a state at ``path``."""
        field, problem = self.args
        return self.kind(f"{path}.{field}: {problem}")


def count_of(state: Any, field: str = "count") -> int:
    """The number of steps, or of other things, that a field of a state holds.

    Raises:
        FieldError: It is not an integer, or negative.
    """
    value = getattr(state, field)
    try:
        count = operator.index(value)
    except TypeError:
        problem = TRACED if is_traced(value) else f"{value!r:.60} is not an integer"
        raise FieldError(field, problem, LeafTypeError) from None
    if count < 0:
        raise FieldError(field, f"{count} is negative", LeafValueError)
    return min(count, COUNT_TOP)


COUNT_TOP = 2**63 - 1
"""No count is higher, whatever its dtype."""


class Control(ABC):
    """The host's side of a transformation: those fields of its state that are no slots.

    It runs on numbers of the host, and on arrays of another library where states hold such.
    """

    needs_updates = False
    """Whether ``plan`` looks at the updates, which ends the run before it."""

    counts: tuple[str, ...] = ()
    """The fields that count something; they are checked before ``plan``."""

    @property
    def is_arithmetic(self) -> bool:
        """Whether ``plan`` and ``advance`` are arithmetic among fields of the state alone."""
        return False

    def written(self, recipe: Cells, link: int) -> tuple[Plan, After] | None:  # noqa: ARG002  (for those that write)
        """Write down what the host does at ``link``, where that is more than arithmetic."""
        return None

    @abstractmethod
    def init(self, params: PyTree) -> dict[str, Any]:
        """The fields at first."""

    @abstractmethod
    def plan(self, state: Any, context: Context) -> Plan:
        """What to do in the step to come."""

    @abstractmethod
    def advance(self, state: Any, plan: Plan, found: Any) -> dict[str, Any]:
        """The fields that change; ``found`` is what the op found, if it looks for anything.

        A number or a bool is the new value of a 0-d array.
        """
