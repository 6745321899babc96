//! Numbers: the types of elements, cube roots, factors of steps, and random numbers.

pub mod codes;
pub(crate) mod cube_root;
pub(crate) mod dtype;
pub(crate) mod element;
pub(crate) mod float;
pub mod rng;
pub(crate) mod rounding;
pub mod scalars;
pub(crate) mod threefry;
