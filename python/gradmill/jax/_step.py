"""Whole steps inside JAX programs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gradmill._data.numbers import is_traced
from gradmill._data.types import is_transformation
from gradmill.jax._fused import can_be_fused, fused
from gradmill.jax._lowering import Lowering
from gradmill.jax._target import cpus, target_ready

if TYPE_CHECKING:
    from gradmill._data.types import PyTree, TransformationLike


def step(tx: TransformationLike) -> Step:
    """Return a step for JAX programs: on a CPU a single kernel, elsewhere JAX operations.

    See :class:`Step`.

    Args:
        tx: The transformation.

    Returns:
        The step, a function of gradients, state and parameters, with an ``init``.

    Raises:
        TypeError: ``tx`` is not a transformation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import gradmill as gm
        >>> from gradmill.jax import step
        >>> update = step(gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1)))
        >>> def train(params, state, grads):
        ...     return update(grads, state, params)
        >>> program = jax.jit(train, donate_argnums=(0, 1))
        >>> params = {"w": jnp.zeros(2)}
        >>> params, state = program(params, update.init(params), {"w": jnp.array([3.0, -4.0])})
        >>> params["w"].round(3)
        Array([-0.1,  0.1], dtype=float32)
    """
    return Step(tx)


class Step:
    """``step(grads, state, params, **extra_args) -> (params, state)``, in JAX programs or outside.

    In CPU programs, the whole chain and the addition to the parameters are one custom call per 32
    leaves. It runs the kernels of the NumPy path, with the same bits; a global norm takes one more
    read. If parameters and state are donated, in the order in which the step returns them, they are
    updated in place; in another order, arrays of equal shapes change places, and XLA copies them.
    JAX evaluates schedules and injected numbers in float64, which may differ from the host in the
    last bit; versions that cannot mix dtypes use the default one.

    Otherwise it is :func:`to_optax` followed by an addition, as JAX operations:

    - on other platforms, and for derivatives, which are those of the formulas;
    - for chains with members written in Python or with hyperparameters that are traced;
    - in processes with several devices of the CPU, outside of ``jax.shard_map(...,
      check_vma=False)``, since XLA would gather arrays that are spread over devices. Inside, it is
      the custom call on each device; a global norm is that of the device's part then;
    - where XLA does not take the custom call, which a warning says once.

    Args:
        tx: The transformation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import gradmill as gm
        >>> from gradmill.jax import Step
        >>> step = Step(gm.sgd(0.5))
        >>> params = jnp.ones(2)
        >>> jax.jit(step)(jnp.array([1.0, 2.0]), step.init(params), params)[0]
        Array([0.5, 0. ], dtype=float32)
    """

    def __init__(self, tx: TransformationLike) -> None:
        if not is_transformation(tx):
            raise TypeError(f"step takes a transformation, got {tx!r}")
        self._lowering = Lowering(tx)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._lowering.tx,)

    def init(self, params: PyTree) -> PyTree:
        """Return the initial state, the same as that of :func:`to_optax`.

        Args:
            params: A tree of arrays of floats.

        Raises:
            LeafTypeError: A parameter is not an array of floats.
        """
        return self._lowering.init(params)

    def __call__(
        self, grads: PyTree, state: PyTree, params: PyTree, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        """Take a step.

        Args:
            grads: A tree like the parameters, of gradients.
            state: The state.
            params: The parameters.
            **extra_args: Handed to the members of the chain that take extra arguments.

        Returns:
            The new parameters, in their dtypes, and the new state.

        Raises:
            TreeError: A tree does not have the structure of the gradients.
            LeafValueError: A gradient does not have the shape of its parameter.
            LeafTypeError: A leaf is not an array of floats.
            jax.errors.JaxRuntimeError: When the program runs: a scalar is NaN.
        """
        arrays = {name: value for name, value in extra_args.items() if _is_data(value)}
        no_arrays = {name: value for name, value in extra_args.items() if name not in arrays}
        if no_arrays or not can_be_fused(self._lowering, state):
            return self._lowering.apply(grads, state, params, extra_args)
        if any(map(is_traced, jax.tree.leaves((grads, state, params, arrays)))):
            run = self._step
        else:
            # Outside of a program, each step would be compiled anew.
            run = self._program
        new: tuple[PyTree, PyTree] = run(grads, state, params, arrays)
        return new

    @cached_property
    def _step(self) -> Any:
        """The step with derivatives."""
        lowering = self._lowering

        def step(grads: PyTree, state: PyTree, params: PyTree, extra: dict[str, Any]) -> Any:
            if not cpus() or _may_be_sharded(params) or not target_ready():
                return lowering.apply(grads, state, params, extra)
            return jax.lax.platform_dependent(
                grads, state, params, extra, cpu=on_cpu, default=lowering.apply
            )

        def on_cpu(grads: PyTree, state: PyTree, params: PyTree, extra: dict[str, Any]) -> Any:
            return fused(lowering, grads, state, params, extra)

        def derivative(primals: Any, tangents: Any) -> Any:
            return jax.jvp(lowering.apply, primals, tangents)

        differentiable = jax.custom_jvp(step)
        differentiable.defjvp(derivative)
        return differentiable

    @cached_property
    def _program(self) -> Any:
        return jax.jit(self._step)


def _is_data(value: object) -> bool:
    """Whether all leaves of ``value`` are arrays or numbers."""
    return all(
        isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float))
        for leaf in jax.tree.leaves(value)
    )


def _may_be_sharded(params: PyTree) -> bool:
    """Whether XLA may spread arrays over several devices, or looks after what differs on them."""
    if cpus() == 1:
        return False
    get_mesh = getattr(jax.sharding, "get_abstract_mesh", None)
    mesh = None if get_mesh is None else get_mesh()
    names = getattr(mesh, "axis_names", ())
    is_manual = names and set(getattr(mesh, "manual_axes", ())) == set(names)
    return not is_manual or any(map(_varies, jax.tree.leaves(params)))


def _varies(array: Any) -> bool:
    """Whether ``array`` differs between devices, in a ``shard_map`` that looks after it."""
    kind = jax.typeof(array)
    axes = getattr(kind, "vma", None) or getattr(getattr(kind, "mat", None), "varying", None)
    return bool(axes)
