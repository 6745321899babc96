from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.checks import real
from gradmill._data.numbers import is_traced
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._data.trees import tree_map
from gradmill._ops import dog as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native_with_extra
from gradmill.contrib._estimating import Estimating
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._identity import identity

if TYPE_CHECKING:
    from gradmill._data.types import Mask, PyTree, ScalarOrSchedule
    from gradmill._plan.control import Context, Plan
    from gradmill._run.transformation import GradientTransformationExtraArgs

_KINDS = ("distance", "learning_rate", "heuristic")


class DoGState(NamedTuple):
    """The state of the part of :func:`dog` that finds the learning rate.

    Attributes:
        is_init_step: Whether no step has been taken, a 0-d array.
        init_params: The initial parameters.
        max_dist: The largest distance from these so far, a 0-d array.
        sum_sq_norm_grads: The sum of squares of all gradients, a 0-d array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.dog().init(np.ones(2))[1].init_params
        array([1., 1.])
    """

    is_init_step: Any
    init_params: Any
    max_dist: Any
    sum_sq_norm_grads: Any


class _DoG(Estimating):
    """Knows the first step from others, where that has a rate of its own."""

    def init(self, params: PyTree) -> dict[str, Any]:
        return {"is_init_step": np.asarray(True), **super().init(params)}

    def plan(self, state: Any, context: Context) -> Plan:
        rate = self.hyper["first_rate"]
        first = {"is_first": rate is not None and state.is_init_step, "first_rate": rate or 0.0}
        return self.planned(state, context, {**self.hyper, **first})

    def advance(self, state: Any, plan: Plan, found: Any) -> dict[str, Any]:
        return {"is_init_step": False, **super().advance(state, plan, found)}


def _first_distance(share: float, params: PyTree) -> Any:
    """One in proportion to the norm of the parameters, by NumPy wherever they are known."""
    known = tree_map(lambda leaf: leaf if is_traced(leaf) else np.asarray(leaf), params)
    return share * (1 + tree.norm(known))


@recorded
def dog(
    learning_rate: ScalarOrSchedule = 1.0,
    init_step: tuple[str, float] = ("heuristic", 1e-6),
    eps: float = 1e-8,
    weight_decay: float | None = None,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    r"""DoG: gradient descent whose rate is the distance moved over the norm of all gradients.

    .. math::
        u_t = -\gamma \, g_t
        \frac{\max_{s \le t} \|p_s - p_0\|}{\sqrt{\sum_{s \le t} \|g_s\|^2 + \epsilon}}

    It needs no tuned learning rate. Its authors recommend averaging parameters over steps; see
    :func:`gradmill.parameter_average`.

    Args:
        learning_rate: A number or a schedule :math:`\gamma`, which multiplies the rate found.
        init_step: How to begin, a name and a number that is not negative: ``"distance"`` for the
            first distance; ``"learning_rate"`` for the rate of the first step; ``"heuristic"`` for
            the first distance in multiples of :math:`1 + \|p_0\|`.
        eps: The number :math:`\epsilon` added inside the root, not negative.
        weight_decay: An L2 penalty: this multiple of the parameters is added to the gradients; None
            for none.
        mask: Which leaves decay; see :func:`add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.

    Returns:
        A chain whose second state is a :class:`DoGState`, and whose ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``init_step`` has another name, or a number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.dog(), np.array([1.0, -2.0]))
        >>> for _ in range(100):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Ivgi, Hinder and Carmon, `DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size
        Schedule <https://arxiv.org/abs/2302.12022>`_, 2023.
    """
    kind, value = init_step
    if kind not in _KINDS:
        raise ValueError(f"init_step must begin with one of {', '.join(_KINDS)}, got {kind!r:.80}")
    value = real("init_step[1]", value, at_least=0)
    hyper = {
        "first_rate": value if kind == "learning_rate" else None,
        "eps": real("eps", eps, at_least=0),
    }
    start = {"distance": value, "learning_rate": 0.0, "heuristic": partial(_first_distance, value)}
    first = {"max_dist": start[kind], "sum_sq_norm_grads": 0.0}
    spec = Spec(
        ops.dog,
        DoGState,
        slots=(Slot("init_params", start="params"),),
        control=_DoG(ops.dog, hyper, first),
    )
    return chain(
        identity() if weight_decay is None else add_decayed_weights(weight_decay, mask),
        native_with_extra(spec),
        scale_by_learning_rate(learning_rate),
    )
