//! The bitwise contract: how a program runs changes no bit of what it makes.
#![allow(unsafe_code, reason = "strided views are made from raw pointers")]

mod common;

use common::{
    Arrays, Case, Data, How, Link, Made, Memory, Values, carrying_chains, cases, chains, config,
    hows, op, plain, run, shapes,
};
use gradmill_core::data::{Layout, Sink, Source, Strided, StridedMut, View, ViewMut};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, DType, Float, global_norm};
use proptest::collection::vec;
use proptest::prelude::*;

/// An array whose elements lie apart, backwards or transposed among others that nobody may write.
struct Scattered {
    buffer: Data,
    layout: Layout,
    /// Position of the first element in the buffer.
    first: usize,
}

/// What lies between the elements.
const FILLER: f64 = 0.5;

impl Scattered {
    /// Leaves may hold dense and strided arrays side by side.
    fn is_dense(&self) -> bool {
        matches!(self.layout.axes(), [(_, 1)])
    }

    /// Positions of the elements in the buffer, in order.
    fn positions(&self) -> Vec<usize> {
        let walk = |positions: Vec<isize>, &(length, stride): &(usize, isize)| {
            let along = |&at: &isize| (0..length.cast_signed()).map(move |i| at + i * stride);
            positions.iter().flat_map(along).collect()
        };
        let positions = self.layout.axes().iter().fold(vec![self.first.cast_signed()], walk);
        positions.into_iter().map(isize::cast_unsigned).collect()
    }
}

impl Memory for Scattered {
    fn of(data: &Data, salt: usize) -> Self {
        let len = data.len();
        let rows = [7, 5, 3, 2, 1].into_iter().find(|&rows| len.is_multiple_of(rows)).unwrap();
        let (columns, pitch) = (len / rows, rows.cast_signed());
        let axes = match salt % 5 {
            0 => vec![(len, 1)],
            1 => vec![(len, 3)],
            2 => vec![(len, -1)],
            3 => vec![(rows, 2), (columns, 2 * pitch)],
            _ => vec![(rows, 1), (1, 9), (columns, -pitch)],
        };
        let layout = Layout::new(axes);
        let (first, size) = layout.extent().map_or((0, 0), |(low, high)| {
            (low.unsigned_abs(), low.unsigned_abs() + high.unsigned_abs() + 1)
        });
        let mut scattered = Self { buffer: Data::F64(Vec::new()), layout, first };
        let mut buffer = vec![FILLER; size];
        for (position, value) in scattered.positions().into_iter().zip(data.values()) {
            buffer[position] = value;
        }
        scattered.buffer = Data::new(data.dtype(), buffer);
        scattered
    }

    fn data(&self) -> Data {
        let mut buffer = self.buffer.values();
        let take = |position| std::mem::replace(&mut buffer[position], FILLER);
        let values: Vec<f64> = self.positions().into_iter().map(take).collect();
        assert!(buffer.iter().all(|&value| value == FILLER), "written between elements");
        Data::new(self.buffer.dtype(), values)
    }

    fn source(&self) -> Source<'_> {
        fn view<'v, T: Float>(buffer: &'v [T], first: usize, layout: &'v Layout) -> View<'v, T> {
            let first = buffer.as_ptr().wrapping_add(first);
            // SAFETY: `layout` reaches elements of `buffer` alone, which the view borrows.
            View::Strided(unsafe { Strided::new(first, layout) })
        }
        match &self.buffer {
            buffer if self.is_dense() => buffer.source(),
            Data::F32(buffer) => Source::F32(view(buffer, self.first, &self.layout)),
            Data::F64(buffer) => Source::F64(view(buffer, self.first, &self.layout)),
        }
    }

    fn sink(&mut self) -> Sink<'_> {
        fn view<'v, T: Float>(
            buffer: &'v mut [T],
            first: usize,
            layout: &'v Layout,
        ) -> ViewMut<'v, T> {
            let first = buffer.as_mut_ptr().wrapping_add(first);
            // SAFETY: the layout reaches elements of the buffer alone; the borrow is an exclusive one and no element comes twice.
            ViewMut::Strided(unsafe { StridedMut::new(first, layout) })
        }
        let dense = self.is_dense();
        let layout = &self.layout;
        match &mut self.buffer {
            buffer if dense => buffer.sink(),
            Data::F32(buffer) => Sink::F32(view(buffer, self.first, layout)),
            Data::F64(buffer) => Sink::F64(view(buffer, self.first, layout)),
        }
    }
}

fn with_threads(how: &How, threads: usize) -> How {
    gradmill_core::sys::par::always_ask(true);
    How { config: Config { threads, ..how.config }, ..*how }
}

