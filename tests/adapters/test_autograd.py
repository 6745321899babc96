"""Loops of autograd's against those of its own, on nested containers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("autograd", reason="needs autograd")

import autograd
import autograd.numpy as anp
from autograd import builtins as boxes
from autograd.misc import flatten
from autograd.misc import optimizers as theirs

from gradmill import errors
from gradmill.adapters import autograd as ours
from tests.adapters.close import MOST, check_close

KINDS: list[Any] = [
    ("sgd", {}),
    ("sgd", {"step_size": 0.01, "mass": 0.5}),
    ("rmsprop", {}),
    ("rmsprop", {"step_size": 0.01, "gamma": 0.5, "eps": 0.1}),
    ("adam", {}),
    ("adam", {"step_size": 0.1, "b1": 0.5, "b2": 0.9, "eps": 0.1}),
]
STARTS: list[Any] = [
    np.linspace(-1, 2, 5),
    np.linspace(-1, 2, 5, dtype=np.float32),
    np.array([1, 2]),
    0.5,
    [np.full((2, 3), 0.3), (np.ones(2), {"b": 2.0, "a": [np.ones((3, 1), order="F"), []]})],
]


def losses() -> Any:
    """A gradient as autograd finds it, of a function that couples all parameters."""

    def loss(x: Any, i: int) -> Any:
        flat = _flat(x)
        return anp.sum(anp.tanh(flat - 2.0) ** 2) + 0.01 * anp.sum(flat) ** 2 / (1 + i % 3)

    return autograd.grad(loss)


def _flat(x: Any) -> Any:
    # autograd's own, since containers are boxes while it traces.
    if boxes.isinstance(x, dict):
        x = [x[key] for key in sorted(x)]
    if boxes.isinstance(x, (list, tuple)):
        return anp.concatenate([_flat(part) for part in x]) if x else anp.zeros(0)
    return anp.ravel(x) * 1.0


def structure(x: Any) -> Any:
    """Containers, shapes and dtypes."""
    if isinstance(x, dict):
        return {key: structure(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(map(structure, x))
    return type(x), x.shape, x.dtype


@pytest.mark.parametrize("x0", STARTS, ids=repr)
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_hundred_steps(kind: str, options: Any, x0: Any) -> None:
    seen: list[list[Any]] = [[], []]
    ends = []
    for module, calls in zip((ours, theirs), seen, strict=True):

        def callback(x: Any, i: int, g: Any, calls: list[Any] = calls) -> None:
            calls.append((flatten(x)[0], i, flatten(g)[0]))

        ends.append(getattr(module, kind)(losses(), x0, callback, num_iters=100, **options))
    # Theirs is of float32 until the first step, and so is the first gradient.
    most = MOST[np.float32 if flatten(x0)[0].dtype == np.float32 else np.float64]
    assert structure(ends[0]) == structure(ends[1])
    check_close(flatten(ends[0])[0], flatten(ends[1])[0], most)
    assert [i for _, i, _ in seen[0]] == list(range(100))
    for (x, _, g), (its_x, _, its_g) in zip(*seen, strict=True):
        check_close(x.astype(float), its_x.astype(float), 100 * most)
        check_close(g.astype(float), its_g.astype(float), 1e-6)


def test_what_functions_were_handed_stays_as_it_is() -> None:
    kept, copies = [], []

    def callback(x: Any, i: int, g: Any) -> None:
        kept.append(x["w"])
        copies.append(x["w"].copy())

    start = {"w": np.ones(3)}
    end = ours.adam(lambda x, i: x, start, callback, num_iters=5)
    assert all(map(np.array_equal, kept, copies))
    assert start["w"].tolist() == [1.0] * 3
    assert not np.array_equal(end["w"], kept[-1])


def test_no_steps() -> None:
    assert ours.sgd(lambda x, i: x, [1.0], num_iters=0) == [1.0]
    assert ours.sgd(lambda x, i: x, ()) == ()


def test_what_is_no_gradient_is_named() -> None:
    with pytest.raises(errors.LeafValueError, match=r"updates\['w'\]"):
        ours.sgd(lambda x, i: {"w": np.ones(3)}, {"w": np.ones(2)})
    with pytest.raises(errors.LeafTypeError, match="complex128"):
        ours.sgd(lambda x, i: x, np.ones(2, complex))
