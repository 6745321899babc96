"""The lines of docs/coming_from/torch.md beside torch itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from tests.unit.test_coming_from import Row, rows

torch = pytest.importorskip("torch", reason="needs torch, to compare with")
from torch.optim import lr_scheduler

STEPS = 30


@pytest.mark.parametrize("row", rows("torch", "Optimizers"), ids=str)
def test_optimizers(row: Row) -> None:
    rng = np.random.default_rng(0)
    ours = rng.standard_normal(7)
    tensor = torch.nn.Parameter(torch.from_numpy(ours.copy()))
    theirs = eval(row.old, {"torch": torch, "params": [tensor]})  # noqa: S307  (our own page)
    opt = gm.Optimizer(eval(row.new, {"gm": gm}), ours)  # noqa: S307  (our own page)
    for _ in range(STEPS):
        grads = rng.standard_normal(7)
        tensor.grad = torch.from_numpy(grads.copy())
        theirs.step()
        opt.step(grads)
    # The epsilon of RAdam stands in another place.
    np.testing.assert_allclose(ours, tensor.detach().numpy(), rtol=1e-8)


@pytest.mark.parametrize("row", rows("torch", "Schedules"), ids=str)
def test_schedules(row: Row) -> None:
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    names: dict[str, Any] = {**vars(lr_scheduler), "opt": opt}
    scheduler = eval(row.old, names)  # noqa: S307  (our own page)
    schedule = eval(row.new, {"gm": gm})  # noqa: S307  (our own page)
    for step in range(100):
        assert opt.param_groups[0]["lr"] == pytest.approx(
            float(schedule(step)), rel=1e-9, abs=1e-12
        )
        opt.step()
        scheduler.step()
