//! The host's part of a step: counts, gates, and the scalars of all ops, from the numbers that a state holds.

use gradmill_core::sys::mode::in_default_mode;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFloat, PyType};
use smallvec::SmallVec;

use crate::buffers::{Cell, Element};
use crate::nest::{Leaves, Nest};
use crate::tape::{Tape, Values};

/// What the host does in each step, as arithmetic that is written down once.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Host {
    tape: Tape,
    /// The pattern of the states.
    nest: Py<Nest>,
    cells: Vec<Spot>,
    /// For each slot the position of its tree among what the pattern finds.
    pub slots: Vec<usize>,
    links: Vec<Link>,
}

/// Where a number stands among what the pattern finds, and in the tape.
struct Spot {
    link: usize,
    leaf: usize,
    kind: Kind,
    /// The place of its value.
    from: usize,
    /// The place of the new one, where it changes.
    to: Option<usize>,
}

enum Kind {
    /// A count from zero on.
    Count,
    /// A truth.
    Flag,
    /// A float that the host keeps.
    Real,
    /// A hyperparameter: the number that the factory was given, if it was one, and the type that the state is to have.
    Number { given: Option<f64>, element: Option<Element> },
}

/// A member of the chain.
#[derive(FromPyObject)]
struct Link {
    /// The gates it stands behind.
    gates: Vec<usize>,
    /// Its op as a bit.
    bit: u64,
    plan: (usize, usize),
    scalars: Vec<usize>,
    on: usize,
    /// Whether what it governs runs; None where its op decides.
    open: Option<usize>,
    /// Whether that runs whatever the op finds.
    forced: usize,
    /// Where what the op finds is noted.
    found: Option<usize>,
    advance: (usize, usize),
}

/// A number of a state: its link, where it stands, what it is, what the factory was given, the type to store it in, and
/// its places.
type Described = (usize, usize, String, Option<f64>, Option<String>, usize, Option<usize>);

/// What the host does in one step.
pub struct Plan<'py> {
    values: Values,
    /// The scalars of all ops in a row.
    pub scalars: SmallVec<[f64; 32]>,
    /// The ops that are off, as bits.
    pub off: u64,
    open: SmallVec<[Option<bool>; 8]>,
    /// Whether each link's state stays as it is.
    kept: SmallVec<[bool; 8]>,
    numbers: SmallVec<[Number<'py>; 16]>,
    /// What the pattern has found.
    pub leaves: Leaves<'py>,
}

/// A number as a step has found it.
struct Number<'py> {
    /// The array; None where there is another number in its place.
    cell: Option<Cell<'py>>,
    element: Element,
    value: f64,
}

#[pymethods]
impl Host {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn new(
        nest: Py<Nest>,
        constants: Vec<f64>,
        ops: Vec<(u8, u16, u16, u16)>,
        functions: Vec<Py<PyAny>>,
        cells: Vec<Described>,
        slots: Vec<usize>,
        links: Vec<Link>,
    ) -> PyResult<Self> {
        let tape = Tape::new(constants, &ops, functions)?;
        let cells = cells.into_iter().map(Spot::of).collect::<PyResult<Vec<_>>>()?;
        let count = tape.places();
        let places = cells.iter().flat_map(|spot| [spot.from].into_iter().chain(spot.to));
        let of_links = links.iter().flat_map(|link| {
            let one = [link.on, link.forced].into_iter().chain(link.open).chain(link.found);
            one.chain(link.scalars.iter().copied())
        });
        let are_places = places.chain(of_links).all(|place| place < count);
        let are_ranges = links.iter().flat_map(|link| [link.plan, link.advance]);
        let are_ranges = are_ranges.into_iter().all(|(from, to)| from <= to && to <= tape.len());
        let mut gates = links.iter().enumerate();
        let are_before = gates.all(|(at, link)| link.gates.iter().all(|&gate| gate < at));
        if !(are_places && are_ranges && are_before) {
            return Err(PyValueError::new_err("a host whose parts are unknown"));
        }
        Ok(Self { tape, nest, cells, slots, links })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.nest)?;
        self.tape.traverse(&visit)
    }
}

impl Spot {
    fn of((link, leaf, kind, given, dtype, from, to): Described) -> PyResult<Self> {
        let element = match dtype.as_deref() {
            None => None,
            Some("float32") => Some(Element::F32),
            Some("float64") => Some(Element::F64),
            Some(_) => return Err(PyValueError::new_err("a number of a type that is unknown")),
        };
        let kind = match &*kind {
            "count" => Kind::Count,
            "flag" => Kind::Flag,
            "real" => Kind::Real,
            _ => Kind::Number { given, element },
        };
        Ok(Self { link, leaf, kind, from, to })
    }

