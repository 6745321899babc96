//! What XLA hands to a call, checked as it is read.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::slice;

use gradmill_core::DType;
use gradmill_core::data::{Sink, Source, View, ViewMut};

use super::abi;

/// What is wrong with a call.
pub type Problem = String;

/// The arguments, results and attributes of one call.
pub struct Frame<'f>(&'f abi::CallFrame);

impl<'f> Frame<'f> {
    /// # Safety
    /// `frame` is one that XLA made for a call that is in progress.
    pub unsafe fn new(frame: &'f abi::CallFrame) -> Self {
        Self(frame)
    }

    pub fn arguments(&self) -> Result<Vec<Buffer<'f>>, Problem> {
        Self::buffers("operand", &self.0.arguments)
    }

    pub fn results(&self) -> Result<Vec<Buffer<'f>>, Problem> {
        Self::buffers("result", &self.0.results)
    }

    fn buffers(of: &str, row: &'f abi::Buffers) -> Result<Vec<Buffer<'f>>, Problem> {
        // SAFETY: XLA gives arrays of this length, of buffers where their kind says so.
        let (kinds, buffers) = unsafe { (list(row.kinds, row.size), list(row.items, row.size)) };
        if kinds.iter().any(|&kind| kind != abi::ARGUMENT_BUFFER) {
            return Err(format!("a {of} is no array"));
        }
        let mut read = Vec::with_capacity(buffers.len());
        for (at, &buffer) in buffers.iter().enumerate() {
            // SAFETY: each points to a buffer that lives as long as the call.
            let buffer = Buffer::new(unsafe { &*buffer });
            read.push(buffer.map_err(|problem| format!("{of} {at} {problem}"))?);
        }
        Ok(read)
    }

    /// An attribute and its kind.
    fn attribute(&self, name: &str, kind: c_int) -> Result<*const c_void, Problem> {
        let row = &self.0.attributes;
        // SAFETY: XLA gives arrays of this length.
        let (kinds, names, values) = unsafe {
            (list(row.kinds, row.size), list(row.names, row.size), list(row.values, row.size))
        };
        let is_named = |&at: &usize| {
            // SAFETY: each points to a span that lives as long as the call.
            let span = unsafe { &*names[at] };
            // SAFETY: the span is one of that many bytes.
            let own = unsafe { items(span.data, span.len) };
            own == name.as_bytes()
        };
        let at = (0..names.len()).find(is_named);
        let at = at.ok_or_else(|| format!("attribute {name} is missing"))?;
        if kinds[at] == kind {
            Ok(values[at])
        } else {
            Err(format!("attribute {name} is of another kind"))
        }
    }

    pub fn integer(&self, name: &str) -> Result<i64, Problem> {
        let value = self.attribute(name, abi::ATTRIBUTE_SCALAR)?;
        // SAFETY: an attribute of this kind is a scalar.
        let scalar = unsafe { &*value.cast::<abi::Scalar>() };
        expect(name, scalar.dtype, abi::S64)?;
        // SAFETY: a scalar of this dtype.
        Ok(unsafe { scalar.value.cast::<i64>().read_unaligned() })
    }

    pub fn text(&self, name: &str) -> Result<&'f str, Problem> {
        let value = self.attribute(name, abi::ATTRIBUTE_STRING)?;
        // SAFETY: an attribute of this kind is a span of bytes, which live as long as the call.
        let bytes = unsafe {
            let span = &*value.cast::<abi::ByteSpan>();
            items(span.data, span.len)
        };
        str::from_utf8(bytes).map_err(|_| format!("attribute {name} is no text"))
    }

    pub fn integers(&self, name: &str) -> Result<&'f [i64], Problem> {
        self.array(name, abi::S64)
    }

    pub fn floats(&self, name: &str) -> Result<&'f [f64], Problem> {
        self.array(name, abi::F64)
    }

    fn array<T>(&self, name: &str, dtype: c_int) -> Result<&'f [T], Problem> {
        let value = self.attribute(name, abi::ATTRIBUTE_ARRAY)?;
        // SAFETY: an attribute of this kind is an array.
        let array = unsafe { &*value.cast::<abi::Array>() };
        if array.size == 0 {
            return Ok(&[]);
        }
        expect(name, array.dtype, dtype)?;
        if !array.data.cast::<T>().is_aligned() {
            return Err(format!("attribute {name} is not aligned"));
        }
        // SAFETY: that many aligned elements of this dtype, which live as long as the call.
        Ok(unsafe { items(array.data.cast(), array.size) })
    }
}

