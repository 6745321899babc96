"""Names that gradmill leaves to others."""

from __future__ import annotations

import importlib

import pytest

import gradmill as gm
from gradmill._data.scope import LEFT_OUT


@pytest.mark.parametrize("name", LEFT_OUT)
def test_names_that_are_out_of_scope(name: str) -> None:
    assert not hasattr(gm, name)
    assert getattr(gm, name, None) is None
    assert name not in dir(gm)
    with pytest.raises(AttributeError, match=f"^gradmill.{name} is out of scope: ") as caught:
        getattr(gm, name)
    assert isinstance(caught.value, gm.errors.OutOfScopeError)
    message = str(caught.value)
    assert len(message) < 200
    assert "\n" not in message
    with pytest.raises(ImportError):
        importlib.import_module(f"gradmill.{name}")


def test_other_names() -> None:
    with pytest.raises(AttributeError, match=r"^module 'gradmill' has no") as no:
        gm.adamm  # noqa: B018  (the look-up is what fails)
    assert not isinstance(no.value, gm.errors.GradmillError)
    with pytest.raises(ImportError):
        from gradmill import l2_loss  # noqa: F401  (the import is what fails)
