"""The optimizer with the interface of ``torch.optim``."""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from gradmill._data.info import build_info
from gradmill._data.threads import num_threads
from gradmill._run.update import global_norm
from gradmill.adapters.torch._members import Members
from gradmill.adapters.torch._rule import Rule
from gradmill.adapters.torch._views import check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradmill._data.types import TransformationLike
    from gradmill.adapters.torch._cohort import Cohort, Saved
    from gradmill.adapters.torch._rule import Group

UNKNOWN = (
    *("amsgrad", "dampening", "differentiable", "lr_decay", "momentum", "nesterov"),
    "weight_decay",
)
"""Entries of torch's groups that change numbers, and are refused where the rule has none such."""


class Optimizer(torch.optim.Optimizer):
    """A ``torch.optim.Optimizer`` that updates CPU tensors in place, with any transformation.

    All parameters of a group take their step in as few passes over memory as the transformation
    allows. Neither they nor their gradients are copied, whatever their strides. Learning rate
    schedulers, hooks, closures, ``zero_grad``, ``add_param_group``, ``state_dict`` and pickles work
    as with torch's own optimizers. Numbers that you write into ``param_groups`` hold from the next
    step on.

    As in torch, a parameter whose ``grad`` is None keeps its values, its state and its step count,
    and state is created with the first gradient. A transformation that measures a whole tree, such
    as a global norm, measures those parameters of a group that have taken equally many steps;
    ``max_norm`` measures all groups together.

    Args:
        params: Tensors, pairs of names and tensors, or groups of them, as torch takes them. Errors
            name a parameter by its name or its place.
        tx_or_factory: A function that makes a transformation, such as ``gradmill.adamw``. Its
            arguments become entries of the groups: ``lr`` is its ``learning_rate``, ``betas`` are
            its ``b1`` and ``b2``, and the others keep their names. Or a transformation, whose
            injected hyperparameters become entries; without any it has none.
        max_norm: The largest norm of the gradients of all groups together. They are multiplied by
            ``max_norm / (norm + 1e-6)`` if that is less than one, as ``clip_grad_norm_`` does, but
            on the fly: ``grad`` keeps its values. None for no bound.
        master: Whether to keep a float32 copy of each parameter of half precision, which steps
            add up in. It is ``"master_param"`` in the state.
        rounding: How half precision is rounded, as for :class:`gradmill.Optimizer`.
        seed: What stochastic rounding draws with.
        **defaults: Entries for groups that lack them: arguments of the function, or ``maximize``.

    Attributes:
        state: For each parameter a dict of its ``"step"`` and its tensors, which lie in the memory
            that steps write to. What torch has as well has torch's name: ``"exp_avg"``,
            ``"exp_avg_sq"``, ``"momentum_buffer"``, ``"sum"``. Assign a dict to set a state,
            delete it to start anew.
        grad_norm: The norm of the last step's gradients, if ``max_norm`` is given.

    Raises:
        LeafTypeError: A parameter is on another device than the CPU, sparse, complex, or not of
            floats; from ``step``, a gradient is.
        TypeError: The function has no such argument, or lacks one.
        ValueError: A group asks for what the function does not do, such as ``amsgrad=True``.

    Example:
        >>> import torch
        >>> import gradmill as gm
        >>> from gradmill.adapters.torch import Optimizer
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> opt = Optimizer([weight], gm.adamw, lr=0.1, weight_decay=0.0)
        >>> schedule = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.5)
        >>> for _ in range(2):
        ...     opt.zero_grad()
        ...     weight.sum().backward()
        ...     opt.step()
        ...     schedule.step()
        >>> weight.detach()
        tensor([0.8500, 0.8500])
        >>> opt.state[weight]["step"]
        tensor(2.)
    """

    _entries: ClassVar[Mapping[str, Any]] = {}
    """What torch's groups have besides what the rule reads."""
    _always: ClassVar[Mapping[str, Any]] = {}
    """What groups have, whatever a ``state_dict`` says."""
    _make_rule: ClassVar[type[Rule]] = Rule

    def __init__(
        self,
        params: Any,
        tx_or_factory: TransformationLike | Callable[..., TransformationLike],
        *,
        max_norm: float | None = None,
        master: bool = False,
        rounding: str = "nearest",
        seed: int = 0,
        **defaults: Any,
    ) -> None:
        self._rule = self._make_rule(tx_or_factory)
        given = self._rule.renamed(defaults)
        self._rule.check(given.keys() - self._entries.keys())
        self._options = {"master": master, "rounding": rounding, "seed": seed}
        self._begin(None if max_norm is None else float(max_norm))
        entries = {**self._rule.entries, "maximize": False, **self._entries, **given}
        super().__init__(params, entries)

    def _begin(self, max_norm: float | None) -> None:
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm must be positive, got {max_norm}")
        self.max_norm = max_norm
        self.grad_norm: float | None = None
        self._members: list[Members] = []
        self._threads = build_info()["threads"]
        self._loaded: Mapping[Any, Saved] | None = None

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, as in torch.

        Raises:
            LeafTypeError, TypeError, ValueError: As for the class.
        """
        if isinstance(param_group, dict):
            renamed = self._rule.renamed(param_group)
            param_group.clear()
            param_group.update(renamed)
        super().add_param_group(param_group)
        at = len(self.param_groups) - 1
        try:
            self._check_group(self.param_groups[at], at)
        except Exception:
            del self.param_groups[at]
            raise

    def _check_group(self, group: Group, at: int) -> None:
        missing = sorted(self._rule.needed - group.keys())
        if missing:
            raise TypeError(f"param_groups[{at}]: {self._rule.name} needs {missing[0]!r}")
        self._check_entries(group, at)
        names = group.get("param_names")
        for index, param in enumerate(group["params"]):
            if param.requires_grad:
                place = f"param_groups[{at}]['params'][{index}]"
                check(param, place if names is None else names[index])

    def _check_entries(self, group: Group, at: int) -> None:
        for entry in UNKNOWN:
            if entry not in self._rule.read and group.get(entry):
                raise ValueError(
                    f"param_groups[{at}]: {self._rule.name} has no {entry!r}, got {group[entry]!r}"
                )

    def _look(self) -> list[Members]:
        """Follow what was written into the groups."""
        while len(self._members) < len(self.param_groups):
            at = len(self._members)
            self._members.append(Members(at, self._rule, self._options, self.max_norm is not None))
        del self._members[len(self.param_groups) :]
        for members, group in zip(self._members, self.param_groups, strict=True):
            members.look(group)
        return self._members

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step with all parameters that have a gradient.

        All tensors are validated before the first write. Only one thing shows up during a step: two
        tensors of a group that share memory. Groups before that one have taken their step by then.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            What ``closure`` returns.

        Raises:
            LeafTypeError: A gradient or a parameter is not a dense float tensor on the CPU.
            LeafValueError: One has another shape than before, or shares memory with another.
            ValueError: Gradients have no norm that ``max_norm`` could bound, as one is NaN.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        try:
            ready = [cohort for members in self._look() for cohort in members.ready()]
            self._step(ready)
        finally:
            for members in self._members:
                members.release()
        return loss

    def _step(self, ready: list[Cohort]) -> None:
        # Those who have torch use fewer threads mean ours as well.
        threads = torch.get_num_threads()
        with num_threads(threads) if threads < self._threads else nullcontext():
            factor = 1.0
            if self.max_norm is not None:
                norm = global_norm([list(cohort.grads.values()) for cohort in ready])
                self.grad_norm = norm
                if math.isnan(norm):
                    raise ValueError("the norm of the gradients is NaN, so no step was taken")
                factor = min(self.max_norm / (norm + 1e-6), 1.0)
            for cohort in ready:
                cohort.step(factor)

    def step_leaf(self, param: torch.Tensor) -> None:
        """Take a step with one parameter and drop its gradient.

        Register it as a hook, ``param.register_post_accumulate_grad_hook(opt.step_leaf)``, to step
        during ``backward``, as soon as each gradient is complete: the gradients are then never in
        memory all at once.

        Args:
            param: A parameter of a group, with a gradient.

        Raises:
            ValueError: It is in no group, or ``max_norm`` needs all gradients.
            LeafTypeError: Its gradient is not a dense float tensor on the CPU.

        Example:
            >>> import torch
            >>> import gradmill as gm
            >>> from gradmill.adapters.torch import Optimizer
            >>> layer = torch.nn.Linear(2, 1)
            >>> opt = Optimizer(layer.parameters(), gm.sgd, lr=0.1)
            >>> for param in layer.parameters():
            ...     _ = param.register_post_accumulate_grad_hook(opt.step_leaf)
            >>> layer(torch.ones(2)).sum().backward()
            >>> layer.weight.grad is None
            True
        """
        if self.max_norm is not None:
            raise ValueError("max_norm needs the gradients of all parameters: call step()")
        members = next((m for m in self._look() if param in m), None)
        if members is None:
            raise ValueError("the parameter is not in this optimizer's param_groups")
        if param.grad is None:
            return
        try:
            self._step([members.alone(param)])
        finally:
            members.release()
        param.grad = None

    @property
    def state(self) -> States:
        """The state of each parameter."""
        return States(self._look)

    @state.setter
    def state(self, value: Mapping[torch.Tensor, Saved]) -> None:
        if self._members or value:
            made = [(members, members.made(value)) for members in self._look()]
            for members, cohorts in made:
                members.settle(cohorts)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a ``state_dict`` of this class or of torch's.

        Moments keep their bits; 16-bit ones are widened.

        Args:
            state_dict: What ``state_dict()`` returned. Neither this nor later steps change it.

        Raises:
            ValueError: Groups have other sizes, or ask for what the rule does not do.
            TreeError, LeafValueError: A state lacks an entry, has one too many or one of another
                shape; the message names it.
        """

        def keep(_: Any, given: dict[str, Any]) -> dict[str, Any]:
            # torch would cast moments to the dtype of the parameter.
            for at, group in enumerate(given["param_groups"]):
                self._check_entries(group, at)
            numbers = [number for group in given["param_groups"] for number in group["params"]]
            params = [param for group in self.param_groups for param in group["params"]]
            states = given["state"]
            # That there are as many of each is seen later.
            pairs = zip(numbers, params, strict=False)
            self._loaded = {param: states[number] for number, param in pairs if number in states}
            return {**given, "state": {}}

        handle = self.register_load_state_dict_pre_hook(keep)
        try:
            super().load_state_dict(state_dict)
        finally:
            self._loaded = None
            handle.remove()

    def __getstate__(self) -> dict[str, Any]:
        """Hand over what the rest is derived from."""
        saved = [list(members.saved().items()) for members in self._look()]
        own = {name: getattr(self, name) for name in ("_rule", "_options", "max_norm")}
        return {**own, "defaults": self.defaults, "param_groups": self.param_groups, "saved": saved}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on from what another optimizer handed over, or from a ``state_dict``."""
        kept = dict(state)
        if "saved" in kept:
            saved = dict(pair for pairs in kept.pop("saved") for pair in pairs)
            self._rule, self._options = kept.pop("_rule"), kept.pop("_options")
            self._begin(kept.pop("max_norm"))
            super().__setstate__(kept)
            self.state = saved
            return
        before: list[Group] = vars(self)["param_groups"]
        for old, new in zip(before, kept["param_groups"], strict=True):
            new.update({**old, **new, **self._always})
        try:
            super().__setstate__({"param_groups": kept["param_groups"]})
            self.state = self._loaded or {}
        except Exception:
            self.param_groups = before
            raise


class States(MutableMapping[torch.Tensor, Any]):
    """The state of each parameter that has one; see :class:`Optimizer`."""

    def __init__(self, look: Callable[[], list[Members]]) -> None:
        self._look = look

    def __getitem__(self, param: torch.Tensor) -> Saved:
        """The state of a parameter; in front of its first gradient an empty one, as in torch."""
        found = (members.saved_of(param) for members in self._look())
        return next((saved for saved in found if saved is not None), {})

    def __setitem__(self, param: torch.Tensor, saved: Saved) -> None:
        """Go on from this state."""
        for members in self._look():
            if param in members:
                members.put(param, saved)
                return
        raise KeyError("the parameter is not in this optimizer's param_groups")

    def __delitem__(self, param: torch.Tensor) -> None:
        """Start anew with the next gradient."""
        self[param] = {}

    def __contains__(self, param: object) -> bool:
        """Whether a parameter has a state."""
        return any(members.has(param) for members in self._look())

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Go through the parameters that have a state."""
        return (param for members in self._look() for param in members.enrolled())

    def __len__(self) -> int:
        """The number of parameters that have a state."""
        return sum(1 for _ in self)

    def items(self) -> Any:
        """All states."""
        return {p: s for members in self._look() for p, s in members.saved().items()}.items()

    def __repr__(self) -> str:
        """Print as a dict."""
        return repr(dict(self.items()))
