"""Flower's strategies with our steps, against Flower's with its own."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs flwr")

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import strategy as their_legacy
from flwr.serverapp import strategy as theirs
from flwr.serverapp.exception import AggregationError
from flwr.supercore.task_identity import TaskIdentity

import gradmill as gm
from gradmill import errors
from gradmill.adapters import flower as ours
from tests.adapters.close import MOST, check_close

ROUNDS = 100
RULES: list[Any] = [
    ("FedAdam", {}),
    ("FedAdam", {"eta": 0.01, "beta_1": 0.5, "beta_2": 0.9, "tau": 0.1}),
    ("FedYogi", {}),
    ("FedYogi", {"eta": 0.1, "beta_1": 0.5, "tau": 0.1}),
    ("FedAdagrad", {}),
    ("FedAvgM", {}),
    ("FedAvgM", {"server_momentum": 0.9}),
    ("FedAvgM", {"server_learning_rate": 0.5}),
    ("FedAvgM", {"server_learning_rate": 0.5, "server_momentum": 0.5}),
]


@pytest.fixture(autouse=True)
def a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages say which run they are of."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Nodes:
    """All that a strategy asks of a grid."""

    def get_node_ids(self) -> list[int]:
        return [1, 2, 3]


def start(dtype: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"b.weight": (4, 3), "a.bias": (3,), "a.scale": ()}
    return {name: np.array(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def trained(arrays: dict[str, Any], rng: Any) -> dict[str, Any]:
    """What a client makes of the server's arrays: a pull towards one, and noise."""
    return {
        name: (0.9 * a + 0.1 + 0.05 * rng.normal(size=a.shape)).astype(a.dtype)
        if a.dtype.kind == "f"
        else a + np.asarray(rng.integers(5, 9), a.dtype)
        for name, a in arrays.items()
    }


def reply(arrays: dict[str, Any], examples: int) -> Message:
    record = ArrayRecord({name: Array(np.asarray(a)) for name, a in arrays.items()})
    metrics = MetricRecord({"num-examples": examples, "loss": float(examples)})
    content = RecordDict({"arrays": record, "metrics": metrics})
    return Message(content, dst_node_id=1, message_type="train")


def record_of(arrays: dict[str, Any]) -> ArrayRecord:
    return ArrayRecord({name: Array(a) for name, a in arrays.items()})


def round_of(strategy: Any, number: int, arrays: dict[str, Any], rng: Any) -> dict[str, Any]:
    """The server's arrays after a round, in the dtypes that they had."""
    strategy.configure_train(number, record_of(arrays), ConfigRecord(), Nodes())
    replies = [reply(trained(arrays, rng), examples) for examples in (10, 30, 25)]
    new, metrics = strategy.aggregate_train(number, replies)
    assert abs(metrics["loss"] - (100 + 900 + 625) / 65) < 1e-9
    assert list(new) == list(arrays)
    return {name: new[name].numpy() for name in arrays}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "options"), RULES, ids=repr)
def test_rounds_are_theirs(kind: str, options: dict[str, Any], dtype: Any) -> None:
    ends = []
    for module in (ours, theirs):
        strategy, arrays = getattr(module, kind)(**options), start(dtype)
        rng = np.random.default_rng(1)
        for number in range(1, ROUNDS + 1):
            new = round_of(strategy, number, arrays, rng)
            if module is ours:
                assert all(a.dtype == dtype for a in new.values())
            # Theirs become float64.
            arrays = {name: a.astype(dtype) for name, a in new.items()}
            if hasattr(strategy, "v_t"):
                assert strategy.v_t.keys() == arrays.keys()
        ends.append((list(arrays.values()), state_of(strategy)))
    check_close(ends[0][0], ends[1][0], MOST[dtype])
    for mine, its in zip(ends[0][1], ends[1][1], strict=True):
        check_close(mine, its.astype(dtype), 10 * MOST[dtype])


