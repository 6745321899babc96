"""Steps in halves that are interrupted anywhere."""

from __future__ import annotations

import pytest

from tests.processes import python

CODE = """
import sys
import numpy as np
import gradmill as gm

tx = {
    "simple": gm.adam(0.1),
    "clipped": gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1)),
    "gated": gm.apply_if_finite(gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1)), 2),
}[sys.argv[1]]
grads = {"w": np.linspace(1, 2, 9, dtype=np.float32), "b": np.ones(3)}

def fresh():
    return gm.Optimizer(tx, {"w": np.ones(9, np.float32), "b": np.zeros(3)})

def digest(opt):
    return gm.state_digest((opt.params, opt.state))

undisturbed, expected = fresh(), []
for _ in range(3):
    expected.append(digest(undisturbed))
    undisturbed.step(grads)

left = 0

def interrupt(frame, event, _):
    # Where the interpreter looks for signals: as a function begins, and behind a call.
    global left
    if event in ("call", "c_return") and frame.f_globals is not globals():
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

def is_interrupted(opt):
    try:
        sys.setprofile(interrupt)
        for key in grads:
            opt.measure(grads[key], at=key)
        for key in grads:
            opt.apply(grads[key], at=key)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False

def ended(opt):
    # As one who does not know how far the step has come.
    try:
        opt.abort()
    except RuntimeError:
        report = None
        for key in grads:
            try:
                report = opt.apply(grads[key], at=key)
            except gm.errors.TreeError as error:
                assert "was applied before" in str(error), error
        if report is None:
            opt.apply()

place = left = 1
while is_interrupted(opt := fresh()):
    ended(opt)
    now = digest(opt)
    assert now in expected[:2], f"torn at place {place}"
    opt.step(grads)
    assert digest(opt) == expected[expected.index(now) + 1], f"place {place}"
    place += 1
    left = place
assert place > 100
print("whole")
"""


@pytest.mark.parametrize("name", ["simple", "clipped", "gated"])
def test_interrupts_everywhere(name: str) -> None:
    assert python(CODE, name) == "whole"
