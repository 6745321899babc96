"""What optax does not have, against the papers' formulas as one writes them in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafValueError
from tests.cases.beyond import BEYOND
from tests.parity.apollo import APOLLO
from tests.parity.directions import adam_of
from tests.parity.hats import HATS
from tests.trees import assert_close, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.case import Case
    from tests.parity.directions import Array, Steps

STEPS = 10
any_adam: Any = gm.adam  # with arguments that type checkers refuse
TOLERANCE = {
    np.float32: {"rtol": 2e-4, "atol": 2e-6},
    np.float64: {"rtol": 1e-10, "atol": 1e-13},
}


def descent(steps: Steps, name: str) -> Any:
    return (-0.1 * g for g, _ in steps)


def ascent(steps: Steps, name: str) -> Any:
    return (0.1 * g for g, _ in steps)


def masked(u: Array, g: Array, least: float) -> Array:
    """Liang et al.: the elements of a direction whose sign is the gradient's."""
    phi = (u * g > 0).astype(float)
    return u * phi / max(phi.mean(), least)


def cautious(steps: Steps, name: str) -> Any:
    for (g, _), u in zip(steps, adam_of(steps, 0.7, 0.999, 1e-8), strict=True):
        yield -0.1 * masked(u, g, 1e-3)


def cautious_args(steps: Steps, name: str) -> Any:
    trace = np.zeros(())
    for g, _ in steps:
        trace = g + 0.8 * trace
        yield masked(trace, g, 0.6)


def along_params(steps: Steps, name: str) -> Any:
    return (masked(g, -p, 0.3) for g, p in steps)


def decayed(u: Array, p: Array, weight_decay: float) -> Array:
    """Chen et al.: decay where update and parameter have the same sign."""
    return u + weight_decay * (u * p >= 0) * p


def cautious_weight_decay(steps: Steps, name: str) -> Any:
    return (decayed(g, p, 0.1) for g, p in steps)


def cautious_weight_decay_schedule(steps: Steps, name: str) -> Any:
    for t, (g, p) in enumerate(steps):
        yield g if name == "bias" else decayed(g, p, 0.01 / (t + 1))


def cautious_adamw(steps: Steps, name: str) -> Any:
    for (g, p), u in zip(steps, adam_of(steps, 0.7, 0.95, 1e-3), strict=True):
        yield -0.1 * (masked(u, g, 1e-3) + 1e-4 * p)


def cautious_adamw_args(steps: Steps, name: str) -> Any:
    directions = adam_of(steps, 0.7, 0.999, 1e-8, nesterov=True)
    for t, ((g, p), u) in enumerate(zip(steps, directions, strict=True)):
        kept = masked(u, g, 1e-3)
        yield -0.01 / (t + 1) * (kept if name == "bias" else decayed(kept, p, 0.1))


def mars_of(steps: Steps, b1: float, b2: float, gamma: Any, eps: float, most: float) -> Any:
    """Yuan et al.: gradients with a multiple of their change, clipped, then Adam."""
    corrected, last = [], steps[0][0]
    for t, (g, p) in enumerate(steps):
        c = g + gamma(t) * b1 / (1 - b1) * (g - last)
        last, size = g, np.linalg.norm(c)
        corrected.append((c * most / size if size > most else c, p))
    return adam_of(corrected, b1, b2, eps)


def scale_by_mars(steps: Steps, name: str) -> Any:
    return mars_of(steps, 0.95, 0.99, lambda t: 0.025, 1e-8, 1.0)


def scale_by_mars_args(steps: Steps, name: str) -> Any:
    return mars_of(steps, 0.8, 0.9, lambda t: 0.01 / (t + 1), 1e-3, np.inf)


def mars(steps: Steps, name: str) -> Any:
    directions = mars_of(steps, 0.95, 0.99, lambda t: 0.5, 1e-8, 1.0)
    for (_, p), u in zip(steps, directions, strict=True):
        yield -0.1 * (u if name == "bias" else u + 0.1 * p)


def scale_by_sophia(steps: Steps, name: str) -> Any:
    m = 0.0
    for t, (g, _) in enumerate(steps, 1):
        m = 0.8 * m + 0.2 * g
        yield np.clip(m / (1 - 0.8**t) / 2.0, -0.5, 0.5)


def adam_mini_of(
    steps: Steps, blocks: list[Any], b1: float, b2: float, eps: float, eps_root: float = 0.0
) -> Any:
    """Zhang et al.: Adam with the mean square of each block; these are selections of a leaf."""
    m, v = np.zeros_like(steps[0][0]), [0.0] * len(blocks)
    for t, (g, _) in enumerate(steps, 1):
        m, u = b1 * m + (1 - b1) * g, np.zeros_like(g)
        for b, block in enumerate(blocks):
            v[b] = b2 * v[b] + (1 - b2) * np.mean(g[block] ** 2)
            u[block] = m[block] / (1 - b1**t) / (np.sqrt(v[b] / (1 - b2**t) + eps_root) + eps)
        yield u


