//! The memory that a step in place writes, which nothing else of the step may share.

use gradmill_core::data::{Span, find_conflict};
use pyo3::intern;
use pyo3::prelude::*;

use crate::buffers::{Readable, Writable};
use crate::fault::Place;

/// The memory that a step writes, sorted by address.
pub struct Written {
    arrays: Vec<(Span, Py<PyAny>)>,
    /// The largest end among this array and those before it.
    reach: Vec<usize>,
    /// What the arrays are, in words.
    what: &'static str,
}

impl Written {
    /// # Errors
    /// Two of the arrays overlap.
    pub fn new<'a>(
        py: Python<'_>,
        written: impl Iterator<Item = (Place, &'a Writable)>,
        what: &'static str,
    ) -> PyResult<Self> {
        let (owners, mut arrays): (Vec<_>, Vec<_>) = written
            .flat_map(|(place, array)| {
                let arrays = array.spans(py);
                arrays.map(move |(span, array)| (place, (span, array.unbind())))
            })
            .unzip();
        check_apart(py, &owners, &arrays)?;
        arrays.sort_by_key(|(span, _)| span.start);
        let reach = arrays.iter().scan(0, |reach, (span, _)| {
            *reach = span.end.max(*reach);
            Some(*reach)
        });
        Ok(Self { reach: reach.collect(), arrays, what })
    }

    /// Whether memory surely has no byte between the first and the last that are written. Says so without code of
    /// NumPy's.
    pub fn is_apart(&self, span: Span) -> bool {
        let below = self.below(span);
        below == 0 || self.reach[below - 1] <= span.start || span.start == span.end
    }

    /// How many of the arrays begin before `span` ends.
    fn below(&self, span: Span) -> usize {
        self.arrays.partition_point(|(written, _)| written.start < span.end)
    }

    /// A copy of an update that is not apart and whose memory merely interleaves with an array to be written.
    pub fn copy_between<'py>(
        &self,
        update: &Readable<'py>,
        place: Place,
    ) -> PyResult<Readable<'py>> {
        let (py, span) = (update.object().py(), update.raw.span(false));
        for (written, array) in &self.arrays[..self.below(span)] {
            let may_share = written.end > span.start && !written.interleaves(&span);
            if may_share && shares_memory(array.bind(py), update.object())? {
                let message = format!("shares memory with {}; pass a copy", self.what);
                return Err(place.value_error(message));
            }
        }
        Readable::new(update.object().call_method0(intern!(py, "copy"))?, place)
    }
}

/// # Errors
/// Two of the arrays, which belong to these places, overlap.
pub fn check_apart(py: Python<'_>, owners: &[Place], arrays: &[(Span, Py<PyAny>)]) -> PyResult<()> {
    let spans: Vec<Span> = arrays.iter().map(|(span, _)| *span).collect();
    let mut failed = None;
    let conflict = find_conflict(&spans, |first, second| {
        let shared = shares_memory(arrays[first].1.bind(py), arrays[second].1.bind(py));
        shared.unwrap_or_else(|error| {
            failed.get_or_insert(error);
            true
        })
    });
    match (failed, conflict) {
        (Some(error), _) => Err(error),
        (None, Some((first, second))) => Err(owners[second].shares_with(owners[first])),
        (None, None) => Ok(()),
    }
}

fn shares_memory(first: &Bound<'_, PyAny>, second: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = first.py();
    py.import(intern!(py, "numpy"))?
        .call_method1(intern!(py, "shares_memory"), (first, second))?
        .extract()
}
