"""The optimizers of ``autograd.misc.optimizers``, with their calls.

They are loops: a function gives the gradient, and they return the parameters after the last step.
autograd takes nested containers apart for each step; here the arrays in them are stepped as they
are. It needs no other package, and gradients may come from anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.trees import flatten
from gradmill._optimizer import Optimizer
from gradmill.optimizers import adam as _adam
from gradmill.transforms import ema, scale_by_learning_rate, scale_by_rms
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree, TransformationLike

    Gradient = Callable[[PyTree, int], PyTree]
    Callback = Callable[[PyTree, int, PyTree], object]


def sgd(
    grad: Gradient,
    x0: PyTree,
    callback: Callback | None = None,
    num_iters: int = 200,
    step_size: float = 0.1,
    mass: float = 0.9,
) -> PyTree:
    """Gradient descent along a mean of gradients, ``v = mass * v + (1 - mass) * g``.

    Args:
        grad: Returns the gradient, given the parameters and the number of the step, from 0.
        x0: The parameters to start from: an array, a number, or lists, tuples and dicts of such.
        callback: Called with parameters, number and gradient before each step.
        num_iters: The number of steps.
        step_size: The learning rate.
        mass: How much of the running mean each step keeps.

    Returns:
        Containers like ``x0`` with arrays of float64.

    Raises:
        TreeError: A gradient has other containers than ``x0``.
        LeafTypeError: Of ``x0`` or a gradient something is not an array or number, or complex.
        LeafValueError: An array of a gradient has another shape.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.autograd import sgd
        >>> start = {"w": np.array([1.0])}
        >>> sgd(lambda x, i: {"w": 2 * x["w"]}, start, num_iters=100)["w"].round(3)
        array([0.004])
    """
    chained = chain(ema(mass, debias=False), scale_by_learning_rate(step_size))
    return _run(chained, grad, x0, callback, num_iters)


def rmsprop(
    grad: Gradient,
    x0: PyTree,
    callback: Callback | None = None,
    num_iters: int = 100,
    step_size: float = 0.1,
    gamma: float = 0.9,
    eps: float = 1e-8,
) -> PyTree:
    """Divide gradients by their root mean square, which starts at 1.

    Args:
        grad: Returns the gradient, as for :func:`sgd`.
        x0: The parameters to start from.
        callback: Called before each step.
        num_iters: The number of steps.
        step_size: The learning rate.
        gamma: How much of the running mean each step keeps.
        eps: Added to the root.

    Returns:
        Containers like ``x0`` with arrays of float64.

    Raises:
        TreeError, LeafTypeError, LeafValueError: As for :func:`sgd`.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.autograd import rmsprop
        >>> rmsprop(lambda x, i: 2 * x, np.array([1.0]), num_iters=1).round(3)
        array([0.825])
    """
    scaled = scale_by_rms(gamma, eps, initial_scale=1.0, eps_in_sqrt=False)
    return _run(chain(scaled, scale_by_learning_rate(step_size)), grad, x0, callback, num_iters)


def adam(
    grad: Gradient,
    x0: PyTree,
    callback: Callback | None = None,
    num_iters: int = 100,
    step_size: float = 0.001,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> PyTree:
    """Adam, as in :func:`gradmill.adam`.

    Args:
        grad: Returns the gradient, as for :func:`sgd`.
        x0: The parameters to start from.
        callback: Called before each step.
        num_iters: The number of steps.
        step_size: The learning rate.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size.
        eps: Added to the root.

    Returns:
        Containers like ``x0`` with arrays of float64.

    Raises:
        TreeError, LeafTypeError, LeafValueError: As for :func:`sgd`.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.autograd import adam
        >>> adam(lambda x, i: 2 * x, np.array([1.0, -1.0]), num_iters=5, step_size=0.1).round(3)
        array([ 0.508, -0.508])
    """
    return _run(_adam(step_size, b1, b2, eps), grad, x0, callback, num_iters)


def _run(
    tx: TransformationLike, grad: Gradient, x0: PyTree, callback: Callback | None, num_iters: int
) -> PyTree:
    """Take all steps. Nobody writes to what functions of the user's were handed, or ``x0``."""
    leaves, spec = flatten(x0)
    own = [_wide(leaf) for leaf in leaves]
    optimizer = Optimizer(tx, spec.unflatten(own))
    for i in range(num_iters):
        x = spec.unflatten([array.copy() for array in own])
        g = grad(x, i)
        if callback is not None:
            callback(x, i, g)
        optimizer.step(g)
    return optimizer.params


def _wide(leaf: Any) -> np.ndarray[Any, Any]:
    """A copy in float64; what is not a number of that kind is left to the optimizer to refuse."""
    array = np.array(leaf)
    return array.astype(np.float64) if array.dtype.kind in "iuf" else array
