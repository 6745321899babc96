"""States of ``gradmill.adapters.torch``: in torch's files, by parameter, in half precision."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs gradmill[torch]")

import gradmill as gm
from gradmill.adapters.torch import SGD, Adagrad, Adam, AdamW, Optimizer
from tests.adapters.torch_models import (
    TOLERANCE,
    backward,
    batches,
    distance,
    model,
    trained,
)

PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "adamw": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "adam": (Adam, torch.optim.Adam, {"lr": 1e-2, "weight_decay": 0.1}),
    "adagrad": (Adagrad, torch.optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.1}),
    "sgd": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "plain sgd": (SGD, torch.optim.SGD, {"lr": 0.1}),
}


def go_on(net: Any, opt: Any, steps: int = 100) -> None:
    for inputs in batches(next(net.parameters()).dtype, steps):
        opt.zero_grad()
        backward(net, inputs)
        opt.step()


def through_a_file(state: Any) -> Any:
    """What a checkpoint gives back; the loader of weights alone takes no code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def same_state(first: Any, second: Any) -> None:
    """See that all tensors have the same bits."""
    assert first.keys() == second.keys()
    for number, entries in first.items():
        for key, value in entries.items():
            if key != "step" or key in second[number]:
                assert torch.equal(value, second[number][key]), (number, key)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_training_goes_over_to_ours_and_back(name: str, dtype: Any) -> None:
    ours, theirs, arguments = PAIRS[name]
    net, opt = trained(lambda net: theirs(net.parameters(), **arguments), dtype, 20)
    opt.param_groups[0]["lr"] *= 0.5

    own = ours(net.parameters(), lr=7.0)
    own.load_state_dict(through_a_file(opt.state_dict()))
    same_state(opt.state_dict()["state"], own.state_dict()["state"])
    assert own.param_groups[0]["lr"] == opt.param_groups[0]["lr"]
    twin = model(dtype)
    twin.load_state_dict(net.state_dict())
    expected = theirs(twin.parameters(), lr=7.0)
    expected.load_state_dict(opt.state_dict())
    go_on(net, own)
    go_on(twin, expected)
    assert distance(net, twin) < TOLERANCE[dtype]

    back = theirs(net.parameters(), lr=7.0)
    back.load_state_dict(through_a_file(own.state_dict()))
    same_state(back.state_dict()["state"], own.state_dict()["state"])
    go_on(net, back)
    go_on(twin, expected)
    assert distance(net, twin) < 2 * TOLERANCE[dtype]


def test_a_state_is_that_of_one_parameter_and_its_tensors_are_live() -> None:
    net, opt = trained(lambda net: AdamW(net.parameters(), lr=1e-2), steps=3)
    weight, bias = net[0].weight, net[0].bias
    assert list(opt.state) == list(net.parameters())
    assert opt.state[weight].keys() == {"step", "exp_avg", "exp_avg_sq"}
    opt.state[weight]["exp_avg"].zero_()
    assert not opt.state[weight]["exp_avg"].any()
    del opt.state[weight]
    assert weight not in opt.state
    assert opt.state[weight] == {}
    assert opt.state[bias]["step"] == 3
    opt.state[weight] = {
        **opt.state[bias],
        "exp_avg": weight.detach(),
        "exp_avg_sq": weight.detach() ** 2,
    }
    assert torch.equal(opt.state[weight]["exp_avg"], weight)
    opt.state = {}
    assert len(opt.state) == 0
    with pytest.raises(KeyError, match="not in this optimizer's param_groups"):
        opt.state[torch.zeros(1)] = {}


def test_states_are_assigned_one_by_one() -> None:
    """As Lightning does, to bring them to the device of the parameters."""
    net, opt = trained(lambda net: AdamW(net.parameters(), lr=1e-2), steps=3)
    (members,) = opt._members
    (cohort,) = members._cohorts
    for param, state in opt.state.items():
        opt.state[param] = {
            key: 2 * value.clone() if value.dim() else value for key, value in state.items()
        }
    assert members._cohorts == [cohort]
    expected, other = trained(lambda net: torch.optim.AdamW(net.parameters(), lr=1e-2), steps=3)
    for param, its in zip(net.parameters(), expected.parameters(), strict=True):
        mine, theirs = opt.state[param]["exp_avg"], 2 * other.state[its]["exp_avg"]
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)
    opt.state[net[0].bias] = {**opt.state[net[0].bias], "step": torch.tensor(7.0)}
    assert [float(opt.state[p]["step"]) for p in net.parameters()] == [3, 7, 3, 3]


