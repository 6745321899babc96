"""A page for each program in ``examples/``, with what it prints and plots; an extension of Sphinx.

A program runs when its page is older than it is, and where what it needs is installed.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Example:
    """A program.

    Attributes:
        title: Of its page.
        needs: The packages that it imports. Without any it is not run.
        plots: The option that says where its plot goes, or "".
        shorter: What makes it end within minutes.
    """

    title: str
    needs: tuple[str, ...] = ()
    plots: str = ""
    shorter: tuple[str, ...] = ()


EXAMPLES = {
    "digits": Example(
        "A NumPy network on handwritten digits",
        ("sklearn", "matplotlib", "tqdm", "optax"),
        plots="--output",
    ),
    "evolution_cartpole": Example(
        "Evolution strategies on CartPole", ("gymnasium", "matplotlib", "tqdm"), plots="--plot"
    ),
    "fewer_bytes": Example(
        "Fewer bytes of state",
        ("jax", "sklearn", "matplotlib"),
        plots="--plot",
        shorter=("--seeds", "1", "--steps", "100"),
    ),
    "fewer_steps": Example("Fewer steps to the same loss", ("numpy",)),
    "jax_digits": Example("An Equinox network in JAX", ("equinox", "sklearn", "optax")),
    "sklearn_digits": Example("scikit-learn's perceptron", ("sklearn",)),
    "torch_digits": Example("A torch network on the CPU", ("torch", "sklearn")),
    "federated_round": Example("A federated round", ("numpy",)),
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Take part in the build."""
    app.connect("builder-inited", write_gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_gallery(app: Sphinx) -> None:
    """Write ``docs/gallery``."""
    folder = Path(app.srcdir) / "gallery"
    folder.mkdir(exist_ok=True)
    rest = {path.stem for path in (ROOT / "examples").glob("*.py")} - EXAMPLES.keys()
    others = {name: Example(name.replace("_", " ").capitalize()) for name in sorted(rest)}
    examples = {**EXAMPLES, **others}
    for name, example in examples.items():
        _write(folder / f"{name}.md", name, example)
    pages = [f"{example.title} <{name}>" for name, example in examples.items()]
    _update(
        folder / "index.md",
        "\n".join([*HEAD, "```{toctree}", ":maxdepth: 1", "", *pages, "```", ""]),
    )


HEAD = (
    "# Gallery",
    "",
    "Programs that run as they stand; most with what they printed when this site was built.",
    "",
)


def _write(page: Path, name: str, example: Example) -> None:
    program = ROOT / "examples" / f"{name}.py"
    if page.exists() and page.stat().st_mtime > program.stat().st_mtime:
        return
    source = program.read_text(encoding="utf-8")
    parsed = ast.parse(source)
    about = (ast.get_docstring(parsed) or "").replace("``", "`")
    code = "\n".join(source.splitlines()[parsed.body[0].end_lineno :]).strip()
    prose, commands = _split(about)
    lines = [f"# {example.title}", "", prose, "", "```sh"]
    lines += [*(commands or [f"python examples/{name}.py"]), "```", ""]
    missing = [need for need in example.needs if find_spec(need) is None]
    if missing:
        lines += [f"It needs {' and '.join(missing)}, which this site is built without.", ""]
    elif example.needs:
        plot = page.with_suffix(".png")
        to = [example.plots, plot.name] if example.plots else []
        printed = _run(program, [*example.shorter, *to], page.parent)
        if example.plots:
            lines += [f"![What {name}.py plots]({plot.name})", ""]
        if example.shorter:
            lines += [f"With `{' '.join(example.shorter)}`:", ""]
        lines += ["```text", printed, "```", ""]
    lines += ["```python", code, "```", ""]
    page.write_text("\n".join(lines), encoding="utf-8")


def _split(about: str) -> tuple[str, list[str]]:
    """What a docstring says, and the commands in it, which are indented."""
    lines = about.splitlines()
    commands = [line.strip() for line in lines if line.startswith("    ")]
    prose = "\n".join(line for line in lines if not line.startswith("    "))
    return re.sub(r"\n{3,}", "\n\n", prose).strip(), commands


def _run(program: Path, arguments: list[str], folder: Path) -> str:
    """What a program prints, in the folder that its plot goes to, without its progress."""
    log.info("running examples/%s", program.name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "MPLBACKEND": "agg"}
    done = subprocess.run(  # noqa: S603  (our own examples)
        [sys.executable, str(program), *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        env=environment,
        text=True,
        timeout=600,
    )
    if done.returncode:
        log.warning("examples/%s failed: %s", program.name, done.stderr[-500:])
    return done.stdout.rstrip()


def _update(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
