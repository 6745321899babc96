"""How the state of a transformation is made up of those of its links."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.tape import UnwritableError
from gradmill._plan.align import kind_of, with_article
from gradmill._plan.spec import Chained, Gated, Masked, Partitioned, Spec
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.host import Pattern, Recipe


class MaskedState(NamedTuple):
    """The state of a masked transformation.

    Attributes:
        inner_state: That of the transformation inside, with ``MaskedNode`` for other leaves.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.add_decayed_weights(1e-4, mask={"w": True}).init({"w": np.ones(2)})
        MaskedState(inner_state=EmptyState())
    """

    inner_state: Any


class PartitionState(NamedTuple):
    """The state of :func:`gradmill.partition`.

    Attributes:
        inner_states: For each label a :class:`MaskedState`.

    Example:
        >>> import gradmill as gm
        >>> gm.partition({"a": gm.scale(1.0)}, {"w": "a"}).init({"w": 1.0})
        PartitionState(inner_states={'a': MaskedState(inner_state=EmptyState())})
    """

    inner_states: Any


class Layout(ABC):
    """Takes states apart into those of the links, and puts them together again.

    Attributes:
        path: The expression for the state.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def parts(self, state: PyTree) -> list[PyTree]:
        """The states of the links; see :meth:`split`."""
        parts: list[PyTree] = []
        self.split(state, parts)
        return parts

    @abstractmethod
    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        """Append the states of the links; a gate's holds those behind it as well.

        Raises:
            TreeError: ``state`` is not one that ``init`` makes.
        """

    @abstractmethod
    def join(self, parts: Iterator[PyTree]) -> PyTree:
        """The state whose links have these states."""

    def pattern(
        self,
        recipe: Recipe,  # noqa: ARG002  (the usual layout has none)
        links: Iterator[int],  # noqa: ARG002
        labels: list[Any],  # noqa: ARG002
    ) -> Pattern:
        """The state as a pattern for the core; see :meth:`Recipe.pattern`.

        Args:
            recipe: What the host does, which says where it looks at the state.
            links: The positions of the links.
            labels: Takes what the leaves of the pattern stand for.

        Raises:
            UnwritableError: There are nodes in it that patterns do not have.
        """
        raise UnwritableError

    def misfit(self, expected: str, state: PyTree) -> TreeError:
        """The error for a state of another kind."""
        of = f" of {len(state)}" if type(state) is tuple else ""
        return TreeError(f"{self.path}: expected {expected}, got {kind_of(state)}{of}")


class _One(Layout):
    """A single link; of one that is written in Python, nothing is known."""

    def __init__(self, path: str, spec: Spec | None) -> None:
        super().__init__(path)
        self.kind = None if spec is None else spec.state

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        kind = self.kind
        if kind is not None and type(state) is not kind and not _has_fields(state, kind):
            raise self.misfit(with_article(kind.__name__), state)
        parts.append(state)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        return next(parts)

    def pattern(self, recipe: Recipe, links: Iterator[int], labels: list[Any]) -> Pattern:
        return recipe.pattern(next(links), labels)


class _Chain(Layout):
    def __init__(self, path: str, members: tuple[TransformationLike, ...]) -> None:
        super().__init__(path)
        self.members = [layout_of(tx, f"{path}[{i}]") for i, tx in enumerate(members)]

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        if not isinstance(state, tuple) or len(state) != len(self.members):
            raise self.misfit(f"a tuple of {len(self.members)} states", state)
        for member, inner in zip(self.members, state, strict=True):
            member.split(inner, parts)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        return tuple([member.join(parts) for member in self.members])

    def pattern(self, recipe: Recipe, links: Iterator[int], labels: list[Any]) -> Pattern:
        return tuple, [each.pattern(recipe, links, labels) for each in self.members], [], []


class _Named(Layout):
    def __init__(self, path: str, members: dict[str, TransformationLike]) -> None:
        super().__init__(path)
        self.members = {key: layout_of(tx, f"{path}[{key!r}]") for key, tx in members.items()}

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        if not isinstance(state, dict) or state.keys() != self.members.keys():
            raise self.misfit(f"a dict with the keys {', '.join(self.members)}", state)
        for key, member in self.members.items():
            member.split(state[key], parts)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        return OrderedDict((key, member.join(parts)) for key, member in self.members.items())


class _Mask(Layout):
    def __init__(self, path: str, inner: TransformationLike) -> None:
        super().__init__(path)
        self.inner = layout_of(inner, f"{path}.inner_state")

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        if not hasattr(state, "inner_state"):
            raise self.misfit("a MaskedState", state)
        self.inner.split(state.inner_state, parts)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        return MaskedState(self.inner.join(parts))


class _Partition(Layout):
    def __init__(self, path: str, members: dict[Any, TransformationLike]) -> None:
        super().__init__(path)
        self.members = {
            label: _Mask(f"{path}.inner_states[{label!r}]", tx) for label, tx in members.items()
        }

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        states = getattr(state, "inner_states", None)
        if not isinstance(states, dict) or states.keys() != self.members.keys():
            labels = ", ".join(map(str, self.members))
            raise self.misfit(f"a PartitionState with the labels {labels}", state)
        for label, member in self.members.items():
            member.split(states[label], parts)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        states = {label: member.join(parts) for label, member in self.members.items()}
        return PartitionState(states)


class _Gate(Layout):
    def __init__(self, path: str, gated: Gated) -> None:
        super().__init__(path)
        self.kind = gated.spec.state
        self.field = gated.field
        self.inner = layout_of(gated.inner, f"{path}.{gated.field}")

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        if not _has_fields(state, self.kind):
            raise self.misfit(with_article(self.kind.__name__), state)
        parts.append(state)
        self.inner.split(getattr(state, self.field), parts)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        own = next(parts)
        return own._replace(**{self.field: self.inner.join(parts)})

    def pattern(self, recipe: Recipe, links: Iterator[int], labels: list[Any]) -> Pattern:
        inner = partial(self.inner.pattern, recipe, links, labels)
        return recipe.pattern(next(links), labels, (self.field, inner))


def _has_fields(state: PyTree, kind: type[Any]) -> bool:
    return set(kind._fields).issubset(getattr(state, "_fields", ()))


def layout_of(tx: TransformationLike, path: str = "state") -> Layout:
    """The layout of the states of ``tx``."""
    match getattr(tx, "description", None):
        case Chained(members, None):
            return _Chain(path, members)
        case Chained(members, tuple() as names):
            return _Named(path, dict(zip(names, members, strict=True)))
        case Masked(inner):
            return _Mask(path, inner)
        case Partitioned(members):
            return _Partition(path, dict(members))
        case Gated() as gated:
            return _Gate(path, gated)
        case other:
            return _One(path, other if isinstance(other, Spec) else None)
