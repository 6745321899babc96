"""Steps on the host, for programs that run elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import io_callback

from gradmill._data.trees import tree_map
from gradmill._optimizer import Optimizer

if TYPE_CHECKING:
    from gradmill._data.types import PyTree, TransformationLike


def host_step(tx: TransformationLike) -> HostStep:
    """Return a step that a jitted program runs on the host.

    See :class:`HostStep`.

    Args:
        tx: The transformation.

    Returns:
        The step, to be bound to parameters by its ``init``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import gradmill as gm
        >>> from gradmill.jax import host_step
        >>> step = host_step(gm.sgd(0.5))
        >>> params = step.init({"w": jnp.ones(2)})
        >>> @jax.jit
        ... def train(params, x):
        ...     grads = jax.grad(lambda p: jnp.sum(p["w"] * x))(params)
        ...     return step(grads)
        >>> train(params, jnp.array([1.0, 2.0]))
        {'w': Array([0.5, 0. ], dtype=float32)}
    """
    return HostStep(tx)


class HostStep:
    """Parameters and state in the host's memory, and steps from inside jitted programs.

    The program passes gradients through ``io_callback`` and gets new parameters back.
    :class:`gradmill.Optimizer` takes the step, on all its threads and in place, on NumPy arrays
    that need no room on the accelerator: with Adam, that is two thirds of what training keeps.

    Use it only for that. Gradients and parameters are copied in each step, which takes far longer
    than the step itself: on a CPU, where nothing is sent anywhere, 2 to 7 times as long as optax
    with donated buffers for 10⁴ to 10⁷ parameters (``make bench-host``). If everything fits on the
    device, use optax there.

    Steps have side effects: each call in a program takes one, in program order. They cannot be
    differentiated, mapped with ``vmap``, or sharded.

    Args:
        tx: The transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> import gradmill as gm
        >>> from gradmill.jax import HostStep
        >>> step = HostStep(gm.adam(0.1))
        >>> params = step.init(jnp.zeros(2))
        >>> step(jnp.ones(2)).round(3)
        Array([-0.1, -0.1], dtype=float32)
        >>> step.optimizer.state[0].count
        array(1, dtype=int32)
    """

    def __init__(self, tx: TransformationLike) -> None:
        self._tx = tx
        self._optimizer: Optimizer | None = None

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer that holds parameters and state as NumPy arrays.

        Raises:
            ValueError: ``init`` has not been called.
        """
        if self._optimizer is None:
            raise ValueError("call init(params) before the first step")
        return self._optimizer

    def init(self, params: PyTree) -> PyTree:
        """Copy the parameters to the host and start with a new state.

        Args:
            params: A tree of JAX arrays or NumPy, outside of any program.

        Returns:
            ``params``, unchanged.

        Raises:
            LeafTypeError: A parameter is not an array of floats.
        """
        self._optimizer = Optimizer(self._tx, jax.tree.map(np.array, params))
        return params

    def __call__(self, grads: PyTree) -> PyTree:
        """Take a step, in a jitted program or outside of one.

        Args:
            grads: A tree like the parameters.

        Returns:
            The new parameters, on the device.

        Raises:
            ValueError: ``init`` has not been called.
            jax.errors.JaxRuntimeError: The step failed, with the message of
                :meth:`gradmill.Optimizer.step`; parameters and state are as they were.
        """
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self.optimizer.params
        )
        return io_callback(self._step, shapes, grads, ordered=True)

    def _step(self, grads: Any) -> Any:
        # Nothing here may ask JAX for anything: it waits for this function to return.
        self.optimizer.step(tree_map(np.asarray, grads))
        # Copies, as JAX may go on to use the memory that the next step overwrites.
        return tree_map(np.array, self.optimizer.params)
