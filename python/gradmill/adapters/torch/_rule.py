"""Transformations made from the entries of torch's parameter groups."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from gradmill._data.checks import number_of
from gradmill._data.types import is_transformation
from gradmill._plan.layout import links_of
from gradmill.transforms import InjectStatefulHyperparamsState, inject_hyperparams, scale
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gradmill._data.types import TransformationLike

Group = dict[str, Any]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Settings(NamedTuple):
    """What a group says at the moment.

    Attributes:
        numbers: The arguments that may change from step to step.
        fixed: The others.
        maximize: Whether to go up.
    """

    numbers: dict[str, float]
    fixed: dict[str, Any]
    maximize: bool


def _entry(argument: str) -> str:
    """What torch calls an argument of a factory."""
    return {"learning_rate": "lr", "b1": "betas", "b2": "betas"}.get(argument, argument)


class Rule:
    """Makes the transformation of a group of the group's entries.

    Args:
        tx_or_factory: A function whose arguments are entries of groups, or a transformation, all of
            whose injected hyperparameters are.

    Attributes:
        read: The entries that are read.
        entries: What those are that nobody gives.
        needed: The entries that have to be given.
    """

    def __init__(self, tx_or_factory: Any) -> None:
        self.source = tx_or_factory
        self._is_made = is_transformation(tx_or_factory)
        if self._is_made:
            arguments: dict[str, Any] = dict(_injected(tx_or_factory))
        elif callable(tx_or_factory):
            signature = inspect.signature(tx_or_factory).parameters.values()
            arguments = {p.name: p.default for p in signature if p.kind in _NAMED}
        else:
            raise TypeError(
                "tx_or_factory must be a transformation or a function that makes one,"
                f" got {tx_or_factory!r}"
            )
        self._arguments = tuple(arguments)
        if not {"b1", "b2"}.issubset(arguments):
            self._call = {name: "lr" if name == "learning_rate" else name for name in arguments}
        else:
            self._call = {name: _entry(name) for name in arguments}
        self.read = set(self._call.values())
        self.needed = {
            self._call[name]
            for name, value in arguments.items()
            if value is inspect.Parameter.empty
        }
        self.entries: dict[str, Any] = {}
        for name, value in arguments.items():
            if isinstance(value, float | bool):
                self.entries[self._call[name]] = value
        if "betas" in self.read and "betas" not in arguments:
            self.entries["betas"] = arguments["b1"], arguments["b2"]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.source,)

    @property
    def name(self) -> str:
        """What errors call it."""
        return getattr(self.source, "__name__", "the transformation")

    def renamed(self, given: Mapping[str, Any]) -> Group:
        """Entries under torch's names."""
        entries = dict(given)
        if "learning_rate" in entries and "learning_rate" in self._call:
            entries["lr"] = entries.pop("learning_rate")
        if "betas" in self.read and {"b1", "b2"} & entries.keys():
            first, second = self.entries["betas"]
            entries["betas"] = entries.pop("b1", first), entries.pop("b2", second)
        return entries

    def check(self, given: Iterable[str]) -> None:
        """See that entries are arguments.

        Raises:
            TypeError: One is none.
        """
        known = {*self.read, "maximize"}
        for name in given:
            if name not in known:
                raise TypeError(f"{self.name} has no {name!r}; it has {sorted(known)}")

    def watched(self, group: Group) -> list[Any]:
        """The values of all entries that are read, to see whether one has changed."""
        values = [group.get(entry) for entry in self._call.values()]
        values.append(group.get("maximize"))
        return [float(v) if isinstance(v, torch.Tensor) else v for v in values]

    def settings(self, group: Group) -> Settings:
        """What a group says."""
        numbers: dict[str, float] = {}
        fixed: dict[str, Any] = {}
        for name, entry in self._call.items():
            if entry not in group:
                continue
            value = group[entry]
            if entry == "betas" and name != "betas":
                value = value[0 if name == "b1" else 1]
            if self._is_made or isinstance(value, float | np.floating | torch.Tensor):
                numbers[name] = float(value)
            else:
                fixed[name] = value
        return Settings(numbers, fixed, bool(group.get("maximize")))

    def build(self, settings: Settings, scaled: bool) -> TransformationLike:
        """The transformation, whose numbers are injected.

        Args:
            settings: What the group says.
            scaled: Whether an injected factor stands in front.
        """
        tx = self.source
        if not self._is_made:
            static = [name for name in self._arguments if name not in settings.numbers]
            make: Callable[..., TransformationLike] = tx
            if settings.numbers:
                make = inject_hyperparams(tx, static, np.float64)
            tx = make(**settings.numbers, **settings.fixed)
        if not scaled:
            return tx  # type: ignore[no-any-return]  # it was given
        factor = inject_hyperparams(scale, hyperparam_dtype=np.float64)
        return chain(factor(step_size=1.0), tx)


def _injected(tx: TransformationLike) -> dict[str, float]:
    """The injected hyperparameters of a transformation that are numbers."""
    spec = links_of(tx)[0].spec
    if spec is None or spec.state is not InjectStatefulHyperparamsState:
        return {}
    control: Any = spec.control
    return {name: float(number_of(value)) for name, value in control.numbers.items()}
