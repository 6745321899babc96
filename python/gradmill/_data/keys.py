"""Random keys: those of ``jax.random``, whether or not JAX is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmill._data.checks import is_integer, number_of
from gradmill._data.numbers import is_foreign, is_traced

Words = tuple[int, int]


def is_of_jax(key: object) -> bool:
    """Whether ``key`` is an JAX array, typed or not, or stands for one in a program."""
    return is_foreign(key) or is_traced(key)


def words_of(key: Any, op: str, forms: str = "") -> Words:
    """The two words of a key, from a seed or anything else that stands for one.

    Args:
        key: An integer seed, of which the low 32 bits count; two uint32; or a NumPy ``Generator``
            or ``SeedSequence``.
        op: What takes it, for errors.
        forms: How to call that, at the end of errors.

    Raises:
        TypeError: ``key`` is not one of these.
    """
    if is_integer(key):
        return 0, int(number_of(key)) % 2**32
    if isinstance(key, np.random.Generator):
        key = key.integers(2**32, size=2, dtype=np.uint32)
    elif isinstance(key, np.random.SeedSequence):
        key = key.generate_state(2)
    words = np.asarray(key)
    if words.shape != (2,) or words.dtype != np.uint32:
        raise TypeError(
            f"{op} takes an integer seed, a key of two uint32, or a NumPy Generator or"
            f" SeedSequence{forms}; got {key!r:.80}"
        )
    return int(words[0]), int(words[1])


def words_given(key: Any, seed: Any, op: str, forms: str = "") -> Words:
    """The two words of a key that came as one of two arguments; without both those of zero.

    Args:
        key: What :func:`words_of` takes, or a typed key of JAX.
        seed: The same by another name.
        op: What takes it, for errors.
        forms: How to call that, at the end of errors.

    Raises:
        TypeError: It is not one of these.
        ValueError: There are both.
    """
    if key is not None and seed is not None:
        raise ValueError(f"{op} takes either key or seed, got both")
    given = key if seed is None else seed
    if str(getattr(given, "dtype", "")).startswith("key<"):
        from jax.random import key_data  # noqa: PLC0415  (who passes such a key has imported JAX)

        given = key_data(given)
    return words_of(0 if given is None else given, op, forms)
