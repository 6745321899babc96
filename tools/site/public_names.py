"""The public names of the package, and the page that each has.

What several modules have by the same name has one page, in the first of these in ``FIRST``. By
another name it has another page.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from gradmill._data import types

FIRST = (
    *("gradmill", "gradmill.contrib", "gradmill.schedules", "gradmill.projections"),
    *("gradmill.tree", "gradmill.checkpoints", "gradmill.errors"),
)
"""The modules in the order of their lists; all others follow."""

NEEDS = {
    "gradmill.jax": "optax",
    "gradmill.adapters.flower": "flwr",
    "gradmill.adapters.sklearn": "sklearn",
    "gradmill.adapters.thinc": "thinc",
    "gradmill.adapters.torch": "torch",
}
"""What some of them cannot be imported without."""


@dataclass
class Name:
    """A public name.

    Attributes:
        path: The page, as ``gradmill.adam``.
        value: What it is.
        others: Where else it is, as ``gradmill.optimizers.adam``.
    """

    path: str
    value: Any
    others: list[str] = field(default_factory=list)

    @property
    def module(self) -> str:
        """Where the page is listed."""
        return self.path.rpartition(".")[0]

    @property
    def short(self) -> str:
        """The name without its module."""
        return self.path.rpartition(".")[2]

    @property
    def documentation(self) -> str:
        """The docstring; for a type that is an alias, what stands below it."""
        if isinstance(self.value, type) or inspect.isfunction(self.value):
            return inspect.getdoc(self.value) or ""
        return _below(types, self.short)

    @property
    def summary(self) -> str:
        """The first sentence of the documentation."""
        return " ".join(self.documentation.partition("\n\n")[0].split())


def public_names() -> list[Name]:
    """All of them, module by module."""
    found: dict[tuple[int, str], Name] = {}
    for path in importable():
        module = import_module(path)
        for short in names_in(module):
            value = getattr(module, short)
            name = found.setdefault((id(value), short), Name(f"{path}.{short}", value))
            if name.module != path:
                name.others.append(f"{path}.{short}")
    return list(found.values())


def names_in(module: ModuleType) -> list[str]:
    """What a module offers: what it lists, or else what it defines; modules left out."""

    def is_offered(name: str) -> bool:
        value = getattr(module, name)
        if name.startswith("_") or isinstance(value, ModuleType):
            return False
        if hasattr(module, "__all__") or module.__name__ == "gradmill":
            return True
        return getattr(value, "__module__", "") == module.__name__

    return sorted(filter(is_offered, getattr(module, "__all__", vars(module))))


def importable() -> list[str]:
    """The public modules that can be imported here."""
    found = [*FIRST, *(path for path in sorted(_modules("gradmill")) if path not in FIRST)]
    return [path for path in found if path not in NEEDS or find_spec(NEEDS[path])]


def _modules(package: str) -> list[str]:
    """Those in a package and in the packages in it."""
    found = []
    for entry in iter_modules(import_module(package).__path__):
        path = f"{package}.{entry.name}"
        if entry.name.startswith("_"):
            continue
        found.append(path)
        if entry.ispkg and (path not in NEEDS or find_spec(NEEDS[path])):
            found += _modules(path)
    return found


def _below(module: ModuleType, name: str) -> str:
    """The string below the assignment of a name."""
    body = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")).body
    for assignment, text in pairwise(body):
        match assignment, text:
            case (
                ast.AnnAssign(target=ast.Name(id=found)),
                ast.Expr(value=ast.Constant(value=str(documentation))),
            ) if found == name:
                return documentation
    return ""
