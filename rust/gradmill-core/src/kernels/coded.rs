//! Loops over state in 8 bits a number: decoded and encoded in registers, group by group.

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use super::fused::PatternVisitor;
use super::loops::SLOTS;
use crate::data::{Coded, CodesMut};
use crate::number::codes::{Coding, GROUP, is_finite, scale, size};
use crate::number::element::Element;
use crate::number::float::Float;
use crate::ops::{Beside, Frequency, Op, Visitor};
use crate::sys::simd::Tier;

/// A leaf with state in codes, to be updated by one loop.
pub struct ApplyCoded<'d, U, P> {
    pub tier: Tier,
    pub leaf: Coded<'d, U, P>,
    /// The position of the op's first slot.
    pub first: usize,
}

/// What the slots of an op are coded as.
const fn coding<O: Op<f32, N>, const N: usize>(slot: usize) -> Coding {
    if O::SQUARES >> slot & 1 == 1 { Coding::Square } else { Coding::Signed }
}

impl<U: Element, P: Element> Visitor<f32> for ApplyCoded<'_, U, P> {
    /// None where the state is not coded as the op's loop would have it.
    type Output = Option<u32>;

    #[inline]
    fn visit<const N: usize, O: Op<f32, N>>(self, op: &O) -> Option<u32> {
        let Self { tier, leaf: Coded { updates, params, slots }, first } = self;
        let own = slots.into_iter().skip(first).take(N).collect::<SmallVec<[_; N]>>();
        let slots = own.into_inner().ok()?;
        let fits = |at: usize| slots[at].coding == coding::<O, N>(at);
        let fits = N > 0 && (0..N).all(fits);
        fits.then(|| tier.run_wide(CodedLoop::<_, U, P, N> { op, updates, params, slots }))
    }
}

impl<U: Element, P: Element> PatternVisitor<f32> for ApplyCoded<'_, U, P> {
    const LEAST: Frequency = Frequency::Frequent;
}

