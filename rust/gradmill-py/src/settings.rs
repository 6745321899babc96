//! Threads, instruction set and build facts.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use gradmill_core::Config;
use gradmill_core::sys::par::{self, ThreadsFrom};
use gradmill_core::sys::simd::Tier;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The tier that was asked for, by its place among all; another number for the best one.
static TIER: AtomicU8 = AtomicU8::new(u8::MAX);
static OP_BY_OP: AtomicBool = AtomicBool::new(false);

fn tier() -> Tier {
    let place = usize::from(TIER.load(Ordering::Relaxed));
    Tier::ALL.get(place).copied().unwrap_or_else(Tier::best)
}

fn set_tier(tier: Option<Tier>) {
    let place = tier.and_then(|tier| Tier::ALL.iter().position(|one| *one == tier));
    TIER.store(place.map_or(u8::MAX, |place| place as u8), Ordering::Relaxed);
}

/// Applies `GRADMILL_SIMD`.
pub fn read_environment() -> PyResult<()> {
    match std::env::var("GRADMILL_SIMD") {
        Ok(name) if !name.is_empty() => {
            let tier = name.parse().map_err(|error: String| {
                PyValueError::new_err(format!("GRADMILL_SIMD: {error}"))
            })?;
            set_tier(Some(tier));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The configuration of one call; `threads` of 0 means the number in force.
pub fn config(threads: usize) -> Config {
    Config { threads, tier: tier(), fuse: !OP_BY_OP.load(Ordering::Relaxed) }
}

/// Forces an instruction set (None: the best one), and whether chains fuse. No bit of any result changes.
#[pyfunction]
#[pyo3(signature = (simd=None, fuse=true))]
pub fn force(simd: Option<&str>, fuse: bool) -> PyResult<()> {
    let tier = simd.map(str::parse).transpose().map_err(PyValueError::new_err::<String>)?;
    set_tier(tier);
    OP_BY_OP.store(!fuse, Ordering::Relaxed);
    Ok(())
}

/// Makes a kernel panic after so many others, in a build for tests; returns whether this is one.
#[pyfunction]
pub fn plant_panic(after: i64) -> bool {
    #[cfg(feature = "planted")]
    gradmill_core::sys::planted::panic_after(after);
    #[cfg(not(feature = "planted"))]
    let _ = after;
    cfg!(feature = "planted")
}

#[cfg(feature = "planted")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// How often the extension has allocated memory so far. Builds for tests count it; 0 in any other.
#[pyfunction]
pub fn allocations() -> usize {
    #[cfg(feature = "planted")]
    {
        let stats = ALLOCATOR.stats();
        stats.allocations + stats.reallocations
    }
    #[cfg(not(feature = "planted"))]
    0
}

/// Sets the number of threads; 0 returns to the environment's or the machine's.
#[pyfunction]
pub fn set_num_threads(count: usize) {
    par::set_threads(count);
}

/// Version, profile, instruction set, and the number of threads with its origin.
#[pyfunction]
pub fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let (threads, origin) = par::threads();
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("profile", if cfg!(debug_assertions) { "debug" } else { "release" })?;
    info.set_item("simd", tier().name())?;
    info.set_item("threads", threads)?;
    let origin = match origin {
        ThreadsFrom::Set => "set_num_threads",
        ThreadsFrom::Env(name) => name,
        ThreadsFrom::Machine => "affinity and cgroup quota",
    };
    info.set_item("threads_from", origin)?;
    Ok(info)
}
