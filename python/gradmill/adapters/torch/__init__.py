"""Optimizers for CPU tensors that work with torch's schedulers, hooks and files.

:class:`Optimizer` takes any transformation; :class:`AdamW`, :class:`Adam`, :class:`Adagrad` and
:class:`SGD` have the arguments, the rules and the ``state_dict`` of torch's own.
"""

try:
    import ml_dtypes as _ml_dtypes  # noqa: F401  (to say what is missing, before anything else does)
    import torch as _torch  # noqa: F401  (to say that it is missing)
except ImportError as error:
    raise ImportError(
        f"{error}; gradmill.adapters.torch needs: pip install 'gradmill[torch]'"
    ) from error

from gradmill.adapters.torch._optimizer import Optimizer as Optimizer
from gradmill.adapters.torch._own import SGD as SGD
from gradmill.adapters.torch._own import Adagrad as Adagrad
from gradmill.adapters.torch._own import Adam as Adam
from gradmill.adapters.torch._own import AdamW as AdamW

__all__ = [name for name in dir() if not name.startswith("_")]
