"""Files that are complete at any time, and their formats."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gradmill.checkpoints import _npz, _safetensors

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS: dict[str, Any] = {".npz": _npz, ".safetensors": _safetensors}


def format_of(path: str | os.PathLike[str]) -> Any:
    """The module that writes and reads files of that name.

    Raises:
        ValueError: None does.
    """
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise ValueError(f"path must end in {' or '.join(FORMATS)}, got {os.fspath(path)!r}")
    return FORMATS[suffix]


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of the one at ``path`` once it is whole.

    Whatever happens before, there is the old one. A writer that is killed leaves a file named
    ``.gradmill-*.tmp`` beside it.
    """
    # Behind a link it is the file that is replaced.
    goal = Path(os.path.realpath(path))
    draft = goal.with_name(f".gradmill-{os.urandom(8).hex()}.tmp")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if goal.exists():
            draft.chmod(goal.stat().st_mode & 0o7777)
        draft.replace(goal)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(goal.parent)


def _sync(folder: Path) -> None:
    """Have the new name of a file on the disk, where there is a way to."""
    if os.name != "posix":
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
