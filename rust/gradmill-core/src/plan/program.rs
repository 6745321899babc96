//! A chain's ops, validated once and cut into passes.

mod shapes;

use std::ops::Range;

use smallvec::SmallVec;

use super::member::{Entry, MAX_OPS, Member};
use super::pass::{Cursor, Pass};
use crate::data::Leaf;
use crate::error::Error;
use crate::kernels::placed::Placed;
use crate::kernels::set::{Bound, KernelSet};
use crate::number::dtype::DType;
use crate::number::float::Float;
use crate::ops::{AnyOp, Gather, Meta, Over, ScalarKind, Settle};

/// A chain of ops.
#[derive(Clone, Debug)]
pub struct Program {
    members: Vec<Member>,
    /// The members of each op that the caller named: one, or a second for leaves without its units.
    of_ops: Vec<Range<usize>>,
    passes: Vec<Pass>,
    param_ops: u64,
    unit_ops: u64,
    noise_ops: u64,
}

impl Program {
    /// Most ops that one program holds: a leaf's `skip` has a bit for each.
    pub const MAX_OPS: usize = MAX_OPS;

    /// Builds the program of these ops, in chain order.
    ///
    /// # Errors
    /// [`Error::UnknownOp`], [`Error::TooManyOps`].
    pub fn new<'n, E: Into<Entry<'n>>>(
        entries: impl IntoIterator<Item = E>,
    ) -> Result<Self, Error> {
        let entries: Vec<Entry<'n>> = entries.into_iter().map(Into::into).collect();
        let (members, of_ops) = Member::in_a_row(entries)?;
        let bits = |has: &dyn Fn(&Member) -> bool| {
            let having = members.iter().enumerate().filter(|(_, member)| has(member));
            having.fold(0, |bits, (index, _)| bits | 1 << index)
        };
        let param_ops = bits(&|member| member.meta().params);
        let unit_ops = bits(&|member| member.meta().gather.is_some_and(|it| it.over != Over::Tree));
        let noise_ops = bits(&|member| AnyOp::<f32>::reads_of(member.op).normal);
        let passes = Vec::new();
        let mut program = Self { members, of_ops, passes, param_ops, unit_ops, noise_ops };
        program.passes = program.passes_without(0).collect();
        Ok(program)
    }

    /// Whether a pass leaves its update behind where the ops in `off` do not run.
    pub(crate) fn carries(&self, off: u64) -> bool {
        if off == 0 {
            return self.passes.iter().any(|pass| pass.carries);
        }
        self.passes_without(off).any(|pass| pass.carries)
    }

    /// The walks over memory where the ops in `off` do not run.
    fn passes_without(&self, off: u64) -> impl Iterator<Item = Pass> {
        let mut next = Some(Cursor::start());
        std::iter::from_fn(move || {
            let mut cursor = next.take()?;
            let pass = self.pass_from(cursor, off);
            next = cursor.advance(&pass).then_some(cursor);
            Some(pass)
        })
    }

    /// The walk that comes next: up to the next op that runs and has to know of the update as a whole.
    pub(crate) fn pass_from(&self, cursor: Cursor, off: u64) -> Pass {
        let Cursor { first, next, source } = cursor;
        let needs_update = |gather: Gather| gather.needs_update();
        let asks = |&op: &usize| off >> op & 1 == 0 && self.gather(op).is_some_and(needs_update);
        let ends_for = (next..self.members.len()).find(asks);
        let end = ends_for.unwrap_or(self.members.len());
        let slots = self.slots_within(first..end);
        let carries = ends_for
            .is_some_and(|op| if self.spans_leaves(op) { !slots.is_empty() } else { first < op });
        Pass { ops: first..end, slots, source, ends_for, carries }
    }

