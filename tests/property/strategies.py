"""Random chains, trees and layouts.

Chains are drawn from the rows of the table, each with other numbers: a new row is in all of them.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradmill as gm
from gradmill._plan.layout import links_of
from tests.cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cases import Case

SHAPES = [(), (0,), (1,), (3,), (64,), (65,), (7, 9), (4, 3, 5), (1300,)]


def needs_keys(tx: Any) -> bool:
    """Whether it has masks for the tree of the table alone, or for mappings."""
    tree = [np.ones(2)]
    try:
        tx.update(tree, tx.init(tree), tree)
    except (TypeError, ValueError):
        return True
    return False


ROWS = [case for case in CASES if not case.python and not needs_keys(case.make(gm))]
"""Those that any tree will do for."""
SLOT_DTYPES = [None, np.float16, ml_dtypes.bfloat16]


class Varied:
    """The module with other arguments of the same kind, defaults among them.

    A share stays a share and what is positive stays so; integers count or seed, and stay.
    """

    def __init__(self, draw: Callable[[Any], Any], module: Any = gm) -> None:
        self.draw = draw
        self.module = module

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.module, name)
        if inspect.ismodule(function):
            return Varied(self.draw, function)
        if not callable(function):
            return function

        def call(*args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(function).bind(*args, **kwargs)
            given.apply_defaults()
            for key, value in given.arguments.items():
                # What is handed over as a function is called in each step, or kept.
                own = getattr(value, "varies", None)
                given.arguments[key] = own or self.draw(of_kind(key, value))
            return function(*given.args, **given.kwargs)

        call.varies = function  # type: ignore[attr-defined]
        return call


def of_kind(name: str, value: Any) -> st.SearchStrategy[Any]:
    """What may stand in the place of an argument."""
    if name in ("mu_dtype", "nu_dtype"):
        return st.sampled_from([value, *SLOT_DTYPES])
    if isinstance(value, bool):
        return st.booleans()
    if not isinstance(value, float):
        return st.just(value)
    if value == 0.0:
        return st.sampled_from([0.0, 1e-6])
    if 0.5 <= value < 1:
        return st.floats(0, 0.99)
    least, most = sorted((value / 4, value * 4))
    return st.one_of(st.just(value), st.floats(least, most))


def rows(among: list[Case]) -> st.SearchStrategy[Any]:
    """A row of the table with other numbers."""

    # Not an argument of the strategy, as errors and warnings print those.
    @st.composite
    def row(draw: Any) -> Any:
        return draw(st.sampled_from(among)).make(Varied(draw))

    return row()


def is_elementwise(case: Case) -> bool:
    """Whether it looks at one element at a time."""
    links = list(links_of(case.make(gm)))
    ops = [link.op for link in links if link.op is not None]
    are_wide = any(op.draws or op.finds is not None for op in ops)
    return not (are_wide or any(link.masks for link in links))


elementwise = rows([case for case in ROWS if is_elementwise(case)])
"""Transformations that look at one element at a time."""

links = rows(ROWS)
"""A row of the table each."""


def _odd(step: Any) -> Any:
    return step % 2 == 1


def _short(path: Any, _: Any) -> bool:
    return len(path) < 4


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
        inner.map(lambda tx: gm.masked(tx, _short)),
        inner.map(lambda tx: gm.quantized_state(tx, min_size=2)),
        st.builds(lambda a, b: gm.partition(_short, a, b), inner, inner),
        st.floats(0.1, 0.99).map(lambda b2: gm.inject_hyperparams(gm.adamw)(0.1, b2=b2)),
        st.just(gm.add_decayed_weights(0.1, _short)),
    )


combined = st.recursive(links, _wrapped, max_leaves=5).map(gm.chain)
chains = st.one_of(st.lists(links, max_size=4).map(lambda members: gm.chain(*members)), combined)
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
