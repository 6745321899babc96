"""Arrays that change between steps, and during one."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafValueError
from tests.fault.hostile.inputs import CHAINS, alone, old_ways, plain_leaf, refused, tree, with_w
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable

BOOLS = {
    "norm": "gm.global_norm([mask])",
    "update": "gm.sgd(0.1).update([mask], gm.sgd(0.1).init(None))",
    "gradient": "gm.Optimizer(gm.adam(0.1), [np.zeros(64)]).step([mask])",
    "parameter": "gm.Optimizer(gm.sgd(0.1), [mask])",
    "new parameter": "gm.apply_updates([mask], [np.ones(64)])",
    "state": "tx.update([np.ones(64)], gm.TraceState([mask]))",
    "per example": "gm.per_example_layer_norm_clip([mask], 1.0)",
}


@pytest.mark.parametrize("call", BOOLS)
def test_bools_before_any_array_of_bfloat16(call: str) -> None:
    code = f"""
        mask, tx = np.zeros(64, bool), gm.trace(0.9)
        try:
            {BOOLS[call]}
        except TypeError as error:
            print(error)
    """
    assert "[0]: dtype bool, expected" in alone(code)


DURING = {
    "parameter in place": """
        opt = gm.Optimizer(gm.sgd(1.0), given)
        call = lambda evil: opt.step([np.ones(n), evil])
    """,
    "state in place": """
        opt = gm.Optimizer(gm.trace(0.9), [np.zeros(n), np.zeros(3)])
        given = opt.state.trace
        call = lambda evil: opt.step([np.ones(n), evil])
    """,
    "gradient in place": """
        opt = gm.Optimizer(gm.sgd(1.0), [np.zeros(n), np.zeros(3)])
        call = lambda evil: opt.step([given[0], evil])
    """,
    "gradient": "call = lambda evil: gm.sgd(1.0).update([given[0], evil], gm.sgd(1.0).init(None))",
    "parameter": """
        call = lambda evil: gm.add_decayed_weights(0.1).update(
            [np.ones(n), evil], gm.EmptyState(), given)
    """,
    "state": """
        call = lambda evil: gm.trace(0.9).update([np.ones(n), evil], gm.TraceState(given))
    """,
    "new parameter": "call = lambda evil: gm.apply_updates(given, [np.ones(n), evil])",
    "norm": "call = lambda evil: gm.global_norm([given[0], evil])",
    "finite": "call = lambda evil: gm.skip_not_finite([given[0], evil], 0, None)",
    "example": """
        other = np.ones((n, 1))
        call = lambda evil: gm.per_example_layer_norm_clip([given[0], evil], 1.0)
    """,
}


@pytest.mark.parametrize("what", DURING)
def test_an_array_that_shrinks_while_a_later_leaf_is_converted(what: str) -> None:
    code = f"""
        n = 1 << 20
        given, other = [np.ones(n), np.ones(3)], np.ones(3)

        class Evil:
            def __array__(self, dtype=None, copy=None):
                given[0].resize((2,), refcheck=False)
                return other

        {textwrap.indent(textwrap.dedent(DURING[what]), " " * 8).strip()}
        try:
            call(Evil())
            print("read the array as it was, or as it is")
        except (ValueError, TypeError) as error:
            print(error)
    """
    assert re.search(r"\[0\]" if "in place" in what else r"\[0\]|read", alone(code))


def test_a_parameter_that_is_locked_while_a_later_leaf_is_converted() -> None:
    params = [np.ones(3), np.ones(3)]

    class Evil:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            params[0].setflags(write=False)
            return np.ones(3)

    opt = gm.Optimizer(gm.sgd(1.0), params)
    with refused("params[0]", cause="read-only", unchanged=params):
        opt.step([np.ones(3), Evil()])


def test_a_step_within_a_step() -> None:
    opt = gm.Optimizer(gm.adam(0.1), tree())

    class Evil:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            opt.step(tree())
            return plain_leaf()

    before = bits((opt.params, opt.state))
    with pytest.raises((RuntimeError, TypeError), match="inside a step of this optimizer"):
        opt.step(with_w(Evil()))
    assert bits((opt.params, opt.state)) == before
    assert opt.step(tree()).step == 1


@pytest.mark.parametrize("dtype", [np.int64, ">f8", np.complex64, "f4,f4", "M8[s]", "S8"])
@pytest.mark.parametrize("what", ["params", "state[0].mu"])
def test_a_dtype_that_changes_between_steps(what: str, dtype: Any) -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.ones(4))
    opt.step(np.ones(4))
    array_: Any = opt.params if what == "params" else opt.state[0].mu
    with old_ways():
        array_.dtype = dtype
        with refused(f"{what}: was resized", unchanged=opt.state[0].nu):
            opt.step(np.ones(4))
        array_.dtype = float
    assert opt.step(np.ones(4)).step == 2


CHANGES: dict[str, Callable[[Any], None]] = {
    "other strides": lambda a: setattr(a, "strides", (24,)),
    "no strides": lambda a: setattr(a, "strides", (0,)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_strides_that_change_between_steps(change: str) -> None:
    base = np.zeros(20)
    params = [base[0:8:2], base[1:8:2]]
    opt = gm.Optimizer(gm.sgd(1.0), params)
    with old_ways():
        CHANGES[change](params[0])
    with refused("params[0]", unchanged=base):
        opt.step([np.ones(4), np.ones(4)])


def test_a_shape_that_changes_between_steps() -> None:
    params = np.ones((3, 4))
    opt = gm.Optimizer(gm.adam(0.1), params)
    with old_ways():
        params.shape = (12,)
    with refused("params: was resized", unchanged=(params, opt.state)):
        opt.step(np.ones(12))
    with old_ways():
        params.shape = (4, 3)
    with refused("updates: shape (3, 4), params has (4, 3)", unchanged=(params, opt.state)):
        opt.step(np.ones((3, 4)))


@pytest.mark.parametrize("chain", ["centralized", "adaptive clip"])
def test_a_shape_that_changes_between_steps_and_has_other_units(chain: str) -> None:
    tx, params, grads = CHAINS[chain], np.ones((3, 4)), np.arange(12.0).reshape(4, 3)
    opt = gm.Optimizer(tx, params)
    with old_ways():
        params.shape = (4, 3)
    try:
        opt.step(grads)
    except LeafValueError:
        return
    twin = gm.Optimizer(tx, np.ones((4, 3)))
    twin.step(grads)
    assert bits(params) == bits(twin.params)


def test_values_that_change_between_steps_are_those_that_count() -> None:
    opt, twin = gm.Optimizer(gm.adam(0.1), np.ones(4)), gm.Optimizer(gm.adam(0.1), np.full(4, 2.0))
    opt.params[...] = 2.0
    opt.step(np.ones(4))
    twin.step(np.ones(4))
    assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))