/// The chain as programs of one op each.
fn op_by_op(case: &Case) -> Made {
    let leaves = case.arrays();
    let mut updates: Vec<Data> = leaves.iter().map(|arrays| arrays.updates.clone()).collect();
    let mut slots: Vec<Vec<Option<Data>>> =
        leaves.iter().map(|arrays| vec![None; arrays.slots.len()]).collect();
    let (mut first, mut first_unit) = (0, common::program(&case.chain).0.slots());
    let (mut norms, mut estimates) = (Vec::new(), Vec::new());
    for (index, link) in case.chain.iter().enumerate() {
        let single: Vec<Arrays> = leaves
            .iter()
            .zip(&updates)
            .map(|(arrays, updates)| {
                let own = |start: usize, count: usize| arrays.slots[start..][..count].iter();
                let (of_elements, of_units) = (link.meta().slots, link.meta().unit_slots);
                let units = own(first_unit, of_units.len());
                Arrays {
                    updates: updates.clone(),
                    params: arrays.params.clone(),
                    slots: own(first, of_elements.len()).chain(units).cloned().collect(),
                    skip: arrays.skip >> index & 1,
                }
            })
            .collect();
        let made = run::<Data>(std::slice::from_ref(link), &single, &plain());
        updates = made.results;
        let (of_elements, of_units) = (link.meta().slots.len(), link.meta().unit_slots.len());
        for (slots, new) in slots.iter_mut().zip(made.slots) {
            let mut new = new.into_iter();
            for (start, count) in [(first, of_elements), (first_unit, of_units)] {
                slots[start..start + count].iter_mut().for_each(|to| *to = new.next().unwrap());
            }
        }
        (first, first_unit) = (first + of_elements, first_unit + of_units);
        norms.extend(made.norms);
        estimates.extend(made.estimates);
    }
    Made { results: updates, slots, norms, estimates, finite: true }
}

/// Zero, of the same sign, for a subnormal number.
fn flush<T: Float>(value: T) -> T {
    if value.abs() < T::MIN_POSITIVE { value * T::ZERO } else { value }
}

/// `params + updates` in the wider of both dtypes, without subnormal numbers, rounded to that of the parameters;
/// those stay as they are where the update is zero.
fn sum(params: &Data, updates: &Data) -> Data {
    fn add<T: Float>(param: T, update: T) -> T {
        if flush(update) == T::ZERO { param } else { flush(flush(param) + update) }
    }
    match (params, updates) {
        (Data::F32(params), Data::F32(updates)) => {
            Data::F32(params.iter().zip(updates).map(|(&p, &u)| add(p, u)).collect())
        }
        (Data::F32(params), Data::F64(updates)) => {
            let sums = params.iter().zip(updates);
            Data::F32(sums.map(|(&p, &u)| add(f64::from(p), u) as f32).collect())
        }
        (Data::F64(params), updates) => {
            Data::F64(params.iter().zip(updates.values()).map(|(&p, u)| add(p, u)).collect())
        }
    }
}

/// Storing and adding, in place and to other arrays, make the same.
fn check_places(case: &Case) -> Result<(), TestCaseError> {
    let leaves = case.arrays();
    let how = |adds, copies| How { adds, copies, ..plain() };
    let stored = run::<Data>(&case.chain, &leaves, &how(false, true));
    stored.same_as(&run::<Data>(&case.chain, &leaves, &how(false, false)))?;
    let added = leaves.iter().zip(&stored.results);
    let results = added.map(|(arrays, update)| sum(&arrays.params, update)).collect();
    let added = Made { results, ..stored };
    added.same_as(&run::<Data>(&case.chain, &leaves, &how(true, true)))?;
    added.same_as(&run::<Data>(&case.chain, &leaves, &how(true, false)))
}