def test_a_parameter_is_replaced_in_its_group() -> None:
    """As programs do that grow their parameters: state of another size, and a new tensor."""
    weight = torch.nn.Parameter(torch.ones(2, 3))
    opt = AdamW([weight], lr=0.1)
    weight.grad = torch.ones(2, 3)
    opt.step()
    state = opt.state[weight]
    grown = torch.nn.Parameter(torch.cat([weight.detach(), torch.zeros(1, 3)]))
    for key in ("exp_avg", "exp_avg_sq"):
        state[key] = torch.cat([state[key], torch.zeros(1, 3)])
    del opt.state[weight]
    opt.param_groups[0]["params"][0] = grown
    opt.state[grown] = state
    grown.grad = torch.ones(3, 3)
    opt.step()
    assert opt.state[grown]["step"] == 2
    assert opt.state[grown]["exp_avg"][0, 0] == pytest.approx(0.19)
    assert opt.state[grown]["exp_avg"][2, 0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "factory", [gm.adafactor, gm.lion, gm.adagrad, gm.rmsprop, gm.adan, gm.lamb]
)
def test_any_state_goes_through_a_file(factory: Any) -> None:
    def make(net: Any) -> Any:
        return Optimizer(net.parameters(), factory, lr=1e-2)

    net, opt = trained(make, steps=3)
    twin = model()
    twin.load_state_dict(net.state_dict())
    other = make(twin)
    other.load_state_dict(through_a_file(opt.state_dict()))
    go_on(net, opt, 3)
    go_on(twin, other, 3)
    assert distance(net, twin) == 0.0


def test_a_state_that_does_not_fit_is_refused_by_name() -> None:
    _, opt = trained(lambda net: AdamW(net.named_parameters(), lr=1e-2), steps=3)
    before = opt.state_dict()["state"][0]["exp_avg"].clone()

    def change(edit: Any) -> Any:
        state = through_a_file(opt.state_dict())
        edit(state)
        return state

    cases = {
        "state of 0.weight: 'exp_avg' is missing": lambda s: s["state"][0].pop("exp_avg"),
        "state of 0.bias: has 'mx', expected": lambda s: s["state"][1].update(mx=torch.ones(2)),
        "'exp_avg_sq' has shape": lambda s: s["state"][0].update(exp_avg_sq=torch.ones(2)),
        "has no 'amsgrad', got True": lambda s: s["param_groups"][0].update(amsgrad=True),
        "doesn't match the size": lambda s: s["param_groups"][0]["params"].pop(),
    }
    for message, edit in cases.items():
        with pytest.raises(ValueError, match=message):
            opt.load_state_dict(
                change(lambda s, edit=edit: (s["param_groups"][0].update(lr=5.0), edit(s)))
            )
        assert torch.equal(opt.state_dict()["state"][0]["exp_avg"], before)
        assert opt.param_groups[0]["lr"] == 1e-2
    opt.load_state_dict(through_a_file(opt.state_dict()))


def test_states_of_several_groups_are_taken_over_all_or_none() -> None:
    def groups(net: Any) -> list[dict[str, Any]]:
        return [{"params": net[0].parameters()}, {"params": net[2].parameters()}]

    _, opt = trained(lambda net: AdamW(groups(net), lr=1e-2), steps=3)
    before = through_a_file(opt.state_dict())
    state = through_a_file(opt.state_dict())
    state["state"][0]["exp_avg"].zero_()
    del state["state"][3]["exp_avg_sq"]
    with pytest.raises(ValueError, match="'exp_avg_sq' is missing"):
        opt.load_state_dict(state)
    same_state(before["state"], opt.state_dict()["state"])


def test_momentum_is_switched_off_and_on() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    opt = SGD([weight], lr=1.0, momentum=0.5)
    for momentum in (0.5, 0.0, 0.5):
        opt.param_groups[0]["momentum"] = momentum
        weight.grad = torch.ones(1)
        opt.step()
    assert weight.item() == -3.0
    assert opt.state[weight].keys() == {"step", "momentum_buffer"}


def test_hooks_of_states_run() -> None:
    _, opt = trained(lambda net: AdamW(net.parameters()), steps=1)
    seen: list[Any] = []
    opt.register_state_dict_post_hook(lambda o, state: seen.append("saved"))
    opt.register_load_state_dict_pre_hook(lambda o, state: {**state, "state": {}})
    opt.register_load_state_dict_post_hook(lambda o: seen.append(len(o.state)))
    opt.load_state_dict(opt.state_dict())
    assert seen == ["saved", 0]


