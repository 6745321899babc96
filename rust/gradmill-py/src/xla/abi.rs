//! XLA's foreign function interface as its header `xla/ffi/api/c_api.h` declares it, as far as it is used here.
//!
//! Structs may grow at their ends; a field that is here stays where it is. `struct_size` tells how much of a
//! struct the other side knows.

use std::ffi::{c_char, c_int, c_void};
use std::mem::{offset_of, size_of};

#[repr(C)]
pub struct Extension {
    pub struct_size: usize,
    pub kind: c_int,
    pub next: *mut Extension,
}

#[repr(C)]
pub struct ApiVersion {
    pub struct_size: usize,
    pub extension: *mut Extension,
    pub major: c_int,
    pub minor: c_int,
}

#[repr(C)]
pub struct ErrorCreateArgs {
    pub struct_size: usize,
    pub extension: *mut Extension,
    pub message: *const c_char,
    pub code: c_int,
}

#[repr(C)]
pub struct Buffer {
    pub struct_size: usize,
    pub extension: *mut Extension,
    pub dtype: c_int,
    pub data: *mut c_void,
    pub rank: i64,
    pub dims: *const i64,
}

#[repr(C)]
pub struct ByteSpan {
    pub data: *const u8,
    pub len: usize,
}

#[repr(C)]
pub struct Scalar {
    pub dtype: c_int,
    pub value: *const c_void,
}

#[repr(C)]
pub struct Array {
    pub dtype: c_int,
    pub size: usize,
    pub data: *const c_void,
}

/// Arguments of a call, and its results.
#[repr(C)]
pub struct Buffers {
    pub struct_size: usize,
    pub extension: *mut Extension,
    pub size: i64,
    pub kinds: *const c_int,
    pub items: *const *const Buffer,
}

#[repr(C)]
pub struct Attributes {
    pub struct_size: usize,
    pub extension: *mut Extension,
    pub size: i64,
    pub kinds: *const c_int,
    pub names: *const *const ByteSpan,
    pub values: *const *const c_void,
}

#[repr(C)]
pub struct CallFrame {
    pub struct_size: usize,
    pub extension: *mut Extension,
    pub api: *const Api,
    pub context: *mut c_void,
    pub stage: c_int,
    pub arguments: Buffers,
    pub results: Buffers,
    pub attributes: Attributes,
}

#[repr(C)]
pub struct Metadata {
    pub struct_size: usize,
    pub version: ApiVersion,
    pub traits: u32,
}

#[repr(C)]
pub struct MetadataExtension {
    pub base: Extension,
    pub metadata: *mut Metadata,
}

#[repr(C)]
pub struct Api {
    pub struct_size: usize,
    pub extension: *mut Extension,
    pub version: ApiVersion,
    pub internal: *const c_void,
    pub error_create: unsafe extern "C" fn(*mut ErrorCreateArgs) -> *mut c_void,
}

pub const METADATA_EXTENSION: c_int = 1;
pub const STAGE_EXECUTE: c_int = 3;
pub const ARGUMENT_BUFFER: c_int = 1;
pub const ATTRIBUTE_ARRAY: c_int = 1;
pub const ATTRIBUTE_SCALAR: c_int = 3;
pub const ATTRIBUTE_STRING: c_int = 4;
pub const S64: c_int = 5;
pub const U32: c_int = 8;
pub const F16: c_int = 10;
pub const F32: c_int = 11;
pub const F64: c_int = 12;
pub const BF16: c_int = 16;
pub const INVALID_ARGUMENT: c_int = 3;
pub const INTERNAL: c_int = 13;

/// What the header calls the size of [`ErrorCreateArgs`]: up to the end of its last field.
pub const ERROR_CREATE_ARGS_SIZE: usize = offset_of!(ErrorCreateArgs, code) + size_of::<c_int>();

/// The offsets of fields, under the header's names.
pub const LAYOUT: &[(&str, usize)] = &[
    ("XLA_FFI_Extension_Base.type", offset_of!(Extension, kind)),
    ("XLA_FFI_Extension_Base.next", offset_of!(Extension, next)),
    ("XLA_FFI_Api_Version.major_version", offset_of!(ApiVersion, major)),
    ("XLA_FFI_Api_Version.minor_version", offset_of!(ApiVersion, minor)),
    ("XLA_FFI_Error_Create_Args.message", offset_of!(ErrorCreateArgs, message)),
    ("XLA_FFI_Error_Create_Args.errc", offset_of!(ErrorCreateArgs, code)),
    ("XLA_FFI_Buffer.dtype", offset_of!(Buffer, dtype)),
    ("XLA_FFI_Buffer.data", offset_of!(Buffer, data)),
    ("XLA_FFI_Buffer.rank", offset_of!(Buffer, rank)),
    ("XLA_FFI_Buffer.dims", offset_of!(Buffer, dims)),
    ("XLA_FFI_ByteSpan.ptr", offset_of!(ByteSpan, data)),
    ("XLA_FFI_ByteSpan.len", offset_of!(ByteSpan, len)),
    ("XLA_FFI_Scalar.dtype", offset_of!(Scalar, dtype)),
    ("XLA_FFI_Scalar.value", offset_of!(Scalar, value)),
    ("XLA_FFI_Array.dtype", offset_of!(Array, dtype)),
    ("XLA_FFI_Array.size", offset_of!(Array, size)),
    ("XLA_FFI_Array.data", offset_of!(Array, data)),
    ("XLA_FFI_Args.size", offset_of!(Buffers, size)),
    ("XLA_FFI_Args.types", offset_of!(Buffers, kinds)),
    ("XLA_FFI_Args.args", offset_of!(Buffers, items)),
    ("XLA_FFI_Rets.size", offset_of!(Buffers, size)),
    ("XLA_FFI_Rets.types", offset_of!(Buffers, kinds)),
    ("XLA_FFI_Rets.rets", offset_of!(Buffers, items)),
    ("XLA_FFI_Attrs.size", offset_of!(Attributes, size)),
    ("XLA_FFI_Attrs.types", offset_of!(Attributes, kinds)),
    ("XLA_FFI_Attrs.names", offset_of!(Attributes, names)),
    ("XLA_FFI_Attrs.attrs", offset_of!(Attributes, values)),
    ("XLA_FFI_CallFrame.extension_start", offset_of!(CallFrame, extension)),
    ("XLA_FFI_CallFrame.api", offset_of!(CallFrame, api)),
    ("XLA_FFI_CallFrame.stage", offset_of!(CallFrame, stage)),
    ("XLA_FFI_CallFrame.args", offset_of!(CallFrame, arguments)),
    ("XLA_FFI_CallFrame.rets", offset_of!(CallFrame, results)),
    ("XLA_FFI_CallFrame.attrs", offset_of!(CallFrame, attributes)),
    ("XLA_FFI_Metadata.api_version", offset_of!(Metadata, version)),
    ("XLA_FFI_Metadata.traits", offset_of!(Metadata, traits)),
    ("XLA_FFI_Metadata_Extension.metadata", offset_of!(MetadataExtension, metadata)),
    ("XLA_FFI_Api.api_version", offset_of!(Api, version)),
    ("XLA_FFI_Api.XLA_FFI_Error_Create", offset_of!(Api, error_create)),
];
