"""State in 8 bits a number: each way to step is the float32 step between decoding and encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import gradmill as gm
from gradmill._data.codes import GROUP, Coding, decoded, encoded, is_quantized
from gradmill._data.trees import flatten
from tests.cases import CASES
from tests.trees import SHAPES, bits, copy_tree, random_tree

if TYPE_CHECKING:
    from tests.case import Case

# Groups that end in the middle, whole ones, a part of one, and none.
OWN = {**SHAPES, "kernel": (9, 13), "bias": (3 * GROUP,)}


def tree(seed: int, scale: float = 1.0) -> Any:
    """A tree for the masks of the table."""
    return random_tree(seed, scale=scale, shapes=OWN)


def has_codes(state: object) -> bool:
    """Whether a state has codes at all."""
    return any(map(is_quantized, flatten(state, is_quantized)[0]))


CODED = [
    case
    for case in CASES
    if case.is_native and has_codes(gm.quantized_state(case.make(gm), min_size=1).init(tree(0)))
]


@pytest.mark.parametrize("case", CODED, ids=lambda case: case.name)
def test_a_step_is_that_between_decoding_and_encoding(case: Case) -> None:
    plain = case.make(gm)
    tx = gm.quantized_state(plain, min_size=1)
    params = tree(1)
    state = tx.init(params)
    opt = gm.Optimizer(tx, copy_tree(params))
    for step in range(3):
        grads = tree(2 + step, 0.1)
        wide = gm.dequantize_state(state)
        expected, after = plain.update(grads, wide, params)
        updates, state = tx.update(grads, state, params)
        assert bits(updates) == bits(expected)
        assert bits(state) == bits(gm.quantize_state(after, state))
        params = gm.apply_updates(params, updates)
        opt.step(grads)
        assert bits(opt.params) == bits(params)
        assert bits(opt.state) == bits(state)


def _in_order(array: Any, is_turned: bool) -> Any:
    """A copy, column by column where it is turned."""
    return np.asfortranarray(array) if is_turned else array.copy()


@pytest.mark.parametrize("tx", [gm.adamw(1e-2), gm.sgd(1e-2, 0.9)], ids=["adamw", "momentum"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("transpose", [False, True])
def test_threads_and_layouts_change_no_bit(tx: Any, dtype: str, transpose: bool) -> None:
    rng = np.random.default_rng(2)
    kind = pytest.importorskip("ml_dtypes", reason="brings bfloat16").bfloat16
    kind = kind if dtype == "bfloat16" else np.dtype(dtype)
    shape = (300, 1007)
    first, grads = (rng.standard_normal(shape).astype(kind) for _ in range(2))
    made = []
    for threads, is_turned in ((1, False), (2, transpose)):
        opt = gm.Optimizer(gm.quantized_state(tx), {"w": _in_order(first, is_turned)})
        with gm.num_threads(threads):
            for _ in range(2):
                opt.step({"w": _in_order(grads, is_turned)})
        made.append(opt)
    assert bits(made[0].params) == bits({"w": np.ascontiguousarray(made[1].params["w"])})
    assert bits(made[0].state) == bits(made[1].state)


@given(
    npst.arrays(
        np.float32,
        st.integers(0, 3 * GROUP),
        elements=st.floats(width=32) | st.floats(-1, 1, width=32),
    )
)
def test_what_is_stored_and_read_again_stays(array: np.ndarray) -> None:
    pairs: list[tuple[Coding, Any]] = [("signed", array), ("square", np.abs(array))]
    for coding, values in pairs:
        pair = encoded(values, coding)
        assert bits(encoded(decoded(pair), coding)) == bits(pair)
        for at in range(0, len(array), GROUP):
            group, back = values[at : at + GROUP], decoded(pair)[at : at + GROUP]
            if not np.isfinite(group).all():
                assert np.isnan(back).all()
                continue
            largest = np.abs(group.astype(float)).max()
            near = largest / 254 if coding == "signed" else np.maximum(group / 32, largest / 6e4)
            off = np.abs(group.astype(float) - back)
            assert (off <= 1.0001 * near + 4e-31).all()
