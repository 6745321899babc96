"""The in-place door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np
import optree
import pytest

import gradmill as gm
from gradmill._data.trees import tree_map
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from pathlib import Path


BF16 = ml_dtypes.bfloat16


class Layer(NamedTuple):
    """A node that optree knows by itself."""

    w: Any
    b: Any


class Model:
    """A class of the user's."""

    def __init__(self, layer: Layer, scale: Any) -> None:
        self.layer = layer
        self.scale = scale


register: Any = optree.register_pytree_node
register(
    Model,
    lambda model: ((model.layer, model.scale), None, ("layer", "scale")),
    lambda _, children: Model(*children),
    namespace="gradmill",
)


def negate(updates: Any, state: Any, params: Any = None) -> Any:
    return tree_map(np.negative, updates), state


PYTHON = gm.GradientTransformation(lambda params: gm.EmptyState(), negate)


@pytest.mark.parametrize(
    "params",
    [
        np.ones(7),
        [np.ones(3), [np.ones(())]],
        (np.ones(2), None, {"a": np.ones(1)}),
        Layer(np.ones((2, 2)), np.ones(2)),
        Model(Layer(np.ones((2, 2)), None), np.ones(())),
        {},
    ],
    ids=["vector", "list", "tuple", "namedtuple", "class", "empty"],
)
def test_trees(params: Any) -> None:
    grads = copy_tree(params)
    opt = gm.Optimizer(gm.sgd(0.5, momentum=0.9), params)
    assert opt.params is params
    report = opt.step(grads)
    assert (report.step, report.global_norm, report.finite) == (1, None, True)
    for leaf in optree.tree_leaves(params, namespace="gradmill"):
        np.testing.assert_array_equal(leaf, np.full_like(leaf, 0.5))
    same = optree.tree_structure(opt.state[0].trace, none_is_leaf=True, namespace="gradmill")
    assert same == optree.tree_structure(params, none_is_leaf=True, namespace="gradmill")


def test_none_gradients_leave_their_leaf_alone() -> None:
    params = {"a": np.ones(2), "b": np.ones(2)}
    opt = gm.Optimizer(gm.adam(0.1), params)
    opt.step({"a": None, "b": np.ones(2)})
    np.testing.assert_array_equal(params["a"], np.ones(2))
    np.testing.assert_array_equal(opt.state[0].mu["a"], np.zeros(2))
    assert (params["b"] < 1).all()
    tx = gm.adam(0.1)
    updates, state = tx.update({"a": None, "b": np.ones(2)}, tx.init(params), params)
    assert updates["a"] is None
    np.testing.assert_array_equal(state[0].mu["a"], np.zeros(2))
    assert gm.apply_updates(params, updates)["a"] is params["a"]


def test_report() -> None:
    opt = gm.Optimizer(gm.chain(gm.scale(2.0), gm.clip_by_global_norm(1.0)), np.zeros(2))
    assert opt.step(np.array([3.0, 4.0])) == gm.StepReport(1, 10.0, True)
    opt.step(np.array([np.nan, 0.0]))
    opt.step(np.array([np.inf, 0.0]))
    report = opt.step(np.array([np.inf, 0.0]))
    assert report == gm.StepReport(4, np.inf, False)
    plain = gm.Optimizer(gm.sgd(0.1), [np.zeros(3, np.float32), np.zeros(3)])
    assert plain.step([np.ones(3), np.ones(3)]).finite
    assert not plain.step([np.ones(3), np.array([0.0, -np.inf, 0.0])]).finite
    assert not plain.step([np.full(3, np.nan), np.ones(3)]).finite


def test_python_transformations_anywhere() -> None:
    def by_loss(updates: Any, state: Any, params: Any = None, *, loss: float, **_: Any) -> Any:
        return tree_map(lambda leaf: leaf * loss, updates), state + 1

    extra = gm.GradientTransformationExtraArgs(lambda params: 0, by_loss)
    for members in (
        [PYTHON],
        [PYTHON, gm.adam(0.1)],
        [gm.adam(0.1), PYTHON],
        [gm.clip_by_global_norm(1.0), extra, gm.trace(0.9), PYTHON, gm.adamw(0.1)],
    ):
        tx = gm.chain(*members)
        params = random_tree(0, np.float64)
        opt = gm.Optimizer(tx, copy_tree(params))
        state = tx.init(params)
        for seed in range(1, 4):
            grads = random_tree(seed, np.float64)
            updates, state = tx.update(grads, state, params, loss=0.5)
            params = gm.apply_updates(params, updates)
            report = opt.step(grads, loss=0.5)
        assert report.step == 3
        assert bits((opt.params, opt.state)) == bits((params, state))


