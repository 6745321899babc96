"""Keys of mappings in JSON, which has strings, numbers, bools and None."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Iterable


def encoded(key: Any) -> Any:
    """A key for JSON; one that this does not have by its ``repr``."""
    if key is None or isinstance(key, (bool, str, int)):
        return key
    if type(key) is tuple:
        return {"tuple": [encoded(part) for part in key]}
    return {"repr": repr(key)}


def decoded(content: Any) -> Any:
    """The key for which this stands."""
    if not isinstance(content, dict):
        return content
    if "tuple" in content:
        return tuple(decoded(part) for part in content["tuple"])
    return str(content["repr"])


def by_decoded(keys: Iterable[Any], path: str) -> dict[Any, Any]:
    """The keys of the node at ``path``, by what comes back of each from a file.

    Raises:
        TreeError: The same comes back of two.
    """
    found: dict[Any, Any] = {}
    for key in keys:
        there = decoded(encoded(key))
        if there in found:
            raise TreeError(
                f"{path}: keys {found[there]!r} and {key!r} are the same in a checkpoint"
            )
        found[there] = key
    return found
