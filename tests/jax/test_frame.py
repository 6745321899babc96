"""The handler, called as XLA calls it: what JAX lets nobody try."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p, cast
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

from gradmill import _core

Array = np.ndarray[Any, Any]
EXECUTE, METADATA = 3, 1
DTYPES = {"uint32": 8, "float32": 11, "float64": 12}


class Extension(Structure):
    _fields_ = [("struct_size", c_size_t), ("kind", c_int32), ("next", c_void_p)]


class Version(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("extension", c_void_p), ("major", c_int32), ("minor", c_int32),
    ]  # fmt: skip


class Metadata(Structure):
    _fields_ = [("struct_size", c_size_t), ("version", Version), ("traits", ctypes.c_uint32)]


class MetadataExtension(Structure):
    _fields_ = [("base", Extension), ("metadata", POINTER(Metadata))]


class Error(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("extension", c_void_p), ("message", c_char_p),
        ("code", c_int32),
    ]  # fmt: skip


Create = ctypes.CFUNCTYPE(c_void_p, POINTER(Error))


class Api(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("extension", c_void_p), ("version", Version),
        ("internal", c_void_p), ("create", Create),
    ]  # fmt: skip


class Buffer(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("extension", c_void_p), ("dtype", c_int32), ("data", c_void_p),
        ("rank", c_int64), ("dims", POINTER(c_int64)),
    ]  # fmt: skip


class Span(Structure):
    _fields_ = [("data", c_char_p), ("size", c_size_t)]


class Scalar(Structure):
    _fields_ = [("dtype", c_int32), ("value", c_void_p)]


class List(Structure):
    _fields_ = [("dtype", c_int32), ("size", c_size_t), ("data", c_void_p)]


class Row(Structure):
    """Arguments, or results."""

    _fields_ = [
        ("struct_size", c_size_t), ("extension", c_void_p), ("size", c_int64),
        ("kinds", POINTER(c_int32)), ("items", POINTER(c_void_p)),
    ]  # fmt: skip


class Attributes(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("extension", c_void_p), ("size", c_int64),
        ("kinds", POINTER(c_int32)), ("names", POINTER(c_void_p)), ("values", POINTER(c_void_p)),
    ]  # fmt: skip


class Frame(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("extension", c_void_p), ("api", c_void_p),
        ("context", c_void_p), ("stage", c_int32), ("arguments", Row), ("results", Row),
        ("attributes", Attributes),
    ]  # fmt: skip


def handler() -> Any:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = c_void_p, [ctypes.py_object, c_char_p]
    return ctypes.CFUNCTYPE(c_void_p, POINTER(Frame))(get(_core.xla_handler(), None))


class Caller:
    """What XLA is for the handler; keeps what its frames point to."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.errors: list[tuple[int, str]] = []

    def create(self, error: Any) -> int:
        self.errors.append((error.contents.code, error.contents.message.decode()))
        return 1

    def api(self, minor: int) -> Api:
        create = Create(self.create)
        self.kept.append(create)
        return Api(ctypes.sizeof(Api), None, Version(24, None, 0, minor), None, create)

    def buffer(self, array: Array, address: int | None = None) -> c_void_p:
        dims = (c_int64 * max(1, array.ndim))(*array.shape)
        data = array.ctypes.data if address is None else address
        dtype = DTYPES[array.dtype.name]
        buffer = Buffer(48, None, dtype, data, array.ndim, cast(dims, POINTER(c_int64)))
        self.kept += [array, dims, buffer]
        return cast(byref(buffer), c_void_p)

    def row(self, buffers: list[c_void_p]) -> Row:
        kinds = (c_int32 * len(buffers))(*[1] * len(buffers))
        items = (c_void_p * len(buffers))(*buffers)
        self.kept += [kinds, items]
        return Row(40, None, len(buffers), kinds, items)

    def attributes(self, **values: Any) -> Attributes:
        kinds, names, pointers = [], [], []
        for name, value in sorted(values.items()):
            names.append(Span(name.encode(), len(name)))
            if isinstance(value, str):
                kinds.append(4)
                own: Any = Span(value.encode(), len(value))
            elif isinstance(value, int):
                kinds.append(3)
                number = c_int64(value)
                own = Scalar(5, cast(byref(number), c_void_p))
                self.kept.append(number)
            else:
                kinds.append(1)
                own = List(12 if value.dtype == np.float64 else 5, value.size, value.ctypes.data)
                self.kept.append(value)
            pointers.append(own)
        self.kept += [names, pointers]

        def table(items: list[Any]) -> Any:
            addresses = (c_void_p * len(items))(*(cast(byref(item), c_void_p) for item in items))
            self.kept.append(addresses)
            return addresses

        row = (c_int32 * len(kinds))(*kinds)
        return Attributes(48, None, len(kinds), row, table(names), table(pointers))

    def call(
        self, arguments: list[c_void_p], results: list[c_void_p], stage: int = EXECUTE, **own: Any
    ) -> int | None:
        """Call the handler; null where all is well."""
        api = self.api(3)
        usual: dict[str, Any] = {
            "mode": 1,
            "ops": "trace:0:*",
            "scalars": np.array([0, 0.5, 0], np.float64),
            "skip": np.zeros(1, np.int64),
            "drawn": np.zeros(0, np.int64),
            "params": 0,
        }
        fixed = [np.zeros(1, "f4"), np.zeros(2, "u4"), np.zeros((0, 1, 6), "u4")]
        frame = Frame(
            168, None, cast(byref(api), c_void_p), None, stage,
            self.row([*map(self.buffer, fixed), *arguments]), self.row(results),
            self.attributes(**{**usual, **own}),
        )  # fmt: skip
        found: int | None = handler()(byref(frame))
        return found


