//! A step in memory that is kept allocates nothing, whatever the chain and the leaves.
#![allow(unsafe_code, reason = "strided views are made from raw pointers")]

mod common;

use std::alloc::System;
use std::any::Any;
use std::ops::Range;

use common::{Link, carrying_chains, chains, link};
use gradmill_core::data::{
    Dense, Layout, Params, ROOM, Sink, Slot, Source, Strided, StridedMut, UnitSlots, View, ViewMut,
};
use gradmill_core::ops::OPS;
use gradmill_core::sys::par::{self, PARALLEL_FROM};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{
    Carrier, Config, DType, Error, Float, Leaf, Program, Row, Step, Workspace, run_rows,
};
use half::{bf16, f16};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations while `work` runs, in all threads.
fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

enum Elements {
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// An array, whose elements lie apart where it has a layout.
struct Array {
    elements: Elements,
    layout: Option<Layout>,
}

/// What `$body` makes of the elements, as the variant of `$to` of the same type.
macro_rules! wrapped {
    ($elements:expr, $to:ident, $inner:ident => $body:expr) => {
        match $elements {
            Elements::F16($inner) => $to::F16($body),
            Elements::BF16($inner) => $to::BF16($body),
            Elements::F32($inner) => $to::F32($body),
            Elements::F64($inner) => $to::F64($body),
        }
    };
}

impl Array {
    fn new(dtype: DType, shape: &[usize], lies: Lies) -> Self {
        let len: usize = shape.iter().product();
        let room = if lies == Lies::Dense { len } else { 2 * len };
        let values = (0..room).map(|at| 0.25 + (at % 7) as f32);
        let elements = match dtype {
            DType::F16 => Elements::F16(values.map(f16::from_f32).collect()),
            DType::BF16 => Elements::BF16(values.map(bf16::from_f32).collect()),
            DType::F32 => Elements::F32(values.collect()),
            DType::F64 => Elements::F64(values.map(f64::from).collect()),
            DType::Codes => unreachable!("codes are no array alone"),
        };
        let strides = |order: Vec<usize>| {
            let mut axes: Vec<(usize, isize)> = shape.iter().map(|&length| (length, 0)).collect();
            let mut step = 2;
            for axis in order {
                axes[axis].1 = step;
                step *= axes[axis].0.cast_signed();
            }
            Layout::new(axes)
        };
        let layout = match lies {
            Lies::Dense => None,
            Lies::Apart => Some(strides((0..shape.len()).rev().collect())),
            Lies::Turned => Some(strides((0..shape.len()).collect())),
        };
        Self { elements, layout }
    }

    fn source(&self) -> Source<'_> {
        fn view<'v, T: gradmill_core::Element>(
            elements: &'v [T],
            layout: Option<&'v Layout>,
        ) -> View<'v, T> {
            match layout {
                // SAFETY: `new` has made every other element one of the layout.
                Some(layout) => View::Strided(unsafe { Strided::new(elements.as_ptr(), layout) }),
                None => View::Dense(elements),
            }
        }
        wrapped!(&self.elements, Source, elements => view(elements, self.layout.as_ref()))
    }

    /// The elements as a slice, where they are dense and of this type.
    fn slice_mut<T: Float>(&mut self) -> Option<&mut [T]> {
        let elements: &mut dyn Any = match &mut self.elements {
            Elements::F16(elements) => elements,
            Elements::BF16(elements) => elements,
            Elements::F32(elements) => elements,
            Elements::F64(elements) => elements,
        };
        let dense = elements.downcast_mut::<Vec<T>>().filter(|_| self.layout.is_none());
        dense.map(|elements| &mut elements[..])
    }

    fn sink(&mut self) -> Sink<'_> {
        fn view<'v, T: gradmill_core::Element>(
            elements: &'v mut [T],
            layout: Option<&'v Layout>,
        ) -> ViewMut<'v, T> {
            match layout {
                Some(layout) => {
                    let first = elements.as_mut_ptr();
                    // SAFETY: as in `source`, no two are the same, and the borrow is an exclusive one.
                    ViewMut::Strided(unsafe { StridedMut::new(first, layout) })
                }
                None => ViewMut::Dense(elements),
            }
        }
        wrapped!(&mut self.elements, Sink, elements => view(elements, self.layout.as_ref()))
    }
}

/// Where the elements of an array are in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    /// Next to each other.
    Dense,
    /// Each behind a gap.
    Apart,
    /// Elements that lie apart, with the axes in reverse order.
    Turned,
}

/// How the arrays of a leaf are made.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// Those of updates, parameters and slots.
    dtypes: [DType; 3],
    lie: [Lies; 3],
    has_copy: bool,
}