    /// What each member needs, in chain order.
    #[must_use]
    pub fn ops(&self) -> impl ExactSizeIterator<Item = &'static Meta> {
        self.members.iter().map(Member::meta)
    }

    /// The walks over memory.
    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// The ops in `ops` that gather of parameters alone, before the pass in which they run.
    pub fn gather_params(&self, ops: Range<usize>) -> impl Iterator<Item = usize> {
        ops.filter(|&op| self.gather(op).is_some_and(|gather| !gather.needs_update()))
    }

    /// Number of state arrays of a leaf that have its elements.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.members.last().map_or(0, |member| member.slots.end)
    }

    /// Number of those that have a number for each unit; they are counted behind the others.
    #[must_use]
    pub fn unit_slots(&self) -> usize {
        self.members.last().map_or(0, |member| member.unit_slots.end)
    }

    /// The positions of the state by units of `op`.
    pub(crate) fn unit_slots_of(&self, op: usize) -> Range<usize> {
        self.members[op].unit_slots.clone()
    }

    /// Number of scalars of a step.
    #[must_use]
    pub fn scalars(&self) -> usize {
        self.members.last().map_or(0, |member| member.scalars.end)
    }

    /// Whether any op reads the parameters.
    #[must_use]
    pub fn reads_params(&self) -> bool {
        self.param_ops != 0
    }

    /// Whether any result depends on the order in which elements are walked.
    #[must_use]
    pub fn has_order(&self) -> bool {
        self.passes.len() > 1 || self.noise_ops != 0
    }

    /// Whether any op reads what goes by an element's place in its leaf.
    pub(crate) fn has_places(&self) -> bool {
        self.unit_ops | self.noise_ops != 0
    }

    /// Whether any op has units, so that leaves need their shape.
    #[must_use]
    pub fn has_units(&self) -> bool {
        self.unit_ops != 0
    }

    /// What `op` needs.
    pub(crate) fn meta(&self, op: usize) -> &'static Meta {
        self.members[op].meta()
    }

    /// What `op` has to know of more than an element.
    pub(crate) fn gather(&self, op: usize) -> Option<Gather> {
        self.meta(op).gather
    }

    /// Whether `op` has to know something of all leaves together.
    #[must_use]
    pub fn spans_leaves(&self, op: usize) -> bool {
        self.gather(op).is_some_and(|gather| gather.over == Over::Tree)
    }

    /// The ops that have to know something of all leaves together.
    pub fn spanning(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|&op| self.spans_leaves(op))
    }

    /// The ops that draw random numbers.
    pub fn noises(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|op| self.noise_ops >> op & 1 == 1)
    }

    /// How many words a step over so many leaves finds: one for each op that asks for finiteness, for each leaf one for
    /// each op that asks for NaN, and two for each number that an op estimates.
    #[must_use]
    pub fn count_found(&self, leaves: usize) -> usize {
        let words = self.ops().map(|meta| match meta.gather.map(|gather| gather.settle) {
            Some(Settle::Gate) => 1,
            Some(Settle::Flags) => leaves,
            Some(Settle::Estimates(_)) => 2 * meta.found(),
            _ => 0,
        });
        words.sum()
    }

    /// The ops that `op` governs, as bits.
    pub(crate) fn governs(&self, op: usize) -> u64 {
        self.members[op].governs
    }

    /// Checks the scalars of a step.
    ///
    /// # Errors
    /// [`Error::Scalars`], [`Error::NotANumber`].
    pub fn check_scalars(&self, scalars: &[f64]) -> Result<(), Error> {
        let got = scalars.len();
        if got != self.scalars() {
            return Err(Error::Scalars { expected: self.scalars(), got });
        }
        if scalars.iter().any(|scalar| scalar.is_nan()) {
            self.check_numbers(scalars)
        } else {
            Ok(())
        }
    }

    /// Names the first NaN that is none of arrays.
    #[cold]
    fn check_numbers(&self, scalars: &[f64]) -> Result<(), Error> {
        let named = self.of_ops.iter().flat_map(|members| {
            let Meta { name, scalars, .. } = self.meta(members.start);
            scalars.iter().map(|scalar| (*name, scalar))
        });
        let mut named = named.zip(scalars);
        match named.find(|((_, it), value)| value.is_nan() && it.kind != ScalarKind::Estimate) {
            Some(((op, scalar), _)) => Err(Error::NotANumber { op, scalar: scalar.name }),
            None => Ok(()),
        }
    }

    /// The own scalars of `op` among those of the program.
    pub(crate) fn scalars_of<'s>(&self, op: usize, scalars: &'s [f64]) -> &'s [f64] {
        &scalars[self.members[op].scalars.clone()]
    }

    /// Whether an op that is not skipped reads the parameter.
    #[must_use]
    pub fn reads_params_of(&self, skip: u64) -> bool {
        self.param_ops & !skip != 0
    }

    /// The slots of the ops in `ops`.
    fn slots_within(&self, ops: Range<usize>) -> Range<usize> {
        let start = |op: usize| self.members.get(op).map_or(self.slots(), |own| own.slots.start);
        start(ops.start)..start(ops.end)
    }

    /// How many slots the ops in `ops` have for a leaf with this `skip`.
    fn count_slots(&self, ops: Range<usize>, skip: u64) -> usize {
        if skip == 0 {
            return self.slots_within(ops).len();
        }
        let taken = ops.filter(|op| skip >> op & 1 == 0);
        taken.map(|op| self.members[op].slots.len()).sum()
    }

    /// Whether `slot` belongs to a skipped op.
    #[must_use]
    pub fn skips_slot(&self, skip: u64, slot: usize) -> bool {
        skip >> self.owner(slot) & 1 == 1
    }

    /// The slots of the ops that are not skipped.
    pub fn slots_of(&self, skip: u64) -> impl Iterator<Item = usize> {
        let all = 0..self.slots() + self.unit_slots();
        all.filter(move |&slot| !self.skips_slot(skip, slot))
    }

    /// The names of `slot` and of the op that owns it.
    #[must_use]
    pub fn slot_name(&self, slot: usize) -> (&'static str, &'static str) {
        let owner = self.owner(slot);
        let meta = self.meta(owner);
        let Member { slots, unit_slots, .. } = &self.members[owner];
        let name = match slot.checked_sub(self.slots()) {
            None => meta.slots[slot - slots.start],
            Some(slot) => meta.unit_slots[slot - unit_slots.start],
        };
        (name, meta.name)
    }

    /// Whether an op in `ops` looks at the parameter beside the element; others only ask that there be one.
    #[must_use]
    pub fn look_at_params(&self, ops: Range<usize>) -> bool {
        self.members[ops].iter().any(|member| AnyOp::<f32>::reads_of(member.op).param)
    }

    /// The name of the first op that reads the parameters.
    #[must_use]
    pub fn first_reader(&self) -> Option<&'static str> {
        self.ops().find(|meta| meta.params).map(|meta| meta.name)
    }

    fn owner(&self, slot: usize) -> usize {
        let behind = slot.checked_sub(self.slots());
        self.members.partition_point(|member| match behind {
            None => member.slots.end <= slot,
            Some(slot) => member.unit_slots.end <= slot,
        })
    }

    /// The widest dtype among the arrays that the chain reads, but at least f32; the leaf is computed in it
    /// throughout.
    #[must_use]
    pub fn dtype(&self, leaf: &Leaf<'_>) -> DType {
        let params = self.reads_params_of(leaf.skip).then(|| leaf.params.dtype()).flatten();
        let slots = leaf.slots.iter().chain(&leaf.unit_slots).flatten().map(|slot| slot.to.dtype());
        slots.chain(params).fold(leaf.updates.dtype().computed_in(), DType::max)
    }

    /// Whether the ops of `pass` run as one loop in registers rather than block by block, in a step with these
    /// scalars, over state in codes or not.
    #[must_use]
    pub fn is_fused(&self, pass: &Pass, scalars: &[f64], in_codes: bool) -> bool {
        // A factor that is neither one nor minus one, as most are.
        let found = vec![2.0; self.found_before(self.members.len())];
        let binding = Binding { scalars, found: &found, off: 0, fuse: true };
        let mut kernels = KernelSet::<f32>::default();
        kernels.add(0, |bound| self.bind(pass, 0, binding, bound));
        let kernel = &kernels.of(0).kernel;
        if in_codes && !pass.slots.is_empty() {
            return kernel.takes_codes();
        }
        let number = |op: usize| self.members[op].has_whole_units().then_some(2.0);
        kernel.is_fused() || kernel.with_numbers(number).is_some()
    }

    /// How many numbers the ops before `op` find behind their scalars.
    fn found_before(&self, op: usize) -> usize {
        self.members[..op].iter().map(|member| member.meta().found()).sum()
    }

    /// The constants of `op`; what it does not know yet is NaN.
    fn step<T: Float>(&self, op: usize, binding: Binding<'_>) -> AnyOp<T> {
        let mut own = SmallVec::<[f64; 16]>::from_slice(self.scalars_of(op, binding.scalars));
        let count = self.meta(op).found();
        if count > 0 {
            let found = binding.found.iter().skip(self.found_before(op)).copied();
            own.extend(found.chain(std::iter::repeat(f64::NAN)).take(count));
        }
        AnyOp::new(self.members[op].op, &own)
    }

    /// Makes `bound` the kernel of `pass` for leaves with this `skip`.
    pub(crate) fn bind<T: Float>(
        &self,
        pass: &Pass,
        skip: u64,
        binding: Binding<'_>,
        bound: &mut Bound<T>,
    ) {
        let mut slots = 0;
        let steps = pass.ops.clone().filter(|op| skip >> op & 1 == 0).filter_map(|op| {
            let first_slot = slots;
            slots += self.members[op].slots.len();
            let runs = binding.off >> op & 1 == 0;
            runs.then(|| Placed { step: self.step(op, binding), op, first_slot })
        });
        bound.kernel.rebind(steps, binding.fuse);
        let start = self.count_slots(0..pass.ops.start, skip);
        bound.slots = start..start + slots;
        let adds = pass.ends_for.filter(|&op| skip >> op & 1 == 0 && self.has_addends(op));
        bound.adds = adds.map(|op| {
            let first_slot = self.count_slots(0..op, skip);
            Placed { step: self.step(op, binding), op, first_slot }
        });
    }

    /// Whether `op` has addends of its own.
    pub(crate) fn has_addends(&self, op: usize) -> bool {
        self.gather(op).is_some_and(|gather| gather.has_addends())
    }

    /// The positions of the state arrays of `op` that have the leaf's elements.
    pub(crate) fn slots_of_op(&self, op: usize) -> Range<usize> {
        self.members[op].slots.clone()
    }

    /// Whether what is finite before the ops in `ops` that run is finite behind them, for sure.
    pub(crate) fn keep_finite(&self, ops: Range<usize>, binding: Binding<'_>) -> bool {
        let mut running = ops.filter(|op| binding.off >> op & 1 == 0);
        running.all(|op| self.step::<f64>(op, binding).keeps_finite())
    }
}

