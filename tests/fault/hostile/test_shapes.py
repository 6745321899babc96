"""Shapes at the edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from tests.fault.hostile.inputs import CHAINS, F32, alone, each_chain, refused
from tests.trees import bits


@pytest.mark.parametrize("axes", [31, 32, 33, 64])
@each_chain
def test_as_many_axes_as_numpy_has(chain: str, axes: int) -> None:
    if axes > 32 and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("this NumPy has 32")
    if chain == "adaptive clip":
        tx: Any = gm.adaptive_grad_clip(0.01, axis=-1)
        with refused("updates", cause="axes; say with `axis`"):
            gm.Optimizer(CHAINS[chain], np.ones((2, 2, *(1,) * (axes - 2))))
    else:
        tx = CHAINS[chain]
    shape = (1,) * (axes - 3) + (2, 1, 3)
    params, twin = np.ones(shape), np.ones((2, 1, 3))
    wide: Any = np.ones((1,) * (axes - 3) + (4, 1, 6))[..., ::-2, :, ::2]
    grads = np.arange(6.0).reshape(2, 1, 3)
    if chain == "centralized":  # rows are those of the first axis
        shape, params, wide = (2, *(1,) * (axes - 2), 3), np.ones((2, *(1,) * (axes - 2), 3)), None
    opt, reference = gm.Optimizer(tx, params), gm.Optimizer(tx, twin)
    reference.step(grads)
    opt.step(np.asfortranarray(grads.reshape(shape)))
    assert bits(params.reshape(2, 1, 3)) == bits(twin)
    if wide is not None:
        gm.Optimizer(tx, wide).step(grads.reshape(shape)[..., ::-1, :, :][..., ::-1, :, :])
        assert bits(np.array(wide).reshape(2, 1, 3)) == bits(twin)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2**40, 0), (0, 2**40), (2, 0, 2**40)])
def test_arrays_without_elements(shape: tuple[int, ...]) -> None:
    params = {"b": np.ones(2), "w": np.zeros(shape)}
    for tx in CHAINS.values():
        updates, _ = tx.update(params, tx.init(params), params)
        assert updates["w"].shape == shape
        opt = gm.Optimizer(tx, {"b": np.ones(2), "w": np.zeros(shape)})
        opt.step(params)
        opt.step({"b": np.ones(2), "w": np.zeros(shape, F32)})
        assert np.isfinite(opt.params["b"]).all()
        with refused("updates['w']", unchanged=(opt.params, opt.state)):
            opt.step({"b": np.ones(2), "w": np.zeros((*shape, 1))})
        assert bits(gm.apply_updates(params, updates))[1] == ("<f8", shape, b"")


@pytest.mark.parametrize("function", ["global", "layer"])
def test_examples_without_elements_and_without_end(function: str) -> None:
    code = f"""
        try:
            sums, _ = gm.per_example_{function}_norm_clip(np.zeros((2**40, 0)), 1.0)
            assert sums.shape == (0,)
        except (ValueError, MemoryError):
            pass
    """
    assert alone(code) == ""


@pytest.mark.parametrize("shape", [(4, 3), (12,)])
def test_flattened_updates_of_other_shapes_than_parameters(shape: tuple[int, ...]) -> None:
    tx, params = gm.flatten(gm.adamw(0.1)), [np.ones(2), np.arange(12.0).reshape(3, 4)]
    with refused("updates[1]", unchanged=params):
        tx.update([np.ones(2), np.ones(shape)], tx.init(params), params)


def test_flattened_updates_of_other_shapes_in_place() -> None:
    opt = gm.Optimizer(gm.flatten(gm.adamw(0.1)), [np.ones(2), np.ones((3, 4))])
    with refused("updates[1]", unchanged=(opt.params, opt.state)):
        opt.step([np.ones(2), np.ones((4, 3))])
