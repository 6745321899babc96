"""How a step runs, in words and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import _core
from gradmill._data.arrays import as_native, is_float
from gradmill._data.codes import is_quantized
from gradmill._data.trees import Structure, flatten, leaf_path
from gradmill._plan.layout import layout_of
from gradmill._plan.masks import Selection
from gradmill._run.copies import masters_of
from gradmill._run.explanation import Explanation, Pass
from gradmill._run.formulas import FormulaRun
from gradmill._run.ops import is_float_array, left_out, off_plan
from gradmill._run.runs import PythonRun, runs_in_place
from gradmill._run.trees import formula_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradmill._core import _Pass
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._ops.op import Finds
    from gradmill._plan.links import Link
    from gradmill._run.native import NativeRun
    from gradmill._run.runs import Run


def explain(tx: TransformationLike, params: PyTree, *, master: bool = False) -> Explanation:
    """Say how a step of :class:`Optimizer` over ``params`` runs, before you take one.

    A step is a sequence of passes. A native pass walks over memory once and runs its ops either as
    one loop in registers, the fastest way, or one by one over small blocks. Ops that the core does
    not have run in NumPy, and your own transformations in Python; both make new arrays. If masks
    leave a leaf to no transformation at all, so that its raw gradient is added to it, a warning
    says so.

    Args:
        tx: The transformation.
        params: The parameters.
        master: Whether there are float32 copies of parameters of half precision, as with
            ``Optimizer(tx, params, master=True)``.

    Returns:
        An object to print, with the same facts as fields: ``passes``, ``bytes_per_param``,
        ``state_bytes``, ``fused``, ``warnings``. Each pass says which arrays it reads and writes,
        whether it is fused, and why not. Notebooks show it as a table.

    Raises:
        LeafTypeError: A parameter that needs state is not a float array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(1e-3))
        >>> plan = gm.explain(tx, {"w": np.ones((4, 4), np.float32), "b": np.ones(4, np.float32)})
        >>> print(plan)
        2 leaves, 20 parameters, 160 bytes of state
        pass 1   4 B/param  reads updates; global norm for clip_by_global_norm
        pass 2  28 B/param  reads updates, params, mu, nu; writes params, mu, nu
                one loop: clip_by_global_norm, scale_by_adam, add_decayed_weights, scale
        >>> plan.fused, plan.bytes_per_param
        (True, 32.0)
    """
    *head, tail = runs_in_place(tx)
    leaves, treespec = flatten(params)
    select = Selection(leaves, Structure(treespec), "params")
    links = [link for run in (*head, tail) for link in run.links]
    passed = {at for at in left_out(links, select, leaves) if not is_float_array(leaves[at])}
    arrays = [as_native(x) for at, x in enumerate(leaves) if x is not None and at not in passed]
    copies = masters_of(master, leaves, treespec)
    pairs = zip(leaves, copies, strict=True)
    state = tx.init(treespec.unflatten([x if copy is None else copy for x, copy in pairs]))
    kept = (*flatten(state, is_quantized)[0], *copies)
    sizes = _sizes(
        arrays, copies, dict(zip(map(id, links), layout_of(tx).parts(state), strict=True))
    )
    shapes = {array.shape for array in arrays}
    passes: list[Pass] = []
    for run in (*head, tail):
        if isinstance(run, PythonRun):
            passes.append(_member(run.links[0].tx))
        elif isinstance(run, FormulaRun):
            passes.append(Pass("NumPy", tuple(op.name for op in run.own_ops), why_not=_NO_KERNEL))
        else:
            passes += [
                _pass(run, entry, sizes, shapes, in_place=run is tail)
                for entry in run.program.passes(_first_scalars(run))
            ]
    return Explanation(
        leaves=len(arrays),
        parameters=sum(array.size for array in arrays),
        state_bytes=sum(map(_bytes_of, kept)),
        passes=tuple(passes),
        warnings=tuple(_warnings((*head, tail), select, passed)),
    )


class _Sizes(NamedTuple):
    """What arrays cost, in bytes for each parameter.

    Attributes:
        arrays: Arrays like the parameters, by their names.
        rounded: What is written beside a parameter that has a copy.
        parameters: The number of parameters.
        states: The states of links, by the identities of these.
    """

    arrays: dict[str, float]
    rounded: float
    parameters: int
    states: Mapping[int, PyTree]

    def slots(self, links: Sequence[Link]) -> Iterator[Any]:
        """The leaves of the state of links."""
        for link in links:
            for slot in () if link.spec is None else link.spec.slots:
                yield from flatten(getattr(self.states[id(link)], slot.name), is_quantized)[0]

    def of(self, reads: Sequence[str], writes: Sequence[str], links: Sequence[Link]) -> float:
        """What a pass costs whose ops are those of some links."""
        slots: dict[str, list[float]] = {}
        for link in {id(link): link for link in links}.values():
            for slot in () if link.spec is None else link.spec.slots:
                leaves = flatten(getattr(self.states[id(link)], slot.name), is_quantized)[0]
                own = sum(map(_bytes_of, leaves))
                slots.setdefault(slot.name, []).append(own / self.parameters)
        each = self.arrays | {name: sum(own) / len(own) for name, own in slots.items()}
        moved = sum(each[name] for name in (*reads, *writes))
        return moved + self.rounded * writes.count("params")


def _bytes_of(leaf: Any) -> int:
    """The bytes of an array of a state; counts and keys are none to speak of."""
    if is_quantized(leaf):
        return int(leaf.codes.nbytes + leaf.scale.nbytes)
    is_counted = isinstance(leaf, np.ndarray) and is_float(leaf.dtype)
    return leaf.nbytes if is_counted else 0


def _sizes(arrays: list[Any], copies: list[Any], states: Mapping[int, PyTree]) -> _Sizes:
    """What arrays cost beside parameters, some of which have copies."""
    size = max(sum(array.size for array in arrays), 1)
    bytes_each = sum(array.nbytes for array in arrays) / size
    held = [copy for copy in copies if copy is not None]
    rounded = sum(copy.size for copy in held) * 2 / size
    copied = sum(copy.nbytes for copy in held) / size
    like = {"updates": bytes_each, "carried": bytes_each}
    return _Sizes(like | {"params": bytes_each - rounded + copied}, rounded, size, states)


def _first_scalars(run: NativeRun) -> list[float]:
    """The numbers of the first step, as far as no control has them."""
    return [value for link in run.ops for value in _own_scalars(link)]


def _own_scalars(link: Link) -> Sequence[float]:
    return off_plan(link.op).scalars if link.control is not None else link.scalars_of(0)


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
    return [f"no transformation takes {shown}; gradients pass as they are, see freeze"]


def _pass(
    run: NativeRun,
    entry: _Pass,
    sizes: _Sizes,
    shapes: set[tuple[int, ...]],
    *,
    in_place: bool,
) -> Pass:
    """One walk over memory, with what is measured at its end."""
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
    if at_end is not None:
        reads += at_end.summed
        update = "carried" if entry["carries"] else entry["source"]
        reads += [update if of == "updates" else of for of in entry["measures"]]
    ends = [] if entry["ends_for"] is None else [run.ops[entry["ends_for"]]]
    in_codes = any(map(is_quantized, sizes.slots(links)))
    is_fused = entry["fused_in_codes" if in_codes else "fused"]
    notes = {"masked leaves skip theirs": any(link.masks for link in links)}
    notes["not all in every step"] = any(link.gates for link in links)
    return Pass(
        kind="native",
        ops=tuple(op.name for op in ops),
        reads=tuple(reads),
        writes=tuple(writes),
        bytes_per_param=sizes.of(reads, writes, [*links, *ends]),
        ends_with="" if at_end is None else f"{_ENDS[at_end.finds]} for {at_end.name}",
        fused=is_fused or not ops,
        why_not="" if is_fused else _NO_CODES if entry["fused"] else _why_in_blocks(links),
        notes=tuple(note for note, holds in notes.items() if holds),
    )


def _why_in_blocks(links: Sequence[Link]) -> str:
    """Why these do not run as one loop: some have none even alone, or there is none for all."""
    lacking = [link.op.name for link in links if link.op and not _has_loop(link)]
    if lacking:
        return f"{', '.join(dict.fromkeys(lacking))} {_NO_LOOP[len(lacking) > 1]}"
    return "no loop in registers has these ops in this order" if links else ""


def _has_loop(link: Link) -> bool:
    """Whether the core has a loop for the op of a link alone."""
    assert link.op is not None  # noqa: S101  (for the type checker: the caller has looked)
    assert link.spec is not None  # noqa: S101  (for the type checker: it has an op)
    alone = _core.Program([(link.op.name, 0, link.spec.axes)])
    return all(one["fused"] for one in alone.passes(list(_own_scalars(link))) if one["ops"])


_NO_LOOP = ("has no loop in registers", "have no loop in registers")

_NO_CODES = "only Adam and momentum have a loop over state in 8 bits"

_NO_KERNEL = "the core has no kernel for it"

_ENDS: dict[Finds | None, str] = {
    "norm": "global norm",
    "units": "norms or means of units",
    "finite": "whether all are finite",
    "nans": "which leaves have a NaN",
    "estimates": "sums over all leaves",
}


def _member(tx: TransformationLike) -> Pass:
    """The call of a transformation without a description."""
    formula = formula_of(tx)
    if formula is not None:
        return Pass("NumPy", (formula.name,), why_not="it couples leaves or multiplies matrices")
    name = getattr(tx.update, "__qualname__", repr(tx.update))
    module = getattr(tx.update, "__module__", "?")
    return Pass("Python", (f"{module}.{name}",), why_not="it is written in Python")
