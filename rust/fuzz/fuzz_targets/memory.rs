//! Arrays of any dtype and layout in buffers of their own, among elements that nobody may write.
#![expect(unsafe_code, reason = "strided views are made from raw pointers")]

use arbitrary::Arbitrary;
use gradmill_core::data::{Layout, Sink, Source, Strided, StridedMut, View, ViewMut};
use gradmill_core::{DType, Element};
use half::{bf16, f16};

/// Elements before and behind an array.
const GUARD: usize = 8;

/// Splitmix64, so that an array of any length is one number of the input.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// An element by its bits.
pub trait Bits: Element {
    fn of_bits(bits: u64) -> Self;
    fn bits(self) -> u64;

    /// The bits, with one pattern for all NaN.
    fn same(self) -> u64 {
        if self.to_f64().is_nan() { u64::MAX } else { self.bits() }
    }
}

macro_rules! bits {
    ($($type:ident: $unsigned:ident;)*) => {
        $(impl Bits for $type {
            fn of_bits(bits: u64) -> Self {
                let size = 8 * size_of::<Self>();
                // The upper bits are the better ones, and hold sign and exponent.
                Self::from_bits((bits >> (64 - size)) as $unsigned)
            }
            fn bits(self) -> u64 {
                self.to_bits().into()
            }
        })*
    };
}

bits! {
    f16: u16;
    bf16: u16;
    f32: u32;
    f64: u64;
}

/// Which values an array holds.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Values {
    /// Magnitudes between 2^-8 and 2^8.
    Moderate,
    /// One in eight is a zero, subnormal, tiny or huge.
    Finite,
    /// Some are infinite or NaN.
    Any,
    /// Any bits.
    Raw,
    Zero,
}

const EXTREMES: [f64; 12] =
    [0.0, -0.0, 1e-40, -3e-45, 6e-8, 5e-324, 1.2e-38, -1e-16, 65504.0, -3e38, 1e150, -1e306];
const NOT_FINITE: [f64; 3] = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];

impl Values {
    fn value<T: Bits>(self, random: &mut Random) -> T {
        let bits = random.bits();
        let pick = |values: &[f64]| T::from_f64(values[(bits >> 8) as usize % values.len()]);
        match (self, bits % 128) {
            (Self::Zero, _) => T::default(),
            (Self::Raw, _) => T::of_bits(bits),
            (Self::Any, 0) => pick(&NOT_FINITE),
            (Self::Any | Self::Finite, 1..16) => {
                let value: T = pick(&EXTREMES);
                if value.to_f64().is_finite() { value } else { T::from_f64(1.0) }
            }
            _ => {
                let (exponent, mantissa) = (bits >> 52 & 15, bits & (!0 >> 12));
                T::from_f64(f64::from_bits(bits >> 63 << 63 | (1015 + exponent) << 52 | mantissa))
            }
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Kind {
    F16,
    BF16,
    F32,
    F64,
}

impl From<Kind> for DType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::F16 => Self::F16,
            Kind::BF16 => Self::BF16,
            Kind::F32 => Self::F32,
            Kind::F64 => Self::F64,
        }
    }
}

/// How the elements of an array lie.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Lie {
    /// A slice.
    Dense,
    /// A view whose elements have places of their own: which axis is innermost, which run backwards, and
    /// how far elements lie apart.
    Apart { cut: u8, order: u8, backwards: u8, gap: u8 },
    /// A view with any small strides, zero included. It may reach an element more than once, so that it is
    /// only to be read.
    Any { cut: u8, strides: [i8; 4] },
}

/// Lengths whose product is `len`.
pub fn axes(len: usize, mut cut: u8) -> Vec<usize> {
    let mut axes = Vec::new();
    let mut rest = len;
    while cut > 0 {
        let factor = [1, 2, 3, 5][usize::from(cut & 3)];
        if rest.is_multiple_of(factor) {
            axes.push(factor);
            rest /= factor;
        }
        cut >>= 2;
    }
    // One element may have no axes at all.
    if rest != 1 || axes.len() % 2 == 1 {
        axes.push(rest);
    }
    axes
}

/// Length and stride of each axis.
type Axes = Vec<(usize, isize)>;

impl Lie {
    /// The axes of a view of `len` elements, or `None` for a slice.
    fn of(self, len: usize, write: bool) -> Option<Axes> {
        match self {
            Self::Dense => None,
            Self::Any { cut, strides } if !write => {
                let strides = strides.into_iter().cycle().map(|stride| isize::from(stride) % 5);
                Some(axes(len, cut).into_iter().zip(strides).collect())
            }
            Self::Any { cut, strides: [order, backwards, gap, _] } => {
                let [order, backwards, gap] = [order, backwards, gap].map(i8::cast_unsigned);
                Some(apart(&axes(len, cut), order, backwards, gap))
            }
            Self::Apart { cut, order, backwards, gap } => {
                Some(apart(&axes(len, cut), order, backwards, gap))
            }
        }
    }
}

