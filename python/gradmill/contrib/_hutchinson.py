from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.keys import words_given
from gradmill._data.recorded import recorded
from gradmill._run.fused import by_tree
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree
    from gradmill._run.transformation import GradientTransformationExtraArgs


class HutchinsonState(NamedTuple):
    """The state of :func:`hutchinson_estimator_diag_hessian`.

    Attributes:
        key: The key of the next random numbers, an array of two uint32.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.hutchinson_estimator_diag_hessian(7).init(np.zeros(2))
        HutchinsonState(key=array([0, 7], dtype=uint32))
    """

    key: Any


def _init(xp: Any, params: PyTree, *, key: tuple[int, int]) -> HutchinsonState:  # noqa: ARG001  (a key needs none)
    return HutchinsonState(xp.asarray(np.array(key, np.uint32)))


def _hutchinson(
    xp: Any,
    updates: PyTree,  # noqa: ARG001  (of the loss, the second derivatives alone count)
    state: HutchinsonState,
    params: PyTree,
    extra: Mapping[str, Any],
    **_: Any,
) -> tuple[PyTree, HutchinsonState]:
    following, drawing = tree.split_key_like(state.key, [0, 0])
    signs = _signs(xp, drawing, params)
    product = _product(xp, params, signs, extra)
    return tree.mul(signs, product), HutchinsonState(following)


def _signs(xp: Any, key: Any, params: PyTree) -> PyTree:
    """For each element 1 or -1, those of ``jax.random.rademacher``."""
    if xp is not np:
        from jax.random import rademacher  # noqa: PLC0415  (who has such parameters has JAX)

        return tree.random_like(key, params, rademacher)
    # A normally distributed number is negative where the first bit that it is made of is zero.
    turned = tree.random_like(key, params)
    return mapped("hutchinson", lambda xp, z: xp.where(z < 0, 1.0, -1.0), {"noise": turned})


def _product(xp: Any, params: PyTree, vector: PyTree, extra: Mapping[str, Any]) -> PyTree:
    """The Hessian times a vector."""
    hvp_fn, obj_fn = extra.get("hvp_fn"), extra.get("obj_fn")
    if callable(hvp_fn):
        return hvp_fn(params, vector)
    if xp is np or not callable(obj_fn):
        raise ValueError(
            "hutchinson_estimator_diag_hessian needs the Hessian times a vector: call"
            " update(updates, state, params, hvp_fn=hvp_fn), in programs of JAX also obj_fn=loss"
        )
    import jax  # noqa: PLC0415  (who has such parameters has JAX)

    return jax.jvp(jax.grad(obj_fn), (params,), (vector,))[1]


@recorded
def hutchinson_estimator_diag_hessian(random_seed: Any = None) -> GradientTransformationExtraArgs:
    r"""Estimate the diagonal of the Hessian of the loss, for :func:`sophia`.

    .. math:: u' = r \odot H r, \qquad r_i \in \{-1, 1\} \text{ at random}

    It is right on average, and exact if parameters do not interact. The incoming updates do not
    matter. Each call needs a function: ``update(updates, state, params, hvp_fn=hvp_fn)``, where
    ``hvp_fn(params, vector)`` returns the Hessian at the parameters times a tree like these, in
    float32 at least. If you have no such function, build one from the difference of two gradients:
    :math:`(\nabla f(p + \epsilon r) - \nabla f(p - \epsilon r)) / 2 \epsilon`. In a JAX program you
    can pass ``obj_fn=loss`` instead, which is differentiated twice.

    Args:
        random_seed: A seed or a key, as for :func:`gradmill.add_noise`; None for the seed 0.

    Returns:
        A transformation with state :class:`HutchinsonState`, whose ``update`` needs ``params`` and
        ``hvp_fn``. It runs on NumPy. The signs are those of ``jax.random.rademacher``.

    Raises:
        TypeError: ``random_seed`` is neither a seed nor a key.
        ValueError: From a call: there is not a function.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.hutchinson_estimator_diag_hessian()
        >>> params = np.array([1.0, 2.0])
        >>> cubes = lambda params, vector: 6 * params * vector  # the loss is a sum of these
        >>> tx.update(params, tx.init(params), params, hvp_fn=cubes)[0]
        array([ 6., 12.])

    References:
        Hutchinson, `A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian
        Smoothing Splines <https://doi.org/10.1080/03610918908812806>`_, 1989.
    """
    key = words_given(random_seed, None, "hutchinson_estimator_diag_hessian")
    return by_tree(_init, _hutchinson, {"key": key}, reads_params=True)
