//! Which arrays of leaves are measured for an op.

use super::row::{Row, active};
use crate::data::{Leaf, Source};
use crate::plan::program::Program;
use crate::sums::measure::{Arrays, Sums};
use crate::sums::units::Units;

/// One array of each leaf that takes part and has units.
pub struct OfRows<'m, R> {
    pub program: &'m Program,
    pub rows: &'m mut [R],
    /// Those of the leaves that take part.
    pub units: &'m [Option<Units>],
    pub which: Which,
}

/// Which array of a leaf.
#[derive(Clone, Copy)]
pub enum Which {
    /// The update: that which a pass left behind, or the incoming one.
    Update { carried: bool },
    /// The parameter.
    Params,
}

impl<R: Row> Arrays for OfRows<'_, R> {
    fn units(&self) -> impl Iterator<Item = &Units> {
        self.units.iter().flatten()
    }

    fn each(&mut self) -> impl Iterator<Item = (Source<'_>, &Units)> + Send {
        let Self { program, rows, units, which } = self;
        let rows = active(rows).zip(units.iter());
        rows.filter_map(|(row, units)| {
            let units = units.as_ref()?;
            Some((which.of(row.leaf(program)), units))
        })
    }
}

impl Which {
    fn of(self, leaf: Leaf<'_>) -> Source<'_> {
        match self {
            Self::Update { carried } => leaf.into_update(carried),
            Self::Params => match leaf.params.into_view() {
                Some(params) => params,
                None => unreachable!("ops that measure parameters read them"),
            },
        }
    }
}

/// What the measures of an op are formed in.
#[derive(Debug, Default)]
pub struct Measures {
    /// The units of each leaf that takes part.
    pub units: Vec<Option<Units>>,
    pub of_updates: Sums,
    pub of_params: Sums,
}
