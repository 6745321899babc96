//! The walks over memory that a chain takes.

use std::ops::Range;

/// Where a pass takes the update from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassInput {
    /// The caller's update, which is never written.
    Updates,
    /// What an earlier pass left behind.
    Carried,
}

/// One walk over all leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The ops that run, as indices into [`Program::ops`].
    pub ops: Range<usize>,
    /// Their slots.
    pub slots: Range<usize>,
    /// Where the update comes from.
    pub source: PassInput,
    /// The op that has to know something of the update this pass ends with; the last pass has none.
    pub ends_for: Option<usize>,
    /// Whether the update is left behind for the next pass. For a norm over ops without state it is not:
    /// the next pass runs them again, which costs no memory traffic.
    pub carries: bool,
}

/// How far a step has come in its chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// The first op of the next pass.
    pub first: usize,
    /// The first op that has not gathered what it has to know.
    pub next: usize,
    /// Where the next pass takes the update from.
    pub source: PassInput,
}

impl Cursor {
    pub fn start() -> Self {
        Self { first: 0, next: 0, source: PassInput::Updates }
    }

    /// Steps over the op for which `pass` ends; false where it is the last one.
    pub fn advance(&mut self, pass: &Pass) -> bool {
        let Some(op) = pass.ends_for else { return false };
        self.next = op + 1;
        if pass.carries {
            self.first = op;
            self.source = PassInput::Carried;
        }
        true
    }
}

impl Pass {
    /// Whether no pass after it reads the caller's update.
    pub(crate) fn is_last_to_read(&self) -> bool {
        self.source == PassInput::Updates && (self.carries || self.ends_for.is_none())
    }

    /// Whether the update is found where a pass leaves it, and not with the caller.
    pub(crate) fn leaves_behind(&self) -> bool {
        self.carries || self.source == PassInput::Carried
    }
}
