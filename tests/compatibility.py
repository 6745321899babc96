"""What became of each public name of optax, for docs/compatibility.md.

``python -m tests.compatibility`` writes the page, from optax's modules, gradmill's, and the
rows of the table.
"""

from __future__ import annotations

import collections.abc
import inspect
import re
import typing
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import optax

import gradmill as gm
from gradmill._data.scope import LEFT_OUT
from tests.cases import CASES
from tests.trees import SHAPES, random_tree

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "compatibility.md"
SPACES = (
    *("", "contrib", "projections", "schedules", "transforms", "tree", "tree_utils"),
    *("experimental.aggregating", "losses", "assignment", "second_order", "perturbations"),
    "microbatching",
)
"""optax's public namespaces; the first one is its own."""

HEAD = f"""# What became of optax's names

Every public name of optax {optax.__version__}, in the namespace where optax has it.
`python -m tests.compatibility` writes this page.

- *same*: optax's arguments and defaults. *superset*: more arguments, or more call forms.
  *differs*: in the arguments named. All of them give optax's numbers within the tolerances of
  `tests/parity`. *safer*: except where optax's numbers are useless; see
  [deviations](deviations.md).
- *native*: Rust kernels, with the number of passes over memory. *formula*: NumPy array functions,
  for part of it or all. *Python*: Python code that calls the inner transformation.
- *moved*: bytes that an in-place step reads and writes per parameter. *state*: bytes of state per
  parameter. Both for float32 parameters and the first row of `tests/cases` that uses the name.
"""


class Difference(NamedTuple):
    """What a program written for optax meets here, whatever the transformation."""

    what: str
    optax: str
    gradmill: str
    test: str


DIFFERENCES = (
    Difference(
        "Integer or complex updates or parameters, alone or among floats",
        "promotes, conjugates or truncates, depending on the transformation",
        "a `LeafTypeError` that names the leaf; cast it, mask it out, or wrap the"
        " transformation in `contrib.split_real_and_imaginary`",
        "test_arrays_that_are_no_floats",
    ),
    Difference(
        'An argument that makes no sense, such as `scale_by_lion(mode="none")` or'
        " `scale_by_zoom_linesearch(5, increase_factor=1.0)`",
        "an error in the first update, or none",
        "a `ValueError` or a `TypeError` when the transformation is made",
        "test_arguments_are_looked_at_at_once",
    ),
    Difference(
        "Error messages, such as `mask: missing key 'b'`",
        "JAX's, such as `Dict key mismatch`",
        "its own, which begin with the leaf; each is a `ValueError` or a `TypeError`",
        "test_errors_have_words_of_their_own",
    ),
    Difference(
        "Updates whose structure is not that of the parameters",
        "an error only if a transformation uses both",
        "a `TreeError` in every chain that reads parameters, before anything else",
        "test_trees_are_compared_where_optax_does_not_look",
    ),
    Difference(
        "`None` in place of a subtree of updates",
        "some transformations return None for the subtree",
        "a `TreeError`; None means no update for one leaf, in all transformations",
        "test_none_stands_for_one_leaf",
    ),
    Difference(
        "`apply_updates` with an update for a parameter that is None",
        "drops the update",
        "a `TreeError`",
        "test_updates_of_no_parameter",
    ),
    Difference(
        "Paths from `tree.get_all_with_path` and for its filters",
        "made of JAX's classes, `jax.tree_util.DictKey` and so on",
        "made of `tree_utils.DictKey` and so on, which print and have attributes like JAX's but"
        " are not equal to them, since JAX may not be installed",
        "test_paths_are_of_classes_of_their_own",
    ),
    Difference(
        "What schedules return",
        "a float32 `jax.Array`; constant schedules, the number they were given",
        "a `float` for a count, a float64 array for an array of counts, constant schedules too;"
        " for JAX counts, what optax returns",
        "test_schedules_return_float64",
    ),
    Difference(
        "Leaves of states",
        "`jax.Array`",
        "`numpy.ndarray`; filters have to test for that",
        "test_states_hold_arrays_of_numpy",
    ),
    Difference(
        "16-bit gradients",
        "updates and states are 16 bits wide too",
        "updates and states are float32; `apply_updates` rounds once, to the parameter's dtype",
        "test_half_precision_comes_out_as_float32",
    ),
    Difference(
        "`jax.jit`, `grad` and `vmap` of `init`, `update` or `apply_updates`",
        "work",
        "a `LeafTypeError`; use `gradmill.jax.to_optax(tx)`",
        "test_programs_of_jax",
    ),
)


class Run(NamedTuple):
    """How a step of a transformation runs."""

    how: str
    passes: str
    moved: str
    state: str


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


def page() -> str:
    """The page as it should be."""
    runs = _runs()
    unsafe = _deviations()
    sections = [_section(space, runs, unsafe) for space in SPACES]
    return "\n".join([HEAD, *sections, _differences()])


def _differences() -> str:
    """What holds for all of them."""
    lines = [
        "## What a program written for optax may meet",
        "",
        "Each row has its test in `tests/parity/test_differences.py`. Where optax's results are"
        " useless, [deviations](deviations.md) says what gradmill gives instead.",
        "",
        "| what | optax | gradmill | test |",
        "|---|---|---|---|",
    ]
    rows = [f"| {row.what} | {row.optax} | {row.gradmill} | `{row.test}` |" for row in DIFFERENCES]
    return "\n".join([*lines, *rows, ""])


def names_of(space: str) -> list[str]:
    """The public names of a namespace of optax."""
    module = _module(optax, space)
    names = [name for name in dir(module) if not name.startswith("_")]
    return [name for name in names if _is_public(getattr(module, name), name)]


