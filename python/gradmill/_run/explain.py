"""How a step runs, in words and figures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import numpy as np

from gradmill._data.arrays import as_native, is_float
from gradmill._data.trees import Structure, flatten, leaf_path
from gradmill._plan.masks import Selection
from gradmill._run.formulas import FormulaRun
from gradmill._run.ops import is_float_array, left_out, off_plan
from gradmill._run.runs import PythonRun, runs_in_place
from gradmill._run.trees import formula_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._core import _Pass
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._ops.op import Finds
    from gradmill._run.native import NativeRun
from gradmill._run.runs import Run


def explain(tx: TransformationLike, params: PyTree, file: TextIO | None = None) -> None:
    """Print how a step of :class:`Optimizer` over ``params`` runs.

    Each pass over memory, the ops in it, whether they run as one loop in registers or op by op in
    small blocks, and the bytes that a parameter costs; the ops that run in NumPy, since the core
    does not have them; the transformations that run in Python; the bytes of state. Where masks
    leave a leaf to no transformation at all, so that its gradient is added to it as it is, a
    warning says so.

    Args:
        tx: The transformation.
        params: The parameters.
        file: Where to print; None for standard output.

    Raises:
        LeafTypeError: A parameter that needs state is no array of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(1e-3))
        >>> gm.explain(tx, {"w": np.ones((4, 4), np.float32), "b": np.ones(4, np.float32)})
        2 leaves, 20 parameters, 160 bytes of state
        pass 1   4 B/param  reads updates; global norm for clip_by_global_norm
        pass 2  28 B/param  reads updates, params, mu, nu; writes params, mu, nu
                one loop: clip_by_global_norm, scale_by_adam, add_decayed_weights, scale
    """
    *head, tail = runs_in_place(tx)
    leaves, treespec = flatten(params)
    select = Selection(leaves, Structure(treespec), "params")
    links = [link for run in (*head, tail) for link in run.links]
    passed = {at for at in left_out(links, select, leaves) if not is_float_array(leaves[at])}
    arrays = [as_native(x) for at, x in enumerate(leaves) if x is not None and at not in passed]
    state_leaves = flatten(tx.init(params))[0]
    slots = [leaf for leaf in state_leaves if isinstance(leaf, np.ndarray) and is_float(leaf.dtype)]
    size = sum(array.size for array in arrays)
    bytes_each = sum(array.nbytes for array in arrays) / max(size, 1)
    state_bytes = sum(slot.nbytes for slot in slots)
    lines = [f"{len(arrays)} leaves, {size:,} parameters, {state_bytes:,} bytes of state"]
    passes, shapes = 0, {array.shape for array in arrays}
    for run in (*head, tail):
        if isinstance(run, PythonRun):
            lines.append(f"{_member(run.links[0].tx)}: new arrays")
            continue
        if isinstance(run, FormulaRun):
            names = ", ".join(op.name for op in run.own_ops)
            lines.append(f"NumPy               {names}: new arrays")
            continue
        for entry in run.program.passes(_first_scalars(run)):
            passes += 1
            lines += _pass(passes, run, entry, bytes_each, shapes, in_place=run is tail)
    lines += _warnings((*head, tail), select, passed)
    print(*lines, sep="\n", file=file or sys.stdout)


def _first_scalars(run: NativeRun) -> list[float]:
    """The numbers of the first step, as far as no control has them."""
    values: list[float] = []
    for link in run.ops:
        values += off_plan(link.op).scalars if link.control is not None else link.scalars_of(0)
    return values


def _warnings(runs: Sequence[Run], select: Selection, passed: set[int]) -> list[str]:
    """A line where masks leave a leaf to no transformation, which is seldom what was meant."""
    leaves, treespec = select.leaves, select.structure.spec
    taken = [leaf is None or at in passed for at, leaf in enumerate(leaves)]
    has_masks = False
    for run in runs:
        for link in run.links:
            has_masks = has_masks or bool(link.masks)
            governs = link.end > link.index + 1
            makes_steps = link.op is not None and link.op.makes_steps
            if link.spec is not None and (governs or not makes_steps):
                continue
            own = select(link.masks).taken
            taken = [t or o for t, o in zip(taken, own, strict=True)]
    left = [leaf_path(treespec, at, "params") for at, take in enumerate(taken) if not take]
    if not has_masks or not left:
        return []
    shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
    return [f"warning: no transformation takes {shown}; gradients pass as they are, see freeze"]


def _pass(
    number: int,
    run: NativeRun,
    entry: _Pass,
    bytes_each: float,
    shapes: set[tuple[int, ...]],
    *,
    in_place: bool,
) -> list[str]:
    """The lines for one walk over memory, with what is measured at its end."""
    links = [run.ops[index] for index in entry["ops"]]
    ops = [run.own_ops[index] for index in entry["ops"]]
    own = [slot for link in links if link.spec is not None for slot in link.spec.slots]
    kept = {name for op in ops for name in op.fixed} if in_place else set[str]()
    had = [slot.name for slot in own if any(map(slot.is_like, shapes))]
    slots = [name for name in had if name not in kept]
    at_end = None if entry["ends_for"] is None else run.own_ops[entry["ends_for"]]
    # Norms of leaves are taken on the way; other measures read what the ops left behind.
    walks = at_end is None or not entry["measures"] or entry["carries"]
    needs_params = entry["takes_params"] or (at_end is None and in_place)
    reads = ["params"] * len(entry["before"])
    reads += [entry["source"], *["params"] * needs_params, *slots] * walks
    writes = [
        *["params" if in_place else "updates"] * (at_end is None),
        *["carried"] * entry["carries"],
        *slots,
    ]
    end = ""
    if at_end is not None:
        reads += at_end.summed
        end = f"; {_ENDS[at_end.finds]} for {at_end.name}"
        update = "carried" if entry["carries"] else entry["source"]
        reads += [update if of == "updates" else of for of in entry["measures"]]
    text = f"pass {number} {bytes_each * (len(reads) + len(writes)):3.0f} B/param"
    text += f"  reads {', '.join(reads)}"
    if writes:
        text += f"; writes {', '.join(writes)}"
    text += end
    how = "one loop" if entry["fused"] else "in blocks"
    notes = {"masked leaves skip theirs": any(link.masks for link in links)}
    notes["not all in every step"] = any(link.gates for link in links)
    note = ", ".join(note for note, holds in notes.items() if holds)
    names = ", ".join(op.name for op in ops) + (f" ({note})" if note else "")
    return [text, *([f"        {how}: {names}"] if ops else [])]


_ENDS: dict[Finds | None, str] = {
    "norm": "global norm",
    "units": "norms or means of units",
    "finite": "whether all are finite",
    "nans": "which leaves have a NaN",
    "estimates": "sums over all leaves",
}


def _member(tx: TransformationLike) -> str:
    """What runs a transformation without a description, and its name."""
    formula = formula_of(tx)
    if formula is not None:
        return f"NumPy               {formula.name}"
    name = getattr(tx.update, "__qualname__", repr(tx.update))
    return f"Python              {getattr(tx.update, '__module__', '?')}.{name}"
