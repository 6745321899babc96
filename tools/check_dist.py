"""Look into what is to be published.

python tools/check_dist.py FILE ...    wheels and source distributions
"""

import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

AIM = 2_000_000
"""What a wheel is to stay below, in bytes; a larger one is said to be so."""

LARGEST_WHEEL = 2_500_000
"""What none is published above."""

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def main() -> None:
    """Print what each file has, or say what it lacks."""
    assert sys.argv[1:], __doc__
    for name in sys.argv[1:]:
        path = Path(name)
        lacks = wheel(path) if path.suffix == ".whl" else sdist(path)
        size = path.stat().st_size
        note = f", above the {AIM / 1e6:.0f} MB that are aimed at" if size >= AIM else ""
        print(f"{path.name}: {size / 1e6:.2f} MB{note}")
        if lacks:
            sys.exit("\n".join(f"{path.name}: {what}" for what in lacks))


def wheel(path: Path) -> list[str]:
    """What a wheel lacks."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        files = {name: archive.read(name) for name in names if name.endswith("METADATA")}
    lacks = _metadata(next(iter(files.values())))
    # Linkers for musl leave functions with the same code as they are.
    if path.stat().st_size >= LARGEST_WHEEL and "musllinux" not in path.name:
        lacks.append(f"larger than {LARGEST_WHEEL / 1e6} MB")
    if "-cp311-abi3-" not in path.name:
        lacks.append("not for CPython 3.11 and all later ones (cp311-abi3)")
    if not any(name.startswith("gradmill/_core.") for name in names):
        lacks.append("no extension")
    for name in ("gradmill/py.typed", "gradmill/_core.pyi"):
        if name not in names:
            lacks.append(f"no {name}")
    lacks += [f"{name} does not belong there" for name in names if not name.startswith("gradmill")]
    if not any(name.endswith("licenses/LICENSE") for name in names):
        lacks.append("no LICENSE")
    return lacks


def sdist(path: Path) -> list[str]:
    """What a source distribution lacks."""
    with tarfile.open(path) as archive:
        top = path.name.removesuffix(".tar.gz")
        names = {member.name.removeprefix(f"{top}/") for member in archive.getmembers()}
        found = archive.extractfile(f"{top}/PKG-INFO")
        assert found is not None
        lacks = _metadata(found.read())
    needed = (
        *("Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "pyproject.toml"),
        *("rust/gradmill-core/Cargo.toml", "rust/gradmill-py/Cargo.toml"),
        *("rust/gradmill-core/src/lib.rs", "rust/gradmill-py/src/lib.rs"),
        *("python/gradmill/__init__.py", "python/gradmill/py.typed"),
    )
    return lacks + [f"no {name}" for name in needed if name not in names]


def _metadata(text: bytes) -> list[str]:
    """What METADATA lacks of pyproject.toml."""
    found = message_from_bytes(text)
    lacks = []
    if found["Version"] != VERSION:
        lacks.append(f"version {found['Version']}, Cargo.toml has {VERSION}")
    urls = {entry.split(", ")[0] for entry in found.get_all("Project-URL", [])}
    lacks += [f"no URL for {name}" for name in PROJECT["urls"].keys() - urls]
    classifiers = set(found.get_all("Classifier", []))
    lacks += [f"no classifier {name}" for name in set(PROJECT["classifiers"]) - classifiers]
    if found["Requires-Python"] != PROJECT["requires-python"]:
        lacks.append(f"for Python {found['Requires-Python']}")
    if not str(found.get_payload()).startswith("# gradmill"):
        lacks.append("no README")
    return lacks


main()
