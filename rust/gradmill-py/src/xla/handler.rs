//! The handler that XLA calls.

use std::ffi::{CString, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use gradmill_core::data::{Params, Sink, Slot, Slots, Source, UnitSlots, View};
use gradmill_core::sys::mode::in_default_mode;
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Leaf, Outcome, Squares, Step, gathered, run};

use super::abi;
use super::call::{Call, LeafBuffers, Mode, Operands, WORDS_PER_LEAF};
use super::frame::{Buffer, Copied, Frame, Problem};
use crate::settings::config;

/// Runs a call, or answers which version of the interface it is written for.
///
/// # Safety
/// XLA alone calls it, with a frame that it made.
pub unsafe extern "C" fn handler(frame: *mut abi::CallFrame) -> *mut c_void {
    // SAFETY: XLA made the frame, and keeps it during the call.
    let frame = unsafe { &*frame };
    let done = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the frame is XLA's.
        if unsafe { answer(frame) } || frame.stage != abi::STAGE_EXECUTE {
            return Ok(());
        }
        // SAFETY: the frame is XLA's, and its call is in progress.
        let frame = unsafe { Frame::new(frame) };
        // XLA lets subnormal numbers be zero; those in a frame are read before the core comes in.
        in_default_mode(|| execute(&frame))
    }));
    let (code, problem) = match done {
        Ok(Ok(())) => return null_mut(),
        Ok(Err(problem)) => (abi::INVALID_ARGUMENT, problem),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_else(|| "panic".into());
            (abi::INTERNAL, format!("{text}; please report this as a bug of gradmill"))
        }
    };
    // SAFETY: the frame is XLA's.
    unsafe { error(frame, code, &format!("gradmill: {problem}")) }
}

/// Fills in the version where that is what is asked for. The oldest that serves works with each XLA that has
/// this interface; an XLA that shows its own takes none that is newer.
///
/// # Safety
/// The frame is one that XLA made.
unsafe fn answer(frame: &abi::CallFrame) -> bool {
    let mut extension = frame.extension;
    while !extension.is_null() {
        // SAFETY: extensions are a list that ends with null; this kind has metadata to be filled in.
        unsafe {
            if (*extension).kind == abi::METADATA_EXTENSION {
                let metadata = (*extension.cast::<abi::MetadataExtension>()).metadata;
                let theirs = frame.api.as_ref().map_or(1, |api| api.version.minor);
                (*metadata).version.major = 0;
                (*metadata).version.minor = theirs.min(NEWEST_MINOR);
                (*metadata).traits = 0;
                return true;
            }
            extension = (*extension).next;
        }
    }
    false
}

/// The newest version, `0.3`, that was tried.
const NEWEST_MINOR: c_int = 3;

/// # Safety
/// The frame is one that XLA made.
unsafe fn error(frame: &abi::CallFrame, code: c_int, text: &str) -> *mut c_void {
    let message = CString::new(text.replace('\0', " ")).unwrap_or_default();
    let mut arguments = abi::ErrorCreateArgs {
        struct_size: abi::ERROR_CREATE_ARGS_SIZE,
        extension: null_mut(),
        message: message.as_ptr(),
        code,
    };
    // SAFETY: a call has XLA's functions with it; this one copies the message.
    unsafe { ((*frame.api).error_create)(&raw mut arguments) }
}

fn execute(frame: &Frame<'_>) -> Result<(), Problem> {
    let call = Call::new(frame)?;
    let mut given = call.operands(frame)?;
    let mut copies = overlapping(&call, &mut given)?;
    let operands = apart(&call, given, &mut copies);
    let Operands { batch, axes, .. } = operands;
    let steps: Vec<Prepared> =
        (0..batch).map(|at| Prepared::new(&call, &operands, at)).collect::<Result<_, _>>()?;
    let config = config(0);
    let noise_before: Vec<u64> =
        call.noise_before.iter().map(|leaves| leaves.cast_unsigned()).collect();
    for (at, prepared) in steps.iter().enumerate() {
        let Prepared { scalars, off, known, .. } = prepared;
        let mut leaves = Vec::with_capacity(operands.leaves.len());
        for leaf in &operands.leaves {
            // SAFETY: `at` is within the batch, all arrays of a leaf have its length, and an array that is
            // written is read nowhere else, since those that overlap one were copied.
            let leaf = unsafe { view(&call, config.tier, &operands, leaf, at) };
            leaves.push(leaf.ok_or("an array of a leaf holds words")?);
        }
        // SAFETY: within the batch, and nobody else writes or reads there.
        let found = unsafe { operands.found.words_mut(at, operands.found.len(axes)) };
        let found = found.ok_or("the last result holds no words")?;
        let step =
            Step { scalars, off: *off, known, noise_before: &noise_before, ..Step::default() };
        if call.mode != Mode::Sums {
            let outcome = run(&call.program, &mut leaves, step, &config);
            write_found(&outcome.map_err(|error| error.to_string())?, leaves.len(), found);
            continue;
        }
        let last = call.program.ops().len().saturating_sub(1);
        let known = gathered(&call.program, &mut leaves, last, step, &[], &config);
        let (rows, _) = found.as_chunks_mut::<WORDS_PER_LEAF>();
        for (row, known) in rows.iter_mut().zip(known.map_err(|error| error.to_string())?) {
            *row = to_words(known);
        }
    }
    Ok(())
}

