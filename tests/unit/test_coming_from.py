"""The new lines in the tables of docs/coming_from run, and do what the old ones do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradmill as gm
from tests.trees import assert_close

PAGES = Path(__file__).parents[2] / "docs" / "coming_from"
STEPS = 6


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        section: The heading above the table.
        old: The lines that a program has.
        new: The lines that take their place.
    """

    section: str
    old: str
    new: str

    def __str__(self) -> str:
        return self.old.splitlines()[0]


def rows(page: str, *sections: str) -> list[Row]:
    """Those of a page, or of some of its sections."""
    section, found = "", []
    for line in (PAGES / f"{page}.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
        elif line.startswith("| `"):
            old, new = (
                "\n".join(re.findall(r"`([^`]*)`", cell)) for cell in line.strip("| ").split(" | ")
            )
            found.append(Row(section, old, new))
    return [row for row in found if not sections or row.section in sections]


def names() -> dict[str, Any]:
    """What the lines of a loop are about."""
    params = {"w": np.ones((3, 2)), "b": np.zeros(2)}
    grads = {"w": np.full((3, 2), 0.5), "b": np.ones(2)}
    tx = gm.adam(1e-3)
    opt = gm.Optimizer(tx, {key: leaf.copy() for key, leaf in params.items()})
    found = {"np": np, "gm": gm, "params": params, "grads": grads, "tx": tx, "opt": opt}
    state = tx.init(params)
    updates, _ = tx.update(grads, state, params)
    return {**found, "state": state, "updates": updates, "report": opt.step(grads)}


@pytest.mark.parametrize(
    "row", [row for page in ("keras", "optax", "torch") for row in rows(page)], ids=str
)
def test_new_lines_run(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = names()
    gm.save("run.npz", optimizer=known["opt"])
    exec(row.new, known)  # noqa: S102  (our own page)


@pytest.mark.parametrize("row", rows("numpy"), ids=str)
def test_steps_by_hand(row: Row) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(5)
    by_hand: dict[str, Any] = {"np": np, "w": start, "v": 0.0, "h": 0.0, "m": 0.0}
    params = start.copy()
    if "np.maximum" in row.old:
        params = by_hand["w"] = np.abs(start)
        params = params.copy()
    opt = gm.Optimizer(eval(row.new, {"gm": gm}), params)  # noqa: S307  (our own page)
    for t in range(1, STEPS + 1):
        by_hand["g"] = rng.standard_normal(5)
        if "nan_to_num" in row.old:
            by_hand["g"][t % 5] = np.nan
        by_hand["t"] = t
        opt.step(by_hand["g"].copy())
        exec(row.old, by_hand)  # noqa: S102  (our own page)
    np.testing.assert_allclose(params, by_hand["w"], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("row", rows("optax", "Transformations"), ids=str)
def test_transformations_of_optax(row: Row) -> None:
    optax = pytest.importorskip("optax", reason="needs optax, to compare with")
    jnp = pytest.importorskip("jax.numpy", reason="needs JAX, to compare with")
    rng = np.random.default_rng(0)

    def tree() -> dict[str, Any]:
        shapes = {"w": (3, 2), "b": (2,)}
        return {key: rng.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}

    theirs = eval(row.old, {"optax": optax})  # noqa: S307  (our own page)
    ours = eval(row.new, {"gm": gm})  # noqa: S307  (our own page)
    params = tree()
    their_params = {key: jnp.asarray(leaf) for key, leaf in params.items()}
    state, their_state = ours.init(params), theirs.init(their_params)
    for _ in range(STEPS):
        grads = tree()
        updates, state = ours.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        their_grads = {key: jnp.asarray(leaf) for key, leaf in grads.items()}
        their_updates, their_state = theirs.update(their_grads, their_state, their_params)
        their_params = optax.apply_updates(their_params, their_updates)
    assert_close(params, their_params, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("row", rows("optax", "The loop"), ids=str)
def test_the_loop_of_optax(row: Row) -> None:
    optax = pytest.importorskip("optax", reason="needs optax, to compare with")
    jax = pytest.importorskip("jax", reason="needs JAX, to compare with")
    known = names()
    theirs = {"optax": optax, "jax": jax, **{k: known[k] for k in ("params", "grads", "updates")}}
    theirs["tx"] = optax.adam(1e-3)
    theirs["state"] = theirs["tx"].init(theirs["params"])
    theirs["step"] = lambda params, state, grads: (params, state)
    exec(row.old, theirs)  # noqa: S102  (our own page)
    exec(row.new, known)  # noqa: S102  (our own page)
    (assigned,) = {line.partition(" = ")[0] for line in row.old.splitlines()}
    for name in set(assigned.split(", ")) - {"step", "state"}:
        assert_close(known[name], theirs[name], rtol=1e-5, atol=1e-6)