def state_of(strategy: Any) -> list[Any]:
    """The arrays of the state, as Flower has it; Adagrad's first moments are differences."""
    if getattr(strategy, "momentum_vector", None):
        return list(strategy.momentum_vector)
    named = ["v_t"] if "Adagrad" in type(strategy).__name__ else ["m_t", "v_t"]
    found = [getattr(strategy, name, None) or [] for name in named]
    return [a for s in found for a in (s.values() if isinstance(s, dict) else s)]


def results(arrays: list[Any], rng: Any) -> list[Any]:
    named = {str(at): a for at, a in enumerate(arrays)}
    found = []
    for examples in (10, 30, 25):
        sent = ndarrays_to_parameters(list(trained(named, rng).values()))
        metrics = {"loss": float(examples)}
        found.append((None, FitRes(Status(Code.OK, ""), sent, examples, metrics)))
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "options"), RULES, ids=repr)
def test_legacy_rounds_are_theirs(kind: str, options: dict[str, Any], dtype: Any) -> None:
    ends = []
    for module, prefix in ((ours, "Legacy"), (their_legacy, "")):
        arrays = list(start(dtype).values())
        strategy = getattr(module, prefix + kind)(
            initial_parameters=ndarrays_to_parameters(arrays),
            fit_metrics_aggregation_fn=lambda found: {"clients": len(found)},
            **options,
        )
        rng = np.random.default_rng(1)
        for number in range(1, ROUNDS + 1):
            new, metrics = strategy.aggregate_fit(number, results(arrays, rng), [])
            assert metrics == {"clients": 3}
            arrays = parameters_to_ndarrays(new)
            if module is ours:
                assert all(a.dtype == dtype for a in arrays)
            arrays = [a.astype(dtype) for a in arrays]
            if hasattr(strategy, "current_weights"):
                strategy.current_weights = [a.copy() for a in arrays]
        ends.append(arrays)
    # A small epsilon beside the root: roundings of gradients near zero count.
    check_close(ends[0], ends[1], MOST[dtype])


def test_integers_stay_integers() -> None:
    arrays = {**start(np.float32), "counter": np.array(7), "table": np.arange(4, dtype=np.int32)}
    strategy = ours.FedAdam()
    for number in (1, 2):
        before = arrays
        arrays = round_of(strategy, number, arrays, np.random.default_rng(1))
        for name in ("counter", "table"):
            assert arrays[name].dtype == before[name].dtype
            assert (arrays[name] - before[name] >= 5).all()
            assert (arrays[name] - before[name] < 9).all()


def test_a_server_with_any_transformation() -> None:
    """Parameters have names, and a server that takes the aggregate is one of plain steps."""
    arrays = {**start(np.float32), "counter": np.array(7)}
    plain, average = ours.GradmillStrategy(gm.sgd(1.0)), theirs.FedAvg()
    ends = [round_of(s, 1, arrays, np.random.default_rng(1)) for s in (plain, average)]
    for name in start(np.float32):
        check_close(ends[0][name], ends[1][name], 1e-6)


def test_masks_go_by_name() -> None:
    arrays = start(np.float32)
    labels = {name: "moves" if name == "a.bias" else "stays" for name in arrays}
    tx = gm.partition({"moves": gm.adam(0.1), "stays": gm.set_to_zero()}, labels)
    new = round_of(ours.GradmillStrategy(tx), 1, arrays, np.random.default_rng(1))
    moved = {name for name, a in new.items() if not np.array_equal(a, arrays[name])}
    assert moved == {"a.bias"}


def test_momentum_of_a_transformation_goes_on() -> None:
    strategy, other = (
        ours.GradmillStrategy(gm.sgd(0.5, momentum=0.9)),
        theirs.FedAvgM(server_learning_rate=0.5, server_momentum=0.9),
    )
    ends = []
    for s in (strategy, other):
        arrays, rng = start(np.float64), np.random.default_rng(1)
        for number in range(1, 11):
            arrays = round_of(s, number, arrays, rng)
        ends.append(list(arrays.values()))
    check_close(ends[0], ends[1], 1e-14)
    assert strategy.optimizer is not None
    assert strategy.optimizer.state[0].trace.keys() == start(np.float64).keys()


