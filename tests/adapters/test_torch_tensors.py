"""Tensors that ``gradmill.adapters.torch`` steps in their own memory, and those that it refuses."""

from __future__ import annotations

import multiprocessing
from typing import Any, cast

import pytest

torch = pytest.importorskip("torch", reason="needs gradmill[torch]")

import gradmill as gm
from gradmill.adapters.torch import SGD, Adagrad, AdamW, Optimizer
from gradmill.adapters.torch._views import array_of, tensor_of
from gradmill.errors import LeafTypeError, LeafValueError

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
ORDERS: dict[str, Any] = {
    "contiguous": lambda t: t,
    "channels last": lambda t: t.to(memory_format=torch.channels_last),
    "transposed": lambda t: t.transpose(1, 3).contiguous().transpose(1, 3),
    "strided": lambda t: torch.empty(*t.shape, 2, dtype=t.dtype)[..., 0].copy_(t),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_arrays_lie_in_the_memory_of_tensors(order: str, dtype: Any) -> None:
    tensor = ORDERS[order](torch.randn(2, 3, 4, 5).to(dtype))
    array = array_of(tensor, "p")
    assert array.ctypes.data == tensor.data_ptr()
    assert array.strides == tuple(s * tensor.element_size() for s in tensor.stride())
    back = tensor_of(array)
    assert (back.data_ptr(), back.stride(), back.dtype) == (
        tensor.data_ptr(),
        tensor.stride(),
        dtype,
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("of_grad", ORDERS)
@pytest.mark.parametrize("of_param", ORDERS)
def test_a_step_writes_where_the_parameter_lies(of_param: str, of_grad: str, dtype: Any) -> None:
    torch.manual_seed(0)
    start, grad = torch.randn(2, 3, 4, 5).to(dtype), torch.randn(2, 3, 4, 5).to(dtype)
    weight = torch.nn.Parameter(ORDERS[of_param](start))
    before = weight.data_ptr()
    wide = torch.nn.Parameter(start.double())
    opt, expected = AdamW([weight], lr=0.1), torch.optim.AdamW([wide], lr=0.1)
    for _ in range(3):
        weight.grad, wide.grad = ORDERS[of_grad](grad), grad.double()
        opt.step()
        expected.step()
    assert weight.data_ptr() == before
    tolerance = {torch.float16: 4e-3, torch.bfloat16: 3e-2}.get(dtype, 1e-5)
    torch.testing.assert_close(
        weight.detach().double(), wide.detach(), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_small_shapes(shape: tuple[int, ...]) -> None:
    weight = torch.nn.Parameter(torch.ones(shape))
    opt = AdamW([weight], lr=0.1, weight_decay=0.0)
    weight.grad = torch.ones(shape)
    opt.step()
    assert opt.state[weight]["exp_avg"].shape == shape
    torch.testing.assert_close(weight.detach(), torch.full(shape, 0.9))


def assign(param: Any, values: Any) -> None:
    param.data = values


MOVES: dict[str, tuple[Any, Any]] = {
    "cloned": (lambda p: None, lambda p: assign(p, p.data.clone())),
    "other strides": (lambda p: None, lambda p: assign(p, p.data.t().contiguous().t())),
    "other values": (lambda p: p.data.add_(1), lambda p: assign(p, p.data + 1)),
    "shared": (lambda p: None, lambda p: p.data.share_memory_()),
    "swapped": (
        lambda p: None,
        lambda p: torch.utils.swap_tensors(p, torch.nn.Parameter(p.detach().clone())),
    ),
}
"""What becomes of a parameter: in its place, and with another storage."""


@pytest.mark.parametrize("master", [False, True])
@pytest.mark.parametrize("name", MOVES)
def test_parameters_may_change_their_storage(name: str, master: bool) -> None:
    dtype = torch.bfloat16 if master else torch.float32
    ends = []
    for move in MOVES[name]:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(4, 4).to(dtype))
        opt = AdamW([weight], lr=0.01, master=master)
        for at in range(6):
            if at == 3:
                # Values that are written beside autograd are not seen in the place of a copy.
                with torch.no_grad():
                    weight.copy_(weight.clone())
                move(weight)
            weight.grad = torch.randn(4, 4).to(dtype)
            opt.step()
        ends.append((weight.detach().clone(), opt.state[weight]["step"]))
    (still, steps), (moved, its_steps) = ends
    assert steps == its_steps == 6
    assert torch.equal(still, moved)


def test_a_model_becomes_channels_last() -> None:
    ends = []
    for late in (False, True):
        torch.manual_seed(0)
        net = torch.nn.Conv2d(3, 4, 3)
        opt = SGD(net.parameters(), lr=0.1, momentum=0.9)
        inputs = torch.randn(2, 3, 8, 8)
        for at in range(4):
            if late and at == 2:
                net.to(memory_format=torch.channels_last)
            opt.zero_grad()
            net(inputs).square().mean().backward()
            opt.step()
        ends.append(net.weight.detach())
    torch.testing.assert_close(*ends)


def test_another_shape_is_refused_by_name() -> None:
    weight = torch.nn.Parameter(torch.ones(4))
    opt = AdamW([("head", weight)], lr=0.1)
    weight.grad = torch.ones(4)
    opt.step()
    weight.data = torch.ones(2)
    weight.grad = torch.ones(2)
    with pytest.raises(LeafValueError, match="head"):
        opt.step()


def test_parameters_that_share_memory_are_refused_by_name() -> None:
    base = torch.ones(4)
    both = [torch.nn.Parameter(base[:3]), torch.nn.Parameter(base[1:])]
    opt = AdamW(both, lr=0.1)
    for param in both:
        param.grad = torch.ones(3)
    with pytest.raises(LeafValueError, match=r"param_groups\[0\]\['params'\]\[[01]\]"):
        opt.step()
    assert torch.equal(base, torch.ones(4))


REFUSED: dict[str, Any] = {
    "is complex": lambda: torch.ones(2, dtype=torch.complex64),
    "is on meta": lambda: torch.ones(2, device="meta"),
    r"is sparse \(sparse_coo\)": lambda: torch.ones(2).to_sparse(),
    "is of torch.float8_e4m3fn": lambda: torch.ones(2).to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("message", REFUSED)
@pytest.mark.parametrize("named", [False, True])
def test_parameters_are_refused_by_name(message: str, named: bool) -> None:
    good, bad = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(REFUSED[message]())
    name = "emb" if named else r"param_groups\[1\]\['params'\]\[0\]"
    pairs = [("head", good)], [("emb", bad)]
    groups = [{"params": pair if named else [pair[0][1]]} for pair in pairs]
    with pytest.raises(LeafTypeError, match=f"^{name}: {message}"):
        AdamW(groups, lr=0.1)
    opt = AdamW(groups[:1], lr=0.1)
    with pytest.raises(LeafTypeError, match=f"^{name}: {message}"):
        opt.add_param_group(groups[1])
    assert len(opt.param_groups) == 1


def test_frozen_parameters_may_be_anything() -> None:
    frozen = [torch.nn.Parameter(make(), requires_grad=False) for make in REFUSED.values()]
    weight = torch.nn.Parameter(torch.ones(2))
    opt = AdamW([*frozen, weight], lr=0.1)
    weight.grad = torch.ones(2)
    opt.step()
    assert list(opt.state) == [weight]


@pytest.mark.parametrize("first", [True, False])
def test_sparse_gradients_are_refused_before_anything_is_written(first: bool) -> None:
    table = torch.nn.Embedding(5, 2, sparse=True)
    head = torch.nn.Linear(2, 1)
    opt = AdamW([{"params": head.parameters()}, {"params": table.parameters()}], lr=0.1)
    before = head.weight.detach().clone()
    if not first:
        table.weight.grad = torch.ones(5, 2)
        opt.step()
    head(table(torch.tensor([1]))).sum().backward()
    table.weight.grad = torch.ones(5, 2).to_sparse()
    with pytest.raises(LeafTypeError, match=r"^param_groups\[1\]\['params'\]\[0\].grad: is sparse"):
        opt.step()
    assert torch.equal(head.weight, before)
    assert all(
        state["step"] == (0 if first else 1) for p, state in opt.state.items() if p is table.weight
    )


ARGUMENTS: dict[str, tuple[type[Exception], Any]] = {
    "adamw has no 'weight_decy'; it has": (
        TypeError,
        lambda p: Optimizer(p, gm.adamw, lr=0.1, weight_decy=1.0),
    ),
    "sgd needs 'lr'": (TypeError, lambda p: Optimizer(p, gm.sgd)),
    "must be a transformation or a function": (TypeError, lambda p: Optimizer(p, cast("Any", 3.0))),
    "max_norm must be positive": (ValueError, lambda p: AdamW(p, max_norm=0.0)),
    "adamw has no 'amsgrad', got True": (ValueError, lambda p: AdamW(p, amsgrad=True)),
    "sgd has no 'dampening', got 0.5": (
        ValueError,
        lambda p: SGD([{"params": p, "dampening": 0.5}]),
    ),
    "adagrad has no 'lr_decay', got 0.1": (ValueError, lambda p: Adagrad(p, lr_decay=0.1)),
    "empty parameter list": (ValueError, lambda p: AdamW([])),
}


@pytest.mark.parametrize("message", ARGUMENTS)
def test_arguments_are_checked(message: str) -> None:
    kind, make = ARGUMENTS[message]
    with pytest.raises(kind, match=message):
        make([torch.nn.Parameter(torch.ones(2))])


def test_optimizers_print_their_groups() -> None:
    opt = AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.5, fused=True)
    assert "lr: 0.5" in repr(opt)
    assert repr(opt.state) == "{}"


def _step_shared(weight: Any, done: Any) -> None:
    opt = SGD([weight], lr=1.0)
    weight.grad = torch.ones(2)
    opt.step()
    done.set()


def test_another_process_steps_shared_parameters() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.share_memory_()
    context = multiprocessing.get_context("spawn")
    done = context.Event()
    process = torch.multiprocessing.get_context("spawn").Process(
        target=_step_shared, args=(weight, done)
    )
    process.start()
    process.join(120)
    assert done.is_set()
    assert weight.tolist() == [-1.0, -1.0]
