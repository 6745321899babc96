"""Flower's strategies whose server takes a step, in one pass over what clients sent.

Aggregates are formed by :func:`gradmill.weighted_sum`, without an array for each client. Arrays of
float32 stay such, also with NumPy 2, where Flower's FedAdam makes float64 of them. Arrays of
integers, such as the counters of batch normalization, take the rounded average and stay integers.

Classes by Flower's names are for ``flwr.serverapp.strategy``, and those whose names start with
``Legacy`` for ``flwr.server.strategy``, which has lists of arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill.adapters._federated import (
    AdagradStep,
    AdamStep,
    ChainStep,
    MomentumStep,
    YogiStep,
    average,
    shares,
)

try:
    from flwr.app import Array as _Array
    from flwr.app import ArrayRecord as _ArrayRecord
    from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
    from flwr.server import strategy as _legacy
    from flwr.serverapp import strategy as _theirs
    from flwr.serverapp.exception import AggregationError
except ImportError as error:
    raise ImportError(
        f"{error}; gradmill.adapters.flower needs: pip install 'gradmill[flower]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flwr.app import ArrayRecord, Message, MetricRecord

    from gradmill._data.types import TransformationLike

    Array = np.ndarray[Any, Any]


class _Messages:
    """Aggregation of what is in messages, arrays by name."""

    def aggregate_train(
        self: Any, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate what clients sent and take the server's step.

        Args:
            server_round: The number of the round, from 1.
            replies: The clients' messages.

        Returns:
            The new arrays and the aggregated metrics, or None where nothing came back.

        Raises:
            AggregationError: There are no current arrays, or a client has others.
            InconsistentMessageReplies: Clients sent different things.
        """
        valid, _ = self._check_and_log_replies(replies, is_train=True)
        if not valid:
            return None, None
        records = [message.content for message in valid]
        new = self._next(server_round, records)
        return new, self.train_metrics_aggr_fn(records, self.weighted_by_key)

    def _next(self: Any, server_round: int, records: list[Any]) -> ArrayRecord:
        metrics = [next(iter(record.metric_records.values())) for record in records]
        parts = shares([metric[self.weighted_by_key] for metric in metrics])
        sent = [next(iter(record.array_records.values())) for record in records]
        if not self._steps_at_all():
            return _record(sent[0], [_mean(sent, parts, key) for key in sent[0]])
        old = self._now()
        if old.keys() != sent[0].keys():
            odd = min(old.keys() ^ sent[0].keys())
            raise AggregationError(
                reason=f"{odd!r}: the server and the clients do not both have it"
            )
        aggregate = [_mean(sent, parts, key, own.shape) for key, own in old.items()]
        current = list(old.values())
        return _record(old, self._stepped(server_round, list(old), current, aggregate))

    def _steps_at_all(self) -> bool:
        return True

    def _now(self: Any) -> dict[str, Array]:
        """The arrays that clients started from."""
        if self.current_arrays is None:
            raise AggregationError(reason="call configure_train first: there are no current arrays")
        arrays = self.current_arrays.items()
        return {k: a if isinstance(a, np.ndarray) else a.numpy() for k, a in arrays}

    def _in_order(self: Any, arrays: list[Array]) -> Any:
        return dict(zip(self._keys, arrays, strict=True))


def _mean(
    sent: Sequence[Any], parts: Sequence[float], key: str, shape: tuple[int, ...] | None = None
) -> Array:
    """The average of an array. Only those of this name are unpacked at a time."""
    arrays = [record[key].numpy() for record in sent]
    expected = arrays[0].shape if shape is None else shape
    for array in arrays:
        if array.shape != expected:
            raise AggregationError(reason=f"{key!r}: shape {array.shape}, expected {expected}")
    return average(arrays, parts, repr(key))


def _record(keys: Iterable[str], arrays: Iterable[Array]) -> ArrayRecord:
    return _ArrayRecord({key: _Array(a) for key, a in zip(keys, arrays, strict=True)})