def wander(kind: Any, seed: int, **arguments: Any) -> Any:
    """A network after steps with all that programs do between them, at random."""
    chances = np.random.default_rng(seed)
    net = model(torch.float64)
    groups = [{"params": [net[0].weight, net[2].bias]}, {"params": [net[0].bias], "lr": 3e-3}]
    opt = kind(groups, **arguments)
    for at, inputs in enumerate(batches(torch.float64, 40)):
        opt.zero_grad()
        backward(net, inputs)
        for param in net.parameters():
            if chances.random() < 0.2:
                param.grad = None
        opt.step()
        group = opt.param_groups[chances.integers(len(opt.param_groups))]
        param = group["params"][chances.integers(len(group["params"]))]
        match chances.integers(6):
            case 0:
                group["lr"] *= 0.7
            case 1:
                param.data = param.data.clone()
            case 2 if param in opt.state:
                state = opt.state[param].items()
                opt.state[param] = {key: v if key == "step" else 0.5 * v for key, v in state}
            case 3:
                state = through_a_file(opt.state_dict())
                opt = kind([{"params": g["params"]} for g in opt.param_groups], **arguments)
                opt.load_state_dict(state)
            case 4:
                group["weight_decay"] = 0.1 * int(chances.integers(2))
        if at == 20:
            opt.add_param_group({"params": [net[2].weight]})
    return net


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["adamw", "adam", "adagrad", "sgd"])
def test_any_course_is_that_of_torch(name: str, seed: int) -> None:
    ours, theirs, arguments = PAIRS[name]
    net, expected = (wander(kind, seed, **arguments) for kind in (ours, theirs))
    assert distance(net, expected) < 1e-12


HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_master_copies_are_what_steps_add_up_in(dtype: Any) -> None:
    weight = torch.nn.Parameter(torch.ones(4, dtype=dtype))
    plain = torch.nn.Parameter(torch.ones(4, dtype=dtype))
    with_master, without = SGD([weight], lr=1e-4, master=True), SGD([plain], lr=1e-4)
    for _ in range(100):
        weight.grad, plain.grad = (torch.ones(4, dtype=dtype) for _ in range(2))
        with_master.step()
        without.step()
    copy = with_master.state[weight]["master_param"]
    assert copy.dtype is torch.float32
    torch.testing.assert_close(copy, torch.full((4,), 0.99), rtol=1e-5, atol=0)
    assert torch.equal(weight.detach(), copy.to(dtype))
    assert plain[0].item() == 1.0


def test_bfloat16_with_master_is_float32_rounded() -> None:
    """The same steps as torch's AdamW on a float32 copy with gradients of half precision."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(50).bfloat16())
    wide = torch.nn.Parameter(weight.detach().float())
    opt, expected = AdamW([weight], lr=1e-3, master=True), torch.optim.AdamW([wide], lr=1e-3)
    for _ in range(100):
        weight.grad = torch.randn(50).bfloat16()
        wide.grad = weight.grad.float()
        opt.step()
        expected.step()
    copy = opt.state[weight]["master_param"]
    torch.testing.assert_close(copy, wide.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_master_copies_go_through_files_bit_for_bit(optimizer_first: bool) -> None:
    def make(net: Any) -> Any:
        return AdamW(net.parameters(), lr=1e-4, master=True)

    net, opt = trained(make, torch.bfloat16, 10)
    twin = model(torch.bfloat16)
    other = make(twin)
    loads = [
        lambda: other.load_state_dict(through_a_file(opt.state_dict())),
        lambda: twin.load_state_dict(through_a_file(net.state_dict())),
    ]
    for load in loads if optimizer_first else reversed(loads):
        load()
    go_on(net, opt, 10)
    go_on(twin, other, 10)
    for param, its in zip(net.parameters(), twin.parameters(), strict=True):
        copies = opt.state[param]["master_param"], other.state[its]["master_param"]
        assert torch.equal(*copies)
        assert torch.equal(param, its)


def test_what_is_written_into_a_parameter_reaches_its_copy() -> None:
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    opt = SGD([weight], lr=1e-4, master=True)
    for _ in range(3):
        weight.grad = torch.ones(2, dtype=torch.bfloat16)
        opt.step()
    with torch.no_grad():
        weight[0] = 8.0
    weight.grad = torch.zeros(2, dtype=torch.bfloat16)
    opt.step()
    np.testing.assert_allclose(opt.state[weight]["master_param"], [8.0, 0.9997], 1e-6)
    weight.data = weight.data.clone()
    weight.grad = torch.zeros(2, dtype=torch.bfloat16)
    opt.step()
    np.testing.assert_allclose(opt.state[weight]["master_param"], [8.0, 0.9997], 1e-6)


def test_moments_of_half_precision_are_widened() -> None:
    net, opt = trained(lambda net: torch.optim.AdamW(net.parameters()), torch.bfloat16, 5)
    own = AdamW(net.parameters())
    own.load_state_dict(opt.state_dict())
    for param in net.parameters():
        mine = own.state[param]["exp_avg"]
        assert mine.dtype is torch.float32
        assert torch.equal(mine, opt.state[param]["exp_avg"].float())