def test_resume_is_exact() -> None:
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(gm.cosine_decay_schedule(0.1, 9)))
    first = gm.Optimizer(tx, random_tree(0))
    for seed in range(1, 4):
        first.step(random_tree(seed))
    second = gm.Optimizer(tx, copy_tree(first.params))
    saved = copy_tree(first.state)
    second.init_from(saved)
    before = bits(saved)
    for seed in range(4, 7):
        assert first.step(random_tree(seed)) == second.step(random_tree(seed))
    assert bits((first.params, first.state)) == bits((second.params, second.state))
    assert bits(saved) == before


def test_explain() -> None:
    tx = gm.chain(gm.clip_by_global_norm(1.0), PYTHON, gm.scale_by_adam(), gm.clip(1.0))
    text = str(gm.explain(tx, random_tree(0)))
    for part in (
        "5 leaves, 93 parameters, 744 bytes of state",
        "pass 1   4 B/param  reads updates; global norm for clip_by_global_norm",
        "pass 2   8 B/param  reads updates; writes updates",
        "Python",
        "negate: new arrays",
        "pass 3  28 B/param  reads updates, params, mu, nu; writes params, mu, nu",
        "in blocks: scale_by_adam, clip",
    ):
        assert part in text


def test_explain_shows_measures_masks_and_gates() -> None:
    tx = gm.chain(
        gm.apply_if_finite(gm.chain(gm.centralize(), gm.lamb(0.1))),
        gm.freeze(lambda path, leaf: "bias" in path),
    )
    text = str(gm.explain(tx, random_tree(0)))
    for part in (
        "pass 1   4 B/param  reads updates; whether all are finite for apply_if_finite",
        "norms or means of units for centralize",
        "reads carried, params, mu, nu; writes carried, mu, nu; "
        "norms or means of units for scale_by_trust_ratio",
        "in blocks: centralize, scale_by_adam, add_decayed_weights (not all in every step)",
        "scale, set_to_zero (masked leaves skip theirs, not all in every step)",
    ):
        assert part in text
    assert "Python" not in text


def test_explain_shows_sums_over_all_leaves() -> None:
    _, first, second, loop = str(gm.explain(gm.contrib.prodigy(), random_tree(0))).splitlines()
    assert first == (
        "pass 1  16 B/param  reads updates, params, grad_sum, params0; "
        "sums over all leaves for prodigy"
    )
    state = "params, exp_avg, exp_avg_sq, grad_sum"
    assert second == f"pass 2  36 B/param  reads updates, {state}; writes {state}"
    assert loop == "        in blocks: prodigy"


def test_explain_has_fields() -> None:
    tx = gm.chain(gm.scale_by_adam(), gm.clip(1.0), PYTHON, gm.contrib.scale_by_muon())
    plan = gm.explain(tx, random_tree(0))
    assert (plan.leaves, plan.parameters, plan.state_bytes) == (5, 93, 1128)
    assert [part.kind for part in plan.passes] == ["native", "Python", "NumPy", "native"]
    first, python, matrices, last = plan.passes
    assert first.ops == ("scale_by_adam", "clip")
    assert (first.fused, first.why_not) == (False, "clip has no loop in registers")
    assert first.bytes_per_param == 4 * len((*first.reads, *first.writes)) == 24
    assert (python.why_not, python.bytes_per_param) == ("it is written in Python", None)
    assert matrices.ops == ("scale_by_muon",)
    assert (last.ops, last.fused, last.why_not) == ((), True, "")
    assert plan.bytes_per_param == 24 + 12
    assert not plan.fused


@pytest.mark.parametrize(
    ("dtype", "options", "master", "state", "moved"),
    [
        (np.float32, {}, True, 8, 28),
        (np.float32, {"mu_dtype": BF16}, False, 6, 24),
        (np.float64, {}, False, 16, 56),
        (BF16, {}, False, 8, 22),
        (BF16, {}, True, 12, 28),
        (BF16, {"mu_dtype": BF16, "nu_dtype": BF16}, True, 8, 20),
    ],
)
def test_explain_counts_bytes_as_they_are_stored(
    dtype: Any, options: Any, master: bool, state: float, moved: float
) -> None:
    params = {"w": np.zeros((40, 30), dtype), "b": np.zeros(40, dtype)}
    plan = gm.explain(gm.adam(0.1, **options), params, master=master)
    assert plan.state_bytes == state * plan.parameters
    assert plan.bytes_per_param == moved
    opt = gm.Optimizer(gm.adam(0.1, **options), params, master=master)
    arrays = [opt.state[0].mu, opt.state[0].nu]
    if master and dtype is BF16:
        arrays.append(opt.master)
    assert plan.state_bytes == sum(leaf.nbytes for tree in arrays for leaf in tree.values())


def test_explain_counts_codes_and_scales() -> None:
    params = {"w": np.zeros((40, 32), np.float32), "b": np.zeros(40, np.float32)}
    plan = gm.explain(gm.quantized_state(gm.adam(0.1), min_size=1000), params)
    codes, scales, plain = 2 * 1280, 2 * 4 * 1280 // 32, 2 * 4 * 40
    assert plan.state_bytes == codes + scales + plain
    assert plan.bytes_per_param == pytest.approx(12 + 2 * plan.state_bytes / 1320)


