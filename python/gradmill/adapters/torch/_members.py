"""A torch parameter group: which of its parameters take a step, and with which others."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

from gradmill.adapters.torch._cohort import Cohort, Saved
from gradmill.adapters.torch._slots import STEP
from gradmill.adapters.torch._views import Name, array_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill.adapters.torch._rule import Group, Rule, Settings


class Members:
    """The parameters of one group, in cohorts that share a count of steps.

    A parameter without a gradient keeps its values, its state and its count, so it leaves the
    cohort in which others go on. It has no state until it gets its first gradient.

    Args:
        at: The group's position.
        rule: What makes its transformation.
        options: How parameters of half precision are kept.
        clips: Whether gradients are to be multiplied.
    """

    def __init__(self, at: int, rule: Rule, options: Mapping[str, Any], clips: bool) -> None:
        self._at = at
        self._rule = rule
        self._options = options
        self._clips = clips
        self._params: list[torch.Tensor] = []
        self._names: dict[torch.Tensor, Name] = {}
        self._waiting: list[torch.Tensor] = []
        self._cohorts: list[Cohort] = []
        self._of: dict[torch.Tensor, Cohort] = {}
        self._watched: list[Any] = []
        self._settings: Settings | None = None

    def look(self, group: Group) -> None:
        """Follow what was written into the group."""
        params = group["params"]
        if len(params) != len(self._params) or not all(map(operator.is_, params, self._params)):
            self._enroll(group)
        watched = self._rule.watched(group)
        if watched == self._watched:
            return
        old, new = self._settings, self._rule.settings(group)
        self._settings = new
        if old is None or _kind(old) == _kind(new):
            for cohort in self._cohorts:
                cohort.tell(new)
        else:
            try:
                self.settle(self.made(self.saved(), strict=False))
            except Exception:
                self._settings = old
                raise
        self._watched = watched

    def _enroll(self, group: Group) -> None:
        self._params = list(group["params"])
        self._names = _names(self._at, group)
        self.settle(self.made(self.saved()))

    def ready(self) -> list[Cohort]:
        """Those who have gradients, which they hold; the others are left as they are.

        Raises:
            LeafTypeError: A gradient is not a dense float tensor on the CPU.
        """
        ready: list[tuple[Cohort, list[Any]]] = []
        for cohort in list(self._cohorts):
            params = cohort.named.values()
            grads = [param.grad for param in params]
            found = [grad for grad in grads if grad is not None]
            if len(found) == len(grads):
                ready.append((cohort, found))
            elif found:
                there = [p for p, grad in zip(params, grads, strict=True) if grad is not None]
                ready.append((self._part(cohort, there), found))
        first = [param for param in self._waiting if param.grad is not None]
        if first:
            # What is wrong with a gradient is said before a state is made for it.
            for param in first:
                array_of(param.grad, self._names[param], ".grad")
            ready.append((self._join(first), [param.grad for param in first]))
        for cohort, found in ready:
            cohort.take(found)
        return [cohort for cohort, _ in ready]

    def alone(self, param: torch.Tensor) -> Cohort:
        """The cohort of this parameter and no other, which holds its gradient."""
        cohort = self._of.get(param)
        if cohort is None:
            cohort = self._join([param])
        elif len(cohort.named) > 1:
            cohort = self._part(cohort, [param])
        cohort.take([param.grad])
        return cohort

    def release(self) -> None:
        """Let go of gradients."""
        for cohort in self._cohorts:
            cohort.grads.clear()

    def _part(self, cohort: Cohort, there: list[torch.Tensor]) -> Cohort:
        """Part those who go on from the others."""
        saved = cohort.saved()
        going = set(there)
        ahead = self._new(there, saved)
        behind = self._new([p for p in cohort.named.values() if p not in going], saved)
        self._cohorts.remove(cohort)
        self._admit(ahead)
        self._admit(behind)
        return ahead

    def _join(self, params: list[torch.Tensor]) -> Cohort:
        """Make a state for parameters that had none."""
        cohort = self._new(params, None)
        self._admit(cohort)
        return cohort

    def _new(
        self,
        params: list[torch.Tensor],
        saved: Mapping[torch.Tensor, Saved] | None,
        strict: bool = True,
    ) -> Cohort:
        named = {self._names[param]: param for param in params}
        assert self._settings is not None  # noqa: S101  (for the type checker: it was looked at)
        cohort = Cohort(named, self._rule, self._settings, self._clips, self._options)
        if saved is not None:
            cohort.go_on(saved, strict)
        return cohort

    def _admit(self, cohort: Cohort) -> None:
        self._cohorts.append(cohort)
        self._of.update(dict.fromkeys(cohort.named.values(), cohort))
        self._waiting = [param for param in self._params if param not in self._of]

    def saved(self) -> dict[torch.Tensor, Saved]:
        """The state of each parameter that has one, in the order of the group."""
        found: dict[torch.Tensor, Saved] = {}
        for cohort in self._cohorts:
            found.update(cohort.saved())
        return {param: found[param] for param in self._params if param in found}

    def saved_of(self, param: torch.Tensor) -> Saved | None:
        """The state of one parameter, if it has one."""
        cohort = self._of.get(param)
        return None if cohort is None else cohort.saved()[param]

    def has(self, param: object) -> bool:
        """Whether a parameter has a state."""
        return param in self._of

    def enrolled(self) -> list[torch.Tensor]:
        """The parameters that have a state, in the order of the group."""
        return [param for param in self._params if param in self._of]

    def __contains__(self, param: object) -> bool:
        """Whether a parameter is in the group."""
        return param in self._names

    def put(self, param: torch.Tensor, saved: Saved) -> None:
        """Give this state to one parameter; where it takes steps with others, it still does so."""
        cohort = self._of.get(param)
        if cohort is None or not cohort.write(param, saved):
            self.settle(self.made({**self.saved(), param: saved}))

    def made(self, saved: Mapping[torch.Tensor, Saved], strict: bool = True) -> list[Cohort]:
        """Cohorts with these states, which take the place of those there in :meth:`settle`.

        Args:
            saved: The states; parameters that have none start anew.
            strict: Whether what the transformation does not keep is an error.

        Raises:
            TreeError: A state lacks something, or has too much.
            LeafValueError: A tensor has another shape.
        """
        alike: dict[Any, list[torch.Tensor]] = {}
        for param in self._params:
            if saved.get(param):
                alike.setdefault(_common(param, saved[param]), []).append(param)
        return [self._new(params, saved, strict) for params in alike.values()]

    def settle(self, cohorts: list[Cohort]) -> None:
        """Have these cohorts and no others."""
        self._cohorts, self._of = [], {}
        self._waiting = list(self._params)
        for cohort in cohorts:
            self._admit(cohort)


def _names(at: int, group: Group) -> dict[torch.Tensor, Name]:
    """What the parameters of a group are called; by their own names, if all have different ones."""
    params = group["params"]
    own = group.get("param_names", ())
    if len(own) != len(params) or len(set(own)) != len(params):
        own = [f"param_groups[{at}]['params'][{index}]" for index in range(len(params))]
    return dict(zip(params, map(Name, own), strict=True))


def _kind(settings: Settings) -> tuple[Any, ...]:
    """What makes another transformation where it changes."""
    return settings.numbers.keys(), settings.fixed, settings.maximize


def _common(param: torch.Tensor, saved: Saved) -> tuple[Any, ...]:
    """What parameters have in common that belong to one cohort: counts and other small numbers."""
    small = []
    for key, value in sorted(saved.items()):
        tensor = torch.as_tensor(0 if value is None else value)
        if tensor.numel() <= 2 and (tensor.shape != param.shape or not tensor.is_floating_point()):
            small.append((key, tuple(tensor.flatten().tolist())))
    return int(saved.get(STEP, 0)), tuple(small)
