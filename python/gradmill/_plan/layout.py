"""A transformation taken apart: its links in a row, and how its state is composed of theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from gradmill._data.tape import UnwritableError
from gradmill._data.types import EmptyState, MaskedState, PartitionState
from gradmill._plan.align import kind_of, with_article
from gradmill._plan.links import Link
from gradmill._plan.spec import (
    Chained,
    Coded,
    Followed,
    Gated,
    LabelMask,
    Masked,
    Partitioned,
    Preceded,
    Spec,
)
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from gradmill._data.types import Mask, PyTree, TransformationLike
    from gradmill._plan.cells import Pattern

Inner: TypeAlias = "tuple[str, Callable[[], Pattern]] | None"
"""The field of a state that holds that of another part, and what makes the pattern of it."""

OfLink: TypeAlias = "Callable[[int, Inner], Pattern]"
"""Makes the pattern of a link's state, given the position of the link."""


class Layout(ABC):
    """A part of a transformation: takes its states apart and puts them together again.

    Attributes:
        path: The expression for the state.
        links: Its links, in the order in which updates pass them.
    """

    links: list[Link]

    def __init__(self, path: str) -> None:
        self.path = path

    def parts(self, state: PyTree) -> list[PyTree]:
        """The states of the links; see :meth:`split`."""
        parts: list[PyTree] = []
        self.split(state, parts)
        return parts

    @abstractmethod
    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        """Append the states of the links; one that holds other states holds them here as well.

        Raises:
            TreeError: ``state`` is not one that ``init`` makes.
        """

    @abstractmethod
    def join(self, parts: Iterator[PyTree]) -> PyTree:
        """The state whose links have these states."""

    @abstractmethod
    def pattern(self, of_link: OfLink) -> Pattern:
        """The state as a pattern for the core.

        Args:
            of_link: Makes the pattern of the state of a link, given its position.

        Raises:
            UnwritableError: There are nodes in it that patterns do not have.
        """

    def misfit(self, expected: str, state: PyTree) -> TreeError:
        """The error for a state of another kind."""
        of = f" of {len(state)}" if type(state) is tuple else ""
        return TreeError(f"{self.path}: expected {expected}, got {kind_of(state)}{of}")


class _One(Layout):
    """A single link; of one that is written in Python, nothing is known."""

    def __init__(self, path: str, kind: type[Any] | None) -> None:
        super().__init__(path)
        self.kind = kind

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        kind = self.kind
        if kind is not None and type(state) is not kind and not _has_fields(state, kind):
            raise self.misfit(with_article(kind.__name__), state)
        parts.append(state)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        return next(parts)

    def pattern(self, of_link: OfLink) -> Pattern:
        return of_link(self.links[0].index, None)


class _Gate(Layout):
    """A link whose state holds that of the part behind it."""

    def __init__(self, path: str, kind: type[Any], field: str, inner: Layout) -> None:
        super().__init__(path)
        self.kind = kind
        self.field = field
        self.inner = inner

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        if not _has_fields(state, self.kind):
            raise self.misfit(with_article(self.kind.__name__), state)
        parts.append(state)
        self.inner.split(getattr(state, self.field), parts)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        own = next(parts)
        return own._replace(**{self.field: self.inner.join(parts)})

    def pattern(self, of_link: OfLink) -> Pattern:
        return of_link(self.own.index, (self.field, partial(self.inner.pattern, of_link)))

    @property
    def own(self) -> Link:
        """The link that is no part of what is behind it."""
        return self.links[0]


class _Followed(_Gate):
    """A link whose state holds that of the part before it."""

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        if not _has_fields(state, self.kind):
            raise self.misfit(with_article(self.kind.__name__), state)
        self.inner.split(getattr(state, self.field), parts)
        parts.append(state)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        inner = self.inner.join(parts)
        return next(parts)._replace(**{self.field: inner})

    @property
    def own(self) -> Link:
        """The link that is no part of what is before it."""
        return self.links[-1]


class _Preceded(Layout):
    """A link without state before a part, whose state is that of both."""

    def __init__(self, path: str, inner: Layout) -> None:
        super().__init__(path)
        self.inner = inner

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        parts.append(EmptyState())
        self.inner.split(state, parts)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        next(parts)
        return self.inner.join(parts)

    def pattern(self, of_link: OfLink) -> Pattern:
        return self.inner.pattern(of_link)


class _Group(Layout):
    """Parts whose states stand in a container."""

    container: type[Any] | None = None
    """That of a pattern, where patterns have such."""

    def __init__(self, path: str, inside: Sequence[Layout]) -> None:
        super().__init__(path)
        self.inside = inside

    def split(self, state: PyTree, parts: list[PyTree]) -> None:
        for part, own in zip(self.inside, self.opened(state), strict=True):
            part.split(own, parts)

    def join(self, parts: Iterator[PyTree]) -> PyTree:
        return self.closed([part.join(parts) for part in self.inside])

    def pattern(self, of_link: OfLink) -> Pattern:
        if self.container is None:
            raise UnwritableError
        return self.container, [part.pattern(of_link) for part in self.inside], [], []

    @abstractmethod
    def opened(self, state: PyTree) -> Sequence[PyTree]:
        """The states in the container.

        Raises:
            TreeError: ``state`` is not one that ``init`` makes.
        """

    @abstractmethod
    def closed(self, states: Sequence[PyTree]) -> PyTree:
        """The container around states."""


