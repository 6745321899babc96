"""A plot of nanoseconds a parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from _contenders import LIMIT, NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from _report import Cell

PANELS = {"adamw": "AdamW", "clip_adamw": "clip by global norm, AdamW"}
LABELS = {"in place": "gradmill, in place", "functional": "gradmill, functional"}
COLOURS = {
    "in place": "#b5431c",
    "functional": "#e8a07c",
    "NumPy": "#7f7f7f",
    "optax": "#3b6ea5",
    "torch": "#5b9a57",
}


def plot(cells: Sequence[Cell], path: Path) -> bool:
    """Draw bars by size, one panel for each chain in ``PANELS``.

    Returns:
        Whether it was drawn; it is not without matplotlib, or where no such chain was measured.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    panels = {
        name: [cell for cell in cells if cell.chain.name == name]
        for name in PANELS
        if any(cell.chain.name == name for cell in cells)
    }
    if not panels:
        return False
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(9, 1 + 3.2 * len(panels)), sharey=True, squeeze=False
    )
    for axis, (name, own) in zip(axes[:, 0], panels.items(), strict=True):
        _draw(axis, own)
        axis.set_title(PANELS[name], loc="left")
    axes[0, 0].legend(ncols=3, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def _draw(axis: Any, cells: Sequence[Cell]) -> None:
    names = [n for n in NAMES if n in COLOURS and any(n in cell.timings for cell in cells)]
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        offset = (index - (len(names) - 1) / 2) * width
        at = [place + offset for place, cell in enumerate(cells) if name in cell.timings]
        heights = [_per_param(cell, name) for cell in cells if name in cell.timings]
        axis.bar(at, heights, width, label=LABELS.get(name, name), color=COLOURS[name])
    limits = [(place, cell) for place, cell in enumerate(cells) if LIMIT in cell.timings]
    axis.hlines(
        [_per_param(cell, LIMIT) for _, cell in limits],
        [place - 0.45 for place, _ in limits],
        [place + 0.45 for place, _ in limits],
        colors="black",
        label="memory limit",
    )
    axis.set_xticks(range(len(cells)), [cell.size.name for cell in cells])
    axis.set_yscale("log")
    axis.set_ylabel("ns a parameter")
    axis.margins(y=0.15)
    axis.spines[["top", "right"]].set_visible(False)


def _per_param(cell: Cell, name: str) -> float:
    return cell.timings[name].median / cell.size.params * 1e9