def columns(leaf: Array) -> list[Any]:
    return [(..., at) for at in range(leaf.shape[-1])] if leaf.ndim > 1 else [...]


def scale_by_adam_mini(steps: Steps, name: str) -> Any:
    return adam_mini_of(steps, columns(steps[0][0]), 0.9, 0.999, 1e-8)


def scale_by_adam_mini_leaf(steps: Steps, name: str) -> Any:
    return adam_mini_of(steps, [...], 0.8, 0.9, 1e-3, 1e-4)


def adam_mini_heads(steps: Steps, name: str) -> Any:
    if name != "kernel":
        return (g for g, _ in steps)
    heads: list[Any] = [slice(0, 3), slice(3, 6), slice(6, 9)]
    return (-0.1 * u for u in adam_mini_of(steps, heads, 0.9, 0.999, 1e-8))


def adam_mini(steps: Steps, name: str) -> Any:
    directions = scale_by_adam_mini(steps, name)
    for (_, p), u in zip(steps, directions, strict=True):
        yield -0.1 * (u if name == "bias" else u + 0.1 * p)


def orthogonal(x: Array, coeffs: list[Any], eps: float) -> Array:
    """Newton-Schulz iterations of one matrix."""
    x = x / (np.linalg.norm(x) + eps)
    for a, b, c in coeffs:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def normuon_of(
    steps: Steps,
    beta: float,
    b2: float,
    eps: float,
    rms: float,
    coeffs: list[Any],
    *,
    nesterov: bool = False,
) -> Any:
    """Li et al., for matrices with a row for each neuron."""
    m, v = np.zeros_like(steps[0][0]), np.zeros((len(steps[0][0]), 1))
    for t, (g, _) in enumerate(steps, 1):
        m = beta * m + (1 - beta) * g
        hat = m / (1 - beta**t)
        if nesterov:
            hat = beta * m / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t)
        o = (
            orthogonal(hat, coeffs, eps)
            if len(hat) <= hat.shape[1]
            else (orthogonal(hat.T, coeffs, eps).T)
        )
        v = b2 * v + (1 - b2) * np.mean(o * o, axis=1, keepdims=True)
        o = o / (np.sqrt(v) + eps)
        yield rms * np.sqrt(o.size) * o / np.linalg.norm(o)


def of_neurons(steps: Steps, name: str, *args: Any, **options: Any) -> Any:
    """The updates of a leaf with columns for neurons; `conv` adds up over two axes, (0, 2)."""
    if name == "kernel":
        turned = [(g.T, p) for g, p in steps]
        return (u.T for u in normuon_of(turned, *args, **options))
    rows = [[(g[:, at].reshape(4, 2).T, p) for g, p in steps] for at in range(steps[0][0].shape[1])]
    parts = zip(*(normuon_of(row, *args, **options) for row in rows), strict=True)
    return (np.stack([u.T.reshape(2, 2, 2) for u in row], axis=1) for row in parts)


STANDARD = [(3.4445, -4.7750, 2.0315)] * 5


def scale_by_normuon(steps: Steps, name: str) -> Any:
    if name not in ("kernel", "conv"):
        return (g for g, _ in steps)
    return of_neurons(steps, name, 0.95, 0.95, 1e-8, 0.2, STANDARD)


def normuon_args(steps: Steps, name: str) -> Any:
    if name not in ("kernel", "conv"):
        return (-0.2 * u for u in adam_of(steps, 0.9, 0.999, 1e-3, nesterov=True))
    coeffs = [(4.0, -6.0, 3.0), (2.5, -3.0, 1.5)]
    directions = of_neurons(steps, name, 0.8, 0.9, 1e-3, 0.5, coeffs, nesterov=True)
    pairs = enumerate(zip(steps, directions, strict=True))
    return (-0.01 / (t + 1) * (u + 0.1 * p) for t, ((_, p), u) in pairs)


def normuon(steps: Steps, name: str) -> Any:
    if name != "kernel":
        return (-0.1 * u for u in adam_of(steps, 0.9, 0.999, 1e-8))
    return (-0.1 * u for u in scale_by_normuon(steps, name))


def basis_of(factor: Array) -> Array:
    return np.linalg.eigh(factor)[1][:, ::-1]