class _Chain(_Group):
    container = tuple

    def opened(self, state: PyTree) -> Sequence[PyTree]:
        if not isinstance(state, tuple) or len(state) != len(self.inside):
            raise self.misfit(f"a tuple of {len(self.inside)} states", state)
        return state

    def closed(self, states: Sequence[PyTree]) -> PyTree:
        return tuple(states)


class _Named(_Group):
    def __init__(self, path: str, names: Sequence[str], inside: Sequence[Layout]) -> None:
        super().__init__(path, inside)
        self.names = names

    def opened(self, state: PyTree) -> Sequence[PyTree]:
        if not isinstance(state, dict) or state.keys() != set(self.names):
            raise self.misfit(f"a dict with the keys {', '.join(self.names)}", state)
        return [state[name] for name in self.names]

    def closed(self, states: Sequence[PyTree]) -> PyTree:
        return OrderedDict(zip(self.names, states, strict=True))


class _Mask(_Group):
    def opened(self, state: PyTree) -> Sequence[PyTree]:
        if not hasattr(state, "inner_state"):
            raise self.misfit("a MaskedState", state)
        return (state.inner_state,)

    def closed(self, states: Sequence[PyTree]) -> PyTree:
        return MaskedState(*states)


class _Partition(_Group):
    def __init__(self, path: str, labels: Sequence[Hashable], inside: Sequence[Layout]) -> None:
        super().__init__(path, inside)
        self.labels = labels

    def opened(self, state: PyTree) -> Sequence[PyTree]:
        states = getattr(state, "inner_states", None)
        if not isinstance(states, dict) or states.keys() != set(self.labels):
            labels = ", ".join(map(str, self.labels))
            raise self.misfit(f"a PartitionState with the labels {labels}", state)
        return [states[label] for label in self.labels]

    def closed(self, states: Sequence[PyTree]) -> PyTree:
        return PartitionState(dict(zip(self.labels, states, strict=True)))


def _has_fields(state: PyTree, kind: type[Any]) -> bool:
    return set(kind._fields).issubset(getattr(state, "_fields", ()))


@dataclass(frozen=True)
class _Place:
    """Where a part of a transformation stands."""

    path: str
    masks: tuple[Mask, ...] = ()
    masks_extra: bool = False
    gates: tuple[int, ...] = ()
    coded: tuple[Mask, ...] | None = None

    def at(self, suffix: str) -> _Place:
        """The place of a part whose state is found there."""
        return replace(self, path=self.path + suffix)

    def under(self, mask: Mask, masks_extra: bool) -> _Place:
        """The place under a mask."""
        extra = self.masks_extra or masks_extra
        return replace(self, masks=(*self.masks, mask), masks_extra=extra)

    def behind(self, gate: int) -> _Place:
        """The place behind a gate."""
        return replace(self, gates=(*self.gates, gate))

    def link(self, tx: TransformationLike, spec: Spec | None, index: int) -> Link:
        masks, extra, gates = self.masks, self.masks_extra, self.gates
        return Link(tx, spec, masks, extra, gates, index, index + 1, self.path, coded=self.coded)


def layout_of(tx: TransformationLike) -> Layout:
    """The layout of ``tx``."""
    return _lay_out(tx, _Place("state"), [])


def links_of(tx: TransformationLike) -> list[Link]:
    """The links of ``tx``, in the order in which updates pass them."""
    return layout_of(tx).links


def _lay_out(tx: TransformationLike, place: _Place, row: list[Link]) -> Layout:
    """The layout of a part; its links are added to ``row``."""
    path, index = place.path, len(row)
    layout: Layout
    match getattr(tx, "description", None):
        case Chained(members, names):
            keys = range(len(members)) if names is None else names
            pairs = zip(keys, members, strict=True)
            inside = [_lay_out(one, place.at(f"[{key!r}]"), row) for key, one in pairs]
            layout = _Chain(path, inside) if names is None else _Named(path, names, inside)
        case Masked(inner, mask, masks_extra):
            layout = _masked(inner, mask, masks_extra, place, row)
        case Partitioned(members, labels, masks_extra):
            inside = []
            for label, one in members.items():
                here = place.at(f".inner_states[{label!r}]")
                inside.append(_masked(one, LabelMask(labels, label), masks_extra, here, row))
            layout = _Partition(path, tuple(members), inside)
        case Gated(spec, inner, field):
            row.append(place.link(tx, spec, index))
            behind = _lay_out(inner, place.behind(index).at(f".{field}"), row)
            layout = _Gate(path, spec.state, field, behind)
            inner_ops = tuple(link.op for link in row[index + 1 :])
            row[index] = replace(row[index], end=len(row), inner_ops=inner_ops)
        case Followed(inner, spec, field):
            ahead = _lay_out(inner, place.at(f".{field}"), row)
            row.append(place.link(tx, spec, len(row)))
            layout = _Followed(path, spec.state, field, ahead)
        case Preceded(spec, inner):
            row.append(place.link(tx, spec, index))
            layout = _Preceded(path, _lay_out(inner, place, row))
        case Coded(inner, masks):
            layout = _lay_out(inner, replace(place, coded=masks), row)
        case Spec() as spec:
            row.append(place.link(tx, spec, index))
            layout = _One(path, spec.state)
        case _:
            row.append(place.link(tx, None, index))
            layout = _One(path, None)
    layout.links = row[index:]
    return layout


def _masked(
    inner: TransformationLike, mask: Mask, masks_extra: bool, place: _Place, row: list[Link]
) -> Layout:
    """The layout of a masked part."""
    here = place.under(mask, masks_extra).at(".inner_state")
    return _Mask(place.path, [_lay_out(inner, here, row)])
