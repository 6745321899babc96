"""What `explain` says of a step: fields, text, and a table for notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal


@dataclass(frozen=True)
class Pass:
    """One part of a step: a walk over memory, or a call that makes new arrays.

    Attributes:
        kind: "native" for a walk by the core, "NumPy" for ops that the core does not have,
            "Python" for a transformation written in Python.
        ops: The names of what runs in it, in order.
        reads: The arrays that it reads, one name for each read.
        writes: The arrays that it writes.
        bytes_per_param: The bytes that it moves for each parameter; None unless it is native.
        ends_with: What is known once the walk is done, such as "global norm for
            clip_by_global_norm"; empty where nothing is.
        fused: Whether its ops run as one loop in registers. A walk without ops counts as fused.
        why_not: Why they do not; empty where they do.
        notes: What holds for some leaves or some steps only.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> first = gm.explain(gm.adam(1e-3), np.ones(8, np.float32)).passes[0]
        >>> first.ops, first.bytes_per_param, first.fused
        (('scale_by_adam', 'scale'), 28.0, True)
    """

    kind: Literal["native", "NumPy", "Python"]
    ops: tuple[str, ...]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    bytes_per_param: float | None = None
    ends_with: str = ""
    fused: bool = False
    why_not: str = ""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> str:
        """The names of its ops in one line."""
        return ", ".join(self.ops)

    @property
    def traffic(self) -> str:
        """What it reads and writes, and what is known at its end, in one line."""
        text = f"reads {', '.join(self.reads)}"
        if self.writes:
            text += f"; writes {', '.join(self.writes)}"
        return text + (f"; {self.ends_with}" if self.ends_with else "")

    def lines(self, number: int) -> list[str]:
        """It as text, as pass ``number``."""
        if self.bytes_per_param is None:
            return [f"{self.kind:<20}{self.names}: new arrays"]
        lines = [f"pass {number} {self.bytes_per_param:3.0f} B/param  {self.traffic}"]
        if self.ops:
            note = f" ({', '.join(self.notes)})" if self.notes else ""
            lines.append(f"        {'one loop' if self.fused else 'in blocks'}: {self.names}{note}")
        return lines

    def row(self, number: int) -> list[str]:
        """The cells of its row in the table."""
        notes = "; ".join(filter(None, (*self.notes, self.why_not)))
        if self.bytes_per_param is None:
            return [self.kind, "", "new arrays", self.names, notes]
        how = ("one loop: " if self.fused else "in blocks: ") + self.names if self.ops else ""
        return [f"pass {number}", f"{self.bytes_per_param:.0f}", self.traffic, how, notes]


@dataclass(frozen=True, repr=False)
class Explanation:
    """How a step runs, as :func:`explain` found it. It prints as text and shows as a table.

    Attributes:
        leaves: The number of arrays that the step updates.
        parameters: The number of their elements.
        state_bytes: The bytes of state.
        passes: The parts of a step in order, each a ``Pass`` with the fields ``kind``, ``ops``,
            ``reads``, ``writes``, ``bytes_per_param``, ``ends_with``, ``fused``, ``why_not`` and
            ``notes``.
        warnings: What was probably not meant, such as a leaf that no transformation takes.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> plan = gm.explain(gm.chain(gm.adam(1e-3), gm.clip(1.0)), np.ones(8, np.float32))
        >>> print(plan)
        1 leaf, 8 parameters, 64 bytes of state
        pass 1  28 B/param  reads updates, params, mu, nu; writes params, mu, nu
                in blocks: scale_by_adam, scale, clip
        >>> plan.fused, plan.bytes_per_param, plan.passes[0].why_not
        (False, 28.0, 'clip has no loop in registers')
    """

    leaves: int
    parameters: int
    state_bytes: int
    passes: tuple[Pass, ...]
    warnings: tuple[str, ...] = ()

    @property
    def bytes_per_param(self) -> float:
        """The bytes that the native passes of a step move for each parameter."""
        return sum(part.bytes_per_param or 0.0 for part in self.passes)

    @property
    def fused(self) -> bool:
        """Whether each part is a native walk whose ops run as one loop."""
        return all(part.fused for part in self.passes)

    @property
    def _summary(self) -> str:
        plural = "leaf" if self.leaves == 1 else "leaves"
        sizes = f"{self.parameters:,} parameters, {self.state_bytes:,} bytes of state"
        return f"{self.leaves} {plural}, {sizes}"

    def _numbered(self) -> list[tuple[int, Pass]]:
        """The parts, each with the number of native passes up to it."""
        natives = [part.kind == "native" for part in self.passes]
        return [(sum(natives[: at + 1]), part) for at, part in enumerate(self.passes)]

    def __str__(self) -> str:
        """The text of all parts."""
        lines = [line for number, part in self._numbered() for line in part.lines(number)]
        return "\n".join([self._summary, *lines, *(f"warning: {text}" for text in self.warnings)])

    def __repr__(self) -> str:
        """The same text, so that an interactive session shows it."""
        return str(self)

    def _repr_html_(self) -> str:
        """A table, which notebooks show."""
        heads = ("", "B/param", "memory", "runs", "notes")
        rows = [part.row(number) for number, part in self._numbered()]
        head = "".join(f"<th>{cell}</th>" for cell in heads)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        warned = "".join(f"<p><b>warning:</b> {escape(text)}</p>" for text in self.warnings)
        return f"<table><caption>{self._summary}</caption><tr>{head}</tr>{body}</table>{warned}"
