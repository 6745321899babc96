from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._ops.common import over
from gradmill._run.fused import by_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree
    from gradmill._run.transformation import GradientTransformationExtraArgs


class ScaleByClipUpState(NamedTuple):
    """The state of :func:`scale_by_clip_up`.

    Attributes:
        velocity: The last update, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_clip_up(0.1).init(np.ones(2))
        ScaleByClipUpState(velocity=array([0., 0.]))
    """

    velocity: Any


def _init(_: Any, params: PyTree, **__: Any) -> ScaleByClipUpState:
    return ScaleByClipUpState(tree.zeros_like(params))


def _scale_by_clip_up(
    xp: Any,
    updates: PyTree,
    state: ScaleByClipUpState,
    _: PyTree,
    __: Mapping[str, Any],
    *,
    step_size: float,
    momentum: float,
    max_speed: float,
) -> tuple[PyTree, ScaleByClipUpState]:
    direction = tree.scale(over(xp, step_size, xp.asarray(tree.norm(updates))), updates)
    velocity = tree.add_scale(direction, momentum, state.velocity)
    speed = xp.asarray(tree.norm(velocity))
    velocity = tree.scale(xp.minimum(over(xp, max_speed, speed), 1.0), velocity)
    return velocity, ScaleByClipUpState(velocity)


@recorded
def scale_by_clip_up(
    step_size: float, momentum: float = 0.9, max_speed: float | None = None
) -> GradientTransformationExtraArgs:
    r"""Turn gradients into momentum steps of bounded length, as ClipUp does.

    .. math::
        w = \mu v + \alpha \frac{u}{\lVert u \rVert}, \qquad
        v' = w \min\left(1, \frac{v_{\max}}{\lVert w \rVert}\right), \qquad u' = v'

    Pick it for evolution strategies, whose gradients tell more about direction than about length.
    No step is longer than ``max_speed``, so the one number to choose is how far parameters may move
    at once. Norms are taken over all leaves together. Do not add a learning rate; put
    :func:`maximize` before it to ascend, or ``scale(-1.0)`` after it to descend.

    Args:
        step_size: The length :math:`\alpha` that a gradient is brought to, above 0.
        momentum: The share :math:`\mu` of the last step, from 0 to 1.
        max_speed: The length :math:`v_{\max}` that no step exceeds, above 0; None for twice
            ``step_size``.

    Returns:
        A transformation with state :class:`ScaleByClipUpState`. It does not change the sign, and
        runs on NumPy. A gradient of all zeros leaves the momentum unchanged.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_clip_up(1.0, max_speed=1.5)
        >>> updates, state = tx.update(np.array([30.0, 40.0]), tx.init(np.zeros(2)))
        >>> updates, tx.update(np.array([3.0, 4.0]), state)[0]
        (array([0.6, 0.8]), array([0.9, 1.2]))

    References:
        Toklu, Liskowski and Srivastava, `ClipUp: A Simple and Powerful Optimizer for
        Distribution-based Policy Evolution <https://arxiv.org/abs/2008.02387>`_, 2020.
    """
    length = real("step_size", step_size, above=0)
    hyper = {
        "step_size": length,
        "momentum": real("momentum", momentum, at_least=0, at_most=1),
        "max_speed": 2 * length if max_speed is None else real("max_speed", max_speed, above=0),
    }
    return by_tree(_init, _scale_by_clip_up, hyper, ("velocity",))
