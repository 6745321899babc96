from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.recorded import recorded
from gradmill._run.transformation import GradientTransformationExtraArgs
from gradmill.transforms._interval import Interval, cut, first_interval, inside
from gradmill.transforms._line import Line, Objective, Point, excess, like_the_old, zeros_of_grad
from gradmill.transforms._numbers import dtype_of_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree

_NAME = "scale_by_zoom_linesearch"
_GUESSES = ("keep", "one")


class ZoomLinesearchInfo(NamedTuple):
    """How a search by :func:`scale_by_zoom_linesearch` ended.

    Attributes:
        num_linesearch_steps: How many learning rates were tried, a 0-d int32 array.
        decrease_error: By how much the last value missed its bound, a 0-d array; infinity where it
            was not finite.
        curvature_error: By how much the last slope missed its own, a 0-d array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_zoom_linesearch(15).init(np.ones(2)).info.num_linesearch_steps
        array(0, dtype=int32)
    """

    num_linesearch_steps: Any
    decrease_error: Any
    curvature_error: Any


class ScaleByZoomLinesearchState(NamedTuple):
    """The state of :func:`scale_by_zoom_linesearch`.

    Attributes:
        learning_rate: The learning rate found, a 0-d array.
        value: The value that it leads to, a 0-d array; infinity at first.
        grad: The gradient there, a tree like the parameters.
        info: How the search ended, a :class:`ZoomLinesearchInfo`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_zoom_linesearch(15).init(np.ones(2)).grad
        array([0., 0.])
    """

    learning_rate: Any
    value: Any
    grad: Any
    info: Any


class _End(NamedTuple):
    """Where a search ended: the point to go to, how many it took, and what the last one missed."""

    point: Point
    steps: int
    decrease_error: float
    curvature_error: float


@dataclass(frozen=True)
class Zoom:
    """Longer and longer steps until the value rises, then shorter ones in between."""

    max_linesearch_steps: int
    max_learning_rate: float
    tol: float
    increase_factor: float
    slope_rtol: float
    curv_rtol: float
    approx_dec_rtol: float | None
    stepsize_precision: float
    initial_guess_strategy: str
    verbose: bool

    def init(self, params: PyTree) -> ScaleByZoomLinesearchState:
        """Return the initial state for ``params``."""
        dtype = dtype_of_numbers(params)
        return ScaleByZoomLinesearchState(
            learning_rate=np.ones((), dtype),
            value=np.full((), np.inf, dtype),
            grad=zeros_of_grad(params),
            info=ZoomLinesearchInfo(
                num_linesearch_steps=np.zeros((), np.int32),
                decrease_error=np.full((), np.inf, dtype),
                curvature_error=np.full((), np.inf, dtype),
            ),
        )

    def update(
        self,
        updates: PyTree,
        state: ScaleByZoomLinesearchState,
        params: PyTree | None = None,
        *,
        value: Any = None,
        grad: PyTree = None,
        value_fn: Callable[..., Any] | None = None,
        value_and_grad_fn: Callable[..., Any] | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, ScaleByZoomLinesearchState]:
        """Return scaled updates and the new state."""
        objective = Objective(_NAME, value_fn, value_and_grad_fn, extra_args)
        if not objective.has_grad:
            raise TypeError(f"{_NAME} needs value_and_grad_fn, because it uses slopes")
        line = Line(_NAME, updates, params, value, grad, objective)
        # A search that found nothing leaves a rate of zero, from which no factor leads away.
        keeps = self.initial_guess_strategy == "keep"
        end = self._search(line, (float(state.learning_rate) if keeps else 1.0) or 1.0)
        if self.verbose and max(end.decrease_error, end.curvature_error) > self.tol:
            sys.stdout.write(
                f"{_NAME}: no learning rate is good enough after {end.steps} steps; takes"
                f" {end.point.rate:g}; value {line.start.value:g}, slope {line.start.slope:g},"
                f" which should be below 0, decrease_error {end.decrease_error:g},"
                f" curvature_error {end.curvature_error:g}\n"
            )
        info = like_the_old(
            state.info,
            num_linesearch_steps=end.steps,
            decrease_error=end.decrease_error,
            curvature_error=end.curvature_error,
        )
        new = like_the_old(state, learning_rate=end.point.rate, value=end.point.value)
        new = new._replace(grad=line.kept(end.point, state.grad), info=info)
        return line.scaled(end.point.rate), new

    def _search(self, line: Line, guess: float) -> _End:
        best = trial = line.start
        found: Interval | None = None
        steps, rate = 0, guess
        while True:
            steps += 1
            is_longest, is_narrow = False, False
            if found is None:
                rate = guess if steps == 1 else self.increase_factor * trial.rate
                is_longest = rate >= self.max_learning_rate
                rate = min(rate, self.max_learning_rate)
            else:
                rate = inside(found)
                is_narrow = found.width <= self.stepsize_precision
            last, trial = trial, line.at(rate, with_grad=True)
            too_large, too_steep = self._errors(trial, line.start)
            is_good = max(too_large, too_steep) <= self.tol
            # The longest step is as good as any in whose interval the best one cannot be.
            is_lower = found is None or trial.value < best.value
            best = trial if too_large <= self.tol and is_lower else best
            if found is None:
                found = first_interval(last, trial, too_large, is_first=steps == 1)
                is_good = is_good or (is_longest and found is None)
            else:
                found = cut(found, trial, too_large)
            if is_good:
                return _End(trial, steps, too_large, too_steep)
            if steps >= self.max_linesearch_steps or (is_narrow and best.rate > 0):
                takes_best = best.rate > 0 or math.isinf(too_large)
                return _End(best if takes_best else trial, steps, too_large, too_steep)

    def _errors(self, trial: Point, start: Point) -> tuple[float, float]:
        """By how much the value is too large, and by how much the slope is too steep."""
        if math.isnan(trial.slope):
            return math.inf, math.inf
        rise = trial.value - start.value
        too_large = excess(rise - self.slope_rtol * trial.rate * start.slope)
        if self.approx_dec_rtol is not None:
            by_slope = excess(trial.slope - (2 * self.slope_rtol - 1) * start.slope)
            near = excess(rise - self.approx_dec_rtol * abs(start.value))
            too_large = min(too_large, max(by_slope, near))
        return too_large, excess(abs(trial.slope) - self.curv_rtol * abs(start.slope))


