"""THE table: every transformation and optimizer once, for all suites.

``make`` builds the transformation from a module, so that one row serves gradmill and, but for those
of ``beyond``, optax.
"""

from __future__ import annotations

from tests.case import Case as Case
from tests.cases.beyond import BEYOND
from tests.cases.contrib import CONTRIB
from tests.cases.matrices import MATRICES
from tests.cases.transforms import TRANSFORMS

CASES = [*TRANSFORMS, *CONTRIB, *MATRICES, *BEYOND]
IN_OPTAX = [case for case in CASES if not case.beyond]
"""Those that optax has as well."""
