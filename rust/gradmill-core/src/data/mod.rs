//! Arrays: leaves and their views, what of them overlaps, and conversion between what they hold and numbers.

mod array;
mod boxes;
mod buffer;
mod codes;
mod convert;
mod copies;
mod cut;
mod dense;
mod layout;
mod leaf;
mod overlap;
mod planes;
mod strided;
mod updates;
mod view;

pub use array::{Sink, Source};
pub(crate) use boxes::{Boxes, Cuts};
pub use codes::{Codes, CodesMut};
pub(crate) use copies::Copies;
pub use dense::{Coded, Dense};
pub use layout::Layout;
pub use leaf::{Chunks, Leaf, Origin, Params, ROOM, Slot, Slots, UnitSlots};
pub use overlap::{Span, find_conflict, gcd};
pub use strided::{Strided, StridedMut};
pub use updates::Updates;
pub use view::{View, ViewMut};
