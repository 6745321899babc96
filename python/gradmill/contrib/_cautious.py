from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState, is_transformation
from gradmill._ops import cautious as ops
from gradmill._plan.spec import Masked, Spec
from gradmill._run.fused import by_tree, native
from gradmill.schedules._named import real_or_schedule
from gradmill.transforms import (
    WeightDecaySchedule,
    add_decayed_weights,
    scale_by_adam,
    scale_by_learning_rate,
)
from gradmill.transforms._chain import chain
from gradmill.transforms._stateless import with_extra_args_support
from gradmill.tree._leafwise import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike

    from gradmill._data.types import Mask, PyTree, ScalarOrSchedule, TransformationLike
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


class CautiousState(NamedTuple):
    """The state of :func:`cautious`.

    Attributes:
        inner_state: The state of the inner transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.cautious(gm.sgd(0.1, momentum=0.9)).init(np.ones(1)).inner_state[0]
        TraceState(trace=array([0.]))
    """

    inner_state: Any


def _init(xp: Any, params: PyTree, *, inner: TransformationLike, **_: Any) -> CautiousState:  # noqa: ARG001  (formulas of trees have one signature)
    return CautiousState(inner.init(params))


def _cautious(
    xp: Any,  # noqa: ARG001  (formulas of trees have one signature)
    updates: PyTree,
    state: CautiousState,
    params: PyTree | None,
    extra: Mapping[str, Any],
    *,
    inner: TransformationLike,
    along: TransformationLike,
) -> tuple[PyTree, CautiousState]:
    moves, inner_state = inner.update(updates, state.inner_state, params, **extra)
    # Where these differ, an error of the step would call them updates and parameters.
    columns({"the inner updates": moves, "updates": updates})
    new, _ = along.update(moves, EmptyState(), updates)
    return new, CautiousState(inner_state)


@recorded
def along_params(descends: bool, least_share: float) -> GradientTransformation:
    """Leave out what goes against the parameters, which :func:`cautious` takes gradients for."""
    hyper = {
        "descends": descends,
        "least_share": real("least_share", least_share, above=0, at_most=1),
    }
    return native(Spec(ops.cautious, EmptyState, hyper))


@recorded
def cautious(
    inner: TransformationLike, *, descends: bool = True, least_share: float = 1e-3
) -> GradientTransformationExtraArgs:
    r"""Leave out the elements of an update that go against the gradient of this step.

    .. math::
        u' = \frac{\phi \, u}{\max(\operatorname{mean}(\phi), c)}, \qquad
        \phi = [-u \, g > 0]

    This holds for each leaf; :math:`u` is the update of the inner transformation and :math:`g` the
    gradient. Momentum overshoots where the gradient has turned. Such elements wait, and the others
    grow to make up for them. Wrap any optimizer with momentum: keep its hyperparameters, and it
    often needs fewer steps.

    Args:
        inner: The transformation, an optimizer such as :func:`gradmill.adam`.
        descends: Whether the inner transformation's updates go against gradients, as an optimizer's
            do. False for one that precedes :func:`gradmill.scale_by_learning_rate`, such as
            :func:`gradmill.scale_by_adam`: then :math:`\phi = [u \, g > 0]`.
        least_share: The least divisor :math:`c`, above 0 and at most 1.

    Returns:
        A transformation with state :class:`CautiousState`. The one inside runs as it does by
        itself, before a run of its own. Weight decay inside counts as part of the update;
        :func:`cautious_adamw` leaves it out, as the paper does.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``least_share`` is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.cautious(gm.sgd(1.0, momentum=0.5))
        >>> updates, state = tx.update(np.array([4.0, 4.0]), tx.init(np.zeros(2)))
        >>> updates, state = tx.update(np.array([1.0, -1.0]), state)
        >>> updates
        array([-6.,  0.])

    References:
        Liang, Chen, Liu and Liu, `Cautious Optimizers: Improving Training with One Line of Code
        <https://arxiv.org/abs/2411.16085>`_, 2024.
    """
    if not is_transformation(inner):
        raise TypeError(f"cautious takes a transformation, got {inner!r:.80}")
    hyper = {
        "inner": with_extra_args_support(inner),
        "along": along_params(bool(descends), least_share),
    }
    return by_tree(_init, _cautious, hyper)


@recorded
def cautious_weight_decay(
    weight_decay: ScalarOrSchedule = 0.0, mask: Mask | None = None
) -> GradientTransformation:
    r"""Add a multiple of the parameters to the updates where both have the same sign.

    .. math:: u' = u + \lambda_t [u \, p \ge 0] \, p

    Weights decay only where the optimizer shrinks them anyway, so decay never works against the
    loss, and a stationary point of the loss stays one. Put it where
    :func:`gradmill.add_decayed_weights` would stand: before the learning rate flips the sign.

    Args:
        weight_decay: The multiple :math:`\lambda` of the parameters, a number or a schedule.
        mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.

    Returns:
        A transformation with state ``EmptyState()``; :class:`gradmill.WeightDecaySchedule` for a
        schedule; :class:`gradmill.MaskedState` around either where there is a mask. Its ``update``
        needs ``params``.

    Raises:
        TypeError: ``weight_decay`` is neither a number nor callable.
        ValueError: ``weight_decay`` is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.cautious_weight_decay(0.5)
        >>> params = np.array([2.0, 2.0])
        >>> tx.update(np.array([1.0, -1.0]), tx.init(params), params)[0]
        array([ 2., -1.])

    References:
        Chen et al., `Cautious Weight Decay <https://arxiv.org/abs/2510.12402>`_, 2025.
    """
    decay = real_or_schedule("weight_decay", weight_decay)
    state: type[Any] = WeightDecaySchedule if callable(decay) else EmptyState
    tx = native(Spec(ops.cautious_weight_decay, state, {"weight_decay": decay}))
    return tx if mask is None else native(Masked(tx, mask))


@recorded
def cautious_adamw(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
    cautious_decay: bool = False,
    least_share: float = 1e-3,
) -> GradientTransformationExtraArgs:
    """C-AdamW: AdamW without the elements of a step that go against the gradient.

    :func:`cautious` around :func:`gradmill.scale_by_adam`, then
    :func:`gradmill.add_decayed_weights` or :func:`cautious_weight_decay`, then
    :func:`gradmill.scale_by_learning_rate`. Keep the hyperparameters that work for AdamW.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        eps_root: Added inside the root. Usually 0; a small value keeps the derivative of the step
            finite, for meta-learning. Not negative.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule. A
            step subtracts this multiple of the parameters, times the learning rate: with 0.1 and a
            rate of 1e-3, one part in 10,000.
        mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        cautious_decay: Whether weights decay only where the update shrinks them too.
        least_share: The least divisor of what is left, as for :func:`cautious`.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.cautious_adamw(0.1), np.array([1.0, -1.0]))
        >>> for grads in ([2.0, 0.5], [1.0, -0.1]):
        ...     _ = opt.step(np.array(grads))
        >>> opt.params.round(3)
        array([ 0.714, -1.1  ])

    References:
        Liang, Chen, Liu and Liu, `Cautious Optimizers: Improving Training with One Line of Code
        <https://arxiv.org/abs/2411.16085>`_, 2024.
    """
    adam = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    decay = cautious_weight_decay if cautious_decay else add_decayed_weights
    return chain(
        cautious(adam, descends=False, least_share=least_share),
        decay(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
