"""Arrays that share memory: refused where one is written, else read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from tests.fault.hostile.inputs import (
    CHAINS,
    F32,
    Offers,
    Prickly,
    alone,
    each_chain,
    plain_leaf,
    refused,
    state_leaves,
    tree,
    updated,
    with_w,
)
from tests.trees import bits, copy_tree

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "itself": (12, lambda a: a, lambda a: a),
    "reversed": (12, lambda a: a, lambda a: a[::-1]),
    "other dtype and back": (12, lambda a: a, lambda a: a.view(np.int32).view(F32)),
    "half of it": (12, lambda a: a, lambda a: a.view(np.float16)[1::2]),
    "memoryview": (12, lambda a: a, memoryview),
    "offered": (12, lambda a: a, Offers),
    "subclass": (12, lambda a: a, lambda a: a.view(Prickly)),
    "one element": (12, lambda a: a, lambda a: np.broadcast_to(a[-1:], 12)),
    "shifted": (99, lambda a: a[:-1], lambda a: a[1:]),
    "shifted back": (99, lambda a: a[1:], lambda a: a[:-1]),
    "transposed": ((3, 3), lambda a: a, lambda a: a.T),
    "next columns": ((3, 4), lambda a: a[:, :3], lambda a: a[:, 1:]),
    "other strides": (40, lambda a: a[:20:2], lambda a: a[1:31:3]),
    "bytes that are not its own": (40, lambda a: a[2:32:3], lambda a: a[0:20:2]),
}


@pytest.mark.parametrize("how", SHARED)
def test_gradients_in_the_memory_of_parameters(how: str) -> None:
    shape, of_params, of_grads = SHARED[how]
    for tx in CHAINS.values():
        base = np.ones(shape, F32)
        params, grads = of_params(base), of_grads(base)
        opt = gm.Optimizer(tx, {"w": params})
        with refused("updates['w']: shares memory", unchanged=(opt.params, opt.state)):
            opt.step({"w": grads})


@each_chain
def test_gradients_in_the_memory_of_other_leaves_and_of_state(chain: str) -> None:
    params = tree()
    opt = gm.Optimizer(CHAINS[chain], params)
    for _ in range(2):
        opt.step(tree(0.5))
    held = (opt.params, opt.state)
    with refused("updates['b']: shares memory", unchanged=held):
        opt.step({"b": params["w"][1], "w": plain_leaf()})
    leaves, _ = flatten(opt.state)
    for at in state_leaves(opt.state):
        with refused("updates['w']: shares memory", unchanged=held):
            opt.step(with_w(leaves[at]))
        with refused("updates['b']: shares memory", unchanged=held):
            opt.step({"b": leaves[at][2, ::-1], "w": plain_leaf()})


def test_gradients_in_the_memory_of_masters() -> None:
    params = {"w": np.ones(8, np.float16)}
    opt = gm.Optimizer(gm.adam(0.1), params, master=True)
    opt.step({"w": np.ones(8, np.float16)})
    for grads in (opt.master, params, opt.state[0].nu):
        with refused("updates['w']: shares memory", unchanged=(params, opt.master, opt.state)):
            opt.step(grads)


@each_chain
def test_one_gradient_for_many_leaves(chain: str) -> None:
    tx, one = CHAINS[chain], plain_leaf()
    opt = gm.Optimizer(tx, {"v": plain_leaf(), "w": plain_leaf()})
    twin = gm.Optimizer(tx, {"v": plain_leaf(), "w": plain_leaf()})
    opt.step({"v": one[::-1], "w": one})
    twin.step({"v": plain_leaf(), "w": plain_leaf()})
    assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))


@each_chain
def test_functions_read_one_array_in_all_places(chain: str) -> None:
    tx = CHAINS[chain]
    one = plain_leaf()
    shared = {"b": one[0], "w": one}
    apart = {"b": one[0].copy(), "w": one.copy()}
    leaves, treespec = flatten(tx.init(apart))
    places = state_leaves(tx.init(apart))

    def filled(value: Any) -> Any:
        return treespec.unflatten([value if i in places else x for i, x in enumerate(leaves)])

    before = bits(one)
    expected = updated(tx, apart, filled(plain_leaf()), copy_tree(apart))
    assert updated(tx, shared, filled(one), shared) == expected
    assert bits(gm.apply_updates(shared, shared)) == bits(gm.apply_updates(apart, apart))
    assert bits(one) == before


def test_parameters_that_overlap_in_other_dtypes() -> None:
    base = np.ones(8)
    for other in (base.view(F32), base.view(np.float16)[1::4], base[::-1], base.view(Prickly)[:1]):
        with refused("params[1]: shares memory with params[0]", unchanged=base):
            gm.Optimizer(gm.sgd(1.0), [base, other])
    parts = np.zeros(4, np.complex64)
    opt = gm.Optimizer(gm.sgd(1.0), [parts.real, parts.imag])
    opt.step([np.ones(4, F32), np.full(4, 2.0, F32)])
    assert parts.tolist() == [-1.0 - 2.0j] * 4


@pytest.mark.parametrize("columns", [40, 2500])
def test_leaves_that_are_columns_of_one_array(columns: int) -> None:
    code = f"""
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
        table = np.ones((2, {2 * columns}), np.float32)
        opt = gm.Optimizer(gm.sgd(0.5), [table[:, i] for i in range({columns})])
        opt.step([table[:, i] for i in range({columns}, {2 * columns})])
        assert (table[:, :{columns}] == 0.5).all() and (table[:, {columns}:] == 1.0).all()
    """
    assert alone(code) == ""
