"""What a chain's formulas give in float64."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from gradmill._data.trees import Flattener, flatten
from gradmill._ops.formulas import FORMULAS
from gradmill._plan.context import StepContext
from gradmill._plan.layout import layout_of, links_of
from gradmill._plan.masks import Selection
from gradmill._plan.match import Match
from gradmill._plan.scalars import REDUCES, SCALARS
from gradmill._run.frame import Frame
from gradmill._run.native import NativeRun
from tests.trees import copy_tree


class Oracle:
    """A chain by its formulas, in float64; the host's part is that of the chain itself."""

    def __init__(self, tx: Any, params: Any, state: Any) -> None:
        self.tx = tx
        self.run = NativeRun(tuple(links_of(tx)))
        self.tree = params
        self.params, structure = Flattener()(copy_tree(params))
        select = Selection(self.params, structure, "params")
        self.skips = self.run.skips(select) or [0] * len(self.params)
        states = layout_of(tx).parts(state)
        frame = Frame(structure, Match(self.params, structure.spec), self.params)
        matches = self.run.slot_matches(states, frame)
        slots = iter([list(found.leaves) for found in matches])
        self.slots = [[next(slots) for _ in spec.slots] for spec in self.run.specs]

    def update(self, grads: Any, state: Any) -> list[Any]:
        given = flatten(grads)[0]
        leaves = [None if leaf is None else np.asarray(leaf, np.float64) for leaf in given]
        context = StepContext(grads, self.tree, {})
        scalars, off, _ = self.run.plan(layout_of(self.tx).parts(state), context)
        values = iter(scalars)
        bit = 0
        for position, link in enumerate(self.run.links):
            op = link.op
            if op is None:
                continue
            own = {name: next(values) for name in SCALARS[op]}
            taken = [
                leaf is not None and not (skip | off) >> bit & 1
                for leaf, skip in zip(leaves, self.skips, strict=True)
            ]
            own |= self.knowledge(link, leaves, taken)
            if op == "apply_if_finite" and not (own["finite"] or own["accept"]):
                for behind, other in enumerate(self.run.ops):
                    off |= (link.index in other.gates) << behind
            rank = 0
            for index, (leaf, param) in enumerate(zip(leaves, self.params, strict=True)):
                if leaf is None or not taken[index] or leaf.size == 0:
                    rank += taken[index]
                    continue
                if op == "add_noise":
                    own["normal"] = noise(own, rank, given[index])
                rank += 1
                slots = [np.asarray(slot[index], np.float64) for slot in self.slots[position]]
                leaves[index], *new = FORMULAS[op](
                    np, leaf, param.astype(np.float64), *slots, **own
                )
                for slot, value in zip(self.slots[position], new, strict=True):
                    slot[index] = value
            bit += 1
        return [leaf for leaf in leaves if leaf is not None]

    def knowledge(self, link: Any, leaves: list[Any], taken: list[bool]) -> dict[str, Any]:
        """What the op has to know of all leaves together."""
        own = [leaf for leaf, take in zip(leaves, taken, strict=True) if take]
        match REDUCES[link.op]:
            case "norm":
                return {"norm": np.sqrt(sum(np.sum(leaf**2) for leaf in own))}
            case "finite":
                return {"finite": all(np.isfinite(leaf).all() for leaf in own)}
            case "units" if link.spec.axes is not None:
                return {"axes": link.spec.axes}
        return {}


def noise(scalars: dict[str, float], rank: int, leaf: Any) -> Any:
    """The random numbers of one leaf: uniform ones of its precision by JAX, then float64."""
    with jax.enable_x64(True):
        key = jax.random.wrap_key_data(np.array([scalars["key0"], scalars["key1"]], np.uint32))
        own = jax.random.split(key, 64)[rank]
        dtype = np.float64 if leaf.dtype == np.float64 else np.float32
        least = np.nextafter(dtype(-1.0), dtype(0.0))
        uniform = jax.random.uniform(own, leaf.shape, dtype, minval=least, maxval=1.0)
        wide = jax.numpy.asarray(np.asarray(uniform), np.float64)
        return np.sqrt(2.0) * np.asarray(jax.scipy.special.erfinv(wide))


def squared_error(tree: Any, exact: list[Any]) -> float:
    leaves = [leaf for leaf in flatten(tree)[0] if leaf is not None]
    pairs = zip(leaves, exact, strict=True)
    return float(sum(np.sum((np.asarray(a, np.float64) - b) ** 2) for a, b in pairs))
