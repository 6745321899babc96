"""A page for each public name, made before the site is built; an extension of Sphinx.

It writes ``docs/api``: a list for each module, in which each name has a line, and a page for each
name with what its docstring says. References to a name are resolved wherever the name is public.
"""

from __future__ import annotations

import inspect
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from public_names import Name, importable, public_names
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from collections.abc import Callable

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

log = logging.getLogger(__name__)

TITLES = {
    "gradmill": "gradmill: optimizers, transformations, steps",
    "gradmill.contrib": "gradmill.contrib: what optax has there, and newer optimizers",
    "gradmill.schedules": "gradmill.schedules: functions of the step count",
    "gradmill.projections": "gradmill.projections: onto sets of constraints",
    "gradmill.tree": "gradmill.tree: arithmetic on trees",
    "gradmill.checkpoints": "gradmill.checkpoints: files to go on from",
    "gradmill.errors": "gradmill.errors: errors that name the leaf",
    "gradmill.jax": "gradmill.jax: steps inside programs of JAX",
}


def _stands_in(name: Name, module: str) -> bool:
    return any(path.rpartition(".")[0] == module for path in (name.path, *name.others))


def _is_type(name: Name) -> bool:
    return not inspect.isfunction(name.value)


def _is_of_steps(name: Name) -> bool:
    """Whether it runs, saves or looks at transformations, and is neither one nor of its types."""
    return name.short in {"Optimizer", "StepReport"} or not (
        _is_type(name) or _stands_in(name, "gradmill.transforms")
    )


SECTIONS: dict[str, Callable[[Name], bool]] = {
    "Optimizers": lambda name: _stands_in(name, "gradmill.optimizers"),
    "Schedules": lambda name: _stands_in(name, "gradmill.schedules"),
    "Steps, files and settings": _is_of_steps,
    "Transformations": lambda name: not _is_type(name),
    "States": lambda name: name.short.endswith("State"),
    "Types": _is_type,
}
"""In which the names of a large module stand: each in the first one that takes it."""
LARGE = 60

OTHERS = ("autograd", "flwr", "jax", "ml_dtypes", "numpy", "optax", "sklearn", "thinc", "torch")
"""Projects that docstrings refer to."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Take part in the build."""
    app.connect("builder-inited", write_pages)
    app.connect("doctree-read", end_examples)
    app.connect("missing-reference", resolve)
    app.connect("env-check-consistency", every_name_has_its_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Sphinx) -> None:
    """Write ``docs/api``; a page that says what it said keeps its time, and is not read again."""
    folder = Path(app.srcdir) / "api"
    names = public_names()
    pages = {f"{name.path}.rst": page(name) for name in names}
    modules = [path for path in importable() if any(name.module == path for name in names)]
    pages |= {
        f"{path}.list.rst": listed(path, [name for name in names if name.module == path])
        for path in modules
    }
    pages["index.rst"] = index(modules)
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.name not in pages:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for file, text in pages.items():
        path = folder / file
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def index(modules: list[str]) -> str:
    """The page with all lists."""
    lines = [f"   {path}.list" for path in modules]
    head = ["Every public name", "=================", ""]
    return "\n".join([*head, ".. toctree::", "   :maxdepth: 1", "", *lines, ""])


def listed(path: str, names: list[Name]) -> str:
    """The list of a module."""
    title = TITLES.get(path, path)
    about = (inspect.getdoc(import_module(path)) or "").strip()
    lines = [title, "=" * len(title), "", f".. module:: {path}", "", about, ""]
    rest = sorted(names, key=lambda name: name.short.lower())
    if len(names) <= LARGE:
        return "\n".join([*lines, *table(rest)])
    for section, takes in SECTIONS.items():
        taken = [name for name in rest if takes(name)]
        rest = [name for name in rest if name not in taken]
        lines += [section, "-" * len(section), "", *table(taken)] if taken else []
    return "\n".join(lines)


def table(names: list[Name]) -> list[str]:
    """A line for each name."""
    lines = [".. list-table::", "   :widths: 35 65", "   :class: names", ""]
    for name in names:
        lines += [f"   * - :py:obj:`~{name.path}`", f"     - {name.summary}"]
    return [*lines, ""]


