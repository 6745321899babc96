"""Print the package's dependencies and those of its extras, for pip."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"].values()
sys.stdout.write(
    "\n".join([*project["dependencies"], *(name for extra in extras for name in extra)])
)