/// What differs between the calls of a batch.
struct Prepared {
    scalars: Vec<f64>,
    off: u64,
    known: Vec<Squares>,
}

impl Prepared {
    fn new(call: &Call<'_>, operands: &Operands<'_>, at: usize) -> Result<Self, Problem> {
        let Operands { numbers, words, known, axes, .. } = operands;
        // SAFETY: `at` is within the batch, and XLA writes to no operand during a call.
        let (numbers, words, sums) = unsafe {
            let numbers = numbers.source(at, numbers.len(*axes));
            (numbers, words.words(at, words.len(*axes)), known.words(at, known.len(*axes)))
        };
        let numbers: Vec<f64> = match numbers {
            Some(Source::F32(View::Dense(row))) => {
                row.iter().map(|&number| number.into()).collect()
            }
            Some(Source::F64(View::Dense(row))) => row.to_vec(),
            _ => return Err("numbers are neither float32 nor float64".into()),
        };
        let (words, sums) = words.zip(sums).ok_or("words or known hold no words")?;
        let [low, high, ..] = *words else { return Err("words are missing".into()) };
        let off = u64::from(high) << 32 | u64::from(low);
        let leaves =
            known.dims.get(axes + 1).map_or(0, |&count| usize::try_from(count).unwrap_or(0));
        let (rows, _) = sums.as_chunks::<WORDS_PER_LEAF>();
        let rows: Vec<Squares> = rows.iter().map(from_words).collect();
        let known = rows
            .chunks(leaves.max(1))
            .map(|known| Squares::of_tree(known.iter().copied()))
            .collect();
        Ok(Self { scalars: call.scalars(&numbers, words)?, off, known })
    }
}

/// Copies of the arrays that share memory with one that is written, other than the one that replaces them: as
/// when an array is passed twice. Each with its place among all that are read.
fn overlapping(
    call: &Call<'_>,
    operands: &mut Operands<'_>,
) -> Result<Vec<(usize, Copied)>, Problem> {
    let mut spans: Vec<(usize, usize)> = operands.written().map(Buffer::span).collect();
    spans.retain(|(start, end)| start < end);
    spans.sort_unstable();
    let is_written = |buffer: &Buffer<'_>| {
        let (start, end) = buffer.span();
        let next = spans.partition_point(|&(_, written)| written <= start);
        spans.get(next).is_some_and(|&(written, _)| written < end)
    };
    let read = operands.read(call.mode).enumerate();
    let shares = |(at, (old, new)): (usize, (&mut Buffer<'_>, Option<Buffer<'_>>))| {
        let is_in_place = new.is_some_and(|new| new.address() == old.address());
        (!is_in_place && is_written(old)).then(|| Ok((at, old.copied()?)))
    };
    read.filter_map(shares).collect()
}

/// The same arrays, with `copies` in their places.
fn apart<'c>(
    call: &Call<'_>,
    mut operands: Operands<'c>,
    copies: &'c mut [(usize, Copied)],
) -> Operands<'c> {
    if copies.is_empty() {
        return operands;
    }
    let mut copies = copies.iter_mut().peekable();
    let read = operands.read(call.mode).enumerate();
    for (at, (old, _)) in read {
        if let Some((_, copy)) = copies.next_if(|(place, _)| *place == at) {
            *old = old.in_memory(copy);
        }
    }
    operands
}