/// What the constants of a step are made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'b> {
    /// The scalars of all ops in a row.
    pub scalars: &'b [f64],
    /// What ops find behind their scalars, as far as it is known.
    pub found: &'b [f64],
    /// The ops that do not run, as bits.
    pub off: u64,
    /// Whether frequent chains run as one loop.
    pub fuse: bool,
}

#[cfg(test)]
mod tests {
    use super::super::pass::PassInput;
    use super::*;

    fn passes(names: &[&str]) -> Vec<(Range<usize>, PassInput, bool)> {
        let program = Program::new(names.iter().copied()).unwrap();
        program.passes().iter().map(|pass| (pass.ops.clone(), pass.source, pass.carries)).collect()
    }

    #[test]
    fn a_norm_ends_a_pass() {
        use PassInput::{Carried, Updates};
        assert_eq!(passes(&["scale_by_adam", "scale"]), [(0..2, Updates, false)]);
        assert_eq!(
            passes(&["clip_by_global_norm", "scale_by_adam"]),
            [(0..0, Updates, false), (0..2, Updates, false)]
        );
        assert_eq!(
            passes(&["scale", "clip_by_global_norm", "trace", "clip_by_global_norm", "scale"]),
            [(0..1, Updates, false), (0..3, Updates, true), (3..5, Carried, false)]
        );
    }

    #[test]
    fn names_and_size_are_checked() {
        assert_eq!(Program::new(["no_op"]).unwrap_err(), Error::UnknownOp("no_op".to_owned()));
        let many = Program::new(["scale"; 65]).unwrap_err();
        assert_eq!(many, Error::TooManyOps { max: 64, got: 65 });
    }

    #[test]
    fn slots_have_owners() {
        let program = Program::new(["scale", "scale_by_adam", "scale", "trace"]).unwrap();
        assert_eq!((0..3).map(|slot| program.owner(slot)).collect::<Vec<_>>(), [1, 1, 3]);
    }
}
