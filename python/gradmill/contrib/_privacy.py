from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.checks import real
from gradmill._data.keys import words_given
from gradmill._data.recorded import recorded
from gradmill._data.trees import flatten
from gradmill._run.transformation import GradientTransformation
from gradmill.transforms import scale_by_learning_rate, trace
from gradmill.transforms._chain import chain
from gradmill.transforms._identity import identity
from gradmill.transforms._per_example import per_example_global_norm_clip
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from gradmill._data.types import PyTree, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


class DifferentiallyPrivateAggregateState(NamedTuple):
    """The state of :func:`differentially_private_aggregate`.

    Attributes:
        rng_key: The key of the next random numbers, an array of two uint32.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.differentially_private_aggregate(1.0, 0.5, 7).init(np.zeros(2))
        DifferentiallyPrivateAggregateState(rng_key=array([0, 7], dtype=uint32))
    """

    rng_key: Any


def _init(key: tuple[int, int], params: PyTree, /) -> DifferentiallyPrivateAggregateState:  # noqa: ARG001  (a key needs none)
    return DifferentiallyPrivateAggregateState(np.array(key, np.uint32))


def _update(
    bound: float,
    noise_multiplier: float,
    /,
    updates: PyTree,
    state: DifferentiallyPrivateAggregateState,
    params: PyTree | None = None,  # noqa: ARG001  (every update takes them)
) -> tuple[PyTree, DifferentiallyPrivateAggregateState]:
    sums, _ = per_example_global_norm_clip(updates, bound)
    sizes = [len(leaf) for leaf in flatten(updates)[0] if leaf is not None]
    # The first key is that of the next step, the others are those of the leaves.
    places = [np.zeros(0, np.float32), sums]
    key, _ = tree.split_key_like(state.rng_key, places)
    _, noise = tree.random_like(state.rng_key, places)
    std = bound * noise_multiplier

    def averaged(_: Any, total: Any, z: Any) -> Any:
        return (total + std * z) / max(*sizes, 1)

    trees = {"updates": sums, "noise": noise}
    return mapped("differentially_private_aggregate", averaged, trees), state._replace(rng_key=key)


@recorded
def differentially_private_aggregate(
    l2_norm_clip: float, noise_multiplier: float, key: Any = None, *, seed: Any = None
) -> GradientTransformation:
    r"""Average clipped gradients and add noise, so that no single example shows in the result.

    .. math::
        \frac{1}{B} \left( \sum_{b=1}^B \min\left(\frac{C}{\lVert g_b \rVert}, 1\right) g_b
        + C \sigma z \right), \qquad z \sim \mathcal N(0, 1)

    Put it first in a chain: incoming gradients have a leading axis of examples, and outgoing ones
    do not. How private the result is depends on the noise, the sampling rate and the number of
    steps; use an accountant for Gaussian noise to find out. An example with an infinity or a NaN in
    its gradients makes a NaN; put :func:`gradmill.zero_nans` before it to avoid that.

    Norms and sums are those of :func:`gradmill.per_example_global_norm_clip`, which allocates
    nothing of the size of the input. The noise is that of ``jax.random`` for the same seed
    (threefry), to within a few roundings. Whoever knows the seed can predict it.

    Args:
        l2_norm_clip: The largest norm :math:`C` that one example's gradients may have, not
            negative. It sets the scale of the noise too.
        noise_multiplier: The standard deviation :math:`\sigma` of the noise in units of
            ``l2_norm_clip``, not negative. Larger is more private.
        key: A seed or a key, as for :func:`gradmill.add_noise`; None for the seed 0.
        seed: ``key`` by another name.

    Returns:
        A transformation with state :class:`DifferentiallyPrivateAggregateState`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds, or both ``key`` and ``seed`` are given.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.differentially_private_aggregate(1.0, 0.0, seed=0)
        >>> grads = np.array([[3.0, 4.0], [0.3, 0.4]])
        >>> tx.update(grads, tx.init(np.zeros(2)))[0]
        array([0.45, 0.6 ])

    References:
        Abadi et al., `Deep Learning with Differential Privacy
        <https://arxiv.org/abs/1607.00133>`_, 2016.
    """
    bound = real("l2_norm_clip", l2_norm_clip, at_least=0)
    sigma = real("noise_multiplier", noise_multiplier, at_least=0)
    words = words_given(key, seed, "differentially_private_aggregate")
    return GradientTransformation(partial(_init, words), partial(_update, bound, sigma))


@recorded
def dpsgd(
    learning_rate: ScalarOrSchedule,
    l2_norm_clip: float,
    noise_multiplier: float,
    key: Any = None,
    momentum: float | None = None,
    nesterov: bool = False,
    *,
    seed: Any = None,
) -> GradientTransformationExtraArgs:
    """DP-SGD: differentially private gradient descent.

    :func:`differentially_private_aggregate`, then :func:`gradmill.trace` with momentum, then
    :func:`gradmill.scale_by_learning_rate`. Gradients have a leading axis of examples.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        l2_norm_clip: The largest norm that one example's gradients may have, not negative. It sets
            the scale of the noise too.
        noise_multiplier: The standard deviation of the noise in units of ``l2_norm_clip``, not
            negative. Larger is more private.
        key: A seed or a key, as for :func:`gradmill.add_noise`; None for the seed 0.
        momentum: How much of the running sum of updates each step keeps; None for no momentum.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        seed: ``key`` by another name.

    Returns:
        The chain of the three.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds, or both ``key`` and ``seed`` are given.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.dpsgd(0.1, 1.0, 0.0, seed=0), np.zeros(2))
        >>> _ = opt.step(np.array([[3.0, 4.0], [0.3, 0.4]]))
        >>> opt.params
        array([-0.045, -0.06 ])

    References:
        Abadi et al., `Deep Learning with Differential Privacy
        <https://arxiv.org/abs/1607.00133>`_, 2016.
    """
    return chain(
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, key, seed=seed),
        identity() if momentum is None else trace(momentum, nesterov),
        scale_by_learning_rate(learning_rate),
    )
