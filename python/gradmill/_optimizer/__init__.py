"""In-place updates: the only place where arrays that a user owns are overwritten."""

from gradmill._optimizer._optimizer import Optimizer as Optimizer

__all__ = ["Optimizer"]