    /// Reads the number at this spot into the tape. None where it is for Python to say what stands there.
    fn enter(&self, plan: &mut Plan<'_>, wide: Option<bool>) -> Option<()> {
        let number = self.read(plan.leaves.get(self.leaf)?, wide)?;
        plan.values[self.from] = self.value(&number)?;
        plan.numbers.push(number);
        Some(())
    }

    /// The number at this spot. None where it is for Python to say what `object` means.
    fn read<'py>(&self, object: &Bound<'py, PyAny>, wide: Option<bool>) -> Option<Number<'py>> {
        let element = match self.kind {
            Kind::Count => Element::I32,
            Kind::Flag => Element::Bool,
            Kind::Real => return Number::of(Cell::of(object, &[Element::F32, Element::F64])?),
            Kind::Number { element: Some(element), .. } => element,
            Kind::Number { element: None, .. } => {
                return match Cell::of(object, &[Element::F32, Element::F64]) {
                    Some(cell) => Number::of(cell),
                    None if wide? => Number::alone(object, Element::F64),
                    None => Number::alone(object, Element::F32),
                };
            }
        };
        match Cell::of(object, &[element]) {
            Some(cell) => Number::of(cell),
            None if matches!(self.kind, Kind::Number { .. }) => Number::alone(object, element),
            None => None,
        }
    }

    /// What a step computes with.
    fn value(&self, number: &Number<'_>) -> Option<f64> {
        match self.kind {
            Kind::Count => (number.value >= 0.0).then_some(number.value),
            Kind::Flag => Some(number.value),
            // The number that the factory was given, as long as the state has it, rounded.
            Kind::Number { given: Some(given), .. }
                if number.element.rounded(given) == number.value =>
            {
                Some(given)
            }
            Kind::Real | Kind::Number { .. } => number.value.is_finite().then_some(number.value),
        }
    }
}

impl<'py> Number<'py> {
    fn of(cell: Cell<'py>) -> Option<Self> {
        let (value, element) = (cell.get()?, cell.element);
        Some(Self { cell: Some(cell), element, value })
    }

    /// A number of Python's, or a float64 of NumPy's, that somebody put in the place of an array of `element`.
    fn alone(object: &Bound<'py, PyAny>, element: Element) -> Option<Self> {
        static FLOAT64: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = object.py();
        let float64 = FLOAT64.import(py, "numpy", "float64").ok()?;
        let kind = object.get_type();
        let is_float = kind.is(py.get_type::<PyFloat>()) || kind.is(float64);
        let value = element.rounded(is_float.then(|| object.extract::<f64>().ok()).flatten()?);
        Some(Self { cell: None, element, value })
    }
}