fn apart(lengths: &[usize], order: u8, backwards: u8, gap: u8) -> Axes {
    let mut strides = vec![0; lengths.len()];
    let mut reach = 1 + isize::from(gap % 3);
    for at in 0..lengths.len() {
        let axis = (at + usize::from(order)) % lengths.len();
        strides[axis] = if backwards >> (axis % 8) & 1 == 1 { -reach } else { reach };
        reach *= lengths[axis].max(1).cast_signed();
    }
    lengths.iter().copied().zip(strides).collect()
}

/// What is in an array, and how it lies.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Recipe {
    pub kind: Kind,
    pub lie: Lie,
    pub values: Values,
    pub seed: u64,
}

/// A buffer and the array inside it.
#[derive(Clone, Debug)]
struct Typed<T> {
    buffer: Vec<T>,
    /// Where the first element of the array is.
    first: usize,
    len: usize,
    /// `None` for a slice.
    layout: Option<Layout>,
}

impl<T: Bits> Typed<T> {
    fn new(recipe: &Recipe, len: usize, write: bool) -> Self {
        let layout = recipe.lie.of(len, write).map(Layout::new);
        let extent = match &layout {
            None => (len > 0).then(|| (0, len.cast_signed() - 1)),
            Some(layout) => {
                assert_eq!(layout.len(), len);
                layout.extent()
            }
        };
        let (before, room) = extent
            .map_or((0, 0), |(low, high)| (low.unsigned_abs(), (high - low).unsigned_abs() + 1));
        let mut random = Random(recipe.seed);
        let buffer = (0..room + 2 * GUARD).map(|_| T::of_bits(random.bits())).collect();
        let mut typed = Self { buffer, first: GUARD + before, len, layout };
        for position in typed.positions() {
            typed.buffer[position] = recipe.values.value(&mut random);
        }
        typed
    }

    /// Places of the elements in the buffer, in order.
    fn positions(&self) -> Vec<usize> {
        match &self.layout {
            None => (self.first..self.first + self.len).collect(),
            Some(layout) => {
                let walk = |places: Vec<isize>, &(length, stride): &(usize, isize)| {
                    let along =
                        |&at: &isize| (0..length.cast_signed()).map(move |i| at + i * stride);
                    places.iter().flat_map(along).collect()
                };
                let places = layout.axes().iter().fold(vec![self.first.cast_signed()], walk);
                places.into_iter().map(isize::cast_unsigned).collect()
            }
        }
    }

    fn view(&self) -> View<'_, T> {
        let Some(layout) = &self.layout else {
            return View::Dense(&self.buffer[self.first..][..self.len]);
        };
        let first = self.buffer.as_ptr().wrapping_add(self.first);
        // SAFETY: `new` made the buffer so large that each element of the layout is inside of it, and the
        // view borrows the buffer.
        View::Strided(unsafe { Strided::new(first, layout) })
    }

    fn view_mut(&mut self) -> ViewMut<'_, T> {
        let Some(layout) = &self.layout else {
            return ViewMut::Dense(&mut self.buffer[self.first..][..self.len]);
        };
        let first = self.buffer.as_mut_ptr().wrapping_add(self.first);
        // SAFETY: the layout reaches elements of the buffer alone; the view is the only one to it, and arrays to be
        // written are made with strides that grow with the lengths of the axes inside, so that no element is reached
        // twice.
        ViewMut::Strided(unsafe { StridedMut::new(first, layout) })
    }

    fn elements(&self) -> Vec<u64> {
        self.positions().into_iter().map(|position| self.buffer[position].same()).collect()
    }

    fn numbers(&self) -> Vec<f64> {
        self.positions().into_iter().map(|position| self.buffer[position].to_f64()).collect()
    }

    fn bytes(&self) -> impl Iterator<Item = u64> {
        self.buffer.iter().map(|&element| element.bits())
    }

    fn is_untouched(&self, before: &Self) -> bool {
        self.bytes().eq(before.bytes())
    }

    fn is_untouched_around(&self, before: &Self) -> bool {
        let mut inside = vec![false; self.buffer.len()];
        self.positions().into_iter().for_each(|position| inside[position] = true);
        let pairs = self.bytes().zip(before.bytes()).zip(inside);
        pairs.into_iter().all(|((now, before), inside)| inside || now == before)
    }

    fn overwrite(&mut self, values: Values, seed: u64) {
        let mut random = Random(seed);
        for position in self.positions() {
            self.buffer[position] = values.value(&mut random);
        }
    }

    fn fill(&mut self, value: f64) {
        for position in self.positions() {
            self.buffer[position] = T::from_f64(value);
        }
    }
}

