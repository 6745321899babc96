"""What is kept from one call for the next, by threads that call at once with other trees."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import Flattener
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THREADS, CALLS = 6, 300


@pytest.fixture(autouse=True)
def _switches_at_any_time() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(call: Callable[[int], Any]) -> None:
    """Call from all threads, each with its number; results are those of a thread alone."""
    expected = [call(thread) for thread in range(THREADS)]
    wrong: list[Any] = []
    start = threading.Barrier(THREADS)

    def run(thread: int) -> None:
        start.wait()
        for _ in range(CALLS):
            try:
                found = call(thread)
            except Exception as error:  # noqa: BLE001  (any is one too many)
                found = error
            if found != expected[thread]:
                wrong.append(found)
                return

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def tree(thread: int) -> Any:
    """One of several kinds and sizes."""
    keys = [f"{'abc'[thread % 3]}{at}" for at in range(1 + thread % 4)]
    kind = OrderedDict if thread % 2 else dict
    return {"x": kind((key, np.full(2, float(thread))) for key in keys)}


def shown(tree: Any) -> Any:
    """What tells a tree from another."""
    return repr(tree), bits(tree)


def test_a_flattener_keeps_trees_apart() -> None:
    flattener = Flattener()

    def flatten(thread: int) -> Any:
        leaves, structure = flattener(tree(thread))
        return shown(structure.spec.unflatten(leaves))

    at_once(flatten)


def test_parameters_of_each_thread_are_its_own() -> None:
    at_once(lambda thread: shown(gm.apply_updates(tree(thread), tree(thread))))


@pytest.mark.parametrize("name", ["adamw", "masked", "python", "injected"])
def test_a_transformation_takes_trees_of_many_threads(name: str) -> None:
    tx = {
        "adamw": gm.adamw(0.1),
        "masked": gm.masked(gm.trace(0.9), lambda path, _: path.endswith("0")),
        "python": gm.chain(gm.stateless(lambda updates, _: updates), gm.scale(2.0)),
        "injected": gm.inject_hyperparams(gm.sgd)(0.1),
    }[name]

    def update(thread: int) -> Any:
        params = tree(thread)
        return shown(tx.update(params, tx.init(params), params))

    at_once(update)
