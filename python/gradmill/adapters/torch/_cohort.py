"""Parameters that have taken the same number of steps, and step together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradmill._optimizer import Optimizer
from gradmill.adapters.torch._slots import MASTER, STEP, Slots
from gradmill.adapters.torch._views import Name, array_of, place, tensor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill.adapters.torch._rule import Rule, Settings

Saved = dict[str, Any]
"""The state of one parameter, as torch keeps it."""


class Cohort:
    """Parameters of a group that share a count of steps.

    Args:
        named: The parameters by name.
        rule: What makes their transformation.
        settings: Of what it is made.
        clips: Whether gradients are to be multiplied.
        options: How parameters of half precision are kept.

    Attributes:
        named: The parameters by name.
        grads: Their gradients, while a step is taken.
    """

    def __init__(
        self,
        named: dict[Name, torch.Tensor],
        rule: Rule,
        settings: Settings,
        clips: bool,
        options: Mapping[str, Any],
    ) -> None:
        self.named = named
        self.grads: dict[Name, Any] = {}
        self._params = list(named.items())
        self._scaled = clips or settings.maximize
        self._has_masters = options["master"] is True
        arrays = {name: array_of(param, name) for name, param in named.items()}
        self._opt = Optimizer(rule.build(settings, self._scaled), arrays, **options)
        self._slots = Slots(self._opt.state, self._scaled)
        self._sign = -1.0 if settings.maximize else 1.0
        self._steps = 0
        self._look()

    def _look(self) -> None:
        """Note where parameters are, and which version of each this is."""
        self._places = [place(param) for _, param in self._params]
        self._versions = [param._version for _, param in self._params] if self._has_masters else []

    def tell(self, settings: Settings) -> None:
        """Take over numbers that have changed."""
        state = self._opt.state
        own = state[1] if self._scaled else state
        for name, value in settings.numbers.items():
            own.hyperparams[name] = value

    def take(self, grads: list[torch.Tensor]) -> None:
        """Take gradients, in the order of the parameters.

        Raises:
            LeafTypeError: A parameter or a gradient is not a dense float tensor on the CPU.
            LeafValueError: A parameter has another shape or dtype than before.
        """
        self._follow()
        for name, grad in zip(self.named, grads, strict=True):
            self.grads[name] = array_of(grad, name, ".grad")

    def _follow(self) -> None:
        """Go on with parameters that have moved in memory or, beside a copy, got other values.

        Raises:
            LeafTypeError: One is no dense tensor of floats on the CPU any more.
            LeafValueError: One has another shape or dtype.
        """
        moved = [place(param) for _, param in self._params] != self._places
        written = self._has_masters and self._versions != [p._version for _, p in self._params]
        if not (moved or written):
            return
        copies = self._copies()
        before = {name: copy.copy() for name, copy in copies.items()}
        if moved:
            arrays = {name: array_of(param, name) for name, param in self._params}
            self._opt.params.update(arrays)
            self._opt.load(self._opt.params)
        for name, copy in copies.items():
            half = self._opt.params[name]
            is_same = before[name].astype(half.dtype) == half
            np.copyto(copy, np.where(is_same, before[name], half))
        self._look()

    def _copies(self) -> dict[Name, Any]:
        """The float32 copies of parameters of half precision."""
        params, master = self._opt.params, self._opt.master
        return {name: master[name] for name in self.named if master[name] is not params[name]}

    def step(self, factor: float) -> None:
        """Take a step with gradients times a factor."""
        if self._scaled:
            self._opt.state[0].hyperparams["step_size"] = self._sign * factor
        self._steps = self._opt.step(self.grads).step
        increment_version([param for _, param in self._params])
        if self._has_masters:
            self._versions = [param._version for _, param in self._params]

    def saved(self) -> dict[torch.Tensor, Saved]:
        """The state of each parameter; its tensors lie in this state's memory."""
        entries = self._slots.saved(self._opt.state, self.named, self._steps)
        for name, copy in self._copies().items():
            entries[name][MASTER] = tensor_of(copy)
        return {param: entries[name] for name, param in self._params}

    def write(self, param: torch.Tensor, saved: Saved) -> bool:
        """Write a state over that of one parameter, if it is a state of so many steps."""
        own = self.saved()[param]
        if own.keys() != saved.keys():
            return False
        values = {key: torch.as_tensor(value) for key, value in saved.items()}
        common = (self._slots.common | {STEP}) & own.keys()
        if any(own[key].shape != value.shape for key, value in values.items()):
            return False
        if not all(torch.equal(own[key], values[key].to(own[key].dtype)) for key in common):
            return False
        for key in own.keys() - common:
            own[key].copy_(values[key])
        return True

    def go_on(self, saved: Mapping[torch.Tensor, Saved], strict: bool) -> None:
        """Begin with these states, which have as many steps.

        Raises:
            TreeError: One lacks something or, where that is not passed over, has too much.
            LeafValueError: A tensor has another shape.
        """
        of_name = {name: saved[param] for name, param in self._params}
        first = next(iter(of_name.values()))
        self._steps = int(first.get(STEP, 0))
        state = self._slots.filled(self._opt.state, of_name, self._steps, strict)
        self._opt.load(state=state, steps=self._steps)
        for name, copy in self._copies().items():
            if MASTER in of_name[name]:
                tensor_of(copy).copy_(torch.as_tensor(of_name[name][MASTER]))


_TAKES_LISTS = torch.__version__ >= torch.torch_version.TorchVersion("2.7")


def increment_version(params: list[torch.Tensor]) -> None:
    """Tell autograd that parameters have been written to."""
    if _TAKES_LISTS:
        torch.autograd.graph.increment_version(params)
    else:
        for param in params:
            torch.autograd.graph.increment_version(param)