/// The arrays of a leaf in the `at`th call of a batch.
///
/// # Safety
/// `at` is within the batch, all arrays but those by units have one length, and no array that is written overlaps another one, but
/// for an old value that is overwritten.
unsafe fn view<'l>(
    call: &Call<'_>,
    tier: Tier,
    operands: &'l Operands<'_>,
    leaf: &'l LeafBuffers<'_>,
    at: usize,
) -> Option<Leaf<'l>> {
    let LeafBuffers { skip, of_ops, shape, update, param, slots, result } = leaf;
    let len = update.len(operands.axes);
    // SAFETY: the caller vouches for all arrays of the leaf.
    unsafe {
        let new = operands.new_slots.get(slots.clone()).unwrap_or_default();
        let new = new.iter().map(Some).chain(std::iter::repeat(None));
        let mut taken = operands.slots[slots.clone()].iter().zip(new);
        let (elements, units) = (call.program.slots(), call.program.unit_slots());
        let mut states = (0..elements + units).map(|number| {
            if call.program.skips_slot(*of_ops, number) {
                return Some(None);
            }
            let (old, new) = taken.next()?;
            let len = old.len(operands.axes);
            let is_other = call.program.skips_slot(*skip, number);
            match new {
                Some(new) if is_other => {
                    replaced(old, new, at, len)?.keep(tier);
                    Some(None)
                }
                Some(new) => replaced(old, new, at, len).map(Some),
                None if is_other => Some(None),
                None => Some(Some(Slot { from: Some(old.source(at, len)?), to: old.sink(at, 0)? })),
            }
        });
        let slots: Slots<'l> = states.by_ref().take(elements).collect::<Option<_>>()?;
        let unit_slots: UnitSlots<'l> = states.collect::<Option<_>>()?;
        let mut out: Option<Sink<'l>> = None;
        let params = match (call.mode, param, result) {
            (Mode::Step, Some(param), Some(result)) => {
                Params::Write(replaced(param, result, at, len)?)
            }
            (mode, param, result) => {
                if mode == Mode::Update {
                    out = Some(result.as_ref()?.sink(at, len)?);
                }
                match param {
                    Some(param) => Params::Read(param.source(at, len)?),
                    None => Params::None,
                }
            }
        };
        let leaf = Leaf::new(update.source(at, len)?, params, out, slots);
        Some(Leaf { skip: *skip, shape, unit_slots, ..leaf })
    }
}

/// An array that is replaced, in place where XLA gave both the same memory.
///
/// # Safety
/// `at` is within the batch, both arrays have `len` elements in each call of it, and no other array overlaps one that is
/// written.
unsafe fn replaced<'f>(
    old: &Buffer<'f>,
    new: &Buffer<'f>,
    at: usize,
    len: usize,
) -> Option<Slot<'f>> {
    // SAFETY: the caller vouches for both arrays.
    unsafe {
        let is_in_place = old.address() == new.address();
        let from = if is_in_place { None } else { Some(old.source(at, len)?) };
        Some(Slot { from, to: new.sink(at, len)? })
    }
}

/// Writes for each op that asks for finiteness whether it found it, then for each that asks for NaN whether each
/// leaf has one, then what ops estimated.
fn write_found(outcome: &Outcome, leaves: usize, found: &mut [u32]) {
    found.fill(0);
    let flags = outcome
        .nans
        .lists()
        .flat_map(|nans| (0..leaves).map(|leaf| nans.get(leaf).copied().unwrap_or(false)));
    let flags = outcome.all_finite.iter().copied().chain(flags).map(u32::from);
    let estimates = outcome.estimates.iter().flat_map(|made| made.unwrap_or_default());
    for (word, value) in found.iter_mut().zip(flags.chain(estimates.flat_map(halves))) {
        *word = value;
    }
}

/// A double as words.
fn halves(value: f64) -> [u32; 2] {
    [value.to_bits() as u32, (value.to_bits() >> 32) as u32]
}

fn to_words(known: Squares) -> [u32; WORDS_PER_LEAF] {
    let ([a, b], [c, d], [e, f]) = (halves(known.sum), halves(known.smaller), halves(known.larger));
    [a, b, c, d, e, f]
}

fn from_words(&[a, b, c, d, e, f]: &[u32; WORDS_PER_LEAF]) -> Squares {
    let value = |low: u32, high: u32| f64::from_bits(u64::from(high) << 32 | u64::from(low));
    Squares { sum: value(a, b), smaller: value(c, d), larger: value(e, f) }
}
