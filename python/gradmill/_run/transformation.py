"""A transformation: two functions and, for this package's own, a description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from gradmill._run.explain import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree, TransformInitFn
    from gradmill._plan.spec import Description
    from gradmill._run.explanation import Explanation


class _InitUpdate(NamedTuple):
    init: TransformInitFn
    update: Callable[..., tuple[PyTree, PyTree]]


class GradientTransformation(_InitUpdate):
    """A pair of pure functions, ``init`` and ``update``.

    ``init(params) -> state`` and ``update(updates, state, params=None) -> (updates, state)``. It is
    a tuple of exactly these two. A transformation made by this package also carries a description
    of what it does, which lets a chain fuse it with its neighbours. ``_replace`` drops the
    description, so a changed transformation never runs as the old one.

    Args:
        init: Returns the state for a tree of parameters.
        update: Returns new updates and a new state, and writes to none of its arguments.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> flip = gm.GradientTransformation(
        ...     init=lambda params: gm.EmptyState(),
        ...     update=lambda updates, state, params=None: (-updates, state),
        ... )
        >>> tx = gm.chain(gm.scale(2.0), flip)
        >>> tx.update(np.ones(2), tx.init(np.zeros(2)))[0]
        array([-2., -2.])
    """

    def __new__(
        cls,
        init: TransformInitFn,
        update: Callable[..., tuple[PyTree, PyTree]],
        description: Description | None = None,
    ) -> Self:
        """Pair the functions; ``description`` is for this package's own factories."""
        self = super().__new__(cls, init, update)
        self._description = description
        return self

    _description: Description | None = None
    _made_by: object = None

    def __repr__(self) -> str:
        """Return the code that makes it, where a factory of this package did."""
        return super().__repr__() if self._made_by is None else str(self._made_by)

    def __getstate__(self) -> dict[str, Any]:
        """Hand over the description, and the call that made it as text: it may not pickle."""
        made_by = None if self._made_by is None else str(self._made_by)
        return {**vars(self), "_made_by": made_by}

    @property
    def description(self) -> Description | None:
        """What a native transformation does, as data; None for one written in Python."""
        return self._description

    def explain(self, params: PyTree) -> Explanation:
        """Say how a step over ``params`` runs; see :func:`gradmill.explain`."""
        return explain(self, params)


class GradientTransformationExtraArgs(GradientTransformation):
    """A :class:`GradientTransformation` whose ``update`` takes extra keyword arguments.

    ``update(updates, state, params=None, **extra_args)``. A chain passes extra arguments to members
    of this class only.

    Args:
        init: Returns the state for a tree of parameters.
        update: As for :class:`GradientTransformation`, with keyword arguments to use or ignore.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> by_loss = gm.GradientTransformationExtraArgs(
        ...     init=lambda params: gm.EmptyState(),
        ...     update=lambda updates, state, params=None, *, loss, **_: (updates * loss, state),
        ... )
        >>> tx = gm.chain(by_loss, gm.scale(-1.0))
        >>> tx.update(np.ones(2), tx.init(np.zeros(2)), loss=0.5)[0]
        array([-0.5, -0.5])
    """
