"""Importing this puts the extension that ``GRADMILL_CORE`` names in the place of the installed one.

``pytest -p tests.other_core`` runs tests with it.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader

_loader = ExtensionFileLoader("gradmill._core", os.environ["GRADMILL_CORE"])
_spec = spec_from_loader(_loader.name, _loader)
assert _spec is not None
_core = module_from_spec(_spec)
_loader.exec_module(_core)
sys.modules[_loader.name] = _core
with warnings.catch_warnings():
    # It may be a debug build, of which the package warns.
    warnings.simplefilter("ignore", RuntimeWarning)
    import gradmill as gradmill
