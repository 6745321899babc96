"""The one door to updates in place."""

from gradmill._optimizer._optimizer import Optimizer as Optimizer

__all__ = ["Optimizer"]
