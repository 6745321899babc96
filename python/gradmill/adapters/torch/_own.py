"""AdamW, Adam and SGD with torch's own arguments and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gradmill.adapters.torch._optimizer import Optimizer
from gradmill.adapters.torch._rule import Rule, Settings
from gradmill.optimizers import adam as plain_adam
from gradmill.optimizers import adamw
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate, trace
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import TransformationLike
    from gradmill.adapters.torch._rule import Group

_IGNORED = {"foreach": None, "differentiable": False, "fused": None}
_OF_ADAM = {**_IGNORED, "amsgrad": False, "capturable": False}


def adam(
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float | None = 0.0,
) -> TransformationLike:
    """Adam whose decay is added to the gradient; None for no decay."""
    tx = plain_adam(learning_rate, b1, b2, eps)
    return tx if weight_decay is None else chain(add_decayed_weights(weight_decay), tx)


def sgd(
    learning_rate: float,
    momentum: float | None = 0.0,
    weight_decay: float | None = 0.0,
    *,
    nesterov: bool = False,
) -> TransformationLike:
    """Gradient descent; None for no momentum and no decay."""
    links = [] if weight_decay is None else [add_decayed_weights(weight_decay)]
    if momentum is not None:
        links.append(trace(momentum, nesterov))
    return chain(*links, scale_by_learning_rate(learning_rate))


class _Sparing(Rule):
    """Leaves out what a zero switches off, and its state."""

    def settings(self, group: Group) -> Settings:
        group = dict(group)
        for entry in ("momentum", "weight_decay"):
            if entry in self.read and not group[entry]:
                group[entry] = None
        return super().settings(group)


class AdamW(Optimizer):
    """``torch.optim.AdamW`` on the CPU: same arguments, same numbers to rounding, same files.

    Args:
        params: As for :class:`Optimizer`.
        lr: The learning rate.
        betas: Decays of the first and the second moment.
        eps: Added outside the root.
        weight_decay: The multiple of the parameters, which the learning rate multiplies.
        **options: ``maximize``, and the options of :class:`Optimizer`.

    Raises:
        LeafTypeError, TypeError, ValueError: As for :class:`Optimizer`.

    Example:
        >>> import torch
        >>> from gradmill.adapters.torch import AdamW
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> opt = AdamW([weight], lr=0.1)
        >>> weight.sum().backward()
        >>> opt.step()
        >>> weight.detach()
        tensor([0.8990, 0.8990])
    """

    _entries: ClassVar[Mapping[str, Any]] = {**_OF_ADAM, "decoupled_weight_decay": True}
    _always: ClassVar[Mapping[str, Any]] = {"decoupled_weight_decay": True}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        **options: Any,
    ) -> None:
        own: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, adamw, **own, **options)


class Adam(Optimizer):
    """``torch.optim.Adam`` on the CPU: same arguments, same numbers to rounding, same files.

    Args:
        params: As for :class:`Optimizer`.
        lr: The learning rate.
        betas: Decays of the first and the second moment.
        eps: Added outside the root.
        weight_decay: The multiple of the parameters that is added to the gradients.
        **options: ``maximize``, and the options of :class:`Optimizer`.

    Raises:
        LeafTypeError, TypeError, ValueError: As for :class:`Optimizer`.

    Example:
        >>> import torch
        >>> from gradmill.adapters.torch import Adam
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> opt = Adam([weight], lr=0.1)
        >>> weight.sum().backward()
        >>> opt.step()
        >>> weight.detach()
        tensor([0.9000, 0.9000])
    """

    _entries: ClassVar[Mapping[str, Any]] = {**_OF_ADAM, "decoupled_weight_decay": False}
    _always: ClassVar[Mapping[str, Any]] = {"decoupled_weight_decay": False}
    _make_rule = _Sparing

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        own: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, adam, **own, **options)


class SGD(Optimizer):
    """``torch.optim.SGD`` on the CPU: same arguments, same numbers to rounding, same files.

    There is no ``dampening``.

    Args:
        params: As for :class:`Optimizer`.
        lr: The learning rate.
        momentum: The weight of past gradients.
        weight_decay: The multiple of the parameters that is added to the gradients.
        nesterov: Whether to look one step ahead.
        **options: ``maximize``, and the options of :class:`Optimizer`.

    Raises:
        LeafTypeError, TypeError, ValueError: As for :class:`Optimizer`.

    Example:
        >>> import torch
        >>> from gradmill.adapters.torch import SGD
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> opt = SGD([weight], lr=0.1, momentum=0.9)
        >>> weight.sum().backward()
        >>> opt.step()
        >>> weight.detach()
        tensor([0.9000, 0.9000])
    """

    _entries: ClassVar[Mapping[str, Any]] = {**_IGNORED, "dampening": 0.0}
    _make_rule = _Sparing

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        own: dict[str, Any] = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, sgd, **own, nesterov=nesterov, **options)
