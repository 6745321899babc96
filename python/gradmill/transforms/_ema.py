from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import float_dtype, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import ema as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._run.transformation import GradientTransformation


class EmaState(NamedTuple):
    """The state of :func:`ema`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        ema: The averages before any correction, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.ema(0.9).init(np.ones(2))
        EmaState(count=array(0, dtype=int32), ema=array([0., 0.]))
    """

    count: Any
    ema: Any


@recorded
def ema(
    decay: float = 0.9, debias: bool = True, accumulator_dtype: DTypeLike | None = None
) -> GradientTransformation:
    r"""Replace updates by their exponential moving average.

    .. math:: e' = \beta e + (1 - \beta) u, \qquad u' = e' / (1 - \beta^t) \;\text{ or }\; e'

    It averages the updates that reach it; for an average of parameters use
    :func:`parameter_average`. :func:`trace` is the sum without the factor :math:`1 - \beta`.
    Subnormal averages are flushed to zero.

    Args:
        decay: How much of the running value each step keeps, :math:`\beta`. It remembers about
            :math:`1 / (1 - \beta)` steps: 0.9 is 10 steps, 0.99 is 100.
        debias: Whether to make up for an average that starts at zero, by dividing it by :math:`1 -
            \beta^t`.
        accumulator_dtype: The dtype in which the averages are stored. None for the parameters' own
            dtype (float32 where that is 16 bits wide).

    Returns:
        A transformation with state :class:`EmaState`.

    Raises:
        TypeError: ``decay`` is not a real number, or ``accumulator_dtype`` is not a float dtype.
        ValueError: ``decay`` is NaN; or, with ``debias``, it is not between -1 and 1.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.ema(0.5)
        >>> updates, state = tx.update(np.array([1.0]), tx.init(np.zeros(1)))
        >>> updates, tx.update(np.array([4.0]), state)[0]
        (array([1.]), array([3.]))
    """
    dtype = float_dtype("accumulator_dtype", accumulator_dtype)
    bounds = {"above": -1.0, "below": 1.0} if debias else {}
    hyper = {"decay": real("decay", decay, **bounds), "debias": bool(debias)}
    return native(Spec(ops.ema, EmaState, hyper, (Slot("ema", dtype, coding="signed"),)))
