"""Transformations one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill._data.types import is_transformation
from gradmill._plan.spec import Chained
from gradmill._run.fused import native_with_extra

if TYPE_CHECKING:
    from gradmill._data.types import TransformationLike
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def chain(*args: TransformationLike) -> GradientTransformationExtraArgs:
    """Apply transformations one after the other, in as few passes over memory as possible.

    Neighbouring native transformations, nested chains included, run as a single native call; a
    transformation written in Python runs between two such calls. This changes the speed, never the
    result.

    Args:
        *args: The transformations, in the order in which updates pass through them. None at all
            makes the identity.

    Returns:
        A transformation whose state is the tuple of the members' states. Its ``update`` passes
        extra keyword arguments to the members that are :class:`GradientTransformationExtraArgs`.

    Raises:
        TypeError: An argument is not a transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.chain(gm.clip(1.0), gm.scale(-0.1))
        >>> tx.update(np.array([5.0, 0.5]), tx.init(np.zeros(2)))
        (array([-0.1 , -0.05]), (EmptyState(), EmptyState()))
    """
    for position, member in enumerate(args):
        if not is_transformation(member):
            raise TypeError(f"chain: argument {position} is not a transformation: {member!r}")
    return native_with_extra(Chained(args))


@recorded
def named_chain(
    *pairs: tuple[str, TransformationLike], **transformations: TransformationLike
) -> GradientTransformationExtraArgs:
    """Apply transformations one after the other, as :func:`chain` does, and name their states.

    Call it as ``named_chain(clip=..., adam=...)`` (the specification's form), as
    ``named_chain(("clip", ...), ("adam", ...))`` (optax's), or mix the two: pairs come first.

    Args:
        *pairs: Pairs of a name and a transformation, in order.
        **transformations: More transformations, by name, in the order of the call.

    Returns:
        A transformation whose state is an ``OrderedDict`` of the members' states.

    Raises:
        TypeError: A positional argument is not such a pair, or a value is not a transformation.
        ValueError: A name is used twice.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.named_chain(("clip", gm.clip(1.0)), momentum=gm.trace(0.9))
        >>> tx.init(np.zeros(2))["momentum"]
        TraceState(trace=array([0., 0.]))
    """
    for pair in pairs:
        # A transformation is a pair as well, of functions.
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise TypeError(
                "named_chain takes pairs, named_chain(('name', tx), ...), or keywords,"
                f" named_chain(name=tx, ...); got {pair!r}"
            )
    row = [*pairs, *transformations.items()]
    names = tuple(name for name, _ in row)
    for name, member in row:
        if not is_transformation(member):
            raise TypeError(f"named_chain: {name!r} is not a transformation: {member!r}")
        if names.count(name) > 1:
            raise ValueError(f"named_chain: the name {name!r} is used twice")
    return native_with_extra(Chained(tuple(member for _, member in row), names))
