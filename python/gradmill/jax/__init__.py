"""The same transformations beside JAX: states to and from optax, and steps on the host."""

from gradmill.jax._host import HostStep as HostStep
from gradmill.jax._host import host_step as host_step
from gradmill.jax._states import from_optax_state as from_optax_state
from gradmill.jax._states import to_optax_state as to_optax_state
