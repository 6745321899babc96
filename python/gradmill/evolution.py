"""Noise of evolution strategies, drawn where it is added and never stored.

Parameters are perturbed by normally distributed noise, members are scored, and the sum of the
noise weighted by the scores estimates the gradient of the expected score. The noise of a seed is a
function of it: whoever has the seed can draw it again. So processes exchange seeds and scores
alone, and nothing as large as the parameters is kept for a member. It is that of
``gm.tree.random_like(seed, params)``, and so of ``jax.random.normal``: in float64 for parameters of
float64, in float32 for all others, and the same bits on any number of threads and any instruction
set, however arrays lie in memory.

A generation, of antithetic pairs and with descent of what is to rise turned around:

>>> import numpy as np
>>> import gradmill as gm
>>> from gradmill import evolution
>>> def score(params):
...     return -np.sum((params - 3) ** 2)
>>> params, sigma, seeds = np.zeros(4), 0.1, range(32)
>>> opt = gm.Optimizer(gm.sgd(0.1), params, maximize=True)
>>> scores = [
...     score(evolution.perturb(params, seed, sign * sigma)) for sign in (1, -1) for seed in seeds
... ]
>>> opt.step(evolution.gradient(params, seeds, scores, sigma, antithetic=True)).step
1
>>> bool(score(params) > -36)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import _core
from gradmill._data.arrays import as_native
from gradmill._data.checks import real
from gradmill._data.keys import words_of
from gradmill._data.threads import scoped
from gradmill._data.trees import flatten, leaf_path
from gradmill._plan.match import flatten_like
from gradmill.errors import LeafTypeError, LeafValueError, from_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.keys import Words
    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree
    from gradmill.errors import Place

__all__ = ["gradient", "perturb"]


def perturb(params: PyTree, seed: Any, sigma: float, out: PyTree = None) -> PyTree:
    r"""Add the noise of a seed to parameters.

    .. math:: \theta + \sigma z(s), \qquad z(s) \sim N(0, I)

    In one pass, formed in float64 and rounded once. With ``-sigma`` for ``sigma`` the result is the
    other one of an antithetic pair.

    Args:
        params: A tree of float16, bfloat16, float32 or float64 arrays. None stays None.
        seed: An integer, of which the low 32 bits count; a key of two uint32; or a NumPy
            ``SeedSequence``.
        sigma: The standard deviation of the noise, or the negative of it.
        out: Arrays to write the result to, a tree like ``params``; their dtypes may be others. Each
            may be the one of ``params`` itself and shares no memory with any other. None for new
            arrays.

    Returns:
        ``out``, or new arrays of the dtypes of ``params``.

    Raises:
        TypeError: ``seed`` is none of these, or ``sigma`` no real number.
        ValueError: ``sigma`` is NaN.
        TreeError: ``out`` has another structure.
        LeafValueError: An array of ``out`` has another shape, is read-only, or shares memory with
            another one. Nothing is written then.
        LeafTypeError: A leaf is no array of floats.

    Example:
        >>> import numpy as np
        >>> from gradmill import evolution
        >>> params = {"w": np.zeros(3, np.float32)}
        >>> evolution.perturb(params, 0, 0.1)
        {'w': array([...], dtype=float32)}
        >>> evolution.perturb(params, 0, -0.1, out=params) is params
        True

    References:
        Salimans et al., `Evolution Strategies as a Scalable Alternative to Reinforcement Learning
        <https://arxiv.org/abs/1703.03864>`_, 2017.
    """
    weight = float(real("sigma", sigma))
    return _add(params, [words_of(seed, "perturb")], [weight], out, is_base=True)


def gradient(
    params: PyTree,
    seeds: Sequence[Any],
    weights: Any,
    sigma: float,
    *,
    antithetic: bool = False,
    out: PyTree = None,
) -> PyTree:
    r"""Estimate the gradient of the expected score of perturbed parameters.

    .. math::
        \frac{1}{n \sigma} \sum_{i=1}^n w_i z(s_i) \qquad \text{or} \qquad
        \frac{1}{2 n \sigma} \sum_{i=1}^n (w_i - w_{n+i}) z(s_i)

    where the second is that of antithetic pairs. In one pass over the result, which noise is added
    to in float64, seed by seed, and which is rounded once. It points to where scores rise: see
    ``maximize`` of :class:`gradmill.Optimizer`.

    Args:
        params: The parameters, a tree of float16, bfloat16, float32 or float64 arrays, of which
            shapes and dtypes count. None stays None.
        seeds: What :func:`perturb` took for each member.
        weights: The score of each member or what was made of it, such as its centred rank, one for
            each seed; of pairs two, all those of ``sigma`` before all those of ``-sigma``.
        sigma: The standard deviation of the noise, not zero.
        antithetic: Whether each seed stands for a pair of members.
        out: Arrays to write the result to, a tree like ``params``. They share no memory with each
            other. None for new arrays.

    Returns:
        ``out``, or new arrays of the dtypes of ``params``.

    Raises:
        TypeError: A seed is none of these, or ``sigma`` no real number.
        ValueError: There are no seeds, there are more or fewer weights than members, one is not
            finite, or ``sigma`` is zero or NaN.
        TreeError: ``out`` has another structure.
        LeafValueError: An array of ``out`` has another shape, is read-only, or shares memory with
            another one. Nothing is written then.
        LeafTypeError: A leaf is no array of floats.

    Example:
        >>> import numpy as np
        >>> from gradmill import evolution
        >>> params = {"w": np.zeros(3, np.float32)}
        >>> evolution.gradient(params, [0, 1], [0.5, -0.5], 0.1)
        {'w': array([...], dtype=float32)}

    References:
        Salimans et al., `Evolution Strategies as a Scalable Alternative to Reinforcement Learning
        <https://arxiv.org/abs/1703.03864>`_, 2017.
    """
    keys = [words_of(seed, "gradient") for seed in seeds]
    scores = np.asarray(weights, np.float64).reshape(-1)
    members = (2 if antithetic else 1) * len(keys)
    if len(scores) != members or not members:
        of_pairs = ", two for each seed" if antithetic else ""
        raise ValueError(
            f"weights: expected one for each member{of_pairs}, got {len(scores)} for {members}"
        )
    if not np.isfinite(scores).all():
        raise ValueError("weights: one is not finite")
    width = float(real("sigma", sigma))
    if width == 0:
        raise ValueError("sigma: expected another number than 0")
    if antithetic:
        scores = scores[: len(keys)] - scores[len(keys) :]
    return _add(params, keys, (scores / (members * width)).tolist(), out, is_base=False)


def _add(
    params: PyTree, keys: list[Words], weights: list[float], out: PyTree, *, is_base: bool
) -> PyTree:
    """The sum of noise, and of the parameters where these are its base."""
    leaves, spec = flatten(params)
    places = [at for at, leaf in enumerate(leaves) if leaf is not None]
    arrays = [_native(leaves[at], spec, at) for at in places]
    if out is None:
        results: list[Any] = [None] * len(leaves)
        for at, array in zip(places, arrays, strict=True):
            results[at] = np.empty_like(array, subok=False)
    else:
        results = flatten_like(spec, out, "out", "params")
        _check_shapes(results, leaves, spec)

    def path_of(place: Place) -> str:
        _, number, leaf = place
        return leaf_path(spec, places[leaf], "out" if number is None else "params")

    sums = [results[at] for at in places]
    bases = [leaves[at] if is_base else None for at in places]
    wide = [array.dtype == np.float64 for array in arrays]
    try:
        _core.noise_sum(sums, bases, wide, keys, weights, scoped.get())
    except _core.CoreError as fault:
        raise from_fault(fault, path_of) from None
    return spec.unflatten(results) if out is None else out


def _native(leaf: Any, spec: Treespec, at: int) -> np.ndarray[Any, Any]:
    """A leaf as an array of floats."""
    try:
        return as_native(leaf)
    except TypeError as error:
        raise LeafTypeError(f"{leaf_path(spec, at, 'params')}: {error}") from None


def _check_shapes(results: Sequence[Any], leaves: Sequence[Any], spec: Treespec) -> None:
    for at, (result, leaf) in enumerate(zip(results, leaves, strict=True)):
        path = leaf_path(spec, at, "out")
        if (result is None) != (leaf is None):
            raise LeafTypeError(f"{path}: None in one tree, an array in another")
        if np.shape(result) != np.shape(leaf):
            raise LeafValueError(f"{path}: shape {np.shape(result)}, params has {np.shape(leaf)}")
