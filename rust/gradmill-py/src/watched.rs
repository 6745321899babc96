//! The trees of an optimizer: whether they still hold what is bound, and gradients in a tree like the last one.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::buffers::Structure;

/// Trees like one another, by key.
pub struct Watched {
    /// A tree like them of the positions of leaves.
    numbers: Py<PyAny>,
    /// The objects at the leaves of the parameters, by address; 0 where anything may be.
    params: Vec<usize>,
    /// The objects that the ops work on, by address, where these are not the parameters alone.
    master: Option<Vec<usize>>,
    structures: [Pattern; 3],
}

/// The structure of a tree.
enum Pattern {
    NotYet,
    Plain(Structure),
    /// It has containers of other classes.
    Other,
}

const PARAMS: usize = 0;
const MASTER: usize = 1;
const UPDATES: usize = 2;

impl Watched {
    pub fn new(numbers: Py<PyAny>, params: Vec<usize>, master: Option<Vec<usize>>) -> Self {
        Self {
            numbers,
            params,
            master,
            structures: [Pattern::NotYet, Pattern::NotYet, Pattern::NotYet],
        }
    }

    /// Whether any object may be at this leaf of the parameters.
    pub fn is_free(&self, leaf: usize) -> bool {
        self.params.get(leaf) == Some(&0)
    }

    /// Whether the trees are surely of the structure they had and hold what is bound.
    pub fn hold(&self, params: &Bound<'_, PyAny>, master: &Bound<'_, PyAny>) -> bool {
        let holds = |tree: usize, object: &Bound<'_, PyAny>, leaves: &[usize]| {
            self.structure(tree).is_some_and(|structure| structure.holds(object, leaves))
        };
        holds(PARAMS, params, &self.params)
            && self.master.as_ref().is_none_or(|leaves| holds(MASTER, master, leaves))
    }

    /// Hands over the leaves of updates of the structure of the last ones, as long as `take` takes them; whether it
    /// took all.
    pub fn each_update<'py>(
        &self,
        updates: &Bound<'py, PyAny>,
        take: impl FnMut(usize, &Bound<'py, PyAny>) -> bool,
    ) -> bool {
        self.structure(UPDATES).is_some_and(|structure| structure.each(updates, take))
    }

    /// Notes the structures of trees, so that the next like them are recognised.
    pub fn learn(
        &mut self,
        params: &Bound<'_, PyAny>,
        master: &Bound<'_, PyAny>,
        updates: &Bound<'_, PyAny>,
    ) {
        let numbers = self.numbers.bind(params.py());
        for (pattern, tree) in self.structures.iter_mut().zip([params, master, updates]) {
            let is_same = match pattern {
                Pattern::NotYet => false,
                Pattern::Plain(structure) => structure.each(tree, |_, _| true),
                Pattern::Other => true,
            };
            if !is_same && !tree.is_none() {
                let structure = Structure::of(tree, numbers, self.params.len());
                *pattern = structure.map_or(Pattern::Other, Pattern::Plain);
            }
        }
    }

    fn structure(&self, tree: usize) -> Option<&Structure> {
        match &self.structures[tree] {
            Pattern::Plain(structure) => Some(structure),
            Pattern::NotYet | Pattern::Other => None,
        }
    }

    /// Keys of trees may refer to anything.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.numbers)?;
        (0..self.structures.len()).try_for_each(|tree| {
            self.structure(tree).map_or(Ok(()), |structure| structure.traverse(visit))
        })
    }
}