/// An array of any dtype in memory of its own.
#[derive(Clone, Debug)]
pub struct Memory(Inner);

#[derive(Clone, Debug)]
enum Inner {
    F16(Typed<f16>),
    BF16(Typed<bf16>),
    F32(Typed<f32>),
    F64(Typed<f64>),
}

macro_rules! inside {
    ($value:expr, $typed:ident => $body:expr) => {
        match $value {
            Inner::F16($typed) => $body,
            Inner::BF16($typed) => $body,
            Inner::F32($typed) => $body,
            Inner::F64($typed) => $body,
        }
    };
}

macro_rules! both {
    ($value:expr, $other:expr, $typed:ident, $before:ident => $body:expr) => {
        match ($value, $other) {
            (Inner::F16($typed), Inner::F16($before)) => $body,
            (Inner::BF16($typed), Inner::BF16($before)) => $body,
            (Inner::F32($typed), Inner::F32($before)) => $body,
            (Inner::F64($typed), Inner::F64($before)) => $body,
            _ => unreachable!("arrays keep their dtypes"),
        }
    };
}

impl Memory {
    /// The array of `recipe`; one that is to be written reaches no element twice.
    pub fn new(recipe: &Recipe, dtype: DType, len: usize, write: bool) -> Self {
        Self(match dtype {
            DType::F16 => Inner::F16(Typed::new(recipe, len, write)),
            DType::BF16 => Inner::BF16(Typed::new(recipe, len, write)),
            DType::F32 => Inner::F32(Typed::new(recipe, len, write)),
            DType::F64 => Inner::F64(Typed::new(recipe, len, write)),
            DType::Codes => unreachable!("no recipe has codes"),
        })
    }

    /// The same array as a slice.
    pub fn dense(&self) -> Self {
        fn dense<T: Bits>(typed: &Typed<T>) -> Typed<T> {
            let elements = typed.positions().into_iter().map(|position| typed.buffer[position]);
            let guard = || std::iter::repeat_n(T::of_bits(0x5a5a_5a5a_5a5a_5a5a), GUARD);
            let buffer = guard().chain(elements).chain(guard()).collect();
            Typed { buffer, first: GUARD, len: typed.len, layout: None }
        }
        Self(match &self.0 {
            Inner::F16(typed) => Inner::F16(dense(typed)),
            Inner::BF16(typed) => Inner::BF16(dense(typed)),
            Inner::F32(typed) => Inner::F32(dense(typed)),
            Inner::F64(typed) => Inner::F64(dense(typed)),
        })
    }

    pub fn len(&self) -> usize {
        inside!(&self.0, typed => typed.len)
    }

    pub fn dtype(&self) -> DType {
        self.source().dtype()
    }

    pub fn is_dense(&self) -> bool {
        inside!(&self.0, typed => typed.layout.is_none())
    }

    pub fn source(&self) -> Source<'_> {
        match &self.0 {
            Inner::F16(typed) => Source::F16(typed.view()),
            Inner::BF16(typed) => Source::BF16(typed.view()),
            Inner::F32(typed) => Source::F32(typed.view()),
            Inner::F64(typed) => Source::F64(typed.view()),
        }
    }

    pub fn sink(&mut self) -> Sink<'_> {
        match &mut self.0 {
            Inner::F16(typed) => Sink::F16(typed.view_mut()),
            Inner::BF16(typed) => Sink::BF16(typed.view_mut()),
            Inner::F32(typed) => Sink::F32(typed.view_mut()),
            Inner::F64(typed) => Sink::F64(typed.view_mut()),
        }
    }

    /// The bits of the elements in order, with one pattern for all NaN.
    pub fn elements(&self) -> Vec<u64> {
        inside!(&self.0, typed => typed.elements())
    }

    pub fn numbers(&self) -> Vec<f64> {
        inside!(&self.0, typed => typed.numbers())
    }

    /// Whether each byte of the buffer is what it was.
    pub fn is_untouched(&self, before: &Self) -> bool {
        both!(&self.0, &before.0, typed, before => typed.is_untouched(before))
    }

    /// Whether each byte beside the elements is what it was.
    pub fn is_untouched_around(&self, before: &Self) -> bool {
        both!(&self.0, &before.0, typed, before => typed.is_untouched_around(before))
    }

    /// Puts other values into the array.
    pub fn overwrite(&mut self, values: Values, seed: u64) {
        inside!(&mut self.0, typed => typed.overwrite(values, seed));
    }

    pub fn fill(&mut self, value: f64) {
        inside!(&mut self.0, typed => typed.fill(value));
    }
}
