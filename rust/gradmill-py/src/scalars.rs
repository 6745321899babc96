//! The numbers of one step, all in f64: constants, the count, and what schedules say.

use gradmill_core::sys::mode::in_default_mode;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyList, PyTuple, PyType};
use smallvec::SmallVec;

use crate::tape::Curve;

/// Stands among scalars for the count of steps taken.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Count;

#[pymethods]
impl Count {
    #[new]
    fn new() -> Self {
        Self
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, ()) {
        (slf.get_type(), ())
    }
}

/// `1 - decay**count`, the power by repeated multiplication.
#[pyfunction]
pub fn bias_correction(decay: f64, count: f64) -> f64 {
    gradmill_core::number::scalars::bias_correction(decay, count)
}

enum Scalar {
    Constant(f64),
    Count,
    Curve(Py<Curve>),
    Schedule(Py<PyAny>),
}

/// The scalars of one op, in its order: numbers, and functions of the count of steps taken.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Scalars(SmallVec<[Scalar; 8]>);

impl Scalars {
    /// Calls `add` with those of the step behind `count` others. Schedules compute in the mode in which kernels do, so
    /// that what a step makes does not depend on the caller's.
    pub fn each(&self, py: Python<'_>, count: u64, mut add: impl FnMut(f64)) -> PyResult<()> {
        in_default_mode(|| {
            for scalar in &self.0 {
                add(match scalar {
                    Scalar::Constant(value) => *value,
                    Scalar::Count => count as f64,
                    Scalar::Curve(curve) => curve.get().at(py, count)?,
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
    fn new(scalars: &Bound<'_, PyAny>) -> PyResult<Self> {
        let scalar = |scalar: PyResult<Bound<'_, PyAny>>| {
            let scalar = scalar?;
            if scalar.is_instance_of::<Count>() {
                return Ok(Scalar::Count);
            }
            if let Ok(curve) = scalar.cast::<Curve>() {
                return Ok(Scalar::Curve(curve.clone().unbind()));
            }
            if scalar.is_callable() {
                return Ok(Scalar::Schedule(scalar.clone().unbind()));
            }
            scalar.extract().map(Scalar::Constant)
        };
        Ok(Self(scalars.try_iter()?.map(scalar).collect::<PyResult<_>>()?))
    }

    /// What it was made from.
    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyType>, (Bound<'py, PyList>,))> {
        let py = slf.py();
        let scalar = |scalar: &Scalar| match scalar {
            Scalar::Constant(value) => Ok(PyFloat::new(py, *value).into_any()),
            Scalar::Count => Ok(Bound::new(py, Count)?.into_any()),
            Scalar::Curve(curve) => Ok(curve.bind(py).clone().into_any()),
            Scalar::Schedule(schedule) => Ok(schedule.bind(py).clone()),
        };
        let made = slf.get().0.iter().map(scalar).collect::<PyResult<Vec<_>>>()?;
        let scalars = PyList::new(py, made)?;
        Ok((slf.get_type(), (scalars,)))
    }

    /// A schedule may refer to the optimizer that calls it. There is nothing to clear, as in a tuple: what is
    /// here is here for good, and a cycle has a member that can be changed.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.iter().try_for_each(|scalar| match scalar {
            Scalar::Schedule(schedule) => visit.call(schedule),
            Scalar::Curve(curve) => visit.call(curve),
            Scalar::Constant(_) | Scalar::Count => Ok(()),
        })
    }

    /// Those of the step behind `count` others.
    fn __call__<'py>(&self, py: Python<'py>, count: u64) -> PyResult<Bound<'py, PyTuple>> {
        let mut row = SmallVec::<[f64; 8]>::new();
        self.each(py, count, |scalar| row.push(scalar))?;
        PyTuple::new(py, row)
    }
}
