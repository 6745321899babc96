from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.recorded import recorded
from gradmill._run.transformation import GradientTransformationExtraArgs
from gradmill.transforms._line import Line, Objective, Point, excess, like_the_old, zeros_of_grad
from gradmill.transforms._numbers import dtype_of_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree

_NAME = "scale_by_backtracking_linesearch"


class BacktrackingLinesearchInfo(NamedTuple):
    """How a search by :func:`scale_by_backtracking_linesearch` ended.

    Attributes:
        num_linesearch_steps: How many learning rates were tried, a 0-d int32 array.
        decrease_error: By how much the value misses its bound, a 0-d array: 0 after a success,
            infinity where nothing finite was found.
    """

    num_linesearch_steps: Any
    decrease_error: Any


class ScaleByBacktrackingLinesearchState(NamedTuple):
    """The state of :func:`scale_by_backtracking_linesearch`.

    Attributes:
        learning_rate: The learning rate found, a 0-d array.
        value: The value that it leads to, a 0-d array; infinity at first.
        grad: The gradient there, a tree like the parameters; None without ``store_grad``.
        info: How the search ended.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_backtracking_linesearch(15).init(np.ones(2)).learning_rate
        array(1.)
    """

    learning_rate: Any
    value: Any
    grad: Any
    info: Any


@dataclass(frozen=True)
class Backtracking:
    """Smaller and smaller learning rates until one is good enough."""

    max_backtracking_steps: int
    slope_rtol: float
    decrease_factor: float
    increase_factor: float
    max_learning_rate: float
    atol: float
    rtol: float
    store_grad: bool
    verbose: bool

    def init(self, params: PyTree) -> ScaleByBacktrackingLinesearchState:
        """Return the initial state for ``params``."""
        dtype = dtype_of_numbers(params)
        return ScaleByBacktrackingLinesearchState(
            learning_rate=np.ones((), dtype),
            value=np.full((), np.inf, dtype),
            grad=zeros_of_grad(params) if self.store_grad else None,
            info=BacktrackingLinesearchInfo(
                num_linesearch_steps=np.zeros((), np.int32),
                decrease_error=np.full((), np.inf, dtype),
            ),
        )

    def update(
        self,
        updates: PyTree,
        state: ScaleByBacktrackingLinesearchState,
        params: PyTree | None = None,
        *,
        value: Any = None,
        grad: PyTree = None,
        value_fn: Callable[..., Any] | None = None,
        value_and_grad_fn: Callable[..., Any] | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, ScaleByBacktrackingLinesearchState]:
        """Return scaled updates and the new state."""
        objective = Objective(_NAME, value_fn, value_and_grad_fn, extra_args)
        if self.store_grad and value_and_grad_fn is None:
            raise TypeError(f"{_NAME}: store_grad needs value_and_grad_fn")
        line = Line(_NAME, updates, params, value, grad, objective)
        # A search that found nothing leaves a rate of zero, from which no factor leads away.
        guess = self.increase_factor * (float(state.learning_rate) or 1.0)
        point, steps, error = self._search(line, min(guess, self.max_learning_rate))
        if self.verbose and not error <= self.atol:
            sys.stdout.write(
                f"{_NAME}: no learning rate is good enough after {steps} steps, down to"
                f" {point.rate:g}; value {line.start.value:g}, slope {line.start.slope:g}, which"
                f" should be below 0, decrease_error {error:g}\n"
            )
        if math.isinf(error):
            point = line.start
        new = like_the_old(state, learning_rate=point.rate, value=point.value)
        info = like_the_old(state.info, num_linesearch_steps=steps, decrease_error=error)
        if self.store_grad:
            if point.grads is None:
                point = line.at(point.rate, with_grad=True)
            new = new._replace(grad=line.kept(point, state.grad))
        return line.scaled(point.rate), new._replace(info=info)

    def _search(self, line: Line, rate: float) -> tuple[Point, int, float]:
        """The last point tried, the number of them, and by how much its value is too large."""
        start, steps = line.start, 0
        while True:
            point = line.at(rate, with_grad=False)
            steps += 1
            bound = (1 + self.rtol) * start.value + rate * self.slope_rtol * start.slope
            error = excess(point.value - bound)
            if error <= self.atol or steps > self.max_backtracking_steps:
                return point, steps, error
            rate *= self.decrease_factor


