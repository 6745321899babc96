//! Numbers: the types of elements, factors of steps, and random numbers.

pub mod dtype;
pub mod element;
pub mod float;
pub mod rng;
pub mod rounding;
pub mod scalars;
