"""Each specified function in the specification's form and in optax's, and what fits neither."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from tests.trees import bits

anything: Any = gm  # without its types, for arguments that break them

GRADS = [{"bias": np.array([1.0, -2.0]), "kernel": np.array([[3.0, 0.5]])} for _ in range(3)]
PARAMS = {"bias": np.array([0.5, 0.5]), "kernel": np.array([[1.0, 2.0]])}
MASK = {"bias": True, "kernel": False}


def is_bias(path: Any, param: Any) -> bool:
    return "bias" in path


def mask_of_tree(tree: Any) -> Any:
    return {key: key == "bias" for key in tree}


def odd(step: Any) -> Any:
    return step % 2 == 1


def label_of(path: Any, param: Any) -> str:
    return "a" if "bias" in path else "b"


def position_of(path: Any, param: Any) -> int:
    return 0 if "bias" in path else 1


def run(tx: Any) -> list[Any]:
    """The bits of updates and state over three steps; labels of a partition do not count."""
    state, seen = tx.init(PARAMS), []
    for grads in GRADS:
        updates, state = tx.update(grads, state, PARAMS)
        seen.append(bits((updates, state)))
    return seen


ADAM, SGD = gm.adam(0.1), gm.sgd(0.1, momentum=0.9)
LABELS = {"bias": "a", "kernel": "b"}

SAME: dict[str, list[Any]] = {
    "named_chain": [
        gm.named_chain(("a", ADAM), ("b", SGD)),
        gm.named_chain(a=ADAM, b=SGD),
        gm.named_chain(("a", ADAM), b=SGD),
    ],
    "scale_by_schedule": [
        gm.scale_by_schedule(gm.linear_schedule(1.0, 0.0, 3)),
        gm.scale_by_schedule(schedule=gm.linear_schedule(1.0, 0.0, 3)),
        gm.scale_by_schedule(step_size_fn=gm.linear_schedule(1.0, 0.0, 3)),
    ],
    "add_noise": [
        gm.add_noise(0.1, 0.55, 7),
        gm.add_noise(0.1, 0.55, key=7),
        gm.add_noise(0.1, 0.55, seed=np.int64(7)),
        gm.add_noise(0.1, 0.55, np.array([0, 7], np.uint32)),
    ],
    "trace": [gm.trace(0.9), gm.trace()],
    "ema": [gm.ema(0.9), gm.ema()],
    "apply_if_finite": [
        gm.apply_if_finite(ADAM),
        gm.apply_if_finite(transformation=ADAM),
        gm.apply_if_finite(ADAM, 2**31 - 1),
        gm.apply_if_finite(inner=ADAM, max_consecutive_errors=5),
    ],
    "apply_every": [gm.apply_every(2), anything.apply_every(np.int64(2)), gm.apply_every(k=2)],
    "conditionally_transform": [
        gm.conditionally_transform(odd, ADAM),
        gm.conditionally_transform(ADAM, odd),
        gm.conditionally_transform(condition_fn=odd, transformation=ADAM),
        gm.conditionally_transform(inner=ADAM, should_transform_fn=odd),
        anything.conditionally_transform(odd, transformation=ADAM),
        anything.conditionally_transform(ADAM, condition_fn=odd),
    ],
    "conditionally_mask": [gm.conditionally_mask(odd, ADAM), gm.conditionally_mask(ADAM, odd)],
    "partition": [
        gm.partition(is_bias, ADAM, SGD),
        gm.partition(position_of, ADAM, SGD),
        gm.partition(label_of, {"a": ADAM, "b": SGD}),
        gm.partition({"a": ADAM, "b": SGD}, LABELS),
        gm.partition({"a": ADAM, "b": SGD}, lambda tree: LABELS),
        gm.partition({"a": ADAM, "b": SGD}, label_of),
        anything.partition(transforms={"a": ADAM, "b": SGD}, param_labels=LABELS),
        anything.partition(ADAM, SGD, selector_fn=is_bias),
    ],
    "masked": [
        gm.masked(is_bias, ADAM),
        gm.masked(ADAM, is_bias),
        gm.masked(ADAM, MASK),
        gm.masked(MASK, ADAM),
        gm.masked(ADAM, mask_of_tree),
        gm.masked(mask_fn=mask_of_tree, transformation=ADAM),
        gm.masked(inner=ADAM, mask=MASK),
    ],
    "add_decayed_weights": [
        gm.add_decayed_weights(0.1, MASK),
        gm.add_decayed_weights(0.1, mask_of_tree),
        gm.add_decayed_weights(0.1, mask=is_bias),
        gm.add_decayed_weights(lambda count: 0.1, is_bias),
    ],
    "MultiSteps": [
        gm.MultiSteps(2),
        gm.MultiSteps(every_k_schedule=2),
        anything.MultiSteps(np.int32(2)),
        gm.MultiSteps(lambda step: 2),
        gm.MultiSteps(2, True),
        gm.MultiSteps(2, use_grad_mean=True),
        gm.MultiSteps(gm.identity(), 2),
        gm.MultiSteps(opt=gm.identity(), every_k_schedule=2),
        gm.MultiSteps(2).gradient_transformation(),
    ],
    "MultiSteps_sum": [
        gm.MultiSteps(2, False),
        gm.MultiSteps(2, use_grad_mean=False),
        gm.MultiSteps(gm.identity(), 2, False),
        anything.MultiSteps(gm.identity(), np.int64(2), use_grad_mean=False),
    ],
    "multi_steps_around": [
        gm.MultiSteps(ADAM, 2, False),
        gm.chain(gm.MultiSteps(ADAM, 2, use_grad_mean=False)),
    ],
}


def counts_apart(row: list[Any]) -> list[Any]:
    """Without 0-d integers: a schedule counts where a number does not."""
    return [[entry for entry in step if entry[:2] != ("<i4", ())] for step in row]


@pytest.mark.parametrize("name", SAME)
def test_forms_agree(name: str) -> None:
    first, *others = [counts_apart(run(tx)) for tx in SAME[name]]
    for other in others:
        assert other == first


BOTH_FORMS: dict[str, tuple[Any, ...]] = {
    "named_chain": (lambda: anything.named_chain(ADAM),),
    "apply_if_finite": (
        gm.apply_if_finite,
        lambda: anything.apply_if_finite(3),
        lambda: anything.apply_if_finite(ADAM, transformation=ADAM),
    ),
    "apply_every": (
        lambda: anything.apply_every(ADAM, 3),
        lambda: anything.apply_every(2.0),
        lambda: anything.apply_every(True),
        lambda: anything.apply_every(2, 3),
    ),
    "conditionally_transform": (
        lambda: anything.conditionally_transform(ADAM),
        lambda: anything.conditionally_transform(odd, odd),
        lambda: anything.conditionally_transform(ADAM, SGD),
        lambda: anything.conditionally_transform(ADAM, 3),
    ),
    "conditionally_mask": (lambda: anything.conditionally_mask(odd),),
    "partition": (
        anything.partition,
        lambda: anything.partition(is_bias),
        lambda: anything.partition(ADAM, SGD),
        lambda: anything.partition({"a": ADAM}),
        lambda: anything.partition({"a": 3}, LABELS),
        lambda: anything.partition(is_bias, ADAM, 3),
        lambda: anything.partition(is_bias, ADAM, SGD, wrong=1),
    ),
    "masked": (
        lambda: anything.masked(ADAM),
        lambda: gm.masked(ADAM, SGD),
        lambda: anything.masked(MASK, MASK),
        gm.masked,
    ),
    "MultiSteps": (
        gm.MultiSteps,
        lambda: anything.MultiSteps(ADAM),
        lambda: anything.MultiSteps("2"),
        lambda: anything.MultiSteps(ADAM, 2.5),
        lambda: anything.MultiSteps(2, 3),
        lambda: anything.MultiSteps(True),
    ),
    "skip_not_finite": (
        lambda: anything.skip_not_finite(np.ones(2)),
        lambda: anything.skip_not_finite(np.ones(2), 0, gradient_step=0),
    ),
    "skip_large_updates": (
        lambda: anything.skip_large_updates(np.ones(2)),
        lambda: anything.skip_large_updates(np.ones(2), 0),
        lambda: anything.skip_large_updates(np.ones(2), 0, None, 1.0, max_norm=1.0),
    ),
    "add_noise": (
        lambda: gm.add_noise(0.1, 0.5, "seed"),
        lambda: gm.add_noise(0.1, 0.5, 1.5),
        lambda: gm.add_noise(0.1, 0.5, np.ones(3, np.uint32)),
    ),
    "scale_by_schedule": (anything.scale_by_schedule,),
}


@pytest.mark.parametrize("name", BOTH_FORMS)
def test_neither_form(name: str) -> None:
    for call in BOTH_FORMS[name]:
        with pytest.raises(TypeError) as raised:
            call()
        assert str(raised.value).count(f"{name}(") >= 2


def test_parts_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="named_chain: 'a' is not a transformation"):
        anything.named_chain(("a", 3))
    with pytest.raises(TypeError, match="apply_if_finite: max_consecutive_errors"):
        anything.apply_if_finite(ADAM, 1.5)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: gm.named_chain(("a", ADAM), a=SGD), "'a' is used twice"),
        (lambda: anything.add_noise(0.1, 0.5, 1, seed=2), "both"),
        (lambda: gm.apply_every(0), "positive"),
        (lambda: gm.MultiSteps(0), "positive"),
        (lambda: gm.MultiSteps(ADAM, -1), "positive"),
        (lambda: gm.inject_hyperparams(gm.adam, "nothing"), "static_args"),
    ],
)
def test_values_that_cannot_be(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    ("selector", "transformations"),
    [
        (lambda path, leaf: 2, (ADAM, SGD)),
        (lambda path, leaf: True, (ADAM, SGD, ADAM)),
        (lambda path, leaf: "a", (ADAM, SGD)),
        (lambda path, leaf: None, (ADAM, SGD)),
        (lambda path, leaf: 1.0, (ADAM, SGD)),
        (lambda path, leaf: "c", ({"a": ADAM},)),
    ],
)
def test_selectors_that_choose_nothing(selector: Any, transformations: Any) -> None:
    tx = gm.partition(selector, *transformations)
    with pytest.raises(ValueError, match=r"params\['bias'\]: unknown label .*; expected one of"):
        tx.init(PARAMS)


def test_unknown_labels() -> None:
    tx = gm.partition({"a": ADAM}, LABELS)
    with pytest.raises(
        ValueError, match=r"params\['kernel'\]: unknown label 'b'; expected one of 'a'"
    ):
        tx.init(PARAMS)


def test_paths_know_their_keys() -> None:
    seen = []

    def select(path: Any, leaf: Any) -> int:
        seen.append((str(path), path.keys, leaf.shape))
        return 0

    tx = gm.partition(select, gm.identity())
    tx.init({"dense": [{"bias": np.ones(2)}, np.ones((3, 1))]})
    assert seen[:2] == [
        ("dense/0/bias", ("dense", 0, "bias"), (2,)),
        ("dense/1", ("dense", 1), (3, 1)),
    ]


def test_prefixes_of_labels_and_masks() -> None:
    params = {"a": {"x": np.ones(1), "y": np.ones(1)}, "b": np.ones(1)}
    tx = gm.partition({"up": gm.scale(1.0), "down": gm.scale(-1.0)}, {"a": "up", "b": "down"})
    updates, _ = tx.update(params, tx.init(params))
    assert (updates["a"]["y"], updates["b"]) == (1.0, -1.0)
    tx = gm.masked(gm.scale(5.0), {"a": False, "b": True})
    updates, _ = tx.update(params, tx.init(params))
    assert (updates["a"]["y"], updates["b"]) == (1.0, 5.0)


class TestSkipping:
    """The two functions, which are predicates in one form and transformations in the other."""

    bad: Any = {"w": np.array([1.0, np.nan, np.inf])}  # noqa: RUF012  (written nowhere)
    good: Any = {"w": np.array([3.0, 4.0])}  # noqa: RUF012  (likewise)

    def passes(self, updates: Any) -> None:
        """See that these are the good ones, in new memory."""
        np.testing.assert_array_equal(updates["w"], self.good["w"])
        assert not np.may_share_memory(updates["w"], self.good["w"])

    def test_skip_not_finite(self) -> None:
        state = gm.EmptyState()
        updates, same = gm.skip_not_finite(self.bad, state)
        np.testing.assert_array_equal(updates["w"], np.zeros(3))
        assert same is state
        self.passes(gm.skip_not_finite(self.good, state, PARAMS)[0])
        skip, info = gm.skip_not_finite(self.bad, 0, None)
        assert (skip, info["num_not_finite"]) == (True, 2)
        skip, info = gm.skip_not_finite(self.good, gradient_step=np.int32(3))
        assert (skip, info["should_skip"], info["num_not_finite"]) == (False, False, 0)
        self.passes(gm.MultiSteps.skip_not_finite(self.good, state)[0])

    def test_skip_large_updates(self) -> None:
        state = (gm.EmptyState(),)
        updates, same = gm.skip_large_updates(self.good, state, 5.1)
        self.passes(updates)
        assert same is state
        # Equality and NaN are large.
        np.testing.assert_array_equal(
            gm.skip_large_updates(self.good, state, max_norm=5.0)[0]["w"], np.zeros(2)
        )
        np.testing.assert_array_equal(
            gm.skip_large_updates(self.bad, state, 1e9)[0]["w"], np.zeros(3)
        )
        skip, info = gm.skip_large_updates(self.good, 0, None, 26.0)
        assert (skip, info["norm_squared"]) == (False, 25.0)
        assert gm.skip_large_updates(self.good, 0, None, max_squared_norm=25.0)[0]
        assert not gm.skip_large_updates(self.good, 0, params=None, max_squared_norm=26.0)[0]
        assert gm.skip_large_updates(self.good, 0, None, max_norm=5.0)[0]
        assert not gm.skip_large_updates(self.good, 0, None, max_norm=5.1)[0]
        staticly = gm.MultiSteps.skip_large_updates(self.good, state, 1.0)
        np.testing.assert_array_equal(staticly[0]["w"], np.zeros(2))

    @pytest.mark.parametrize(
        "skips",
        [
            partial(gm.skip_large_updates, max_squared_norm=16.0),
            partial(gm.skip_large_updates, max_norm=4.0),
        ],
    )
    def test_as_predicate_of_multi_steps(self, skips: Any) -> None:
        tx = gm.MultiSteps(gm.sgd(1.0), 2, should_skip_update_fn=skips)
        opt = gm.Optimizer(tx, np.zeros(2))
        for grads in ([1.0, 0.0], [3.0, 4.0], [np.nan, 0.0], [3.0, 0.0]):
            opt.step(np.array(grads))
        np.testing.assert_array_equal(opt.params, [-2.0, 0.0])
        assert not opt.state.skip_state["should_skip"]
