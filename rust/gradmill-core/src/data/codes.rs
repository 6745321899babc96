//! Arrays in 8 bits a number; see [`crate::number::codes`].

use std::ops::Range;

use pulp::NullaryFnOnce;

use super::cut::{Cut, OfDense};
use crate::number::codes::{Coding, GROUP, encode_group};
use crate::number::float::Float;
use crate::sys::simd::Tier;

/// Numbers in groups, to read: row by row, the last group may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    /// What the codes stand for.
    pub coding: Coding,
    /// A code for each number.
    pub codes: &'a [u8],
    /// A scale for each group.
    pub scales: &'a [f32],
}

/// The same to write.
#[derive(Debug)]
pub struct CodesMut<'a> {
    /// What the codes stand for.
    pub coding: Coding,
    /// A code for each number.
    pub codes: &'a mut [u8],
    /// A scale for each group.
    pub scales: &'a mut [f32],
}

/// How many groups come before so many numbers. Panics where that is not a whole number, as no cut of a leaf with codes is.
fn groups(numbers: usize) -> usize {
    assert!(numbers.is_multiple_of(GROUP), "cuts fall between groups");
    numbers / GROUP
}

/// The groups that have these numbers of so many.
fn groups_of(at: &Range<usize>, len: usize) -> Range<usize> {
    let end = if at.end == len { len.div_ceil(GROUP) } else { groups(at.end) };
    // Nothing behind the end of the last group has none.
    if at.is_empty() { end..end } else { groups(at.start)..end }
}

/// Behind how many numbers the cut is.
fn position(cut: &Cut<'_>) -> usize {
    match cut.of_dense() {
        OfDense::Run(at) => at,
        OfDense::Box(..) => unreachable!("leaves with codes are cut into runs"),
    }
}

impl<'a> Codes<'a> {
    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        let (at, len) = (position(&cut), self.len());
        (self.part(0..at), self.part(at..len))
    }

    pub(super) fn part(self, at: Range<usize>) -> Self {
        let scales = &self.scales[groups_of(&at, self.len())];
        Self { codes: &self.codes[at], scales, ..self }
    }

    pub(super) fn read<T: Float>(self, tier: Tier, into: &mut [T]) {
        tier.run(Decode { from: self, into });
    }
}

impl<'a> CodesMut<'a> {
    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    pub(super) fn split(self, cut: Cut<'a>) -> (Self, Self) {
        let (at, coding) = (position(&cut), self.coding);
        let group = groups_of(&(0..at), self.len()).end;
        let (codes, codes_tail) = self.codes.split_at_mut(at);
        let (scales, scales_tail) = self.scales.split_at_mut(group);
        (Self { coding, codes, scales }, Self { coding, codes: codes_tail, scales: scales_tail })
    }

    /// Those of its numbers, from the beginning of a group on.
    pub(crate) fn part(&mut self, at: Range<usize>) -> CodesMut<'_> {
        let scales = &mut self.scales[groups_of(&at, self.codes.len())];
        CodesMut { coding: self.coding, codes: &mut self.codes[at], scales }
    }

    pub(super) fn view(&self) -> Codes<'_> {
        Codes { coding: self.coding, codes: self.codes, scales: self.scales }
    }

    pub(super) fn into_view(self) -> Codes<'a> {
        Codes { coding: self.coding, codes: self.codes, scales: self.scales }
    }

    pub(super) fn write<T: Float>(&mut self, tier: Tier, from: &[T]) {
        tier.run(Encode { from, into: self });
    }

    pub(super) fn copy_from(&mut self, other: Codes<'_>) {
        self.codes.copy_from_slice(other.codes);
        self.scales.copy_from_slice(other.scales);
    }
}

/// `into[i] = from[i]`, widened where numbers are in double precision.
struct Decode<'k, 'a, T> {
    from: Codes<'a>,
    into: &'k mut [T],
}

impl<T: Float> NullaryFnOnce for Decode<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Codes { coding, codes, scales } = self.from;
        match coding {
            Coding::Signed => decode(Coding::Signed, codes, scales, self.into),
            Coding::Square => decode(Coding::Square, codes, scales, self.into),
        }
    }
}

#[inline(always)]
fn decode<T: Float>(coding: Coding, codes: &[u8], scales: &[f32], into: &mut [T]) {
    let groups = codes.chunks(GROUP).zip(scales).zip(into.chunks_mut(GROUP));
    for ((codes, &scale), into) in groups {
        for (into, &code) in into.iter_mut().zip(codes) {
            *into = T::load(coding.decode(code, scale));
        }
    }
}

/// `into[i] = from[i]`, by way of single precision.
struct Encode<'k, 'a, T> {
    from: &'k [T],
    into: &'k mut CodesMut<'a>,
}

impl<T: Float> NullaryFnOnce for Encode<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let CodesMut { coding, codes, scales } = self.into;
        match coding {
            Coding::Signed => encode(Coding::Signed, self.from, codes, scales),
            Coding::Square => encode(Coding::Square, self.from, codes, scales),
        }
    }
}

#[inline(always)]
fn encode<T: Float>(coding: Coding, from: &[T], codes: &mut [u8], scales: &mut [f32]) {
    let groups = codes.chunks_mut(GROUP).zip(scales).zip(from.chunks(GROUP));
    for ((codes, scale), from) in groups {
        let mut values = [0.0; GROUP];
        let values = &mut values[..from.len()];
        for (value, &from) in values.iter_mut().zip(from) {
            *value = from.store();
        }
        *scale = encode_group(coding, values, codes);
    }
}
