"""Transformations one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._base import GradientTransformationExtraArgs, is_transformation
from gradmill._run import Fused
from gradmill._spec import Chained

if TYPE_CHECKING:
    from gradmill._base import GradientTransformation


def chain(*args: GradientTransformation) -> GradientTransformationExtraArgs:
    """Apply transformations one after the other, in as few passes over memory as possible.

    Consecutive native transformations, nested chains included, run as one native call. One written
    in Python runs between two such calls. Neither changes a result.

    Args:
        *args: The transformations, in the order in which updates pass them; none is the identity.

    Returns:
        A transformation whose state is the tuple of the members' states. Its ``update`` hands extra
        keyword arguments to the members that are :class:`GradientTransformationExtraArgs`.

    Raises:
        TypeError: An argument is no transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.chain(gm.clip(1.0), gm.scale(-0.1))
        >>> tx.update(np.array([5.0, 0.5]), tx.init(np.zeros(2)))
        (array([-0.1 , -0.05]), (EmptyState(), EmptyState()))
    """
    for position, member in enumerate(args):
        if not is_transformation(member):
            raise TypeError(f"chain: argument {position} is no transformation: {member!r}")
    fused = Fused(GradientTransformationExtraArgs, Chained(args))
    tx = fused.tx
    assert isinstance(tx, GradientTransformationExtraArgs)  # noqa: S101  (for the type checker)
    return tx
