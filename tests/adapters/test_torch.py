"""Steps of ``gradmill.adapters.torch`` against torch's own."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs gradmill[torch]")

import gradmill as gm
from gradmill._data.threads import scoped
from gradmill.adapters.torch import SGD, Adagrad, Adam, AdamW, Optimizer
from tests.adapters.torch_models import (
    TOLERANCE,
    backward,
    batches,
    distance,
    model,
    trained,
)

DTYPES = list(TOLERANCE)
OWN: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "adamw": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "adamw, up": (AdamW, torch.optim.AdamW, {"lr": 1e-3, "maximize": True}),
    "adamw, betas": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "betas": (0.8, 0.95), "eps": 1e-4}),
    "adam": (Adam, torch.optim.Adam, {"lr": 1e-2}),
    "adam, l2": (Adam, torch.optim.Adam, {"lr": 1e-2, "weight_decay": 0.1}),
    "adagrad": (Adagrad, torch.optim.Adagrad, {"lr": 0.1}),
    "adagrad, all": (
        Adagrad,
        torch.optim.Adagrad,
        {"lr": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-3},
    ),
    "sgd": (SGD, torch.optim.SGD, {"lr": 0.1}),
    "sgd, momentum": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "sgd, all": (
        SGD,
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    ),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", OWN)
def test_same_numbers_as_torch(name: str, dtype: Any) -> None:
    ours, theirs, arguments = OWN[name]
    net, _ = trained(lambda net: ours(net.parameters(), **arguments), dtype)
    expected, _ = trained(lambda net: theirs(net.parameters(), **arguments), dtype)
    assert distance(net, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_factory_follows_the_entries_of_groups(dtype: Any) -> None:
    def groups(net: Any) -> list[dict[str, Any]]:
        return [
            {"params": [net[0].weight, net[2].weight], "weight_decay": 0.1},
            {"params": [net[0].bias, net[2].bias], "lr": 1e-3},
        ]

    arguments: dict[str, Any] = {"lr": 1e-2, "weight_decay": 0.0, "betas": (0.9, 0.99)}
    net, opt = trained(lambda net: Optimizer(groups(net), gm.adamw, **arguments), dtype)
    expected, _ = trained(lambda net: torch.optim.AdamW(groups(net), **arguments), dtype)
    assert distance(net, expected) < TOLERANCE[dtype]
    assert [group["lr"] for group in opt.param_groups] == [1e-2, 1e-3]


SCHEDULERS: dict[str, Any] = {
    "step": lambda opt: torch.optim.lr_scheduler.StepLR(opt, 10, 0.5),
    "cosine": lambda opt: torch.optim.lr_scheduler.CosineAnnealingLR(opt, 50),
    "one cycle": lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 1e-2, total_steps=101),
    "lambda": lambda opt: torch.optim.lr_scheduler.LambdaLR(opt, lambda at: 1 / (1 + at)),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("kind", ["adamw", "sgd, momentum"])
def test_schedulers_write_into_groups(name: str, kind: str) -> None:
    ours, theirs, arguments = OWN[kind]
    ends = []
    for make in (ours, theirs):
        net = model(torch.float64)
        opt = make(net.parameters(), **arguments)
        schedule = SCHEDULERS[name](opt)
        for inputs in batches(torch.float64, 100):
            opt.zero_grad()
            backward(net, inputs)
            opt.step()
            schedule.step()
        ends.append(net)
    assert distance(*ends) < 1e-12


def test_a_learning_rate_may_be_a_tensor() -> None:
    rate = torch.tensor(0.5)
    weight = torch.nn.Parameter(torch.zeros(1))
    opt = SGD([weight], lr=rate)
    for value in (0.5, 0.25):
        rate.fill_(value)
        weight.grad = torch.ones(1)
        opt.step()
    assert weight.item() == -0.75


def test_transformations_and_factories_of_the_users() -> None:
    def make(learning_rate: float, weight_decay: float) -> Any:
        return gm.chain(gm.clip(1.0), gm.adamw(learning_rate, weight_decay=weight_decay))

    injected = gm.inject_hyperparams(gm.adam)(learning_rate=0.1)
    ways: dict[str, Any] = {
        "own": lambda p: Optimizer([p], make, lr=0.1, weight_decay=0.0),
        "schedule": lambda p: Optimizer([p], gm.adam, lr=lambda count: 0.1 / 2**count),
        "plain": lambda p: Optimizer([p], gm.adam(lambda count: 0.1 / 2**count)),
        "injected": lambda p: Optimizer([p], injected),
    }
    ends = {}
    for name, build in ways.items():
        weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        opt = build(weight)
        for _ in range(3):
            weight.grad = torch.tensor([1.0, -0.75, 0.5], dtype=torch.float64)
            opt.step()
            if name in {"own", "injected"}:
                opt.param_groups[0]["lr"] /= 2
        ends[name] = weight.detach().numpy()
    for end in ends.values():
        np.testing.assert_allclose(end, ends["plain"], 1e-12)


def test_an_entry_that_makes_another_chain_keeps_the_state() -> None:
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    opt = SGD([weight], lr=1.0, momentum=0.5)
    for nesterov in (False, True):
        opt.param_groups[0]["nesterov"] = nesterov
        weight.grad = torch.ones(1, dtype=torch.float64)
        opt.step()
    assert weight.item() == -1.0 - (1.0 + 0.5 * 1.5)
    opt.param_groups[0]["maximize"] = True
    weight.grad = torch.ones(1, dtype=torch.float64)
    opt.step()
    assert opt.state[weight]["momentum_buffer"].item() == 0.5 * 1.5 - 1.0


@pytest.mark.parametrize("max_norm", [0.05, 100.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_norm_is_over_all_groups(max_norm: float, dtype: Any) -> None:
    def groups(net: Any) -> list[dict[str, Any]]:
        return [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 1e-3}]

    norms = []

    def clip(net: Any, _: Any) -> None:
        norms.append(float(torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm)))

    net, opt = trained(lambda net: AdamW(groups(net), lr=1e-2, max_norm=max_norm), dtype)
    expected, _ = trained(lambda net: torch.optim.AdamW(groups(net), lr=1e-2), dtype, each=clip)
    assert distance(net, expected) < 2 * TOLERANCE[dtype]
    assert opt.grad_norm == pytest.approx(norms[-1], rel=1e-4)


def without(net: Any, opt: Any, pattern: list[set[int]]) -> None:
    """Take gradients away, of other parameters in each step."""
    for index, param in enumerate(net.parameters()):
        if index in pattern[opt.calls % len(pattern)]:
            param.grad = None
    opt.calls += 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "pattern",
    [[{0}], [set(), {1}], [{0, 1, 2, 3}, set()], [{0}, {0}, {0, 2}, {1}], [{2, 3}, {0, 1}]],
    ids=str,
)
@pytest.mark.parametrize("name", ["adamw", "sgd, momentum"])
def test_without_a_gradient_nothing_moves(name: str, pattern: Any, dtype: Any) -> None:
    ours, theirs, arguments = OWN[name]

    def counted(kind: Any) -> Any:
        def make(net: Any) -> Any:
            opt = kind(net.parameters(), **arguments)
            opt.calls = 0
            return opt

        return make

    def each(net: Any, opt: Any) -> None:
        without(net, opt, pattern)

    net, opt = trained(counted(ours), dtype, 20, each)
    expected, other = trained(counted(theirs), dtype, 20, each)
    assert distance(net, expected) < TOLERANCE[dtype]
    for own, param in zip(net.parameters(), expected.parameters(), strict=True):
        assert (own in opt.state) == (param in other.state)
        if "step" in other.state[param]:
            assert opt.state[own]["step"] == other.state[param]["step"]


def test_frozen_parameters_have_no_state_until_they_thaw() -> None:
    net = model()
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone()
    opt = AdamW(net.parameters(), lr=0.1)
    for inputs in batches(torch.float32, 3):
        opt.zero_grad()
        backward(net, inputs)
        opt.step()
    assert torch.equal(net[0].weight, before)
    assert net[0].weight not in opt.state
    net[0].weight.requires_grad_(True)
    backward(net, inputs)
    opt.step()
    assert not torch.equal(net[0].weight, before)
    assert [float(opt.state[p]["step"]) for p in net.parameters()] == [1, 4, 4, 4]


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none: bool) -> None:
    net = model()
    opt = AdamW(net.parameters())
    backward(net, next(batches(torch.float32, 1)))
    opt.step()
    opt.zero_grad(set_to_none=set_to_none)
    grads = [param.grad for param in net.parameters()]
    assert all(grad is None if set_to_none else not grad.any() for grad in grads)


def test_gradients_are_let_go() -> None:
    net = model()
    opt = AdamW(net.parameters(), max_norm=1.0)
    for inputs in batches(torch.float32, 3):
        backward(net, inputs)
        opt.step()
        held = [weakref.ref(param.grad) for param in net.parameters()]
        opt.zero_grad()
        gc.collect()
        assert not any(ref() is not None for ref in held)


def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned() -> None:
    net = model()
    inputs = next(batches(torch.float32, 1))
    opt = SGD(net.parameters(), lr=0.1)

    def closure() -> Any:
        opt.zero_grad()
        return backward(net, inputs)

    with torch.no_grad():
        losses = [opt.step(closure).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


def test_a_gradient_scaler_skips_steps() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    opt = SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (1.0, torch.inf):
        opt.zero_grad()
        scaler.scale(factor * weight.sum()).backward()
        scaler.step(opt)
        scaler.update()
    assert weight.item() == -1.0
    assert scaler.get_scale() == 2.0


def test_hooks_run_around_a_step() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    opt = SGD([weight], lr=1.0)
    seen: list[tuple[str, float]] = []
    opt.register_step_pre_hook(lambda o, a, k: seen.append(("before", weight.item())))
    after = opt.register_step_post_hook(lambda o, a, k: seen.append(("after", weight.item())))
    weight.grad = torch.ones(1)
    opt.step()
    after.remove()
    opt.step()
    assert seen == [("before", 0.0), ("after", -1.0), ("before", -1.0)]


@pytest.mark.parametrize("way", ["one optimizer", "an optimizer a leaf"])
def test_a_step_per_leaf_during_backward(way: str) -> None:
    expected, _ = trained(lambda net: torch.optim.AdamW(net.parameters(), lr=1e-2))
    net = model()
    if way == "one optimizer":
        opt = AdamW(net.parameters(), lr=1e-2)
        hooks: Any = dict.fromkeys(net.parameters(), opt.step_leaf)
    else:
        optimizers = {param: AdamW([param], lr=1e-2) for param in net.parameters()}

        def hook(param: Any) -> None:
            optimizers[param].step()
            optimizers[param].zero_grad()

        hooks = dict.fromkeys(net.parameters(), hook)
    for param, own in hooks.items():
        param.register_post_accumulate_grad_hook(own)
    for inputs in batches(torch.float32, 100):
        backward(net, inputs)
        assert all(param.grad is None for param in net.parameters())
    assert distance(net, expected) < TOLERANCE[torch.float32]


def test_a_step_per_leaf_says_what_it_cannot() -> None:
    weight, other = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    with pytest.raises(ValueError, match="call step"):
        SGD([weight], lr=0.1, max_norm=1.0).step_leaf(weight)
    with pytest.raises(ValueError, match="not in this optimizer"):
        SGD([weight], lr=0.1).step_leaf(other)


def test_groups_are_added() -> None:
    def make(kind: Any) -> Any:
        def build(net: Any) -> Any:
            opt = kind(net[0].parameters(), lr=1e-2)
            opt.calls = 0
            return opt

        return build

    def add(net: Any, opt: Any) -> None:
        opt.calls += 1
        if opt.calls == 4:
            opt.add_param_group({"params": net[2].parameters(), "lr": 1e-3, "weight_decay": 0.5})

    net, _ = trained(make(AdamW), torch.float64, 20, add)
    expected, _ = trained(make(torch.optim.AdamW), torch.float64, 20, add)
    assert distance(net, expected) < TOLERANCE[torch.float64]


def test_autograd_learns_that_parameters_changed() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    opt = SGD([weight], lr=0.1)
    loss = weight.square().sum()
    weight.grad = torch.ones(2)
    opt.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_with_the_same_bits(copied: Any) -> None:
    net, opt = trained(lambda net: AdamW(net.named_parameters(), lr=1e-2, max_norm=0.1), steps=5)
    twin, other = copied((net, opt))
    for inputs in batches(torch.float32, 5):
        for each, its in ((net, opt), (twin, other)):
            its.zero_grad()
            backward(each, inputs)
            its.step()
    assert distance(net, twin) == 0.0


def test_torch_threads_bound_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    step = gm.Optimizer.step

    def watched(self: Any, grads: Any) -> Any:
        met.append(scoped.get())
        return step(self, grads)

    gm.set_num_threads(4)
    monkeypatch.setattr(gm.Optimizer, "step", watched)
    before = torch.get_num_threads()
    weight = torch.nn.Parameter(torch.zeros(1))
    opt = SGD([weight], lr=0.1)
    weight.grad = torch.ones(1)
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            opt.step()
    finally:
        torch.set_num_threads(before)
    assert met == [1, 0]


def test_infinite_gradients_are_clipped_as_in_torch() -> None:
    ours, theirs = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    opt, expected = SGD([ours], lr=1.0, max_norm=1.0), torch.optim.SGD([theirs], lr=1.0)
    ours.grad, theirs.grad = (torch.tensor([torch.inf, 1.0]) for _ in range(2))
    opt.step()
    torch.nn.utils.clip_grad_norm_([theirs], 1.0)
    expected.step()
    torch.testing.assert_close(ours.detach(), theirs.detach(), equal_nan=True)


def test_no_step_is_taken_with_a_norm_that_is_nan() -> None:
    params = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    opt = SGD([{"params": [param]} for param in params], lr=1.0, momentum=0.9, max_norm=1.0)
    params[0].grad, params[1].grad = torch.ones(2), torch.tensor([torch.nan, 1.0])
    with pytest.raises(ValueError, match="is NaN, so no step was taken"):
        opt.step()
    assert all(torch.equal(param, torch.ones(2)) for param in params)
    params[1].grad = torch.ones(2)
    opt.step()
    assert opt.state[params[0]]["step"] == 1