def soap_of(
    steps: Steps, b1: float, b2: float, beta: float, eps: float, every: int, *, rows: bool = True
) -> Any:
    """Vyas et al., algorithm 3; the first step finds the bases. Not of rows, where these are 9."""
    size, width = steps[0][0].shape
    m, v, left, right = (np.zeros(s) for s in ((), (), (size, size), (width, width)))
    bases: tuple[Array, Array] = (np.eye(size), np.eye(width))
    for t, (g, _) in enumerate(steps):
        if t:
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * (bases[0].T @ g @ bases[1]) ** 2
            turned = bases[0].T @ m @ bases[1] / (1 - b1**t)
            yield bases[0] @ (turned / (np.sqrt(v / (1 - b2**t)) + eps)) @ bases[1].T
        else:
            yield np.zeros_like(g)
        left, right = beta * left + (1 - beta) * g @ g.T, beta * right + (1 - beta) * g.T @ g
        found = bases
        if t == 0:
            found = basis_of(left), basis_of(right)
        elif t % every == 0:
            found = np.linalg.qr(left @ bases[0])[0], np.linalg.qr(right @ bases[1])[0]
        bases = (found[0] if rows else bases[0], found[1])


def of_squares(steps: Steps, name: str, *args: Any) -> Any:
    if name == "kernel":
        return soap_of(steps, *args, rows=False)
    parts = [
        soap_of([(g[at], p) for g, p in steps], *args) for at in np.ndindex(steps[0][0].shape[:2])
    ]
    return (np.reshape(row, (2, 3, 2, 2)) for row in zip(*parts, strict=True))


def scale_by_soap(steps: Steps, name: str) -> Any:
    if name not in ("kernel", "conv"):
        return (g for g, _ in steps)
    return of_squares(steps, name, 0.95, 0.95, 0.95, 1e-8, 10)


def scale_by_soap_args(steps: Steps, name: str) -> Any:
    if name not in ("kernel", "conv"):
        return (g for g, _ in steps)
    return of_squares(steps, name, 0.8, 0.9, 0.7, 1e-3, 3)


def soap(steps: Steps, name: str) -> Any:
    if name in ("kernel", "conv"):
        directions = of_squares(steps, name, 0.95, 0.95, 0.95, 1e-8, 2)
    else:
        directions = adam_of(steps, 0.95, 0.95, 1e-8)
    for t, ((_, p), u) in enumerate(zip(steps, directions, strict=True)):
        yield -0.1 * (u if name == "bias" else u + 0.01 / (t + 1) * p)


FORMULAS: dict[str, Callable[..., Any]] = (
    HATS
    | APOLLO
    | {
        "parameter_average": descent,
        "parameter_average_polyak": descent,
        "maximize": ascent,
        "cautious": cautious,
        "cautious_args": cautious_args,
        "along_params": along_params,
        "cautious_weight_decay": cautious_weight_decay,
        "cautious_weight_decay_schedule": cautious_weight_decay_schedule,
        "cautious_adamw": cautious_adamw,
        "cautious_adamw_args": cautious_adamw_args,
        "scale_by_mars": scale_by_mars,
        "scale_by_mars_args": scale_by_mars_args,
        "mars": mars,
        "scale_by_sophia": scale_by_sophia,
        "scale_by_adam_mini": scale_by_adam_mini,
        "scale_by_adam_mini_leaf": scale_by_adam_mini_leaf,
        "adam_mini_heads": adam_mini_heads,
        "adam_mini": adam_mini,
        "scale_by_normuon": scale_by_normuon,
        "normuon_args": normuon_args,
        "normuon": normuon,
        "scale_by_soap": scale_by_soap,
        "scale_by_soap_args": scale_by_soap_args,
        "soap": soap,
    }
)
"""For each row what its arguments make of gradients and parameters of one leaf."""


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", BEYOND, ids=lambda case: case.name)
def test_the_papers_formula(case: Case, dtype: Any) -> None:
    """Ten steps towards a point, with noise; what has no formula here fails."""
    tx, params = case.make(gm), random_tree(0, dtype)
    state = tx.init(params)
    seen: list[tuple[Any, Any]] = []
    made: list[Any] = []
    for seed in range(1, STEPS + 1):
        noise = random_tree(seed, dtype, 0.5)
        grads = {k: None if p is None else np.asarray(p + noise[k]) for k, p in params.items()}
        updates, state = tx.update(grads, state, params)
        seen.append((grads, params))
        made.append(updates)
        params = gm.apply_updates(params, gm.tree.scale(-0.01, updates))
    tolerance = {key: bound * case.loose for key, bound in TOLERANCE[dtype].items()}
    for name, leaf in params.items():
        if leaf is not None and leaf.size:
            steps = [(np.float64(g[name]), np.float64(p[name])) for g, p in seen]
            expected = [*FORMULAS[case.name](steps, name)]
            assert_close([updates[name] for updates in made], expected, **tolerance)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: c.cautious(0.1), "cautious takes a transformation"),
        (
            lambda _: any_adam(0.1, eps_mode="hut"),
            "eps_mode must be 'corrected' or 'hat', got 'hut'",
        ),
        (lambda c: c.cautious(gm.sgd(0.1), least_share=0.0), "least_share must be greater than 0"),
        (lambda c: c.scale_by_mars(max_norm=0.0), "max_norm must be greater than 0"),
        (lambda c: c.scale_by_mars(1.0), "b1 must be less than 1"),
        (lambda c: c.scale_by_normuon(b2=1.0), "b2 must be less than 1"),
        (lambda c: c.normuon(0.1, "other"), "ns_coeffs must be one of standard, dion"),
        (lambda c: c.soap(0.1, precondition_frequency=0), "frequency must be at least 1"),
        (lambda c: c.soap(0.1, max_precondition_dim=2.5), "max_precondition_dim must be an int"),
        (lambda c: c.soap(0.1, shampoo_beta=1.0), "shampoo_beta must be less than 1"),
        (lambda c: c.adam_mini(0.1, axis=0.5), "axis must be an integer or None"),
        (lambda c: c.adam_mini(0.1, num_blocks=0), "num_blocks must be at least 1"),
        (lambda c: c.adam_mini(0.1, axis=None, num_blocks=2), "num_blocks needs axis, the axis"),
    ],
)
def test_arguments(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make(gm.contrib)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": 3}, r"^params\['kernel'\]: has shape \(4, 6\), and no axis 3 \(scale_by"),
        ({"axis": 0, "num_blocks": 3}, r"^params\['kernel'\]: has length 4 along axis 0, and no 3"),
    ],
)
def test_leaves_without_such_blocks_are_named(options: Any, message: str) -> None:
    params = {"bias": np.ones(6), "kernel": np.ones((4, 6))}
    with pytest.raises(LeafValueError, match=message):
        gm.contrib.adam_mini(0.1, **options).init(params)