def page(name: Name) -> str:
    """The page of a name, which no table of contents has: these would be longer than all pages."""
    lines = [":orphan:", "", name.short, "=" * len(name.short), ""]
    lines += [f"In :doc:`{name.module} <{name.module}.list>`.", ""]
    lines += [f".. currentmodule:: {name.module}", ""]
    if inspect.isfunction(name.value):
        # Sphinx does not print a signature that was taken from a class.
        own = inspect.signature(name.value) if "__signature__" in vars(name.value) else ""
        lines += [f".. autofunction:: {name.path}{own}", ""]
        lines += _formulas(name)
    elif isinstance(name.value, type):
        lines += [f".. autoclass:: {name.path}", *_members(name.value), ""]
    else:
        lines += [f".. py:data:: {name.short}", f"   :type: {_printed(name.value)}", ""]
        lines += [f"   {name.documentation}", ""]
    if name.others:
        lines += ["Also " + ", ".join(f"``{other}``" for other in name.others) + ".", ""]
    return "\n".join(lines)


def end_examples(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out the empty line that ends the last output of an example in Markdown."""
    for block in doctree.findall(nodes.literal_block):
        text = block.astext().rstrip()
        block.rawsource = text
        block.children = [nodes.Text(text)]


def resolve(
    app: Sphinx, env: BuildEnvironment, node: Any, contnode: nodes.TextElement
) -> nodes.Element | None:
    """Find a name that is not where the reference says, by its last part.

    Private types in signatures stay plain text, and so does what other projects have, where their
    inventories are not at hand. What a docstring refers to of this one has to be there.
    """
    if node.get("refdomain") != "py":
        return None
    # What a class has is said on its page, without a place of its own.
    is_plain = not isinstance(contnode, nodes.literal) or node["reftype"] == "attr"
    target = node["reftarget"].removeprefix("gm.")
    is_plain = is_plain or target.partition(".")[0] in OTHERS
    known = _known()
    path = known.get(target) or known.get(target.rpartition(".")[2])
    if path is None:
        return contnode if is_plain else None
    found = env.get_domain("py").objects.get(path)  # type: ignore[attr-defined]  # of Python's domain
    if found is None:
        return None
    here = node.get("refdoc", env.docname)
    return make_refnode(app.builder, here, found.docname, found.node_id, contnode, path)


def every_name_has_its_page(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of those that have none, which ends a strict build."""
    objects = env.get_domain("py").objects  # type: ignore[attr-defined]  # of Python's domain
    for name in public_names():
        if name.path not in objects:
            log.warning("%s has no page", name.path)
        if not name.summary:
            log.warning("%s has no docstring", name.path)


def _known() -> dict[str, str]:
    """Each way to write a name, with the path of its page."""
    if not _KNOWN:
        for name in public_names():
            for way in (name.path, name.short, *name.others):
                _KNOWN.setdefault(way, name.path)
            private = getattr(name.value, "__module__", "")
            _KNOWN.setdefault(f"{private}.{name.short}", name.path)
    return _KNOWN


_KNOWN: dict[str, str] = {}


def _members(value: type) -> list[str]:
    """What of a class is on its page: nothing of a NamedTuple, whose docstring has the fields."""
    if issubclass(value, (tuple, BaseException)):
        return ["   :no-members:"]
    ours = [base for base in value.mro() if _is_ours(base)]
    members = dict.fromkeys(
        name
        for base in ours
        for name, member in vars(base).items()
        if not name.startswith("_") and _is_ours(member) and member.__doc__
    )
    if not members:
        return ["   :no-members:"]
    return [f"   :members: {', '.join(members)}", "   :inherited-members:"]


def _is_ours(value: Any) -> bool:
    """Whether it is not from the program that an adapter is for."""
    function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    return str(getattr(function, "__module__", "")).startswith("gradmill")


def _formulas(name: Name) -> list[str]:
    """Those of the transformations that an alias is made of, which its own docstring names."""
    if ".. math::" in name.documentation or not _stands_in(name, "gradmill.optimizers"):
        return []
    about = name.documentation.partition("\nArgs:")[0]
    made_of = dict.fromkeys(re.findall(r":func:`~?([\w.]+)`", about))
    by_name = {each.short: each for each in public_names() if each.module == name.module}
    lines = []
    for short in made_of:
        formula = _formula(by_name[short].documentation) if short in by_name else ""
        if formula:
            lines += [f":func:`{short}`", "", formula, ""]
    return [".. rubric:: Formulas", "", *lines] if lines else []


def _formula(documentation: str) -> str:
    """The first formula of a docstring."""
    found = re.search(r"^\.\. math::.*?(?=^\S)", documentation + "\nend", re.DOTALL | re.MULTILINE)
    return found.group().rstrip() if found else ""


def _printed(value: Any) -> str:
    return str(value).replace("typing.", "").replace("collections.abc.", "")