def test_explain_counts_state_of_the_leaves_that_have_it() -> None:
    params = {"w": np.zeros((40, 30), np.float32), "b": np.zeros(400, np.float32)}
    plan = gm.explain(gm.masked(gm.trace(0.9), {"w": False, "b": True}), params)
    assert plan.state_bytes == 1600
    assert plan.bytes_per_param == 12 + 2 * 1600 / 1600


def test_explain_says_why_an_order_is_not_fused() -> None:
    pair = gm.chain(gm.scale_by_adam(), gm.scale_by_lion())
    (both,) = gm.explain(pair, np.ones(3)).passes
    assert both.why_not == "no loop in registers has these ops in this order"
    (adam,) = gm.sgd(0.1).explain(np.ones(3)).passes
    assert (adam.fused, adam.why_not) == (True, "")


def test_explain_knows_the_loops_over_state_in_8_bits() -> None:
    def passes(tx: Any) -> Any:
        (only,) = gm.explain(gm.quantized_state(tx, min_size=1), np.ones(3)).passes
        return only.fused, only.why_not

    assert passes(gm.adamw(0.1)) == passes(gm.sgd(0.1, 0.9)) == passes(gm.sgd(0.1)) == (True, "")
    why = "only Adam and momentum have a loop over state in 8 bits"
    assert passes(gm.lion(0.1)) == passes(gm.nadam(0.1)) == (False, why)
    assert passes(gm.chain(gm.scale_by_adam(), gm.clip(1.0)))[1] == "clip has no loop in registers"


def test_explain_shows_a_table() -> None:
    params = {"a<b": np.ones(1), "c": np.ones(1)}
    plan = gm.masked(gm.sgd(0.1), {"a<b": True, "c": False}).explain(params)
    html = plan._repr_html_()
    assert html.count("<tr>") == 1 + len(plan.passes)
    assert "one loop: scale" in html
    assert "<b>warning:</b> no transformation takes params[&#x27;c&#x27;]" in html
    assert repr(plan) == str(plan)


def test_mixed_dtypes() -> None:
    """Float64 gradients of float32 parameters: computed in float64, stored in float32."""
    params = {"w": np.ones(100, np.float32)}
    grads = {"w": np.linspace(-1, 1, 100)}
    tx = gm.adamw(0.1)
    updates, state = tx.update(grads, tx.init(params), params)
    assert (updates["w"].dtype, state[0].mu["w"].dtype) == (np.float64, np.float32)
    opt = gm.Optimizer(tx, copy_tree(params))
    opt.step(grads)
    assert bits(opt.params) == bits(gm.apply_updates(params, updates))


def test_subnormal_moments_are_flushed() -> None:
    opt = gm.Optimizer(gm.trace(0.5), np.zeros(1, np.float32))
    opt.step(np.full(1, 2e-38, np.float32))
    opt.step(np.zeros(1, np.float32))
    np.testing.assert_array_equal(opt.state.trace, np.zeros(1))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(6e4, np.float32), (1e25, np.float32), (1e200, np.float64), (1e-200, np.float64)],
)
def test_norms_do_not_overflow(value: float, dtype: Any) -> None:
    grads = np.full(400, value, dtype)
    norm = gm.global_norm(grads)
    np.testing.assert_allclose(norm, 20 * value, rtol=1e-6)
    tx = gm.clip_by_global_norm(value)
    np.testing.assert_allclose(tx.update(grads, tx.init(None))[0], grads / 20, rtol=1e-6)


def test_python_numbers_and_foreign_arrays_in_the_functional_path() -> None:
    tx = gm.adam(0.1)
    for leaf in (1.0, np.float64(1.0), np.array(1.0, ">f8"), [1.0]):
        updates, _ = tx.update(leaf, tx.init(leaf), leaf)
        first = updates[0] if isinstance(leaf, list) else updates
        assert isinstance(first, np.ndarray)
        np.testing.assert_allclose(first, -0.1, rtol=1e-6)


def test_long_chains() -> None:
    tx = gm.chain(*[gm.scale(2.0), gm.scale(0.5)] * 70, gm.scale(-1.0))
    params = np.zeros(3)
    updates, _ = tx.update(np.ones(3), tx.init(params), params)
    np.testing.assert_array_equal(updates, -np.ones(3))
    opt = gm.Optimizer(tx, params)
    opt.step(np.ones(3))
    np.testing.assert_array_equal(params, -np.ones(3))


def test_memory_mapped_params(tmp_path: Path) -> None:
    params = np.memmap(tmp_path / "params", np.float32, "w+", shape=(5,))
    opt = gm.Optimizer(gm.sgd(0.5), {"w": params})
    opt.step({"w": np.ones(5, np.float32)})
    params.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "params", np.float32), np.full(5, -0.5))
