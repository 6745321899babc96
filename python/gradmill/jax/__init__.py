"""The same transformations beside JAX: states to and from optax, and steps on the host."""

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
