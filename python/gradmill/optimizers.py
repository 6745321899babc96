"""Aliases: the chains that have names of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill.transforms import (
    add_decayed_weights,
    add_noise,
    identity,
    masked,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_rms,
    scale_by_stddev,
    scale_by_trust_ratio,
    trace,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import ScalarOrSchedule
    from gradmill._plan.spec import Mask
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def adam(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    nu_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    """Adam: :func:`scale_by_adam`, then :func:`scale_by_learning_rate`.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: The dtype of the first moments; None for the parameters' own, or float32 where
            that is of half precision.
        nesterov: Whether to use Nesterov's momentum.
        nu_dtype: The dtype of the second moments; None as for ``mu_dtype``.

    Returns:
        The chain of the two.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.adam(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params
        array([ 0.9, -1.1])

    References:
        Kingma and Ba, `Adam: A Method for Stochastic Optimization
        <https://arxiv.org/abs/1412.6980>`_, 2014.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def adamw(
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
    nu_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    """Adam with decoupled weight decay, which the learning rate multiplies.

    :func:`scale_by_adam`, then :func:`add_decayed_weights`, then :func:`scale_by_learning_rate`.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: The dtype of the first moments; None for the parameters' own, or float32 where
            that is of half precision.
        weight_decay: The multiple of the parameters, or a schedule of it.
        mask: Which leaves decay, as for :func:`add_decayed_weights`.
        nesterov: Whether to use Nesterov's momentum.
        nu_dtype: The dtype of the second moments; None as for ``mu_dtype``.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.adamw(0.1, weight_decay=0.01), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params
        array([ 0.899, -1.099])

    References:
        Loshchilov and Hutter, `Decoupled Weight Decay Regularization
        <https://arxiv.org/abs/1711.05101>`_, 2019.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: float | None = None,
    nesterov: bool = False,
    accumulator_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    """Stochastic gradient descent: :func:`trace`, then :func:`scale_by_learning_rate`.

    Args:
        learning_rate: A number or a schedule.
        momentum: The decay of :func:`trace`; None for none at all, without its state.
        nesterov: Whether to use Nesterov's momentum.
        accumulator_dtype: The dtype of the trace; None for the parameters' own, or float32 where
            that is of half precision.

    Returns:
        The chain of the two, with :func:`identity` in place of a trace without momentum.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.sgd(0.1, momentum=0.9), np.array([1.0]))
        >>> for _ in range(2):
        ...     _ = opt.step(np.array([1.0]))
        >>> opt.params
        array([0.71])

    References:
        Sutskever, Martens, Dahl and Hinton, `On the importance of initialization and momentum in
        deep learning <https://proceedings.mlr.press/v28/sutskever13.html>`_, 2013.
    """
    return chain(
        identity()
        if momentum is None
        else trace(real("momentum", momentum), nesterov, accumulator_dtype),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: float | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformationExtraArgs:
    """RMSProp: :func:`scale_by_rms`, :func:`scale_by_learning_rate`, then :func:`trace`.

    Args:
        learning_rate: A number or a schedule.
        decay: Decay of the average of squares.
        eps: Keeps the denominator from zero.
        initial_scale: The average of squares before the first step.
        eps_in_sqrt: Whether ``eps`` stands inside the root.
        centered: Whether to divide by the standard deviation, :func:`scale_by_stddev`.
        momentum: The decay of :func:`trace`, which comes behind the learning rate; None for none.
        nesterov: Whether to use Nesterov's momentum.
        bias_correction: Whether to make up for averages that start at zero.

    Returns:
        The chain of the three, with :func:`identity` in place of a trace without momentum.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.rmsprop(0.1, decay=0.75), np.array([1.0]))
        >>> _ = opt.step(np.array([3.0]))
        >>> opt.params.round(6)
        array([0.8])

    References:
        Tieleman and Hinton, `Lecture 6.5: rmsprop
        <https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf>`_, 2012; Graves,
        `Generating Sequences With Recurrent Neural Networks <https://arxiv.org/abs/1308.0850>`_,
        2013.
    """
    by_average = scale_by_stddev if centered else scale_by_rms
    return chain(
        by_average(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(real("momentum", momentum), nesterov),
    )


@recorded
def lamb(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """LAMB: Adam with weight decay, then :func:`scale_by_trust_ratio`, for large batches.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added outside the root.
        eps_root: Added inside the root.
        weight_decay: The multiple of the parameters to add, or a schedule.
        mask: Which leaves decay; see :func:`add_decayed_weights`.

    Returns:
        The chain of :func:`scale_by_adam`, :func:`add_decayed_weights`,
        :func:`scale_by_trust_ratio` and :func:`scale_by_learning_rate`. Its ``update`` needs
        ``params``.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.lamb(0.1), np.array([3.0, 4.0]))
        >>> _ = opt.step(np.array([1.0, 1.0]))
        >>> opt.params.round(3)
        array([2.646, 3.646])

    References:
        You et al., `Large Batch Optimization for Deep Learning: Training BERT in 76 minutes
        <https://arxiv.org/abs/1904.00962>`_, 2020.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: float = 0.001,
    eps: float = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """LARS: weight decay and :func:`scale_by_trust_ratio`, then momentum, for large batches.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: The multiple of the parameters to add, or a schedule.
        weight_decay_mask: Which leaves decay; see :func:`masked`.
        trust_coefficient: The factor of the trust ratio.
        eps: Added to the norm of the update.
        trust_ratio_mask: Which leaves are scaled; see :func:`masked`.
        momentum: The decay of :func:`trace`, which comes behind the learning rate.
        nesterov: Whether to use Nesterov's momentum.

    Returns:
        The chain of :func:`add_decayed_weights`, :func:`scale_by_trust_ratio`,
        :func:`scale_by_learning_rate` and :func:`trace`. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.lars(1.0, trust_coefficient=0.1), np.array([3.0, 4.0]))
        >>> _ = opt.step(np.array([0.3, 0.4]))
        >>> opt.params
        array([2.7, 3.6])

    References:
        You, Gitman and Ginsburg, `Large Batch Training of Convolutional Networks
        <https://arxiv.org/abs/1708.03888>`_, 2017.
    """
    ratio = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(ratio, trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(real("momentum", momentum), nesterov),
    )


@recorded
def noisy_sgd(
    learning_rate: ScalarOrSchedule,
    eta: float = 0.01,
    gamma: float = 0.55,
    key: Any = None,
    *,
    seed: Any = None,
) -> GradientTransformationExtraArgs:
    """Stochastic gradient descent with fading noise on the gradients.

    Args:
        learning_rate: A number or a schedule; it scales the noise as well.
        eta: The variance of the noise in the first step.
        gamma: The exponent with which it fades.
        key: A seed or a key; see :func:`add_noise`.
        seed: Another name for ``key``.

    Returns:
        The chain of :func:`add_noise` and :func:`scale_by_learning_rate`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: Both ``key`` and ``seed`` are given.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.noisy_sgd(0.1, eta=0.0, seed=0), np.array([1.0]))
        >>> _ = opt.step(np.array([1.0]))
        >>> opt.params
        array([0.9])

    References:
        Neelakantan et al., `Adding Gradient Noise Improves Learning for Very Deep Networks
        <https://arxiv.org/abs/1511.06807>`_, 2015.
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))
