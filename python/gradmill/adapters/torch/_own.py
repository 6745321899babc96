"""AdamW, Adam, Adagrad and SGD with torch's own arguments and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gradmill.adapters.torch._optimizer import Optimizer
from gradmill.adapters.torch._rule import Rule, Settings
from gradmill.optimizers import adagrad as plain_adagrad
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
    return _decayed(weight_decay, plain_adam(learning_rate, b1, b2, eps))


def adagrad(
    learning_rate: float,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    weight_decay: float | None = 0.0,
) -> TransformationLike:
    """Adagrad with epsilon beside the root, whose decay is added to the gradient."""
    tx = plain_adagrad(learning_rate, initial_accumulator_value, eps, eps_in_sqrt=False)
    return _decayed(weight_decay, tx)


def sgd(
    learning_rate: float,
    momentum: float | None = 0.0,
    weight_decay: float | None = 0.0,
    *,
    nesterov: bool = False,
) -> TransformationLike:
    """Gradient descent; None for no momentum and no decay."""
    tx = scale_by_learning_rate(learning_rate)
    return _decayed(weight_decay, tx if momentum is None else chain(trace(momentum, nesterov), tx))


def _decayed(weight_decay: float | None, tx: TransformationLike) -> TransformationLike:
    """The transformation of gradients that multiples of the parameters are added to."""
    return tx if weight_decay is None else chain(add_decayed_weights(weight_decay), tx)


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
        betas: How much of the running means of gradients and of their squares each step keeps.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        weight_decay: How strongly parameters are pulled towards zero: a step subtracts this
            multiple of them, times the learning rate.
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
        betas: How much of the running means of gradients and of their squares each step keeps.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        weight_decay: An L2 penalty: this multiple of the parameters is added to the gradients.
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


class Adagrad(Optimizer):
    """``torch.optim.Adagrad`` on the CPU: same arguments, same numbers to rounding, same files.

    There is no ``lr_decay``; a scheduler does that.

    Args:
        params: As for :class:`Optimizer`.
        lr: The learning rate.
        weight_decay: An L2 penalty: this multiple of the parameters is added to the gradients.
        initial_accumulator_value: The sum of squares before the first step.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        **options: ``maximize``, and the options of :class:`Optimizer`.

    Raises:
        LeafTypeError, TypeError, ValueError: As for :class:`Optimizer`.

    Example:
        >>> import torch
        >>> from gradmill.adapters.torch import Adagrad
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> opt = Adagrad([weight], lr=0.1)
        >>> weight.sum().backward()
        >>> opt.step()
        >>> weight.detach()
        tensor([0.9000, 0.9000])
    """

    _entries: ClassVar[Mapping[str, Any]] = {**_IGNORED, "lr_decay": 0.0}
    _make_rule = _Sparing

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **options: Any,
    ) -> None:
        own: dict[str, Any] = {"lr": lr, "eps": eps, "weight_decay": weight_decay}
        own["initial_accumulator_value"] = float(initial_accumulator_value)
        super().__init__(params, adagrad, **own, **options)


class SGD(Optimizer):
    """``torch.optim.SGD`` on the CPU: same arguments, same numbers to rounding, same files.

    There is no ``dampening``.

    Args:
        params: As for :class:`Optimizer`.
        lr: The learning rate.
        momentum: How much of the running sum of gradients each step keeps.
        weight_decay: An L2 penalty: this multiple of the parameters is added to the gradients.
        nesterov: Whether to use Nesterov momentum: the update looks one step ahead.
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
