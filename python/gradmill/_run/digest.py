"""A short digest of a tree."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import types
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from gradmill._data.arrays import is_half
from gradmill._data.nodes import NAMESPACE, is_from_jax
from gradmill._data.types import is_transformation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree, TransformationLike

STRETCH = 1 << 16
"""Elements that are looked at at once."""


def state_digest(tree: PyTree) -> str:
    """Condense a tree into 128 bits that change whenever any bit of it does.

    Two trees have equal digests if they have the same structure, dtypes, shapes and bits, wherever
    and whenever the digests are taken: on another machine, in another process, in another memory
    layout. All NaNs are equal, whatever their payload; zeros of different sign differ. Processes
    that should hold the same parameters compare 16 bytes, and a test compares a run with last
    year's.

    A transformation among the leaves counts with its ops and all its hyperparameters, which no
    state holds; digest ``(tx, opt.params, opt.state)`` to notice a different learning rate.
    Functions count with module and name, defaults, and the contents of their closures. Functions
    from outside this package also count with their code, which another version of Python may
    compile differently. Global variables that they read do not count. Other objects count with what
    a pickle of them would hold, without what ``cached_property`` has cached.

    Args:
        tree: A tree of arrays, numbers, strings, ``None``, dtypes, transformations, functions, and
            objects that pickle.

    Returns:
        32 hexadecimal digits, the BLAKE2b hash of the tree; ``bytes.fromhex`` turns them into 16
        bytes.

    Raises:
        TypeError: A leaf cannot be digested, such as an array of objects; the message has its path.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx, params = gm.adam(0.1), {"w": np.ones(3)}
        >>> digest = gm.state_digest((tx, params, tx.init(params)))
        >>> digest
        '...'
        >>> digest == gm.state_digest((gm.adam(0.2), params, tx.init(params)))
        False

    References:
        Saarinen and Aumasson, `RFC 7693: The BLAKE2 Cryptographic Hash
        <https://www.rfc-editor.org/rfc/rfc7693>`_, 2015.
    """
    digest = _Digest()
    digest.add(tree, "tree")
    return digest.hash.hexdigest()


class _Digest:
    """Takes a tree in, each part with its kind and its length, so that no two trees read alike."""

    def __init__(self) -> None:
        self.hash = blake2b(digest_size=16, person=b"gradmill")
        self.inside: dict[int, int] = {}

    def word(self, kind: str, content: str = "") -> None:
        """Take in a short part."""
        data = content.encode()
        self.hash.update(f"{kind} {len(data)} ".encode() + data)

    def add(self, value: Any, path: str) -> None:
        """Take in a tree or a leaf; ``path`` leads there."""
        if hasattr(value, "__array__") and not isinstance(value, type):
            self.array(np.asarray(value), path)
        elif isinstance(value, _PLAIN) and not isinstance(value, enum.Enum):
            self.word(type(value).__name__, str(value) if isinstance(value, str) else repr(value))
        elif id(value) in self.inside:
            # A function that calls itself has itself in its closure.
            self.word("inside", str(self.inside[id(value)]))
        else:
            self.inside[id(value)] = len(self.inside)
            self.parts(value, path)
            del self.inside[id(value)]

    def parts(self, value: Any, path: str) -> None:
        """Take in what is made up of other things."""
        if is_transformation(value):
            self.transformation(value, path)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            self.attributes(value, {name: getattr(value, name) for name in names}, path)
        elif isinstance(value, (set, frozenset)):
            self.word("set", " ".join(sorted(self.apart(member, path) for member in value)))
        elif not self.named(value, path):
            self.node(value, path)

    def named(self, value: Any, path: str) -> bool:
        """Take in a function or what else has a name; false for other things."""
        if isinstance(value, functools.partial):
            self.word("partial")
            self.add((value.func, value.args, value.keywords), path)
        elif isinstance(value, types.FunctionType):
            self.function(value, path)
        elif isinstance(value, types.CodeType):
            self.code(value, path)
        elif isinstance(value, _METHODS) and not isinstance(value.__self__, _NOBODY):
            self.word("method", value.__name__)
            self.add(getattr(value, "__func__", None), path)
            self.add(value.__self__, path)
        elif isinstance(value, (types.ModuleType, np.ufunc)):
            self.word("name", value.__name__)
        elif hasattr(value, "__qualname__"):
            self.word("name", _name(value))
            self.add(getattr(value, "__wrapped__", None), path)
        else:
            return False
        return True

    def apart(self, value: Any, path: str) -> str:
        """The digest of a part whose place does not matter."""
        digest = _Digest()
        digest.inside = self.inside
        digest.add(value, path)
        return digest.hash.hexdigest()

    def transformation(self, tx: TransformationLike, path: str) -> None:
        """Take in what a transformation does, or who does it."""
        self.word("transformation")
        description = getattr(tx, "description", None)
        if description is not None:
            self.add(description, path)
        elif isinstance(tx, tuple):
            self.add((tx.init, tx.update), path)
        else:
            self.instance(tx, path)

    def function(self, function: types.FunctionType, path: str) -> None:
        """Take in a function with all that it does not get from its arguments."""
        self.word("name", _name(function))
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        held = {name: _content(cell) for name, cell in cells}
        if not _is_of_package(function):
            self.code(function.__code__, path)
            held.update(function.__kwdefaults__ or {})
            held.update({str(at): value for at, value in enumerate(function.__defaults__ or ())})
        for name, content in held.items():
            self.word("holds", name)
            if type(content) is object:
                # It says no more than that it is no other.
                self.word("object")
            else:
                self.add(content, f"{path}.{function.__name__}:{name}")

    def code(self, code: types.CodeType, path: str) -> None:
        """Take in what a function does, wherever its source stands."""
        self.word("code", f"{code.co_name} {code.co_argcount} {code.co_names}")
        self.add((code.co_code, code.co_exceptiontable, code.co_consts), path)

    def attributes(self, value: object, held: Mapping[str, Any], path: str) -> None:
        """Take in an object by its attributes."""
        self.word(type(value).__qualname__, str(len(held)))
        for name, content in held.items():
            self.word("attribute", name)
            self.add(content, f"{path}.{name}")

    def node(self, value: Any, path: str) -> None:
        """Take in a container, or an object that is described by what it has."""
        if is_from_jax(value):
            # It need not have been met, and has more to it than children.
            self.instance(value, path)
            return
        try:
            children, _, entries, _ = optree.tree_flatten_one_level(
                value, none_is_leaf=True, namespace=NAMESPACE
            )
        except ValueError:
            self.instance(value, path)
            return
        self.word(type(value).__qualname__, str(len(children)))
        for entry, child in zip(entries, children, strict=True):
            self.add(entry, path)
            self.add(child, f"{path}[{entry!r}]")

    def instance(self, value: Any, path: str) -> None:
        """Take in an object by what a pickle of it would hold."""
        kind = type(value)
        try:
            if not getattr(kind, "_has_digest", True):
                raise TypeError
            how, arguments, state, *items = (*value.__reduce_ex__(4), None, None, None)[:5]
        except Exception:  # noqa: BLE001  (a class may raise anything here)
            raise TypeError(f"{path}: is a {kind.__name__}, which has no digest") from None
        has_nothing = state is None and len(arguments) == 1 and arguments[0] is kind
        if has_nothing and not hasattr(value, "__dict__"):
            raise TypeError(f"{path}: is a {kind.__name__}, which has no digest")
        if isinstance(state, dict):
            kept = {name: held for name, held in state.items() if not _is_cached(kind, name)}
            self.attributes(value, kept, path)
        else:
            self.word(kind.__qualname__)
            self.add(state, path)
        self.add((how, *arguments), path)
        self.add([None if part is None else list(part) for part in items], path)

    def array(self, array: np.ndarray[Any, Any], path: str) -> None:
        """Take in an array: its elements row by row, little-endian."""
        dtype = array.dtype
        if dtype.hasobject or dtype.names is not None:
            raise TypeError(f"{path}: is an array of {dtype}, which has no digest")
        self.word("array", f"{dtype.name} {array.shape}")
        flat = np.ascontiguousarray(array).reshape(-1)
        for start in range(0, flat.size, STRETCH):
            stretch = flat[start : start + STRETCH].astype(dtype.newbyteorder("<"), copy=False)
            if dtype.kind in "fc" or is_half(dtype):
                stretch = _with_one_nan(stretch)
            self.hash.update(stretch.tobytes())


_PACKAGE = __name__.partition(".")[0]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.dtype, type(Ellipsis))

_METHODS = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)

_NOBODY = (types.ModuleType, type(None))
"""What built-in functions are bound to."""


def _is_of_package(value: Any) -> bool:
    """Whether a function or a class is one of this package's."""
    return str(value.__module__).partition(".")[0] == _PACKAGE


def _name(value: Any) -> str:
    """What a function or a class is called; in this package it may move to another file."""
    module = _PACKAGE if _is_of_package(value) else value.__module__
    return f"{module}.{value.__qualname__}"


def _content(cell: types.CellType) -> Any:
    """What a variable of a closure holds; None where it has not been assigned yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _is_cached(kind: type, name: Any) -> bool:
    """Whether an attribute of instances is computed once and kept."""
    return isinstance(inspect.getattr_static(kind, str(name), None), functools.cached_property)


def _with_one_nan(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    different = np.isnan(array)
    if not different.any():
        return array
    array = array.copy()
    array[different] = np.nan
    return array