const DENSE: Kind = Kind { dtypes: [DType::F32; 3], lie: [Lies::Dense; 3], has_copy: false };
const KINDS: &[Kind] = &[
    DENSE,
    Kind { dtypes: [DType::F64; 3], ..DENSE },
    Kind { dtypes: [DType::BF16; 3], ..DENSE },
    Kind { dtypes: [DType::F16, DType::F16, DType::F32], ..DENSE },
    Kind { dtypes: [DType::F64, DType::F32, DType::BF16], ..DENSE },
    Kind { dtypes: [DType::BF16, DType::F64, DType::F32], ..DENSE },
    Kind { dtypes: [DType::F16, DType::F32, DType::F32], has_copy: true, ..DENSE },
    Kind { lie: [Lies::Apart; 3], ..DENSE },
    Kind { lie: [Lies::Turned, Lies::Dense, Lies::Dense], ..DENSE },
    Kind { lie: [Lies::Dense, Lies::Turned, Lies::Apart], ..DENSE },
    Kind {
        dtypes: [DType::F64, DType::BF16, DType::F16],
        lie: [Lies::Apart, Lies::Turned, Lies::Dense],
        has_copy: true,
    },
];

/// A leaf that is written in place, step after step.
struct Kept {
    updates: Array,
    param: Array,
    copy: Option<Array>,
    slots: Vec<Option<Array>>,
    unit_slots: Vec<Option<Array>>,
    skip: u64,
    shape: Vec<usize>,
    is_active: bool,
    carrier: Option<Carrier>,
}

impl Kept {
    fn new(program: &Program, kind: Kind, shape: &[usize], skip: u64) -> Self {
        let array = |of: usize| Array::new(kind.dtypes[of], shape, kind.lie[of]);
        let slot = |number| (!program.skips_slot(skip, number)).then(|| array(2));
        let of_units = |number| {
            let len = program.slot_len(number, shape.iter().product(), shape);
            let array = || Array::new(kind.dtypes[2], &[len], kind.lie[2]);
            (!program.skips_slot(skip, number)).then(array)
        };
        let units = program.slots()..program.slots() + program.unit_slots();
        Self {
            updates: array(0),
            param: array(1),
            copy: kind.has_copy.then(|| array(0)),
            slots: (0..program.slots()).map(slot).collect(),
            unit_slots: units.map(of_units).collect(),
            skip,
            shape: shape.to_vec(),
            is_active: true,
            carrier: None,
        }
    }
}

fn in_place(array: &mut Option<Array>) -> Option<Slot<'_>> {
    array.as_mut().map(|array| Slot { from: None, to: array.sink() })
}

impl Row for Kept {
    fn is_active(&self) -> bool {
        self.is_active
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn skip(&self) -> u64 {
        self.skip
    }

    fn dtype(&self, program: &Program) -> DType {
        let reads = program.reads_params_of(self.skip).then_some(&self.param);
        let arrays = self.slots.iter().chain(&self.unit_slots).flatten().chain(reads);
        let own = arrays.map(|array| array.source().dtype()).max();
        own.max(Some(self.updates.source().dtype())).unwrap_or(DType::F32).max(DType::F32)
    }

    fn updates<T: Float>(&self) -> Option<&[T]> {
        match T::select(&self.updates.source())? {
            View::Dense(slice) => Some(*slice),
            View::Strided(_) => None,
        }
    }

    fn dense<'r, T: Float>(
        &'r mut self,
        slots: Range<usize>,
        dense: &mut Dense<'r, T, T, T>,
    ) -> bool {
        let updates = self.updates.slice_mut::<T>().map(|slice| &*slice);
        let (Some(updates), Some(params)) = (updates, self.param.slice_mut()) else {
            return false;
        };
        (dense.updates, dense.params) = (updates, params);
        let own = self.slots.iter_mut().flatten().skip(slots.start).take(slots.len());
        self.copy.is_none()
            && own.map(Array::slice_mut).all(|slot| {
                let is_dense = slot.is_some();
                dense.slots.extend(slot);
                is_dense
            })
    }

    fn leaf(&mut self, _: &Program) -> Leaf<'_> {
        let params = Params::Write(Slot { from: None, to: self.param.sink() });
        let out = self.carrier.as_mut().map(Carrier::sink);
        let leaf = Leaf::new(
            self.updates.source(),
            params,
            out,
            self.slots.iter_mut().map(in_place).collect(),
        );
        let unit_slots = self.unit_slots.iter_mut().map(in_place).collect();
        let copy = self.copy.as_mut().map(Array::sink);
        Leaf { skip: self.skip, shape: &self.shape, copy, unit_slots, ..leaf }
    }

    fn make_room(&mut self, program: &Program) -> Result<bool, Error> {
        if self.carrier.is_none() {
            self.carrier = Some(Carrier::new(self.dtype(program), self.len())?);
        }
        Ok(true)
    }
}

/// Lengths around the edges of what kernels, blocks and chunks take at once, and axes of all kinds.
const SHAPES: &[&[usize]] =
    &[&[], &[0], &[1], &[65], &[4, 257], &[3, 3, 2, 8], &[2, 2, 2, 2, 2], &[3, 1500]];
const LONG: &[usize] = &[2, 70_001];
/// One that is cut into boxes along each of its axes.
const AXES: &[usize] = &[11, 13, 3, 7, 5, 17];

const CONFIG: Config = Config { threads: 1, tier: Tier::Scalar, fuse: true };

fn config(threads: usize) -> Config {
    Config { threads, tier: Tier::best(), ..CONFIG }
}