fn expect(name: &str, got: c_int, expected: c_int) -> Result<(), Problem> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("attribute {name} is {}, expected {}", name_of(got), name_of(expected)))
    }
}

/// The name of an element type.
fn name_of(dtype: c_int) -> String {
    const NAMES: [&str; 12] = [
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    ];
    let at = usize::try_from(dtype).unwrap_or(0).wrapping_sub(1);
    NAMES.get(at).map_or_else(|| format!("of XLA's type {dtype}"), |name| (*name).to_owned())
}

/// # Safety
/// `data` points to `len` values that live for `'a`, or `len` is not positive.
unsafe fn list<'a, T>(data: *const T, len: i64) -> &'a [T] {
    let len = usize::try_from(len).unwrap_or(0);
    // SAFETY: the caller vouches for `len` values, and none is read of a length below one.
    unsafe { items(data, len) }
}

/// # Safety
/// `data` points to `len` values that live for `'a`.
unsafe fn items<'a, T>(data: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for them.
    unsafe { slice::from_raw_parts(data, len) }
}

/// The type of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 32 bits each.
    Words,
    Floats(DType),
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::Floats(DType::Codes) => 1,
            Self::Floats(DType::F16 | DType::BF16) => 2,
            Self::Words | Self::Floats(DType::F32) => 4,
            Self::Floats(DType::F64) => 8,
        }
    }
}

/// A dense array in row-major order.
#[derive(Clone, Copy, Debug)]
pub struct Buffer<'f> {
    pub kind: Kind,
    pub dims: &'f [i64],
    data: *mut c_void,
    lives: PhantomData<&'f ()>,
}

impl<'f> Buffer<'f> {
    fn new(buffer: &'f abi::Buffer) -> Result<Self, Problem> {
        let kind = match buffer.dtype {
            abi::U32 => Kind::Words,
            abi::F16 => Kind::Floats(DType::F16),
            abi::BF16 => Kind::Floats(DType::BF16),
            abi::F32 => Kind::Floats(DType::F32),
            abi::F64 => Kind::Floats(DType::F64),
            other => return Err(format!("is {}, no array of floats or words", name_of(other))),
        };
        // SAFETY: XLA gives an array of this length.
        let dims = unsafe { list(buffer.dims, buffer.rank) };
        let (data, lives) = (buffer.data, PhantomData);
        let buffer = Self { kind, dims, data, lives };
        if buffer.len(0) > 0 && !buffer.data.addr().is_multiple_of(kind.size()) {
            return Err("is not aligned".into());
        }
        Ok(buffer)
    }

    /// Number of elements, without the first `batch` axes.
    pub fn len(&self, batch: usize) -> usize {
        let lengths = self.dims.get(batch..).unwrap_or_default();
        lengths.iter().map(|&length| usize::try_from(length).unwrap_or(0)).product()
    }

    pub fn address(&self) -> usize {
        self.data.addr()
    }

    /// Where its memory begins and ends.
    pub fn span(&self) -> (usize, usize) {
        (self.address(), self.address() + self.len(0) * self.kind.size())
    }

