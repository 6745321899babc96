"""What the rows of the table do not say of optimistic algorithms."""

from __future__ import annotations

import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafTypeError


@pytest.mark.parametrize("optimism", [None, 0.1])
def test_the_deprecated_adam_points_to_the_other(optimism: float | None) -> None:
    with pytest.warns(DeprecationWarning, match="use `optimistic_adam_v2` instead") as caught:
        old = gm.optimistic_adam(0.1, optimism)
    assert caught[0].filename == __file__
    # The learning rate multiplies before the difference is taken, or after it.
    new, grads = gm.optimistic_adam_v2(0.1), [np.array([step, 3.0]) for step in (1.0, -2.0, 5.0)]
    old_state, new_state = (tx.init(np.zeros(2)) for tx in (old, new))
    for grad in grads:
        expected, old_state = old.update(grad, old_state)
        actual, new_state = new.update(grad, new_state)
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_the_deprecated_adam_takes_no_schedule() -> None:
    with pytest.raises(ValueError, match="optimistic_adam_v2 does"):
        gm.optimistic_adam(lambda _: 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("flag", [2, np.ones(2, bool), None])
def test_whether_a_step_is_the_first_is_a_bool(flag: object) -> None:
    tx, grads = gm.optimistic_gradient_descent(0.1), np.ones(2)
    first, *rest = tx.init(grads)
    with pytest.raises(LeafTypeError, match=r"^state\[0\].is_initial_step: .* is not a bool"):
        tx.update(grads, (first._replace(is_initial_step=flag), *rest))