struct CodedLoop<'k, 'd, O, U, P, const N: usize> {
    op: &'k O,
    updates: &'d [U],
    params: &'d mut [P],
    slots: [CodesMut<'d>; N],
}

/// Groups that a step takes at once: one alone would leave the processor waiting for its scales.
const PAIR: usize = 2;
const NUMBERS: usize = PAIR * GROUP;

/// The codes of a slot that a step takes.
type Part = [[u8; GROUP]; PAIR];
/// Their scales.
type Scales = [f32; PAIR];

/// Scales are made in rows of so many, since divisions of one number at a time take as long as those of a vector.
const LANES: usize = 4;
const ROWS: usize = SLOTS * PAIR / LANES;

/// Where in these rows the scale of a group is.
#[inline(always)]
const fn place_of(slot: usize, group: usize) -> (usize, usize) {
    let at = slot * PAIR + group;
    (at / LANES, at % LANES)
}

/// Does the same for each slot there is, with its position as a constant.
macro_rules! each_slot {
    ($slots:ident, $slot:ident => $body:block) => {
        each_slot!(@ $slots, $slot, $body, 0 1 2 3 4 5);
    };
    (@ $slots:ident, $slot:ident, $body:block, $($at:literal)*) => {
        const { assert!($slots <= SLOTS, "there is a position for each slot") };
        $(if $slots > $at {
            const $slot: usize = $at;
            $body
        })*
    };
}

impl<O: Op<f32, N>, U: Element, P: Element, const N: usize> NullaryFnOnce
    for CodedLoop<'_, '_, O, U, P, N>
{
    type Output = u32;

    #[inline(always)]
    fn call(self) -> u32 {
        let Self { op, updates, params, mut slots } = self;
        let (op, mut bad) = (*op, 0);
        let (updates, updates_rest) = updates.as_chunks::<NUMBERS>();
        let (params, params_rest) = params.as_chunks_mut::<NUMBERS>();
        let whole = updates.len();
        {
            let mut slots = slots.each_mut().map(|CodesMut { codes, scales, .. }| {
                let groups = codes.as_chunks_mut::<GROUP>().0;
                (
                    &mut groups.as_chunks_mut::<PAIR>().0[..whole],
                    &mut scales.as_chunks_mut::<PAIR>().0[..whole],
                )
            });
            for (at, (updates, params)) in updates.iter().zip(params).enumerate() {
                let own = slots.each_mut().map(|(codes, scales)| (&mut codes[at], &mut scales[at]));
                bad |= step(op, updates, params, own);
            }
        }
        if !updates_rest.is_empty() {
            // The same steps take what is left over, padded; zeros are no larger than anything.
            let len = updates_rest.len();
            let (mut update, mut param) = ([U::default(); NUMBERS], [P::default(); NUMBERS]);
            update[..len].copy_from_slice(updates_rest);
            param[..len].copy_from_slice(params_rest);
            let mut own = [(Part::default(), Scales::default()); N];
            for ((part, padded), slot) in own.iter_mut().zip(&mut slots) {
                let CodesMut { codes, scales, .. } = slot.part(whole * NUMBERS..slot.codes.len());
                part.as_flattened_mut()[..len].copy_from_slice(codes);
                padded[..scales.len()].copy_from_slice(scales);
            }
            bad |=
                step(op, &update, &mut param, own.each_mut().map(|(part, scales)| (part, scales)));
            params_rest.copy_from_slice(&param[..len]);
            for ((part, padded), slot) in own.iter().zip(&mut slots) {
                let CodesMut { codes, scales, .. } = slot.part(whole * NUMBERS..slot.codes.len());
                codes.copy_from_slice(&part.as_flattened()[..len]);
                scales.copy_from_slice(&padded[..scales.len()]);
            }
        }
        bad
    }
}

/// Adds the updates of some groups to their parameters and replaces codes and scales. What comes back tells whether an
/// incoming update was not finite.
#[inline(always)]
fn step<O: Op<f32, N>, U: Element, P: Element, const N: usize>(
    op: O,
    updates: &[U; NUMBERS],
    params: &mut [P; NUMBERS],
    slots: [(&mut Part, &mut Scales); N],
) -> u32 {
    let old = slots.each_ref().map(|(codes, scales)| (**codes, **scales));
    let mut state = [[[0.0; GROUP]; PAIR]; N];
    let (mut bad, mut largest) = (0, [[0; PAIR]; N]);
    for group in 0..PAIR {
        for at in 0..GROUP {
            let place = group * GROUP + at;
            let (update, param) = (f32::load(updates[place]), f32::load(params[place]));
            bad |= update.nonfinite();
            let mut own = [0.0; N];
            for (slot, (own, (codes, scales))) in own.iter_mut().zip(&old).enumerate() {
                *own = coding::<O, N>(slot).decode(codes[group][at], scales[group]);
            }
            let (update, new) = op.element(update, Beside { param, ..Beside::default() }, own);
            params[place] = param.updated(update).store();
            for (slot, &new) in new.iter().enumerate() {
                state[slot][group][at] = new;
                largest[slot][group] = size(new).max(largest[slot][group]);
            }
        }
    }
    let (mut new_scales, mut factors) = ([[0.0; LANES]; ROWS], [[0.0; LANES]; ROWS]);
    let (mut sizes, mut shares) = ([[0; LANES]; ROWS], [[0.0; LANES]; ROWS]);
    for (slot, largest) in largest.iter().enumerate() {
        for (group, &size) in largest.iter().enumerate() {
            let (row, lane) = place_of(slot, group);
            (sizes[row][lane], shares[row][lane]) = (size, coding::<O, N>(slot).share());
        }
    }
    for row in 0..(N * PAIR).div_ceil(LANES) {
        for lane in 0..LANES {
            (new_scales[row][lane], factors[row][lane]) =
                scale(sizes[row][lane], shares[row][lane]);
        }
    }
    each_slot!(N, SLOT => {
        let values = state[SLOT].as_flattened();
        for (place, code) in slots[SLOT].0.as_flattened_mut().iter_mut().enumerate() {
            let (row, lane) = place_of(SLOT, place / GROUP);
            let factor = factors[row][lane];
            *code = const { coding::<O, N>(SLOT) }.encode(values[place], factor);
        }
        for (group, scale) in slots[SLOT].1.iter_mut().enumerate() {
            let (row, lane) = place_of(SLOT, group);
            *scale = new_scales[row][lane];
        }
    });
    if !largest.as_flattened().iter().all(|&largest| is_finite(largest)) {
        for (slot, largest) in slots.into_iter().zip(largest) {
            for (codes, largest) in slot.0.iter_mut().zip(largest) {
                if !is_finite(largest) {
                    codes.fill(0);
                }
            }
        }
    }
    bad
}
