//! Memory for new arrays, kept from arrays that are gone.

mod block;
mod policy;
mod shelf;

pub use policy::recycled;
pub use shelf::clear_cache;
