"""What the host does in a step, with numbers that are traced: scalars, and the states of links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from gradmill._data.numbers import integer
from gradmill._plan.scalars import counted, scalars_of
from gradmill._run.ops import control_of
from gradmill.jax._states import in_optaxs_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.types import PyTree
    from gradmill._plan.context import StepContext
    from gradmill._plan.control import Plan
    from gradmill._plan.links import Link
    from gradmill._plan.spec import Spec


def spec_of(link: Link, context: StepContext) -> Spec:
    """The spec of a link, with injected hyperparameters where it has such."""
    spec = context.specs.get(link.index, link.spec)
    assert spec is not None  # noqa: S101  (for the type checker)
    return spec


def step_values(link: Link, spec: Spec, state: PyTree, plan: Plan) -> dict[str, Any]:
    """The scalars of a link's op by name."""
    assert link.op is not None  # noqa: S101  (for the type checker)
    values: Sequence[Any] = plan.scalars
    if link.control is None:
        count = integer(getattr(state, link.counts[0])) if link.counts else 0
        values = [scalar(count) if callable(scalar) else scalar for scalar in scalars_of(spec)]
    return dict(zip(link.op.scalars, values, strict=True))


def advanced(link: Link, spec: Spec, state: PyTree, plan: Plan, found: Any) -> dict[str, Any]:
    """The fields of a link's state that change, but for its slots."""
    if link.control is not None:
        return control_of(spec).advance(state, plan, found)
    return counted(link.counts, state)


def changed(state: PyTree, changes: dict[str, Any]) -> PyTree:
    """``state`` with new fields, in the dtypes of the old ones.

    What was an integer and is none any more, such as a sum in a schedule of the user's, loses no
    digits.
    """

    def alike(old: Any, new: Any) -> Any:
        dtype = getattr(old, "dtype", None)
        if dtype is None or jnp.issubdtype(dtype, jax.dtypes.prng_key):
            return new
        array = jnp.asarray(new)
        is_wider = array.dtype.kind not in "biu" and dtype.kind in "biu"
        return array if is_wider else array.astype(dtype)

    fields = {
        name: jax.tree.map(alike, getattr(state, name), in_optaxs_classes(value))
        for name, value in changes.items()
    }
    return state._replace(**fields) if fields else state