def test_offsets_are_those_of_the_extension() -> None:
    ours = {
        "Buffer.data": Buffer.data, "Buffer.dims": Buffer.dims, "Args.args": Row.items,
        "Attrs.attrs": Attributes.values, "Array.data": List.data, "Scalar.value": Scalar.value,
        "CallFrame.stage": Frame.stage, "CallFrame.attrs": Frame.attributes,
        "Metadata.traits": Metadata.traits, "Api.XLA_FFI_Error_Create": Api.create,
        "Error_Create_Args.errc": Error.code, "Metadata_Extension.metadata":
        MetadataExtension.metadata,
    }  # fmt: skip
    layout = dict(_core.xla_layout())
    assert {name: layout[f"XLA_FFI_{name}"] for name in ours} == {
        name: field.offset for name, field in ours.items()
    }


@pytest.mark.parametrize(("theirs", "answer"), [(None, 1), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_the_version_is_one_that_xla_takes(theirs: int | None, answer: int) -> None:
    """Old ones do not show theirs and take the first alone; others take none newer than theirs."""
    caller = Caller()
    metadata = Metadata(36, Version(24, None, 7, 7), 0xFF)
    own = MetadataExtension(Extension(24, METADATA, None), ctypes.pointer(metadata))
    # Extensions that nobody knows come before it.
    other = Extension(24, 99, cast(byref(own), c_void_p))
    frame = Frame(168, cast(byref(other), c_void_p))
    if theirs is not None:
        api = caller.api(theirs)
        frame.api = cast(byref(api), c_void_p)
    assert handler()(byref(frame)) is None
    assert (metadata.version.major, metadata.version.minor, metadata.traits) == (0, answer, 0)


def test_other_stages_are_none_of_its_business() -> None:
    caller = Caller()
    for stage in range(3):
        assert caller.call([], [], stage=stage) is None


U, T = np.arange(1, 9, dtype="f4"), np.full(8, 10, "f4")
EXPECTED = U + T / 2


def made() -> tuple[Array, Array, Array]:
    return np.full(8, 99, "f4"), np.full(8, 99, "f4"), np.zeros(1, "u4")


def test_in_other_memory_and_in_place() -> None:
    for in_place in (False, True):
        caller, slot = Caller(), T.copy()
        out, new, found = made()
        if in_place:
            new = slot
        arguments, results = [caller.buffer(U), caller.buffer(slot)], [out, new, found]
        assert caller.call(arguments, [caller.buffer(array) for array in results]) is None
        assert caller.errors == []
        np.testing.assert_array_equal(out, EXPECTED)
        np.testing.assert_array_equal(new, EXPECTED)
        np.testing.assert_array_equal(slot, EXPECTED if in_place else T)


@pytest.mark.parametrize("reader", [0, 1])
@pytest.mark.parametrize("writer", [0, 1])
@pytest.mark.parametrize("shift", [0, 3, -3])
def test_what_is_read_may_share_memory_with_what_is_written(
    shift: int, writer: int, reader: int
) -> None:
    """All at once, in part, and with what belongs to the same leaf or to another one."""
    own: dict[str, Any] = {
        "ops": "trace:0:* add_decayed_weights:0:*",
        "scalars": np.array([0, 0.5, 0, 0, 2.0, 0]),
        "skip": np.zeros(2, np.int64),
        "params": 1,
    }
    for place in range(3):
        caller = Caller()
        memory = np.zeros(32, "f4")
        read = memory[8 + shift : 16 + shift]
        read[:] = np.arange(8) * 7
        leaves = [[U.copy(), U.copy() * 3, T.copy()] for _ in range(2)]
        leaves[reader][place] = read
        outs, traces = [np.zeros(8, "f4") for _ in range(2)], [np.zeros(8, "f4") for _ in range(2)]
        traces[writer] = memory[8:16]
        kept = [[array.copy() for array in leaf] for leaf in leaves]
        arguments = [caller.buffer(array) for leaf in leaves for array in leaf]
        found = np.zeros(1, "u4")
        rows = [outs[0], traces[0], outs[1], traces[1], found]
        assert caller.call(arguments, [caller.buffer(row) for row in rows], **own) is None
        for (update, param, slot), out, trace in zip(kept, outs, traces, strict=True):
            np.testing.assert_array_equal(trace, update + slot / 2)
            np.testing.assert_array_equal(out, update + slot / 2 + 2 * param)


def test_arrays_without_elements_are_nowhere() -> None:
    caller, empty = Caller(), np.zeros((3, 0), "f4")
    arrays = [caller.buffer(empty, address) for address in (0, 0, 1, 3)]
    assert caller.call(arrays[:2], [*arrays[2:], caller.buffer(np.zeros(1, "u4"))]) is None


def test_addresses_that_are_not_aligned() -> None:
    memory = np.zeros(64, "u1")
    for at, expected in enumerate(["operand 3", "operand 4", "result 0", "result 1"]):
        caller = Caller()
        arrays = [U.copy(), T.copy(), *made()]
        buffers = [caller.buffer(array) for array in arrays]
        buffers[at] = caller.buffer(arrays[at], memory.ctypes.data + 2)
        assert caller.call(buffers[:2], buffers[2:]) == 1
        assert caller.errors == [(3, f"gradmill: {expected} is not aligned")]
        assert (arrays[2] == 99).all()


def test_nothing_is_written_where_something_is_wrong() -> None:
    short = np.zeros(7, "f4")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"ops": "trace"}, '"trace" is no op'),
        ({"scalars": np.array([0, np.nan, 0])}, "trace: decay is nan"),
        ({"skip": np.ones(1, np.int64)}, "operands or results are left over"),
        ({"mode": 2}, "a step needs params"),
    ]
    for own, expected in wrong:
        caller = Caller()
        out, new, found = made()
        arguments = [caller.buffer(U), caller.buffer(T.copy())]
        results = [caller.buffer(array) for array in (out, new, found)]
        assert caller.call(arguments, results, **own) == 1
        assert caller.errors == [(3, f"gradmill: {expected}")]
        assert (out == 99).all()
        assert (new == 99).all()
    caller = Caller()
    out, new, found = made()
    results = [caller.buffer(array) for array in (out, new, found)]
    assert caller.call([caller.buffer(U), caller.buffer(short)], results) == 1
    assert caller.errors == [(3, "gradmill: leaf 0: arrays differ in length")]


def test_attributes_may_be_missing() -> None:
    caller = Caller()
    api = caller.api(3)
    frame = Frame(168, None, cast(byref(api), c_void_p), None, EXECUTE)
    assert handler()(byref(frame)) == 1
    assert caller.errors == [(3, "gradmill: attribute mode is missing")]
