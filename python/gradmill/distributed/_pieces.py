"""Where a tree is cut, and which process has which piece."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

Array = Any

GROUP = 32
"""Shards are so many elements long, or a multiple of that."""


class Piece(NamedTuple):
    """Elements of a leaf, in C order.

    Attributes:
        number: Its number among all pieces of the tree.
        leaf: The position of the leaf.
        start: The first element.
        stop: The one behind the last.
    """

    number: int
    leaf: int
    start: int
    stop: int


def pieces_of(sizes: dict[int, int], *, cut: bool) -> list[Piece]:
    """The pieces of leaves: stretches of which sums are formed at once, or whole leaves.

    They do not depend on how many processes there are, and neither does any sum.

    Args:
        sizes: How many elements each leaf has.
        cut: Whether to cut leaves.
    """
    places = [
        (leaf, start, min(start + most, size))
        for leaf, size in sizes.items()
        for most in (_core.CHUNK if cut else max(size, 1),)
        for start in range(0, max(size, 1), most)
    ]
    return [Piece(number, *place) for number, place in enumerate(places)]


class Arena:
    """The leaves of one dtype, one behind the other, shared out among processes.

    Attributes:
        dtype: The dtype.
        pieces: Their pieces.
        length: How many elements the largest shard has, in whole groups.
    """

    def __init__(self, dtype: np.dtype[Any], pieces: list[Piece], ranks: int) -> None:
        self.dtype = dtype
        self.pieces = pieces
        self._starts = list(accumulate((p.stop - p.start for p in pieces), initial=0))
        total = self._starts[-1]
        # Each process begins at the piece whose begin is nearest to that of its share.
        shares = [total * rank // ranks for rank in range(ranks)]
        self._cuts = [_nearest(self._starts, share) for share in shares]
        self._cuts.append(len(pieces))
        longest = max(stop - start for start, stop in map(self.section, range(ranks)))
        self.length = -(-longest // GROUP) * GROUP

    def shard(self, rank: int) -> list[Piece]:
        """The pieces of a process."""
        return self.pieces[self._cuts[rank] : self._cuts[rank + 1]]

    def section(self, rank: int) -> tuple[int, int]:
        """Where in the arena the shard of a process begins and ends."""
        return self._starts[self._cuts[rank]], self._starts[self._cuts[rank + 1]]

    def offsets(self, rank: int) -> list[int]:
        """Where in the shard of a process each of its pieces begins."""
        first, _ = self.section(rank)
        return [start - first for start in self._starts[self._cuts[rank] : self._cuts[rank + 1]]]

    def read(self, leaves: Sequence[Array], rank: int, window: tuple[int, int], to: Array) -> None:
        """Copy elements of flat leaves within a window of a process's shard; zeros behind it."""
        end = 0
        for leaf, source, target in self._stretches(rank, window):
            to[target] = leaves[leaf][source]
            end = target.stop
        to[end:] = 0

    def write(
        self, leaves: Sequence[Array], rank: int, window: tuple[int, int], values: Array
    ) -> None:
        """Copy elements to flat leaves within a window of a process's shard."""
        for leaf, target, source in self._stretches(rank, window):
            leaves[leaf][target] = values[source]

    def _stretches(self, rank: int, window: tuple[int, int]) -> Iterator[tuple[int, slice, slice]]:
        """Stretches of leaves, and where in the window they are."""
        first, last = self.section(rank)
        start, stop = first + window[0], min(first + window[1], last)
        at = bisect_right(self._starts, start) - 1
        while start < stop:
            piece, begin = self.pieces[at], self._starts[at]
            end = min(self._starts[at + 1], stop)
            if end > start:
                shift = piece.start - begin
                place = start - first - window[0]
                source = slice(start + shift, end + shift)
                yield piece.leaf, source, slice(place, place + end - start)
                start = end
            at += 1


def _nearest(starts: Sequence[int], share: int) -> int:
    """The position of the start that is nearest to a number; starts ascend."""
    at = bisect_left(starts, share)
    return at - 1 if at and share - starts[at - 1] <= starts[at] - share else at
