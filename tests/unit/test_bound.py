"""What equals a tree as long as it has its leaves."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

from gradmill._bound import ANYTHING, check_bound, has_moved, watched
from gradmill._tree import flatten
from gradmill.errors import LeafValueError


class Pair(NamedTuple):
    first: Any
    second: Any


def test_leaves_that_anything_may_replace() -> None:
    tree: Any = {
        "w": np.ones(3),
        "counts": [np.zeros((), np.int64), Pair(7, None)],
        "rest": OrderedDict(frozen=np.ones(3), b=np.ones(2)),
    }
    leaves, spec = flatten(tree)
    free = [isinstance(leaf, int) or leaf is tree["rest"]["frozen"] for leaf in leaves]
    bound = [ANYTHING if is_free else leaf for is_free, leaf in zip(free, leaves, strict=True)]
    seen, small = watched((tree, None), spec, bound)
    assert [keys for keys, _ in small] == [(0, "counts", 0)]
    for other in (8, np.int64(8), np.zeros(3), np.zeros(1), None, "eight", [1, 2]):
        tree["counts"][1] = Pair(other, None)
        tree["rest"]["frozen"] = other
        assert (tree, None) == seen
        assert not has_moved((tree, None), small)
        if not isinstance(other, list):
            check_bound(spec, tree, "params", bound)
    tree["rest"]["b"] = np.ones(2)
    with pytest.raises(LeafValueError, match=r"params\['rest'\]\['b'\]: is another array"):
        check_bound(spec, tree, "params", bound)
