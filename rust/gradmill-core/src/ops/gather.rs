//! What an op has to know of more than an element.

pub use crate::sums::units::Addend;
use crate::sums::units::UnitAxes;

/// Sums over many elements, formed in f64 in an order that depends on shape alone, and what becomes of them before the op
/// runs.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    /// Which elements have a sum in common.
    pub over: Over,
    /// What is summed, of which array: at most two sums; nothing where the op has addends of its own, over the tree or
    /// whole leaves.
    pub of: &'static [(Of, Addend)],
    /// What becomes of the sums.
    pub settle: Settle,
}

/// Which elements have a sum in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Those of all leaves.
    Tree,
    /// Those of a unit of a leaf, which extends over these axes.
    Units(UnitAxes),
    /// The first sum over units that extend over the longest axis of a leaf, the second one over those of its second longest:
    /// in a matrix, rows and columns.
    Factors,
}

/// Which array of a leaf is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The update that reaches the op; this ends a pass.
    Update,
    /// The parameter, which is there before the first pass.
    Param,
}

impl Of {
    /// What the array is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Update => "updates",
            Self::Param => "params",
        }
    }
}

/// What becomes of the sums.
#[derive(Clone, Copy, Debug)]
pub enum Settle {
    /// The op finds it behind its scalars.
    Scalar,
    /// It decides whether the ops that this one governs run.
    Gate,
    /// The caller is told for which leaves it is not zero.
    Flags,
    /// A number for each unit, from the op's scalars and what there is of the unit.
    Number(fn(&[f64], Unit<'_>) -> f64),
    /// A number for each unit of both kinds, from the op's scalars; the op finds the product of the two of an element.
    Factors(fn(&[f64], Factors<'_>)),
    /// What is summed over the tree are the op's own addends. It finds what becomes of the sums, given its scalars,
    /// behind these, and the caller is told.
    Estimates(fn(&[f64], Estimates) -> Estimates),
}

/// The sums of an op's own addends, and what becomes of those over the tree.
pub type Estimates = [f64; 2];

/// A unit, between the walk that sums and the one that reads its number.
#[derive(Debug)]
pub struct Unit<'u> {
    /// Its sums, in the order of [`Gather::of`] or of the op's own addends.
    pub sums: [f64; 2],
    /// How many elements it has.
    pub elements: f64,
    /// Its share of the op's state by units, to be brought up to date.
    pub state: &'u mut [f64],
}

/// All units of a leaf, between the walk that sums and the one that reads their numbers.
#[derive(Debug)]
pub struct Factors<'u> {
    /// Those that extend over the longest axis, and those over the second longest.
    pub sides: [Side<'u>; 2],
    /// How many units of the first side lie along the second longest axis, and how many lie in one step of it.
    pub along: (usize, usize),
}

/// The units of a leaf that extend over one axis.
#[derive(Debug)]
pub struct Side<'u> {
    /// The sum of each.
    pub sums: &'u [f64],
    /// How many elements each has.
    pub elements: f64,
    /// The op's state for each, to be brought up to date.
    pub state: &'u mut [f64],
    /// Receives the number of each.
    pub numbers: &'u mut [f64],
}

impl Gather {
    /// Whether it takes a walk over the update, which ends a pass.
    #[must_use]
    pub fn needs_update(&self) -> bool {
        self.has_addends() || self.of.iter().any(|(of, _)| *of == Of::Update)
    }

    /// Whether the op has addends of its own.
    #[must_use]
    pub fn has_addends(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether the walk that brings the update to the op forms all sums on its way, at the price of no other read.
    #[must_use]
    pub fn is_of_walk(&self) -> bool {
        let is_square = |(_, addend): &(Of, Addend)| *addend == Addend::Square;
        match self.over {
            // Sums of squares say whether all elements are finite, too.
            Over::Tree => true,
            Over::Units(UnitAxes::All) => self.needs_update() && self.of.iter().all(is_square),
            Over::Units(_) | Over::Factors => false,
        }
    }
}