@recorded
def scale_by_zoom_linesearch(
    max_linesearch_steps: int,
    max_learning_rate: float | None = None,
    tol: float = 0.0,
    increase_factor: float = 2.0,
    slope_rtol: float = 1e-4,
    curv_rtol: float = 0.9,
    approx_dec_rtol: float | None = 1e-6,
    stepsize_precision: float = 1e-5,
    initial_guess_strategy: str = "keep",
    verbose: bool = False,
) -> GradientTransformationExtraArgs:
    r"""Find a learning rate that lowers the loss and flattens the slope enough, and scale by it.

    .. math::
        f(p + \eta u) \le f(p) + c_1 \, \eta \, \langle u, \nabla f(p) \rangle + \epsilon, \qquad
        |\langle u, \nabla f(p + \eta u) \rangle|
        \le c_2 \, |\langle u, \nabla f(p) \rangle| + \epsilon

    These are the strong Wolfe conditions, which methods such as :func:`scale_by_lbfgs` need. The
    step grows until the loss rises; then cubics and parabolas tell where to look in between. Near a
    minimum, where the loss has no digits left to fall, the first condition also counts as met if
    :math:`f(p + \eta u) \le f(p) + c_3 |f(p)|` and the slope has fallen to :math:`(2 c_1 - 1)`
    times the first one. Updates have to point downhill, as those of ``sgd(1.0)`` do.

    Args:
        max_linesearch_steps: How many learning rates to try, at least 1.
        max_learning_rate: The largest one, above 0; None for no bound.
        tol: The tolerance :math:`\epsilon`, not negative.
        increase_factor: By how much the step grows, above 1.
        slope_rtol: The share :math:`c_1`, not negative.
        curv_rtol: The share :math:`c_2`, not negative; infinity for any slope.
        approx_dec_rtol: The share :math:`c_3`, not negative; None for the first condition alone.
        stepsize_precision: How narrow an interval may become while it holds no better learning
            rate than one with a value low enough, which is taken then.
        initial_guess_strategy: Where to begin: "keep" for the last step's learning rate, "one" for
            1, as methods of Newton's kind want it.
        verbose: Whether to print a line when the search fails.

    Returns:
        A transformation with state :class:`ScaleByZoomLinesearchState`, whose ``update`` needs
        ``params`` and, as keywords, the current ``value`` and ``grad``, and ``value_and_grad_fn``:
        a function of parameters, and of other extra arguments by their names, that returns value
        and gradient; :func:`value_and_grad_from_state` has them for the next step. It runs in
        Python on NumPy arrays, outside of JAX programs. Where no value is finite, updates are
        zero.

    Raises:
        TypeError: An argument has the wrong type; or, from ``update``, something is missing, is
            traced by JAX, or is an argument of neither function.
        ValueError: A number is out of bounds or NaN, or the strategy is unknown.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> both = lambda p: (float((p**4).sum()), 4 * p**3)
        >>> tx = gm.chain(gm.sgd(1.0), gm.scale_by_zoom_linesearch(15))
        >>> opt = gm.Optimizer(tx, np.array([2.0, -1.0]))
        >>> for _ in range(20):
        ...     value, grad = both(opt.params)
        ...     _ = opt.step(grad, value=value, grad=grad, value_and_grad_fn=both)
        >>> both(opt.params)[0] < 0.01
        True

    References:
        Nocedal and Wright, `Numerical Optimization <https://doi.org/10.1007/978-0-387-40065-5>`_,
        1999; Hager and Zhang, `Algorithm 851: CG_DESCENT
        <https://doi.org/10.1145/1132973.1132979>`_, 2006.
    """
    if not is_integer(max_linesearch_steps):
        raise TypeError(
            f"max_linesearch_steps must be an integer, got {max_linesearch_steps!r:.80}"
        )
    real("max_linesearch_steps", max_linesearch_steps, at_least=1)
    if initial_guess_strategy not in _GUESSES:
        raise ValueError(
            f"initial_guess_strategy must be one of {', '.join(_GUESSES)}, got"
            f" {initial_guess_strategy!r:.80}"
        )
    longest, near = max_learning_rate, approx_dec_rtol
    search = Zoom(
        number_of(max_linesearch_steps),
        math.inf if longest is None else real("max_learning_rate", longest, above=0),
        real("tol", tol, at_least=0),
        real("increase_factor", increase_factor, above=1),
        real("slope_rtol", slope_rtol, at_least=0),
        real("curv_rtol", curv_rtol, at_least=0),
        None if near is None else real("approx_dec_rtol", near, at_least=0),
        real("stepsize_precision", stepsize_precision, at_least=0),
        initial_guess_strategy,
        bool(verbose),
    )
    return GradientTransformationExtraArgs(search.init, search.update)