fn check_loops(case: &Case, how: &How) -> Result<(), TestCaseError> {
    let leaves = case.arrays();
    let made = run::<Data>(&case.chain, &leaves, how);
    for tier in Tier::ALL.into_iter().filter(|tier| tier.available()) {
        for fuse in [true, false] {
            let config = Config { tier, fuse, threads: 1 };
            made.same_as(&run::<Data>(&case.chain, &leaves, &How { config, ..*how }))?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn fusion_and_tiers(case in cases(chains()), how in hows()) {
        check_loops(&case, &how)?;
    }

    #[test]
    fn fusion_and_tiers_where_updates_are_carried(case in cases(carrying_chains()), how in hows()) {
        check_loops(&case, &how)?;
    }

    #[test]
    fn in_place_and_functional(case in cases(chains())) {
        check_places(&case)?;
    }

    #[test]
    fn in_place_and_functional_where_updates_are_carried(case in cases(carrying_chains())) {
        check_places(&case)?;
    }

    #[test]
    fn dense_and_strided(case in cases(chains()), how in hows()) {
        let leaves = case.arrays();
        let dense = run::<Data>(&case.chain, &leaves, &how);
        dense.same_as(&run::<Scattered>(&case.chain, &leaves, &how))?;
    }

    #[test]
    fn dense_and_strided_where_updates_are_carried(case in cases(carrying_chains()), how in hows()) {
        let leaves = case.arrays();
        let dense = run::<Data>(&case.chain, &leaves, &how);
        dense.same_as(&run::<Scattered>(&case.chain, &leaves, &how))?;
    }

    /// Where a leaf has one dtype, since each program computes in the widest one that it reads.
    #[test]
    fn one_program_or_one_for_each_op(mut case in cases(chains())) {
        for shape in &mut case.shapes {
            shape.dtypes = [shape.dtypes[0]; 3];
        }
        // Without an op, an update of a subnormal number leaves as zero, but not from a chain of no programs.
        prop_assume!(!case.chain.is_empty());
        // Each op reports on the update that reaches it: compare all but the report.
        let made = Made { finite: true, ..run::<Data>(&case.chain, &case.arrays(), &plain()) };
        made.same_as(&op_by_op(&case))?;
    }

    #[test]
    fn the_norm_alone_and_in_a_chain(
        shapes in vec(shapes(common::lengths(), common::values()), 0..5),
        clip in op("clip_by_global_norm"),
    ) {
        let case = Case { chain: vec![clip], shapes };
        let mut leaves = case.arrays();
        for arrays in &mut leaves {
            arrays.skip = 0;
        }
        let norm = run::<Data>(&case.chain, &leaves, &plain()).norms;
        let sources = leaves.iter().map(|arrays| arrays.updates.source()).collect();
        let alone = vec![global_norm(sources, &plain().config)];
        prop_assert_eq!(Data::F64(norm).difference(&Data::F64(alone)), None);
    }
}

/// Enough elements that helpers are woken; the first leaf has several chunks.
fn large_cases(chain: impl Strategy<Value = Vec<Link>>) -> impl Strategy<Value = Case> {
    let values = || prop_oneof![3 => Just(Values::Finite), 1 => Just(Values::Any)];
    let of = move |len| shapes(Just(len), values());
    let shapes = (of(420_001), of(65), of(0), of(40_000));
    (chain, shapes).prop_map(|(chain, shapes)| {
        let shapes = vec![shapes.0, shapes.1, shapes.2, shapes.3];
        Case { chain, shapes }
    })
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn threads(
        case in prop_oneof![large_cases(chains()), large_cases(carrying_chains())],
        how in hows(),
    ) {
        let leaves = case.arrays();
        let made = run::<Data>(&case.chain, &leaves, &how);
        for threads in [2, 3, 7] {
            made.same_as(&run::<Data>(&case.chain, &leaves, &with_threads(&how, threads)))?;
        }
        made.same_as(&run::<Scattered>(&case.chain, &leaves, &with_threads(&how, 2)))?;
    }
}

/// The frequent chain by hand, each rounding in its place: what a fused loop must not merge.
#[test]
fn no_fused_multiply_add() {
    let chain = [
        Link { name: "add_decayed_weights", scalars: vec![0.1] },
        Link { name: "trace", scalars: vec![0.9] },
        Link { name: "scale", scalars: vec![-0.3] },
    ];
    let shape = common::Shape {
        len: 1025,
        dtypes: [DType::F32; 3],
        skip: 0,
        values: Values::Moderate,
        seed: 3,
    };
    let case = Case { chain: chain.to_vec(), shapes: vec![shape] };
    let leaves = case.arrays();
    let made = run::<Data>(&case.chain, &leaves, &How { adds: true, ..plain() });
    let Arrays { updates: Data::F32(updates), params: Data::F32(params), slots, .. } = &leaves[0]
    else {
        unreachable!("the shape is of f32")
    };
    let [Some(Data::F32(traces))] = &slots[..] else { unreachable!("trace has one slot") };
    let expected = updates.iter().zip(params).zip(traces).map(|((&update, &param), &trace)| {
        let decay = 0.1 * param;
        let decayed = update + decay;
        let kept = 0.9 * trace;
        let trace = decayed + kept;
        let scaled = trace * -0.3;
        param + scaled
    });
    assert_eq!(made.results[0].difference(&Data::F32(expected.collect())), None);
}