impl Host {
    /// What to do in the step to come, from `states`. None where it is for Python to say what these mean.
    ///
    /// `wide` says whether a number that was assigned is stored in float64; with None, none may have been.
    pub fn plan<'py>(
        &self,
        states: &Bound<'py, PyAny>,
        wide: Option<bool>,
    ) -> PyResult<Option<Plan<'py>>> {
        let py = states.py();
        let Some(leaves) = self.nest.get().found(states)? else { return Ok(None) };
        let (values, numbers) = (self.tape.start(), SmallVec::new());
        let (scalars, off, open, kept) = Default::default();
        let mut plan = Plan { values, scalars, off, open, kept, numbers, leaves };
        let done = in_default_mode(|| {
            let are_read = self.cells.iter().all(|spot| spot.enter(&mut plan, wide).is_some());
            let mut links = self.links.iter();
            links.try_fold(are_read, |done, link| {
                Ok::<_, PyErr>(done && self.plan_link(py, link, &mut plan)?)
            })
        })?;
        Ok(done.then_some(plan))
    }

    fn plan_link(&self, py: Python<'_>, link: &Link, plan: &mut Plan<'_>) -> PyResult<bool> {
        if link.gates.iter().any(|&gate| plan.open[gate] == Some(false)) {
            // Scalars that nobody looks at.
            plan.scalars.extend(link.scalars.iter().map(|_| 1.0));
            plan.off |= link.bit;
            plan.open.push(Some(false));
            return Ok(true);
        }
        if !self.tape.run(py, &mut plan.values, link.plan.0..link.plan.1)? {
            return Ok(false);
        }
        let values = &plan.values;
        plan.scalars.extend(link.scalars.iter().map(|&place| values[place]));
        plan.off |= if values[link.on] == 0.0 { link.bit } else { 0 };
        plan.open.push(link.open.map(|place| values[place] != 0.0));
        Ok(true)
    }

    /// Computes what the numbers become after the step; `finite` is what each op that looks for it found.
    pub fn advance(&self, py: Python<'_>, plan: &mut Plan<'_>, finite: &[bool]) -> PyResult<()> {
        let mut finite = finite.iter();
        in_default_mode(|| {
            for (at, link) in self.links.iter().enumerate() {
                if let Some(place) = link.found {
                    let found = finite.next().copied().unwrap_or(true);
                    plan.values[place] = f64::from(u8::from(found));
                    if plan.open[at].is_none() {
                        plan.open[at] = Some(found || plan.values[link.forced] != 0.0);
                    }
                }
                let is_kept = link.gates.iter().any(|&gate| plan.open[gate] == Some(false));
                plan.kept.push(is_kept);
                if !is_kept {
                    self.tape.run(py, &mut plan.values, link.advance.0..link.advance.1)?;
                }
            }
            Ok(())
        })
    }

    /// The numbers that a step writes, and what each becomes.
    fn changed<'p, 'py>(
        &'p self,
        plan: &'p Plan<'py>,
    ) -> impl Iterator<Item = (usize, &'p Spot, &'p Number<'py>, f64)> {
        let numbers = self.cells.iter().zip(&plan.numbers).enumerate();
        numbers.filter(|(_, (spot, _))| !plan.kept[spot.link]).filter_map(|(at, (spot, number))| {
            match (spot.to, &spot.kind) {
                (Some(to), _) => Some((at, spot, number, plan.values[to])),
                (None, Kind::Number { .. }) => Some((at, spot, number, number.value)),
                (None, _) => None,
            }
        })
    }

    /// Puts new arrays in the places of the numbers that change, among what the pattern has found.
    pub fn renew<'py>(&self, py: Python<'py>, plan: &mut Plan<'py>) -> PyResult<()> {
        let mut renewed = SmallVec::<[_; 8]>::new();
        for (_, spot, number, value) in self.changed(plan) {
            if matches!(spot.kind, Kind::Number { .. }) || value != number.value {
                let cell = Cell::new(py, number.element, value)?;
                renewed.push((spot.leaf, cell.object().clone()));
            }
        }
        for (leaf, object) in renewed {
            plan.leaves[leaf] = object;
        }
        Ok(())
    }

    /// The state whose parts stand where the pattern has found them.
    pub fn state<'py>(&self, py: Python<'py>, plan: Plan<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.nest.get().built(py, plan.leaves)
    }

    /// The link of an array that a step may write and that cannot be written, if there is one.
    pub fn closed(&self, plan: &Plan<'_>) -> Option<usize> {
        let mut numbers = self.cells.iter().zip(&plan.numbers);
        let is_closed = |(spot, number): &(&Spot, &Number<'_>)| {
            spot.to.is_some() && number.cell.as_ref().is_some_and(|cell| !cell.is_open())
        };
        numbers.find(is_closed).map(|(spot, _)| spot.link)
    }

    /// Writes the numbers that change where they are; the link of one that could not be written. Hyperparameters that
    /// do not lie in arrays of `own` go into new ones, which are returned with their places.
    pub fn write<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan<'py>,
        own: &mut Vec<Option<Py<PyAny>>>,
    ) -> PyResult<(Option<usize>, Moved<'py>)> {
        own.resize_with(self.cells.len(), || None);
        let (mut closed, mut moved) = (None, Moved::new());
        for (at, spot, number, value) in self.changed(plan) {
            let is_own = |cell: &&Cell<'_>| {
                let own = own[at].as_ref();
                // What changes in each step is written where it is, at once: an interrupt may follow.
                spot.to.is_some() || own.is_some_and(|own| cell.object().is(own))
            };
            match number.cell.as_ref().filter(is_own) {
                Some(cell) if spot.to.is_some() && !cell.set(value) => closed = Some(spot.link),
                Some(_) => {}
                None => {
                    let object = Cell::new(py, number.element, value)?.object().clone();
                    own[at] = Some(object.clone().unbind());
                    moved.push((at, object));
                }
            }
        }
        Ok((closed, moved))
    }
}

/// Numbers by their place among all, and the arrays that they are in now.
pub type Moved<'py> = SmallVec<[(usize, Bound<'py, PyAny>); 4]>;
