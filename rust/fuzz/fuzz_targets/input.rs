//! What a run is, as fuzzers say it in bytes.

use arbitrary::{Arbitrary, Unstructured};
use gradmill_core::ops::ScalarKind;

use super::memory::{Kind, Lie, Recipe};

const MAX_LEAVES: u8 = 5;

#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    /// One that makes sense.
    Usual(u8),
    Any(f64),
}

/// True for `parts` of 256 inputs.
fn rarely(u: &mut Unstructured<'_>, parts: u8) -> arbitrary::Result<bool> {
    Ok(u.arbitrary::<u8>()? >= 255 - (parts - 1))
}

impl<'a> Arbitrary<'a> for Scalar {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(if rarely(u, 16)? { Self::Any(u.arbitrary()?) } else { Self::Usual(u.arbitrary()?) })
    }
}

impl Scalar {
    /// The number that a scalar of this kind gets.
    pub fn value(self, kind: ScalarKind) -> f64 {
        match self {
            Self::Any(value) => value,
            Self::Usual(choice) => {
                let pick = |values: &[f64]| values[usize::from(choice) % values.len()];
                match kind {
                    ScalarKind::Decay => pick(&[0.9, 0.999, 0.0, 0.5, 1.0]),
                    ScalarKind::Epsilon => pick(&[1e-8, 0.0, 1e-3, 0.1]),
                    ScalarKind::Flag => pick(&[1.0, 0.0, 2.0]),
                    ScalarKind::Count | ScalarKind::Word => f64::from(choice),
                    ScalarKind::Factor | ScalarKind::Bound | ScalarKind::Estimate => {
                        pick(&[1.0, -1e-3, 0.1, 10.0, 0.0, 1e-42, 1e10])
                    }
                }
            }
        }
    }
}

#[derive(Arbitrary, Debug)]
pub struct Op {
    pub index: u8,
    pub governs: u8,
    pub axes: Option<Vec<i8>>,
    /// Taken in turn, and again from the first.
    pub scalars: [Scalar; 7],
}

/// A slot, or parameters that are written: replaced in place or elsewhere.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Replaced {
    pub old: Recipe,
    /// Where it is replaced elsewhere, how the new array lies; and another dtype of the old one.
    pub new: Option<(Lie, Option<Kind>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Parameters {
    None,
    Read(Recipe),
    Write(Replaced, Option<(Kind, Lie)>),
}

#[derive(Arbitrary, Debug)]
pub struct LeafInput {
    pub len: u16,
    pub cut: u8,
    pub updates: Recipe,
    pub params: Parameters,
    pub out: Lie,
    /// The dtype of all arrays, where each has none of its own.
    pub kind: Option<Kind>,
    /// The dtype of all slots, where each has none of its own.
    pub slot_kind: Option<Kind>,
    /// Whether all arrays are slices.
    pub dense: bool,
    pub slots: [Replaced; 3],
    pub skip: Option<u64>,
}

/// What is wrong with a leaf.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Mistake {
    NoParams,
    NoOut,
    NoSlot(u8),
    TooManySlots,
    SlotOfSkipped(u8),
    LengthOfUpdates(i8),
    LengthOfParams(i8),
    LengthOfOldParams(i8),
    LengthOfOut(i8),
    LengthOfCopy(i8),
    LengthOfSlot(u8, i8),
    LengthOfOldSlot(u8, i8),
    OutDtype(Kind),
    OutAndParams,
    CopyOfNothing,
    Scalars(i8),
}

#[derive(Debug)]
pub struct Input {
    pub threads: u8,
    pub tier: u8,
    pub fuse: bool,
    pub other_threads: u8,
    pub other_tier: u8,
    pub off: u64,
    pub rounding: Option<[u32; 2]>,
    pub long: bool,
    pub mistake: Option<(u8, Mistake)>,
    pub ops: Vec<Op>,
    pub leaves: Vec<LeafInput>,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (ops, leaves): (u8, u8) = u.arbitrary()?;
        let ops = if ops >= 250 { ops - 191 } else { ops % 8 };
        let leaves = leaves % if ops < 8 { MAX_LEAVES + 1 } else { 3 };
        Ok(Self {
            threads: u.arbitrary()?,
            tier: u.arbitrary()?,
            fuse: u.arbitrary()?,
            other_threads: u.arbitrary()?,
            other_tier: u.arbitrary()?,
            off: if rarely(u, 64)? { u.arbitrary()? } else { 0 },
            rounding: u.arbitrary()?,
            long: rarely(u, 1)?,
            mistake: if rarely(u, 32)? { Some(u.arbitrary()?) } else { None },
            ops: (0..ops).map(|_| u.arbitrary()).collect::<Result<_, _>>()?,
            leaves: (0..leaves).map(|_| u.arbitrary()).collect::<Result<_, _>>()?,
        })
    }
}
