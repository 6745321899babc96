"""XLA's header, read as text: its structs are those that the extension was built with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from jax import ffi

from gradmill import _core
from gradmill.jax._header import HEADER, Header, difference


def test_the_layout_is_that_of_the_header(tmp_path: Path) -> None:
    folder = ffi.include_dir()
    assert difference(folder) is None
    # Headers of older versions are none of C.
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a compiler")
    facts = [
        f'printf("%zu\\n", offsetof({path.split(".")[0]}, {path.split(".")[1]}));'
        for path, _ in _core.xla_layout()
    ]
    source = tmp_path / "layout.cpp"
    source.write_text(
        "#include <cstddef>\n#include <cstdio>\n"
        f'#include "{HEADER}"\nint main() {{ {" ".join(facts)} return 0; }}\n'
    )
    program = tmp_path / "layout"
    subprocess.run([compiler, "-I", folder, source, "-o", program], check=True)  # noqa: S603  (our own source)
    printed = subprocess.run([program], check=True, capture_output=True, text=True)  # noqa: S603  (likewise)
    offsets = [int(line) for line in printed.stdout.split()]
    assert offsets == [offset for _, offset in _core.xla_layout()]
    header = Header((Path(folder) / HEADER).read_text())
    assert offsets == [header.offset(*path.split(".")) for path, _ in _core.xla_layout()]


TEXT = """
// struct XLA_FFI_Not { int no; };
typedef enum { XLA_FFI_One = 1, /* more */ XLA_FFI_Two = 2 } XLA_FFI_Kind;
typedef uint32_t XLA_FFI_Bits;
struct XLA_FFI_Inner { size_t size; XLA_FFI_Kind kind; };
struct XLA_FFI_Outer {
  int32_t first;  // four bytes
  XLA_FFI_Inner inner;
  XLA_FFI_Bits bits;
  const struct XLA_FFI_Inner* const* pointer;
  _XLA_FFI_API_STRUCT_FIELD(XLA_FFI_Call);
  XLA_FFI_Strange last;
};
"""


def test_headers_are_understood() -> None:
    header = Header(TEXT)
    offsets = {"first": 0, "inner": 8, "bits": 24, "pointer": 32, "XLA_FFI_Call": 40}
    assert {name: header.offset("XLA_FFI_Outer", name) for name in offsets} == offsets
    for struct, name, expected in [
        ("XLA_FFI_Not", "no", "XLA_FFI_Not not found"),
        ("XLA_FFI_Inner", "sizes", "XLA_FFI_Inner has no field sizes"),
        ("XLA_FFI_Outer", "last", "XLA_FFI_Strange is not a known type"),
    ]:
        with pytest.raises(ValueError, match=expected):
            header.offset(struct, name)


def test_no_header(tmp_path: Path) -> None:
    assert "cannot be compared" in str(difference(str(tmp_path)))
