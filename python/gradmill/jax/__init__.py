"""The same transformations in JAX programs.

- :func:`step`: a whole step inside ``jax.jit``. On CPUs it is one call of the NumPy path's kernels,
  in place where arguments are donated; elsewhere it is made of JAX operations.
- :func:`to_optax`: a transformation as one of optax, for code that expects one.
- :func:`host_step`: a step on the host that a program on any device asks for.
- :func:`to_optax_state` and :func:`from_optax_state`: states there and back.
"""

try:
    import jax as _jax  # noqa: F401  (to say what is missing, before anything else does)
    import optax as _optax  # noqa: F401  (to say that it is missing)
except ImportError as error:
    raise ImportError(f"{error}; gradmill.jax needs: pip install 'gradmill[optax]'") from error

from gradmill.jax._host import HostStep as HostStep
from gradmill.jax._host import host_step as host_step
from gradmill.jax._optax import to_optax as to_optax
from gradmill.jax._states import from_optax_state as from_optax_state
from gradmill.jax._states import to_optax_state as to_optax_state
from gradmill.jax._step import Step as Step
from gradmill.jax._step import step as step

__all__ = [name for name in dir() if not name.startswith("_")]