/// Fails where one of a few steps behind the first ones allocates.
fn check(name: &str, program: &Program, scalars: &[f64], rows: &mut [Kept], step: Step<'_>) {
    let mut workspace = Workspace::default();
    let config = config(1);
    let step = Step { scalars, ..step };
    let mut run = || run_rows(program, rows, step, &config, &mut workspace).unwrap();
    run();
    run();
    let count = allocations(|| {
        run();
        run();
    });
    assert_eq!(count, 0, "{name}");
}

/// One after the other, as one step where several kinds of leaves are.
fn check_kinds(chain: &[Link], shapes: &[&[usize]]) {
    let (program, scalars) = common::program(chain);
    let names: Vec<&str> = chain.iter().map(|link| link.name).collect();
    let fits = |skip: u64, shape: &[usize]| program.check_units(skip, shape).is_ok();
    let rounding = Step { rounding: Some([3, 5]), ..Step::default() };
    for (kind, skip) in KINDS.iter().zip((0..64).cycle()) {
        for step in [Step::default(), rounding] {
            let mut rows: Vec<Kept> = shapes
                .iter()
                .flat_map(|shape| [0, skip].map(|skip| (*shape, skip)))
                .filter(|(shape, skip)| fits(*skip, shape))
                .map(|(shape, skip)| Kept::new(&program, *kind, shape, skip))
                .collect();
            if let Some(row) = rows.last_mut() {
                row.is_active = false;
            }
            check(&format!("{names:?} {kind:?}"), &program, &scalars, &mut rows, step);
        }
    }
    let off = Step { off: 0x5555, ..Step::default() };
    let fitting = shapes.iter().filter(|shape| fits(0, shape));
    let mut rows: Vec<Kept> = fitting.map(|shape| Kept::new(&program, DENSE, shape, 0)).collect();
    check(&format!("{names:?} off"), &program, &scalars, &mut rows, off);
}

fn sample<T>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

/// Allocations of a step on so many threads over so many leaves, and several chunks of a long one. Which thread
/// takes which task is not determined, so this is the least of many.
fn on_threads(chain: &[Link], threads: usize, leaves: usize) -> usize {
    let (program, scalars) = common::program(chain);
    let mut rows = vec![Kept::new(&program, DENSE, &[2, PARALLEL_FROM], 0)];
    rows.extend((0..leaves).map(|_| Kept::new(&program, DENSE, &[3, 1500], 0)));
    rows.extend((0..leaves).map(|_| Kept::new(&program, KINDS[2], &[3, 1500], 0)));
    let mut workspace = Workspace::default();
    let step = Step { scalars: &scalars, ..Step::default() };
    let mut run = || run_rows(&program, &mut rows, step, &config(threads), &mut workspace).unwrap();
    (0..60).map(|_| allocations(&mut run)).min().unwrap()
}

/// The name of an op and its scalars.
type Scaled<'s> = (&'static str, &'s [f64]);

fn named(chain: &[Scaled<'_>]) -> Vec<Link> {
    chain.iter().map(|&(name, scalars)| Link { name, scalars: scalars.to_vec() }).collect()
}

/// One test, since allocations of all threads count.
#[test]
fn steps_allocate_nothing() {
    let mut runner = TestRunner::deterministic();
    for op in 0..OPS.len() {
        check_kinds(&[sample(&mut runner, &link(op))], SHAPES);
    }
    let fits = |chain: &Vec<Link>| {
        let (program, _) = common::program(chain);
        program.slots() <= ROOM && program.unit_slots() <= UnitSlots::new().inline_size()
    };
    let (chains, carrying) = (chains().prop_filter("slots", fits), carrying_chains());
    let carrying = carrying.prop_filter("slots", fits);
    for _ in 0..10 {
        check_kinds(&sample(&mut runner, &chains), SHAPES);
        check_kinds(&sample(&mut runner, &carrying), SHAPES);
    }
    check_kinds(&sample(&mut runner, &carrying), &[LONG, &[65]]);
    let adam: Scaled<'_> = ("scale_by_adam", &[0.9, 0.999, 1e-8, 0.0, 0.0, 1.0, 9.0]);
    let clip: Scaled<'_> = ("clip_by_global_norm", &[1.0]);
    let scale: Scaled<'_> = ("scale", &[-0.1]);
    check_kinds(&named(&[adam, scale]), &[LONG, AXES]);
    // The pool takes a job for each helper and walk: a job is a box, and nothing else is allocated.
    par::always_ask(true);
    for (chain, walks) in [
        (named(&[adam, scale]), 1),
        (named(&[clip, adam, scale]), 2),
        (named(&[adam, clip, ("trace", &[0.9]), scale]), 2),
        (named(&[("clip_by_block_rms", &[0.5]), adam]), 2),
    ] {
        for (threads, leaves) in [(2, 1), (2, 40), (4, 1), (4, 40)] {
            let found = on_threads(&chain, threads, leaves);
            assert_eq!(found, (threads - 1) * walks, "{chain:?} {threads} {leaves}");
        }
    }
}
