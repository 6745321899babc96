//! What lies between kernels and the machine.

pub mod mode;