    /// The `at`th stretch of `len` elements of an array of floats.
    ///
    /// # Safety
    /// It lies within the array, and nobody writes to it while it is in use.
    pub unsafe fn source(&self, at: usize, len: usize) -> Option<Source<'f>> {
        let Kind::Floats(dtype) = self.kind else { return None };
        // SAFETY: the caller vouches for the stretch; elements have the size of that dtype.
        unsafe {
            Some(match dtype {
                DType::F16 => Source::F16(View::Dense(self.read(at, len))),
                DType::BF16 => Source::BF16(View::Dense(self.read(at, len))),
                DType::F32 => Source::F32(View::Dense(self.read(at, len))),
                DType::F64 => Source::F64(View::Dense(self.read(at, len))),
                DType::Codes => return None,
            })
        }
    }

    /// The `at`th stretch of `len` elements of an array of floats, to be written.
    ///
    /// # Safety
    /// It lies within the array, and nobody reads or writes it while it is in use.
    pub unsafe fn sink(&self, at: usize, len: usize) -> Option<Sink<'f>> {
        let Kind::Floats(dtype) = self.kind else { return None };
        // SAFETY: the caller vouches for the stretch; elements have the size of that dtype.
        unsafe {
            Some(match dtype {
                DType::F16 => Sink::F16(ViewMut::Dense(self.write(at, len))),
                DType::BF16 => Sink::BF16(ViewMut::Dense(self.write(at, len))),
                DType::F32 => Sink::F32(ViewMut::Dense(self.write(at, len))),
                DType::F64 => Sink::F64(ViewMut::Dense(self.write(at, len))),
                DType::Codes => return None,
            })
        }
    }

    /// The `at`th stretch of `len` words.
    ///
    /// # Safety
    /// It lies within the array, and nobody writes to it while it is in use.
    pub unsafe fn words(&self, at: usize, len: usize) -> Option<&'f [u32]> {
        // SAFETY: the caller vouches for the stretch; elements are words.
        (self.kind == Kind::Words).then(|| unsafe { self.read(at, len) })
    }

    /// The `at`th stretch of `len` words, to be written.
    ///
    /// # Safety
    /// It lies within the array, and nobody reads or writes it while it is in use.
    pub unsafe fn words_mut(&self, at: usize, len: usize) -> Option<&'f mut [u32]> {
        // SAFETY: the caller vouches for the stretch; elements are words.
        (self.kind == Kind::Words).then(|| unsafe { self.write(at, len) })
    }

    /// # Safety
    /// The stretch lies within the array, nobody writes to it while it is in use, and elements have the size of `T`.
    unsafe fn read<T>(&self, at: usize, len: usize) -> &'f [T] {
        // SAFETY: within the array, which lives as long as the call and is aligned.
        unsafe { items(self.data.cast::<T>().add(at * len), len) }
    }

    /// # Safety
    /// The stretch lies within the array, nobody reads or writes it while it is in use, and elements have the size of `T`.
    unsafe fn write<T>(&self, at: usize, len: usize) -> &'f mut [T] {
        if len == 0 {
            return &mut [];
        }
        // SAFETY: within the array, which lives as long as the call and is aligned.
        unsafe { slice::from_raw_parts_mut(self.data.cast::<T>().add(at * len), len) }
    }

    /// The elements of an array of floats in memory of its own.
    pub fn copied(&self) -> Result<Copied, Problem> {
        let bytes = self.len(0) * self.kind.size();
        let mut memory = Vec::new();
        let words = bytes.div_ceil(size_of::<u64>());
        memory.try_reserve_exact(words).map_err(|_| "out of memory")?;
        memory.resize(words, 0);
        if bytes > 0 {
            // SAFETY: both have that many bytes, and the vector is new.
            unsafe {
                self.data.cast::<u8>().copy_to_nonoverlapping(memory.as_mut_ptr().cast(), bytes);
            }
        }
        Ok(Copied(memory))
    }

    /// The same array in other memory.
    pub fn in_memory<'c>(&self, memory: &'c mut Copied) -> Buffer<'c>
    where
        'f: 'c,
    {
        let data = memory.0.as_mut_ptr().cast();
        Buffer { kind: self.kind, dims: self.dims, data, lives: PhantomData }
    }
}

/// Memory of a copy.
pub struct Copied(Vec<u64>);
