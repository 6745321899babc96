"""What a row of the table is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

import gradmill as gm
from gradmill._data.trees import tree_map
from gradmill._ops.op import NATIVE
from gradmill._plan.layout import links_of

if TYPE_CHECKING:
    from collections.abc import Callable

Module = Any


@dataclass(frozen=True)
class Case:
    """One transformation with its arguments.

    Attributes:
        name: The test's name.
        make: Builds it from a module that has optax's names.
        single: Whether part of it is float32 even for float64 leaves: slots that the row asks for,
            or optax's linear schedules, or its decay of factored averages.
        loose: How much wider than usual the tolerance is.
        selects: Whether it selects where optax multiplies by zero, which lets a NaN live for ever.
        up_to_signs: Whether signs in its state are a library's choice.
        early: Whether it is compared in early steps alone: in late ones optax forms a decay of 1,
            or the root of a count that overflows.
        beyond: Whether optax does not have it; then a plain formula in `tests/parity` judges it.
    """

    name: str
    make: Callable[[Module], Any]
    single: bool = False
    loose: float = 1.0
    selects: bool = False
    up_to_signs: bool = False
    early: bool = False
    beyond: bool = False

    def known(self, state: Any) -> Any:
        """What two libraries agree on of a state."""
        return tree_map(np.abs, state) if self.up_to_signs else state

    @cached_property
    def python(self) -> bool:
        """Whether part of it runs neither by kernels nor by formulas of elements."""
        return any(link.spec is None for link in links_of(self.make(gm)))

    @cached_property
    def ops(self) -> tuple[str, ...]:
        """The names of the ops that it consists of."""
        return tuple(link.op.name for link in links_of(self.make(gm)) if link.op is not None)

    @property
    def is_native(self) -> bool:
        """Whether the core runs all of it."""
        return not self.python and set(self.ops) <= NATIVE.keys()

    @property
    def recompiles(self) -> bool:
        """Whether optax compiles part of it anew in each call that is not jitted."""
        return self.name.startswith(("conditionally", "muon", "scale_by_muon")) or any(
            op.startswith(("multi_steps", "apply_if_finite", "scale_by_novograd"))
            for op in self.ops
        )