def test_a_block_for_each_element_is_adam() -> None:
    params, grads = np.ones((4, 1)), np.random.default_rng(0).normal(size=(4, 1))
    mini, adam = gm.contrib.scale_by_adam_mini(axis=0), gm.scale_by_adam()
    ours, expected = (tx.update(grads, tx.init(params))[0] for tx in (mini, adam))
    np.testing.assert_allclose(ours, expected, rtol=1e-14)


def test_a_bound_of_any_gradient() -> None:
    """Squares that leave the range do not matter to the norm."""
    tx = gm.contrib.scale_by_mars(b1=0.0)
    for size, dtype in (
        (1e30, np.float32),
        (1e-30, np.float32),
        (1e200, np.float64),
        (1e-200, np.float64),
    ):
        grads = np.full(4, size, dtype)
        _, state = tx.update(grads, tx.init(grads))
        np.testing.assert_allclose(state.mu, min(size, 0.5), rtol=1e-6)


def test_soap_is_adam_in_bases_that_come_to_be_those_of_the_factors() -> None:
    """Of rectangular matrices, whose first factors have no unique eigenvectors, as well."""
    rng = np.random.default_rng(0)
    scales = np.outer(2.0 ** -np.arange(5), 2.0 ** -np.arange(3))
    turns = [np.linalg.qr(rng.normal(size=(size, size)))[0] for size in (5, 3)]
    tx = gm.contrib.scale_by_soap(shampoo_beta=0.999, precondition_frequency=2)
    state = tx.init(scales)
    for _ in range(400):
        grads = turns[0] @ (scales * rng.normal(size=(5, 3))) @ turns[1].T
        _, state = tx.update(grads, state)
    for basis, factor, turn in zip(
        (state.left_basis, state.right_basis), (state.left, state.right), turns, strict=True
    ):
        size = len(turn)
        np.testing.assert_allclose(basis[0].T @ basis[0], np.eye(size), atol=1e-12)
        seen = basis[0].T @ factor[0] @ basis[0]
        scale = np.sqrt(np.outer(np.diag(seen), np.diag(seen)))
        np.testing.assert_allclose(seen / scale, np.eye(size), atol=0.02)
        # That is how the gradients were made.
        np.testing.assert_allclose(abs(basis[0].T @ turn), np.eye(size), atol=0.15)


def test_soap_keeps_its_bases_where_numbers_are_not_finite() -> None:
    tx = gm.contrib.scale_by_soap(precondition_frequency=1)
    grads = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    state = tx.init(grads)
    for factor in (1e30, 1.0, 1e30, np.nan, 1e-30, 1.0):
        updates, state = tx.update(grads * np.float32(factor), state)
        assert np.isfinite(updates).all() or np.isnan(factor) or np.isnan(state.mu).any()
        for name in ("left", "right", "left_basis", "right_basis"):
            assert np.isfinite(getattr(state, name)).all()
