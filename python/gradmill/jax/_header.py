"""The structs in XLA's header, compared with those that the extension was built with."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gradmill import _core

HEADER = Path("xla", "ffi", "api", "c_api.h")
_WIDTHS = {"size_t": 8, "int64_t": 8, "uint64_t": 8, "int32_t": 4, "uint32_t": 4, "int": 4}
_STRUCT = re.compile(r"struct (XLA_FFI_\w+) \{(.*?)\}", re.DOTALL)
_FUNCTION = re.compile(r"_XLA_FFI_API_STRUCT_FIELD\((\w+)\)")


class _Field(NamedTuple):
    kind: str
    name: str


class Header:
    """The layouts of the structs that a header declares, on a machine with 64-bit pointers.

    Args:
        text: The header.

    Raises:
        ValueError: From its methods: the header does not declare what is asked for.
    """

    def __init__(self, text: str) -> None:
        self.text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
        self.structs = dict(_STRUCT.findall(self.text))

    def offset(self, struct: str, field: str) -> int:
        """Where a field begins."""
        end = 0
        for kind, name in self._fields(struct):
            size, align = self._size(kind)
            start = -(-end // align) * align
            if name == field:
                return start
            end = start + size
        raise ValueError(f"{struct} has no field {field}")

    def _fields(self, struct: str) -> list[_Field]:
        if struct not in self.structs:
            raise ValueError(f"{struct} not found")
        return [_field(line) for line in self.structs[struct].split(";") if line.strip()]

    def _size(self, kind: str) -> tuple[int, int]:
        """Size and alignment of a type."""
        if kind.endswith("*"):
            return 8, 8
        if kind in _WIDTHS:
            return _WIDTHS[kind], _WIDTHS[kind]
        if kind in self.structs:
            fields = [self._size(field.kind) for field in self._fields(kind)]
            align = max(align for _, align in fields)
            end = 0
            for size, own in fields:
                end = -(-end // own) * own + size
            return -(-end // align) * align, align
        if re.search(rf"typedef enum \{{[^}}]*\}} {kind};", self.text):
            return 4, 4
        if alias := re.search(rf"typedef (\w+) {kind};", self.text):
            return self._size(alias[1])
        raise ValueError(f"{kind} is not a known type")


def _field(line: str) -> _Field:
    """A field's type, with a star for a pointer, and its name."""
    if function := _FUNCTION.search(line):
        return _Field("*", function[1])
    *words, name = line.replace("*", " * ").split()
    kinds = [word for word in words if word not in {"const", "struct"}]
    return _Field("*" if "*" in kinds else kinds[0], name)


@cache
def difference(folder: str) -> str | None:
    """How the structs in the header below ``folder`` differ from the extension's; None if not."""
    try:
        header = Header((Path(folder) / HEADER).read_text())
        for path, expected in _core.xla_layout():
            offset = header.offset(*path.split("."))
            if offset != expected:
                return f"{path} is at {offset} in XLA's header, at {expected} in gradmill"
    except (OSError, ValueError) as error:
        return f"XLA's header cannot be compared: {error}"
    return None