def _is_public(value: Any, name: str) -> bool:
    """Whether it is optax's own, not something that a module imports."""
    if isinstance(value, ModuleType):
        return False
    homes = (typing, collections.abc)
    home = getattr(value, "__module__", None) or "optax"
    is_alias = any(home == one.__name__ for one in homes)
    return home.startswith("optax") or (is_alias and not any(hasattr(one, name) for one in homes))


def _module(root: Any, space: str) -> Any:
    for part in filter(None, space.split(".")):
        root = getattr(root, part, None)
    return root


def _section(space: str, runs: dict[str, Run], unsafe: set[str]) -> str:
    title, names = f"optax.{space}".rstrip("."), names_of(space)
    if _module(gm, space) is None:
        reason = LEFT_OUT[space.partition(".")[0]]
        return f"## {title}\n\nLeft out: {reason}. {_code(names)}.\n"
    table: list[str] = []
    groups: dict[str, list[str]] = {}
    for name in names:
        run = runs.get(f"{space}.{name}".removeprefix("transforms.").lstrip("."))
        words = status(space, name, unsafe)
        if space and vars(optax).get(name) is vars(_module(optax, space))[name]:
            groups.setdefault("as in `optax`, above", []).append(name)
        elif run is None:
            groups.setdefault(words, []).append(name)
        else:
            table.append(f"| `{name}` | {words} | {' | '.join(run)} |")
    lines = [f"## {title}"]
    if table:
        lines += ["", "| name | | runs | passes | moved | state |", "|---|---|---|---|---|---|"]
    lines += table
    for words, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        lines += ["", f"{words[0].upper()}{words[1:]}: {_code(members)}."]
    return "\n".join([*lines, ""])


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def status(space: str, name: str, unsafe: set[str]) -> str:
    """What gradmill has by the name."""
    own, theirs = _module(gm, space), getattr(_module(optax, space), name)
    if not hasattr(own, name):
        return f"left out: {LEFT_OUT[name]}" if name in LEFT_OUT else "not yet"
    words = _compared(getattr(own, name), theirs)
    is_safer = name in unsafe and not space.startswith("tree")
    return f"{words}, [safer](deviations.md)" if is_safer else words


def _compared(ours: Any, theirs: Any) -> str:
    """How the arguments of two functions, or the fields of two classes, compare."""
    fields = [getattr(value, "_fields", None) for value in (ours, theirs)]
    if fields[1] is not None:
        return (
            "same" if fields[0] == fields[1] else f"differs: fields {_code(list(fields[0] or ()))}"
        )
    mine, other = _arguments(ours), _arguments(theirs)
    if mine is None or other is None:
        return "same"
    if any(one.kind is one.VAR_POSITIONAL for one in mine.values()):
        return "superset" if other.keys() - mine.keys() else "same"
    lacking = [name for name in other if name not in mine]
    changed = [name for name in other if name in mine and not _are_alike(mine[name], other[name])]
    if lacking or changed:
        return f"differs in {_code([*lacking, *changed])}"
    optional = [name for name in other if mine[name].default is not other[name].default]
    optional = [name for name in optional if other[name].default is other[name].empty]
    return "superset" if optional or len(mine) > len(other) else "same"


def _arguments(value: Any) -> dict[str, inspect.Parameter] | None:
    """Those of a function, or of what a class is made with; None for types."""
    is_protocol = getattr(value, "_is_protocol", False)
    if is_protocol or not (inspect.isfunction(value) or inspect.isclass(value)):
        return None
    try:
        return dict(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return None


def _are_alike(mine: inspect.Parameter, other: inspect.Parameter) -> bool:
    """Whether calls that optax takes mean the same; without a value of its own, a form decides."""
    plain = (bool, int, float, str, type(None))
    is_plain = isinstance(other.default, plain) and isinstance(mine.default, plain)
    return not is_plain or mine.default is None or mine.default == other.default


def _deviations() -> set[str]:
    """The names in the first column of the page of deviations."""
    text = (DOCS / "deviations.md").read_text()
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row)]
    return {word for span in spans for word in re.findall(r"[A-Za-z_]\w*", span)}


def _runs() -> dict[str, Run]:
    """How the first row that a factory makes runs, by its path; or else the row of its name."""
    rows: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = [(case.name, case.make(gm)) for case in CASES]
    for _, tx in made:
        if found := re.match(r"gm\.([\w.]+)\(", repr(tx)):
            rows.setdefault(found[1], tx)
    for name, tx in made:
        for path in (name, f"contrib.{name}"):
            if _module(gm, path) is not None:
                rows.setdefault(path, tx)
    return {path: _run(tx) for path, tx in rows.items()}


def _run(tx: Any) -> Run:
    params = random_tree(0, shapes={**SHAPES, "kernel": (400, 250)})
    first, *lines = str(gm.explain(tx, params)).splitlines()
    counts = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", first)]
    passes = [
        int(found[1]) for line in lines if (found := re.match(r"pass \d+ +(\d+) B/param", line))
    ]
    kinds = {word: word for word in ("NumPy", "Python") if any(x.startswith(word) for x in lines)}
    how = "formula" if "NumPy" in kinds else "Python" if "Python" in kinds else "native"
    if how != "native" and any(line.startswith("        ") for line in lines):
        how += " and native"
    state = f"{counts[2] / counts[1]:.1f}".removesuffix(".0")
    return Run(how, str(len(passes)), str(sum(passes)), state)


if __name__ == "__main__":
    main()
