"""The loss of a step, for the algorithms that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill._data.checks import number_of, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping


def loss_of(extra: Mapping[str, Any], op: str) -> Any:
    """The extra argument ``value`` as a float; traced, as it is.

    Raises:
        ValueError: There is none.
        TypeError: It is not a real scalar.
    """
    value = extra.get("value")
    if value is None:
        raise ValueError(f"{op} needs the loss: call update(updates, state, params, value=loss)")
    found = number_of(value)
    if found is None:
        wanted, given = refusal(value)
        raise TypeError(f"value must be {wanted}, got {given} ({op})")
    return float(found) if isinstance(found, int) else found
