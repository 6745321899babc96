"""The header of a checkpoint, in JSON."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from gradmill._data.info import build_info
from gradmill.checkpoints import _keys
from gradmill.checkpoints._arrays import dtype_of, new_digest
from gradmill.checkpoints._structure import Held, Node, Other, leaves_of
from gradmill.errors import CheckpointError

VERSION = 1
"""Of the header; a file with a higher one is not read."""

_KINDS = {"dict", "list", "tuple", "fields", "node"}


class Entry(NamedTuple):
    """An array of a file.

    Attributes:
        dtype: Its dtype.
        shape: Its shape.
        digest: What stands for its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    digest: str


class Header(NamedTuple):
    """What a checkpoint says of itself.

    Attributes:
        trees: The structures of its trees.
        arrays: Its arrays by name.
        optimizer: Of an optimizer what is not a tree, or None.
    """

    trees: dict[str, Any]
    arrays: dict[str, Entry]
    optimizer: dict[str, Any] | None


def encode(header: Header) -> str:
    """The text of a header, of a length that does not depend on digests of arrays."""
    content: dict[str, Any] = {
        "gradmill": VERSION,
        "written_by": f"gradmill {build_info()['version']}",
        "trees": {name: _encoded(tree) for name, tree in header.trees.items()},
        "arrays": {name: entry._asdict() for name, entry in header.arrays.items()},
    }
    if header.optimizer is not None:
        content["optimizer"] = header.optimizer
    return _text({**content, "digest": _digest(content)})


def content_of(text: str | bytes, file: str) -> dict[str, Any]:
    """What the text of a header says.

    Raises:
        CheckpointError: It is not a checkpoint, is damaged, or has a later version.
    """
    try:
        content = json.loads(text)
        version, digest = content["gradmill"], content.pop("digest")
        is_whole = _digest(content) == digest
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise foreign(file) from None
    if version != VERSION:
        raise CheckpointError(
            f"{file}: has version {version!r:.20}, this gradmill reads version {VERSION}"
        )
    if not is_whole:
        raise CheckpointError(f"{file}: the header is damaged: its digest does not match")
    return {**content, "digest": digest}


def decode(text: str | bytes, file: str) -> Header:
    """The header of that text.

    Raises:
        CheckpointError: It is not a checkpoint, is damaged, or has a later version.
    """
    content = content_of(text, file)
    try:
        trees = {name: _decoded(tree) for name, tree in content["trees"].items()}
        arrays = {name: _entry(entry) for name, entry in content["arrays"].items()}
        optimizer = content.get("optimizer")
        for name, tree in trees.items():
            for path, leaf in leaves_of(tree, name):
                if isinstance(leaf, Held) and leaf.name not in arrays:
                    raise KeyError(path)
        return Header(trees, arrays, None if optimizer is None else dict(optimizer))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file}: the header is malformed: {error!s:.100}") from None


def foreign(file: str) -> CheckpointError:
    """The error for a file of somebody else's."""
    return CheckpointError(f"{file}: is not a checkpoint written by gradmill.save")


def _entry(entry: Any) -> Entry:
    dtype_of(entry["dtype"])
    shape = tuple(entry["shape"])
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"shape {shape}")
    return Entry(entry["dtype"], shape, entry["digest"])


def _encoded(node: Any) -> Any:
    """A structure for JSON: nodes, arrays, and numbers that JSON rounds, as dicts of their kind."""
    match node:
        case Node(kind, name, children):
            pairs = [[_keys.encoded(key), _encoded(child)] for key, child in children.items()]
            return {kind: pairs} if kind in {"dict", "list", "tuple"} else {kind: [name, pairs]}
        case Held(name):
            return {"array": name}
        case Other(kind):
            return {"other": kind}
        case float():
            return {"float": node.hex()}
        case complex():
            return {"complex": [node.real.hex(), node.imag.hex()]}
    return node


def _decoded(content: Any) -> Any:
    if not isinstance(content, dict):
        if content is None or isinstance(content, (bool, int, str)):
            return content
        raise TypeError(f"{content!r:.40} in a tree")
    ((kind, of),) = content.items()
    if kind in _KINDS:
        name, pairs = (kind, of) if kind in {"dict", "list", "tuple"} else of
        return Node(kind, name, {_keys.decoded(key): _decoded(child) for key, child in pairs})
    made: dict[str, Any] = {"array": Held, "other": Other, "float": float.fromhex}
    if kind == "complex":
        return complex(*map(float.fromhex, of))
    return made[kind](of)


def _text(content: Any) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _digest(content: Any) -> str:
    digest = new_digest()
    digest.update(_text(content).encode())
    return str(digest.hexdigest())
