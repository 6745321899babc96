//! Programs on leaves: the only room that walks over whole ones.

pub mod carrier;
pub mod exec;
pub(crate) mod measured;
pub mod outcome;
pub mod per_example;
pub mod row;
mod staging;
mod walk;
pub mod workspace;
