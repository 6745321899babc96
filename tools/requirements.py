"""Print the package's dependencies and those of its extras, for pip.

python tools/requirements.py NAME ...            with those of these extras
python tools/requirements.py --without NAME ...  with those of all others
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
names = sys.argv[1:]
if names[:1] == ["--without"]:
    names = [name for name in extras if name not in names[1:]]
sys.stdout.write(
    "\n".join([*project["dependencies"], *(n for name in names for n in extras[name])])
)
