from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradmill import tree
from gradmill.transforms._line import checked_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree

_NAME = "value_and_grad_from_state"


def value_and_grad_from_state(
    value_and_grad_fn: Callable[..., tuple[Any, PyTree]],
) -> Callable[..., tuple[Any, PyTree]]:
    """Reuse the value and gradient that a line search computed last.

    The last evaluation of a line search is at the very parameters that its step leads to. Use this
    only for a function that stays the same from step to step, that is, without batches.

    Args:
        value_and_grad_fn: Called with parameters and other arguments where the state has no finite
            value, as before the first step; returns value and gradient.

    Returns:
        A function of parameters, other arguments, and the keyword ``state``, the state of
        :func:`scale_by_zoom_linesearch`, of :func:`scale_by_backtracking_linesearch` with
        ``store_grad``, or of a chain with one of them. It raises ValueError where the state has no
        value or no gradient, and KeyError where it has several.

    Raises:
        TypeError: ``value_and_grad_fn`` is not a function.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> both = lambda p: (float((p**2).sum()), 2 * p)
        >>> line = gm.scale_by_backtracking_linesearch(15, store_grad=True)
        >>> opt = gm.Optimizer(gm.chain(gm.sgd(1.0), line), np.array([1.0, 2.0]))
        >>> value_and_grad = gm.value_and_grad_from_state(both)
        >>> for _ in range(5):
        ...     value, grad = value_and_grad(opt.params, state=opt.state)
        ...     _ = opt.step(grad, value=value, grad=grad, value_and_grad_fn=both)
        >>> both(opt.params)[0] < 0.1
        True
    """
    if not callable(value_and_grad_fn):
        raise TypeError(f"{_NAME} takes a function, got {value_and_grad_fn!r:.80}")

    def value_and_grad(
        params: PyTree, *fn_args: Any, state: PyTree, **fn_kwargs: Any
    ) -> tuple[Any, PyTree]:
        value, grad = (tree.get(state, name) for name in ("value", "grad"))
        if value is None or grad is None:
            raise ValueError(f"{_NAME}: the state holds no value and gradient; see store_grad")
        if math.isfinite(checked_value(_NAME, "the state has the value", value)):
            return value, grad
        return value_and_grad_fn(params, *fn_args, **fn_kwargs)

    return value_and_grad
