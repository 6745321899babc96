//! The first half of a step: what ops over the tree add up, leaf by leaf, for somebody else to add up.

use super::{Run, Step, UPDATES, carriers, with_carriers};
use crate::error::Error;
use crate::plan::pass::Cursor;
use crate::plan::program::Program;
use crate::run::row::{Row, active};
use crate::run::workspace::Workspace;
use crate::sums::squares::Squares;
use crate::sys::config::Config;
use crate::sys::mode::in_default_mode;

/// For each row that takes part what `op`, which gathers over the tree, adds up of it: squares of the updates that reach it,
/// or addends of its own. No op before it has state. Nothing is written.
///
/// `before` are those that the op over the tree before it has added up, row by row, the sums of which are the last of
/// [`Step::known`]: what both find the same is not added up again.
///
/// # Errors
/// [`Error::Scalars`], [`Error::NotANumber`], [`Error::OutOfMemory`].
pub fn gathered<R: Row>(
    program: &Program,
    rows: &mut [R],
    op: usize,
    step: Step<'_>,
    before: &[Squares],
    config: &Config,
) -> Result<Vec<Squares>, Error> {
    in_default_mode(|| {
        program.check_scalars(step.scalars)?;
        let mut workspace = Workspace::default();
        let carriers = carriers(program, rows, step.off)?;
        let run = Run::new(program, step, config, &mut workspace);
        Ok(match carriers {
            None => run.gathered(op, rows, before),
            Some(mut carriers) => {
                run.gathered(op, &mut with_carriers(program, rows, &mut carriers), before)
            }
        })
    })
}

impl Run<'_> {
    /// What `asked` adds up of each row.
    fn gathered<R: Row>(
        mut self,
        asked: usize,
        rows: &mut [R],
        before: &[Squares],
    ) -> Vec<Squares> {
        self.draw_keys(rows);
        let mut last = None;
        let mut cursor = Cursor::start();
        loop {
            let pass = self.program.pass_from(cursor, self.off);
            let end = pass.ends_for.unwrap_or(pass.ops.end);
            for op in cursor.next..end.min(asked) {
                self.pass_by(op, rows);
            }
            if end > asked || pass.ends_for.is_none() {
                // It is off.
                return vec![Squares::default(); active(rows).count()];
            }
            if end == asked {
                let is_same = !pass.carries && last.is_some_and(|op| self.meets(op, asked, rows));
                if is_same && before.len() == active(rows).count() {
                    return before.to_vec();
                }
                let mut sums = Vec::with_capacity(rows.len());
                self.over(&pass, rows, UPDATES, |[own, _]| sums.push(own));
                return sums;
            }
            self.find(end, &pass, rows);
            last = self.program.spans_leaves(end).then_some(end);
            cursor.advance(&pass);
        }
    }

    /// Whether `op` meets the updates of the same rows that reached the op `before` it, and adds up the same.
    fn meets<R: Row>(&self, before: usize, op: usize, rows: &mut [R]) -> bool {
        [before, op].iter().all(|&op| !self.program.has_addends(op))
            && (before..op).all(|op| self.is_off(op))
            && active(rows).all(|row| row.skip() >> op & 1 == row.skip() >> before & 1)
    }
}
