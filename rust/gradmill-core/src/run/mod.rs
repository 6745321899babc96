//! Programs on leaves: the only room that walks over whole ones.

pub(crate) mod carrier;
pub(crate) mod exec;
pub(crate) mod measured;
pub mod noise_sum;
pub(crate) mod outcome;
pub mod per_example;
pub(crate) mod row;
mod staging;
mod walk;
pub mod weighted_sum;
pub(crate) mod workspace;
