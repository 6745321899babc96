"""Random chains, trees and layouts."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradmill as gm

SHAPES = [(), (0,), (1,), (3,), (64,), (65,), (7, 9), (4, 3, 5), (1300,)]

elementwise = st.one_of(
    st.just(gm.identity()),
    st.floats(-2, 2).map(gm.scale),
    st.floats(0.01, 2).map(gm.clip),
    st.floats(-0.1, 0.1).map(gm.add_decayed_weights),
    st.floats(-1, 1).map(lambda rate: gm.scale_by_schedule(gm.linear_schedule(rate, 0.1, 3))),
    st.builds(gm.trace, st.floats(0, 1), st.booleans()),
    st.builds(
        gm.scale_by_adam,
        st.floats(0, 0.99),
        st.floats(0, 0.999),
        st.floats(1e-9, 1e-2),
        st.sampled_from([0.0, 1e-6]),
        st.sampled_from([None, ml_dtypes.bfloat16]),
        nesterov=st.booleans(),
        nu_dtype=st.sampled_from([None, ml_dtypes.bfloat16, np.float16]),
    ),
    st.builds(
        gm.scale_by_rms,
        st.floats(0, 0.99),
        initial_scale=st.floats(0, 1),
        eps_in_sqrt=st.booleans(),
        bias_correction=st.booleans(),
    ),
    st.builds(gm.scale_by_stddev, st.floats(0, 0.99), st.just(0.1), bias_correction=st.booleans()),
    st.builds(gm.ema, st.floats(0, 0.99), st.booleans()),
    st.sampled_from([gm.keep_params_nonnegative(), gm.set_to_zero()]),
    st.integers(1, 3).map(gm.apply_every),
)
"""Transformations that look at one element at a time."""

links = st.one_of(
    elementwise,
    st.floats(0.01, 5).map(gm.clip_by_global_norm),
    st.booleans().map(
        lambda yes: gm.add_decayed_weights(0.1, lambda path, _: (len(path) < 2) == yes)
    ),
    st.floats(0.1, 2).map(gm.clip_by_block_rms),
    st.floats(0.1, 2).map(gm.normalize_by_update_norm),
    st.builds(gm.adaptive_grad_clip, st.floats(0.01, 2), axis=st.sampled_from([None, ()])),
    st.floats(0, 1).map(gm.scale_by_trust_ratio),
    st.builds(gm.add_noise, st.floats(0, 1), st.just(0.55), st.integers(0, 2**40)),
    st.sampled_from([gm.centralize(), gm.zero_nans()]),
)
"""One transformation each."""


def _odd(step: Any) -> Any:
    return step % 2 == 1


def _wrapped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Combinators around chains."""
    return st.one_of(
        st.lists(inner, max_size=4).map(lambda members: gm.chain(*members)),
        st.builds(gm.apply_if_finite, inner, st.sampled_from([None, 0, 1])),
        st.builds(gm.apply_every, st.integers(1, 3), inner),
        st.builds(gm.MultiSteps, inner, st.integers(1, 3), st.booleans()),
        inner.map(lambda tx: gm.MultiSteps(tx, 2, should_skip_update_fn=gm.skip_not_finite)),
        inner.map(lambda tx: gm.conditionally_transform(tx, _odd)),
        inner.map(lambda tx: gm.conditionally_mask(tx, _odd)),
        inner.map(lambda tx: gm.masked(tx, lambda path, _: len(path) < 4)),
        st.builds(lambda a, b: gm.partition(lambda path, _: len(path) < 4, a, b), inner, inner),
        st.floats(0.1, 0.99).map(lambda b2: gm.inject_hyperparams(gm.adamw)(0.1, b2=b2)),
    )


combined = st.recursive(links, _wrapped, max_leaves=5).map(gm.chain)
chains = st.one_of(st.lists(links, max_size=6).map(lambda members: gm.chain(*members)), combined)
singles = st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16])
"""Computed in single precision; which of them does not matter where chains are cut."""
dtypes = st.one_of(st.just((np.float64, np.float64)), st.tuples(singles, singles))
"""Those of parameters and gradients."""


def floats(dtype: Any, *, special: bool = False) -> st.SearchStrategy[Any]:
    """Elements of moderate size, or any at all."""
    width = np.dtype(dtype).itemsize * 8
    if special:
        return st.floats(width=width)
    bound = 1e3
    return st.floats(-bound, bound, width=width)


@st.composite
def problems(draw: Any, *, special: bool = False) -> tuple[Any, Any]:
    """Parameters and three trees of gradients."""
    of_params, of_grads = draw(dtypes)
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4))
    trees = []
    for is_grads in (False, True, True, True):
        dtype = of_grads if is_grads else of_params
        drawn = np.float16 if dtype is ml_dtypes.bfloat16 else dtype
        elements = floats(drawn, special=special and is_grads)
        arrays = [
            draw(hnp.arrays(drawn, shape, elements=elements, fill=elements)).astype(dtype)
            for shape in shapes
        ]
        trees.append({f"p{index}" * (index + 1): array for index, array in enumerate(arrays)})
    return trees[0], trees[1:]


def relayout(array: Any, how: str) -> Any:
    """The same values in another memory layout."""
    if how == "F":
        return np.array(array, order="F")
    if how == "strided":
        buffer = np.zeros(
            (*array.shape[:-1], array.shape[-1] * 3 + 1) if array.ndim else (2,), array.dtype
        )
        view = buffer[..., 1::3] if array.ndim else buffer[1:].reshape(())
        view[...] = array
        return view
    if how == "reversed" and array.ndim:
        return np.array(array[::-1], order="C")[::-1]
    return np.array(array, order="C")


layouts = st.sampled_from(["C", "F", "strided", "reversed"])
