"""The one door to updates in place."""

from gradmill.optimizer._optimizer import Optimizer as Optimizer

__all__ = ["Optimizer"]
