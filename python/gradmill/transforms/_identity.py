from __future__ import annotations

from gradmill._base import EmptyState, GradientTransformation
from gradmill._recorded import recorded
from gradmill._run import native
from gradmill._spec import Spec


@recorded
def identity() -> GradientTransformation:
    """Leave updates and state as they are: the same objects come back.

    Returns:
        A transformation with state ``EmptyState()``.

    Example:
        >>> import gradmill as gm
        >>> tx, updates = gm.identity(), {"w": 1.0}
        >>> tx.update(updates, tx.init(updates))[0] is updates
        True
    """
    return native(Spec(op=None, state=EmptyState))