@recorded
def scale_by_backtracking_linesearch(
    max_backtracking_steps: int,
    slope_rtol: float = 1e-4,
    decrease_factor: float = 0.8,
    increase_factor: float = 1.5,
    max_learning_rate: float = 1.0,
    atol: float = 0.0,
    rtol: float = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
) -> GradientTransformationExtraArgs:
    r"""Shrink the learning rate until the step lowers the loss enough, then scale by it.

    .. math::
        f(p + \eta u) \le (1 + \delta) \, f(p) + c \, \eta \, \langle u, \nabla f(p) \rangle
        + \epsilon

    Pick it when the loss is cheap to evaluate compared with its gradient. Updates have to point
    downhill, such as those of ``sgd(1.0)``. Pass the function to each call:
    ``update(updates, state, params, value=..., grad=..., value_fn=...)``, or the same keywords to
    ``Optimizer.step``.

    Args:
        max_backtracking_steps: How many more learning rates to try after the first, at least 0.
        slope_rtol: The share :math:`c` of the decrease that the slope promises, not negative.
        decrease_factor: What a learning rate is multiplied by when it fails, above 0 and below 1.
        increase_factor: What the last step's is multiplied by to begin with, above 0: 1 begins
            where that ended, infinity at the largest.
        max_learning_rate: The largest one, above 0.
        atol: The tolerance :math:`\epsilon`, not negative.
        rtol: The tolerance :math:`\delta`, not negative.
        store_grad: Whether to keep the gradient at the new parameters, for
            :func:`value_and_grad_from_state`.
        verbose: Whether to print a line when the search fails.

    Returns:
        A transformation with state :class:`ScaleByBacktrackingLinesearchState`, whose ``update``
        needs ``params`` and, as keywords, the current ``value`` and ``grad``, and ``value_fn`` or
        ``value_and_grad_fn``: functions of parameters, and of other extra arguments by their names,
        that return the value, or value and gradient. With ``store_grad`` there has to be the
        latter, which is called for the last point alone if there is the former. It runs in Python
        on NumPy arrays, outside of JAX programs. Where no value is finite, updates are zero.

    Raises:
        TypeError: An argument has the wrong type; or, from ``update``, something is missing, is
            traced by JAX, or is an argument of neither function.
        ValueError: A number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> f = lambda p: float((p**4).sum())
        >>> tx = gm.chain(gm.sgd(1.0), gm.scale_by_backtracking_linesearch(15))
        >>> opt = gm.Optimizer(tx, np.array([2.0, -1.0]))
        >>> for _ in range(20):
        ...     grad = 4 * opt.params**3
        ...     _ = opt.step(grad, value=f(opt.params), grad=grad, value_fn=f)
        >>> f(opt.params) < 1e-3
        True

    References:
        Vaswani et al., `Painless Stochastic Gradient <https://arxiv.org/abs/1905.09997>`_, 2019.
    """
    if not is_integer(max_backtracking_steps):
        raise TypeError(
            f"max_backtracking_steps must be an integer, got {max_backtracking_steps!r:.80}"
        )
    real("max_backtracking_steps", max_backtracking_steps, at_least=0)
    search = Backtracking(
        number_of(max_backtracking_steps),
        real("slope_rtol", slope_rtol, at_least=0),
        real("decrease_factor", decrease_factor, above=0, below=1),
        real("increase_factor", increase_factor, above=0),
        real("max_learning_rate", max_learning_rate, above=0),
        real("atol", atol, at_least=0),
        real("rtol", rtol, at_least=0),
        bool(store_grad),
        bool(verbose),
    )
    return GradientTransformationExtraArgs(search.init, search.update)
