//! Arithmetic among numbers of the host, written down once in Python and run here.

use std::ops::Range;

use gradmill_core::number::scalars::bias_correction;
use gradmill_core::sys::mode::in_default_mode;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyType;
use smallvec::SmallVec;

/// An operation: its code and three operands, which are places of values, or whole numbers where the code says so.
type Written = (u8, u16, u16, u16);

/// The value of each place. Truth is one, and falsehood zero.
pub type Values = SmallVec<[f64; 64]>;

/// The largest whole number from zero on without a gap.
pub const EXACT: f64 = 9_007_199_254_740_992.0;

macro_rules! codes {
    ($($name:ident),*) => {
        #[derive(Clone, Copy)]
        enum Code { $($name),* }

        impl Code {
            const ALL: &[(&str, Self)] = &[$((stringify!($name), Self::$name)),*];
        }
    };
}

codes!(
    Add, Sub, Mul, Div, Mod, Neg, Min, Max, Less, AtMost, Equal, Not, And, Or, Where, Cos, Sqrt,
    Floor, Pow, Correction, Call, Need
);

/// The codes of operations by name.
#[pyfunction]
pub fn tape_codes() -> Vec<(&'static str, u8)> {
    Code::ALL.iter().zip(0..).map(|((name, _), code)| (*name, code)).collect()
}

/// Operations on numbers in float64, each of which writes the place behind that of the one before.
pub struct Tape {
    /// Constants and, at first, zeros for inputs.
    constants: Vec<f64>,
    ops: Vec<(Code, [u16; 3])>,
    functions: Vec<Py<PyAny>>,
}

impl Tape {
    /// # Errors
    /// An operation reads a place that is not written before, or calls no function.
    pub fn new(constants: Vec<f64>, ops: &[Written], functions: Vec<Py<PyAny>>) -> PyResult<Self> {
        let decode = |(at, &(code, a, b, c)): (usize, &Written)| {
            let &(_, code) = Code::ALL.get(usize::from(code))?;
            let (read, is_known) = match code {
                Code::Correction => ([a, b, b], true),
                Code::Call => ([a, a, a], usize::from(b) < functions.len()),
                _ => ([a, b, c], true),
            };
            let behind = constants.len() + at;
            let is_sound = is_known && read.iter().all(|&place| usize::from(place) < behind);
            is_sound.then_some((code, [a, b, c]))
        };
        let decoded: Option<Vec<_>> = ops.iter().enumerate().map(decode).collect();
        let ops =
            decoded.ok_or_else(|| PyValueError::new_err("an operation of unknown operands"))?;
        Ok(Self { constants, ops, functions })
    }

    /// Number of places.
    pub fn places(&self) -> usize {
        self.constants.len() + self.ops.len()
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// The values before any operation.
    pub fn start(&self) -> Values {
        let mut values = Values::with_capacity(self.places());
        values.extend_from_slice(&self.constants);
        values.resize(self.places(), 0.0);
        values
    }

    /// Runs some of the operations; false where one makes a number that is not finite, or misses what it needs:
    /// then it is for Python to say what that means.
    pub fn run(&self, py: Python<'_>, values: &mut [f64], ops: Range<usize>) -> PyResult<bool> {
        let behind = self.constants.len() + ops.start;
        for (to, (code, [a, b, c])) in (behind..).zip(&self.ops[ops]) {
            let get = |place: &u16| values[usize::from(*place)];
            let (x, truth) = (get(a), |held: bool| f64::from(u8::from(held)));
            let value = match code {
                Code::Add => x + get(b),
                Code::Sub => x - get(b),
                Code::Mul => x * get(b),
                Code::Div => x / get(b),
                Code::Mod => x.rem_euclid(get(b)),
                Code::Neg => -x,
                Code::Min => x.min(get(b)),
                Code::Max => x.max(get(b)),
                Code::Less => truth(x < get(b)),
                Code::AtMost => truth(x <= get(b)),
                #[expect(clippy::float_cmp, reason = "the comparison that was written down")]
                Code::Equal => truth(x == get(b)),
                Code::Not => truth(x == 0.0),
                Code::And => truth(x != 0.0 && get(b) != 0.0),
                Code::Or => truth(x != 0.0 || get(b) != 0.0),
                Code::Where if x != 0.0 => get(b),
                Code::Where => get(c),
                // The system's functions, as Python's: no kernel's arithmetic, and with the bits that schedules
                // have in Python.
                Code::Cos => x.cos(),
                Code::Sqrt => x.sqrt(),
                Code::Floor => x.floor(),
                Code::Pow => x.powf(get(b)),
                Code::Correction => {
                    bias_correction(x, (get(b) as i64).unsigned_abs() + u64::from(*c))
                }
                Code::Call => {
                    self.functions[usize::from(*b)].bind(py).call1((x as i64,))?.extract()?
                }
                Code::Need if x != 0.0 => x,
                Code::Need => return Ok(false),
            };
            if !value.is_finite() {
                return Ok(false);
            }
            values[to] = value;
        }
        Ok(true)
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.functions.iter().try_for_each(|function| visit.call(function))
    }
}

/// A schedule of this package as a tape whose first place is the count.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Curve {
    tape: Tape,
    written: Vec<Written>,
    result: usize,
    schedule: Py<PyAny>,
}

/// What a curve is made from.
type MadeFrom = (Vec<f64>, Vec<Written>, usize, Py<PyAny>);

impl Curve {
    /// The value at a count: that of the schedule itself, where the tape has none.
    pub fn at(&self, py: Python<'_>, count: u64) -> PyResult<f64> {
        let exact = count as f64;
        if exact < EXACT {
            let mut values = self.tape.start();
            values[0] = exact;
            if self.tape.run(py, &mut values, 0..self.tape.len())? {
                return Ok(values[self.result]);
            }
        }
        self.schedule.bind(py).call1((count,))?.extract()
    }
}

#[pymethods]
impl Curve {
    #[new]
    fn new(
        constants: Vec<f64>,
        ops: Vec<Written>,
        result: usize,
        schedule: Py<PyAny>,
    ) -> PyResult<Self> {
        let tape = Tape::new(constants, &ops, Vec::new())?;
        if tape.constants.is_empty() || result >= tape.places() {
            return Err(PyValueError::new_err("a curve without a count or a result"));
        }
        Ok(Self { tape, written: ops, result, schedule })
    }

    fn __call__(&self, py: Python<'_>, count: u64) -> PyResult<f64> {
        in_default_mode(|| self.at(py, count))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, MadeFrom) {
        let Self { tape, written, result, schedule } = slf.get();
        let schedule = schedule.clone_ref(slf.py());
        (slf.get_type(), (tape.constants.clone(), written.clone(), *result, schedule))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.schedule)
    }
}