class _Lists:
    """Aggregation of lists of arrays, in the order in which clients have them."""

    def aggregate_fit(
        self: Any, server_round: int, results: list[Any], failures: list[Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Aggregate what clients sent and take the server's step.

        Args:
            server_round: The number of the round, from 1.
            results: The clients and their results.
            failures: The failures.

        Returns:
            The new parameters and the aggregated metrics, or None and no metrics.
        """
        if not results or (failures and not self.accept_failures):
            return None, {}
        fits = [fit for _, fit in results]
        parts = shares([fit.num_examples for fit in fits])
        sent = [parameters_to_ndarrays(fit.parameters) for fit in fits]
        new = [
            average(arrays, parts, f"parameters[{at}]")
            for at, arrays in enumerate(zip(*sent, strict=True))
        ]
        if self._steps_at_all():
            new = self._stepped(server_round, range(len(new)), self._now(), new)
            self._keep(new)
        metrics: dict[str, Any] = {}
        if self.fit_metrics_aggregation_fn:
            counted = [(fit.num_examples, fit.metrics) for fit in fits]
            metrics = self.fit_metrics_aggregation_fn(counted)
        return ndarrays_to_parameters(new), metrics

    def _steps_at_all(self) -> bool:
        return True

    def _now(self: Any) -> list[Array]:
        arrays: list[Array] = self.current_weights
        return arrays

    def _keep(self: Any, new: list[Array]) -> None:
        self.current_weights = new


class FedAdam(_Messages, AdamStep, _theirs.FedAdam):
    """``flwr.serverapp.strategy.FedAdam`` in one pass: Adam's moments.

    Arguments and attributes are Flower's.

    Example:
        >>> from gradmill.adapters.flower import FedAdam
        >>> FedAdam(eta=0.01).tau
        0.001
    """


class FedYogi(_Messages, YogiStep, _theirs.FedYogi):
    """``flwr.serverapp.strategy.FedYogi`` in one pass: Yogi's moments.

    Arguments and attributes are Flower's.

    Example:
        >>> from gradmill.adapters.flower import FedYogi
        >>> FedYogi(eta=0.01).tau
        0.001
    """


class FedAdagrad(_Messages, AdagradStep, _theirs.FedAdagrad):
    """``flwr.serverapp.strategy.FedAdagrad`` in one pass: sums of squares.

    Arguments and attributes are Flower's.

    Example:
        >>> from gradmill.adapters.flower import FedAdagrad
        >>> FedAdagrad(eta=0.01).tau
        0.001
    """


class FedAvgM(_Messages, MomentumStep, _theirs.FedAvgM):
    """``flwr.serverapp.strategy.FedAvgM`` in one pass: averages with momentum.

    Arguments and attributes are Flower's. Arrays are matched by name.

    Example:
        >>> from gradmill.adapters.flower import FedAvgM
        >>> FedAvgM(server_momentum=0.9).server_learning_rate
        1.0
    """

    def _steps_at_all(self) -> bool:
        return bool(self.server_opt)

    def _next(self, server_round: int, records: list[Any]) -> ArrayRecord:
        new = super()._next(server_round, records)
        if self.server_opt:
            self.current_arrays = new
        return new

    def _in_order(self, arrays: list[Array]) -> Any:
        return arrays


class GradmillStrategy(_Messages, ChainStep, _theirs.FedAvg):
    """A strategy whose server takes its steps with any transformation.

    The gradient is the current arrays minus the aggregate, so ``gm.sgd(1.0)`` simply takes over the
    aggregate.

    Args:
        tx: The transformation. Parameters are a dict by name, for masks and labels.
        **options: The arguments of ``flwr.serverapp.strategy.FedAvg``.

    Attributes:
        optimizer: The :class:`gradmill.Optimizer`; None before the first step.

    Example:
        >>> import gradmill as gm
        >>> from gradmill.adapters.flower import GradmillStrategy
        >>> strategy = GradmillStrategy(gm.adamw(0.01), fraction_evaluate=0.0)
        >>> strategy.optimizer is None
        True
    """

    def __init__(self, tx: TransformationLike, **options: Any) -> None:
        super().__init__(**options)
        self.tx = tx
        self.optimizer = None
        self.current_arrays: ArrayRecord | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: Any, grid: Any
    ) -> Iterable[Message]:
        """Configure a round, and note the arrays that clients start from."""
        self.current_arrays = arrays
        messages: Iterable[Message] = super().configure_train(server_round, arrays, config, grid)
        return messages


class LegacyFedAdam(_Lists, AdamStep, _legacy.FedAdam):
    """``flwr.server.strategy.FedAdam`` in one pass; see :class:`FedAdam`.

    Example:
        >>> import flwr.server
        >>> from gradmill.adapters.flower import LegacyFedAdam
        >>> issubclass(LegacyFedAdam, flwr.server.strategy.FedAdam)
        True
    """


class LegacyFedYogi(_Lists, YogiStep, _legacy.FedYogi):
    """``flwr.server.strategy.FedYogi`` in one pass; see :class:`FedYogi`.

    Example:
        >>> import flwr.server
        >>> from gradmill.adapters.flower import LegacyFedYogi
        >>> issubclass(LegacyFedYogi, flwr.server.strategy.FedYogi)
        True
    """


class LegacyFedAdagrad(_Lists, AdagradStep, _legacy.FedAdagrad):
    """``flwr.server.strategy.FedAdagrad`` in one pass; see :class:`FedAdagrad`.

    Example:
        >>> import flwr.server
        >>> from gradmill.adapters.flower import LegacyFedAdagrad
        >>> issubclass(LegacyFedAdagrad, flwr.server.strategy.FedAdagrad)
        True
    """


class LegacyFedAvgM(_Lists, MomentumStep, _legacy.FedAvgM):
    """``flwr.server.strategy.FedAvgM`` in one pass; see :class:`FedAvgM`.

    Example:
        >>> import flwr.server
        >>> from gradmill.adapters.flower import LegacyFedAvgM
        >>> issubclass(LegacyFedAvgM, flwr.server.strategy.FedAvgM)
        True
    """

    def _steps_at_all(self) -> bool:
        return bool(self.server_opt)

    def aggregate_fit(
        self, server_round: int, results: list[Any], failures: list[Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Aggregate and take the server's step; momentum starts in the first round."""
        if server_round <= 1:
            self.momentum_vector = None
        return super().aggregate_fit(server_round, results, failures)

    def _now(self) -> list[Array]:
        if self.initial_parameters is None:
            raise ValueError("a server that takes steps needs initial_parameters")
        arrays: list[Array] = parameters_to_ndarrays(self.initial_parameters)
        return arrays

    def _keep(self, new: list[Array]) -> None:
        self.initial_parameters = ndarrays_to_parameters(new)


class LegacyGradmillStrategy(_Lists, ChainStep, _legacy.FedAvg):
    """:class:`GradmillStrategy` for ``flwr.server``; parameters are a dict by position.

    Args:
        tx: The transformation.
        initial_parameters: The parameters that the server starts with.
        **options: The arguments of ``flwr.server.strategy.FedAvg``.

    Attributes:
        optimizer: The :class:`gradmill.Optimizer`; None before the first step.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> from flwr.common import ndarrays_to_parameters
        >>> from gradmill.adapters.flower import LegacyGradmillStrategy
        >>> start = ndarrays_to_parameters([np.zeros(3)])
        >>> LegacyGradmillStrategy(gm.adam(0.01), start).current_weights
        [array([0., 0., 0.])]
    """

    def __init__(self, tx: TransformationLike, initial_parameters: Any, **options: Any) -> None:
        super().__init__(initial_parameters=initial_parameters, **options)
        self.tx = tx
        self.optimizer = None
        self.current_weights = parameters_to_ndarrays(initial_parameters)
