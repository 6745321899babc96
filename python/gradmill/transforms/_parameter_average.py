from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from gradmill._data.checks import float_dtype, is_integer, number_of, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._data.trees import flatten, leaf_path
from gradmill._ops import parameter_average as ops
from gradmill._plan.match import flatten_like
from gradmill._plan.spec import Spec
from gradmill._run.copies import copied, copy_all
from gradmill._run.fused import native
from gradmill.errors import LeafTypeError
from gradmill.schedules._named import real_or_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike

    from gradmill._data.types import PyTree, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformation


class ParameterAverageState(NamedTuple):
    """The state of :func:`parameter_average`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        average: The average, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.parameter_average(0.9).init(np.ones(2))
        ParameterAverageState(count=array(0, dtype=int32), average=array([1., 1.]))
    """

    count: Any
    average: Any


@recorded
def parameter_average(
    decay: ScalarOrSchedule | Literal["polyak"] = 0.999,
    start: int = 0,
    dtype: DTypeLike | None = None,
) -> GradientTransformation:
    r"""Keep a running average of the parameters, updated in the pass that writes them.

    .. math:: a' = \beta_t a + (1 - \beta_t) (p + u), \qquad u' = u

    Put it last in a chain, where updates are what is added to the parameters. The average often
    does better on new data than the parameters themselves, and lets the learning rate stay high. It
    costs memory but no extra pass. :func:`use_params` swaps it in for a while, for evaluation.

    Args:
        decay: How much of the average each step keeps, :math:`\beta`, a number in [0, 1] or a
            schedule. It spans about :math:`1 / (1 - \beta)` steps: 0.999 is 1,000. Or "polyak" for
            the plain mean of all parameters since ``start``.
        start: How many steps to take before the average begins; until then it is the parameters.
        dtype: The dtype in which the average is stored. None for the parameters' own dtype (float32
            where that is 16 bits wide).

    Returns:
        A transformation with state :class:`ParameterAverageState`, whose ``update`` needs
        ``params``.

    Raises:
        TypeError: ``decay`` is neither a number nor a schedule, or ``start`` no integer.
        ValueError: ``decay`` or ``start`` is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(
        ...     gm.chain(gm.sgd(1.0), gm.parameter_average("polyak")), np.array([0.0])
        ... )
        >>> for _ in range(3):
        ...     _ = opt.step(np.array([-1.0]))
        >>> opt.params, gm.tree.get(opt.state, "average")
        (array([3.]), array([2.]))

    References:
        Polyak and Juditsky, `Acceleration of Stochastic Approximation by Averaging
        <https://doi.org/10.1137/0330046>`_, 1992.
    """
    if not is_integer(start):
        raise TypeError(f"start must be an integer, got {start!r:.80}")
    by_count = isinstance(decay, str) and decay == "polyak"
    hyper = {
        "decay": 0.0 if by_count else real_or_schedule("decay", decay, at_least=0, at_most=1),
        "polyak": by_count,
        "start": float(real("start", number_of(start), at_least=0)),
    }
    slot = Slot("average", float_dtype("dtype", dtype), start="params")
    return native(Spec(ops.parameter_average, ParameterAverageState, hyper, (slot,)))


@contextmanager
def use_params(params: PyTree, values: PyTree) -> Iterator[PyTree]:
    """Give parameters other values for a while, such as their running average.

    Args:
        params: A tree of arrays, which are written to.
        values: A tree of the same structure and shapes; its arrays are rounded to the dtypes of
            ``params``. None keeps a parameter as it is.

    Yields:
        ``params``. Behind the block they have the values again that they had before it, and steps
        that were taken inside are lost.

    Raises:
        TreeError: The structures differ.
        LeafValueError: Shapes differ, or a parameter is read-only. Nothing is written then.
        LeafTypeError: A leaf is not an array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params, average = {"w": np.array([3.0])}, {"w": np.array([2.0])}
        >>> with gm.use_params(params, average):
        ...     print(params["w"])
        [2.]
        >>> params["w"]
        array([3.])
    """
    leaves, spec = flatten(params)
    given = flatten_like(spec, values, "values", "params")
    new: list[tuple[Any, Any]] = []
    for at, (own, value) in enumerate(zip(leaves, given, strict=True)):
        if own is None or value is None:
            continue
        if not isinstance(own, np.ndarray):
            path = leaf_path(spec, at, "params")
            raise LeafTypeError(f"{path}: is a {type(own).__name__}, expected an array")
        dtype = getattr(value, "dtype", own.dtype)
        array = copied(own, value, partial(leaf_path, spec, at, "values"), dtype)
        new.append((own, array.astype(own.dtype, copy=False)))
    before = [(own, own.copy()) for own, _ in new]
    try:
        copy_all(new)
        yield params
    finally:
        copy_all(before)
