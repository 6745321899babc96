//! The numbers of one step, all in f64: constants, bias corrections, and what schedules say.

use gradmill_core::scalars::bias_correction;
use gradmill_core::sys::mode::in_default_mode;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use smallvec::SmallVec;

/// `1 - decay**(count + ahead)` as a function of the count, the power by repeated multiplication.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Correction {
    decay: f64,
    ahead: u64,
}

#[pymethods]
impl Correction {
    #[new]
    #[pyo3(signature = (decay, ahead=1))]
    fn new(decay: f64, ahead: u64) -> Self {
        Self { decay, ahead }
    }

    fn __call__(&self, count: u64) -> f64 {
        bias_correction(self.decay, count + self.ahead)
    }
}

enum Scalar {
    Constant(f64),
    Correction(Py<Correction>),
    Schedule(Py<PyAny>),
}

/// The scalars of one op, in its order: numbers, and functions of the count of steps taken.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Scalars(SmallVec<[Scalar; 8]>);

impl Scalars {
    /// Appends those of the step behind `count` others. Schedules compute in the mode in which kernels do, so
    /// that what a step makes does not depend on the caller's.
    pub fn extend<A: smallvec::Array<Item = f64>>(
        &self,
        py: Python<'_>,
        count: u64,
        row: &mut SmallVec<A>,
    ) -> PyResult<()> {
        in_default_mode(|| {
            for scalar in &self.0 {
                row.push(match scalar {
                    Scalar::Constant(value) => *value,
                    Scalar::Correction(correction) => correction.get().__call__(count),
                    Scalar::Schedule(schedule) => schedule.bind(py).call1((count,))?.extract()?,
                });
            }
            Ok(())
        })
    }
}

#[pymethods]
impl Scalars {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "arguments arrive owned")]
    fn new(scalars: Vec<Bound<'_, PyAny>>) -> PyResult<Self> {
        let scalar = |scalar: &Bound<'_, PyAny>| {
            if let Ok(correction) = scalar.cast::<Correction>() {
                return Ok(Scalar::Correction(correction.clone().unbind()));
            }
            if scalar.is_callable() {
                return Ok(Scalar::Schedule(scalar.clone().unbind()));
            }
            scalar.extract().map(Scalar::Constant)
        };
        Ok(Self(scalars.iter().map(scalar).collect::<PyResult<_>>()?))
    }

    /// Those of the step behind `count` others.
    fn __call__<'py>(&self, py: Python<'py>, count: u64) -> PyResult<Bound<'py, PyTuple>> {
        let mut row = SmallVec::<[f64; 8]>::new();
        self.extend(py, count, &mut row)?;
        PyTuple::new(py, row)
    }
}