def test_legacy_server_with_any_transformation() -> None:
    arrays = [*start(np.float64).values(), np.array(3)]
    strategy = ours.LegacyGradmillStrategy(gm.sgd(1.0), ndarrays_to_parameters(arrays))
    other = their_legacy.FedAvg()
    found = results(arrays, np.random.default_rng(0))
    new = parameters_to_ndarrays(strategy.aggregate_fit(1, found, [])[0])
    its = parameters_to_ndarrays(other.aggregate_fit(1, found, [])[0])
    check_close(new[:3], its[:3], 1e-14)
    assert new[3].dtype == arrays[3].dtype
    assert new[3] >= 8


def test_what_clients_sent_and_the_server_has_is_not_written_to() -> None:
    strategy = ours.LegacyFedAdam(initial_parameters=ndarrays_to_parameters([np.ones(3)]))
    kept = [strategy.current_weights]
    for number in (1, 2, 3):
        found = results(kept[-1], np.random.default_rng(number))
        strategy.aggregate_fit(number, found, [])
        kept.append(strategy.current_weights)
    assert kept[0][0].tolist() == [1.0] * 3
    assert not any(np.shares_memory(a[0], b[0]) for a, b in pairwise(kept))


def test_rounds_without_results() -> None:
    strategy = ours.FedAdam()
    assert strategy.aggregate_train(1, []) == (None, None)
    legacy = ours.LegacyFedAdam(
        initial_parameters=ndarrays_to_parameters([np.ones(3)]), accept_failures=False
    )
    assert legacy.aggregate_fit(1, [], []) == (None, {})
    found = results([np.ones(3)], np.random.default_rng(0))
    assert legacy.aggregate_fit(1, found, [ValueError()]) == (None, {})
    assert legacy.v_t is None


def test_momentum_starts_in_the_first_round() -> None:
    ends = []
    for module, prefix in ((ours, "Legacy"), (their_legacy, "")):
        arrays = [np.ones(3)]
        start = ndarrays_to_parameters(arrays)
        made = getattr(module, prefix + "FedAvgM")
        strategy = made(initial_parameters=start, server_momentum=0.9)
        rng = np.random.default_rng(0)
        for number in (1, 2, 1, 2):
            new, _ = strategy.aggregate_fit(number, results(arrays, rng), [])
            arrays = parameters_to_ndarrays(new)
        ends.append(arrays)
    check_close(ends[0], ends[1], 1e-14)


def test_what_does_not_fit_is_named() -> None:
    legacy = ours.LegacyFedAdam(initial_parameters=ndarrays_to_parameters([np.ones(3)]))
    with pytest.raises(errors.LeafValueError, match=r"0: shape \(4,\), the server has \(3,\)"):
        legacy.aggregate_fit(1, results([np.ones(4)], np.random.default_rng(0)), [])
    strategy = ours.FedAdam()
    with pytest.raises(AggregationError):
        strategy.aggregate_train(1, [reply({"w": np.ones(3)}, 1)])
    strategy.configure_train(1, record_of({"w": np.ones(3)}), ConfigRecord(), Nodes())
    with pytest.raises(AggregationError, match="'other'"):
        strategy.aggregate_train(1, [reply({"w": np.ones(3), "other": np.ones(3)}, 1)])
    with pytest.raises(AggregationError, match=r"'w': shape \(4,\)"):
        strategy.aggregate_train(1, [reply({"w": np.ones(4)}, 1)])
    assert strategy.v_t is None
    complex_one = ours.GradmillStrategy(gm.sgd(1.0))
    arrays = {"w": np.ones(3, complex)}
    complex_one.configure_train(1, record_of(arrays), ConfigRecord(), Nodes())
    with pytest.raises(errors.LeafTypeError, match="complex"):
        complex_one.aggregate_train(1, [reply(arrays, 1)])
