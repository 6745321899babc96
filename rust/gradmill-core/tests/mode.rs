//! No bit depends on the floating-point mode of the thread that calls, nor on that of the pool's, and the mode
//! is left as it was.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(unsafe_code, reason = "the register that holds the mode is written")]

mod common;

use common::{Arrays, Data, How, Memory, Values, plain, run};
use gradmill_core::data::{Params, Sink, Slots, Source, View, ViewMut};
use gradmill_core::number::scalars::bias_correction;
use gradmill_core::ops::OPS;
use gradmill_core::run::per_example::{Examples, Scope, clip_sum};
use gradmill_core::sys::par;
use gradmill_core::{Config, DType, Leaf, Program, Step, count_not_finite, gathered, global_norm};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

#[cfg(target_arch = "x86_64")]
mod register {
    use std::arch::asm;

    /// Flush to zero and subnormals are zero, each alone; both with rounding up; rounding down; towards zero;
    /// inexact results flagged; inexact results a signal that ends the process; the default.
    pub const MODES: [u64; 8] = [0x9f80, 0x1fc0, 0xdfc0, 0x3f80, 0x7f80, 0x1fa0, 0x0f80, 0x1f80];

    /// What arithmetic sets, that of the tests themselves as well.
    pub const FLAGS: u64 = 0x3f;

    pub fn read() -> u64 {
        let mut register = 0u32;
        // SAFETY: stores 32 bits in a local variable.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack)) };
        register.into()
    }

    pub fn write(register: u64) {
        let register = register as u32;
        // SAFETY: a mode that only changes what arithmetic makes, of which there is none outside the core.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod register {
    use std::arch::asm;

    /// Flush to zero; with rounding up; rounding down; towards zero.
    pub const MODES: [u64; 5] = [1 << 24, 1 << 24 | 1 << 22, 2 << 22, 3 << 22, 0];

    /// They are in another register.
    pub const FLAGS: u64 = 0;

    pub fn read() -> u64 {
        let register: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) register, options(nostack)) };
        register
    }

    pub fn write(register: u64) {
        // SAFETY: a mode that only changes what arithmetic makes, of which there is none outside the core.
        unsafe { asm!("msr fpcr, {}", in(reg) register, options(nostack)) };
    }
}

/// What `work` makes in `mode`, which it has to leave in force.
fn in_mode<R>(mode: u64, work: impl FnOnce() -> R) -> R {
    let before = register::read();
    register::write(mode);
    let made = std::hint::black_box(std::hint::black_box(work)());
    let after = register::read();
    register::write(before);
    assert_eq!(after & !register::FLAGS, mode & !register::FLAGS, "the mode was not restored");
    made
}

fn leaves(program: &Program, dtype: DType, lengths: [usize; 2]) -> Vec<Arrays> {
    let leaf = |(seed, len): (usize, usize)| {
        let (values, seed) = (Values::Finite, seed as u64);
        common::Shape { len, dtypes: [dtype; 3], skip: 0, values, seed }.arrays(program)
    };
    lengths.into_iter().enumerate().map(leaf).collect()
}

/// Enough elements for a pool, and one leaf of several chunks.
const LARGE: [usize; 2] = [300_000, 65];

fn with_threads(threads: usize) -> How {
    How { config: Config { threads, ..plain().config }, adds: true, ..plain() }
}

#[test]
fn ops() {
    let mut runner = TestRunner::deterministic();
    for (index, meta) in OPS.iter().enumerate() {
        let chain = vec![common::link(index).new_tree(&mut runner).unwrap().current()];
        let program = common::program(&chain).0;
        for dtype in [DType::F32, DType::F64] {
            let check = |lengths, threads, modes: &[u64]| {
                let leaves = leaves(&program, dtype, lengths);
                let expected = run::<Data>(&chain, &leaves, &with_threads(1));
                for &mode in modes {
                    let how = with_threads(threads);
                    let made = in_mode(mode, || run::<Data>(&chain, &leaves, &how));
                    let same = expected.same_as(&made);
                    assert!(same.is_ok(), "{} in {mode:#x}, {threads}: {same:?}", meta.name);
                }
            };
            check([2000, 65], 1, &register::MODES);
            check(LARGE, 3, &register::MODES[2..4]);
        }
    }
}

#[test]
fn functions() {
    let program = Program::new(["clip_by_global_norm"]).unwrap();
    let leaves = leaves(&program, DType::F64, LARGE);
    let all = |threads| {
        let config = Config { threads, ..plain().config };
        let sources = || leaves.iter().map(|arrays| arrays.updates.source());
        let norm = global_norm(sources().collect(), &config);
        let tiny = global_norm(vec![Source::F64(View::Dense(&[3e-320, 4e-320]))], &config);
        let count = count_not_finite(&sources().collect::<Vec<_>>(), &config);
        let of = |source| Leaf::new(source, Params::None, None, Slots::new());
        let mut views: Vec<Leaf<'_>> = sources().map(of).collect();
        let step = Step { scalars: &[1.0], ..Step::default() };
        let known =
            gathered(&program, &mut views, program.ops().len() - 1, step, &[], &config).unwrap();
        let mut sum = vec![0.0; 150_000];
        let grads = leaves[0].updates.source();
        let examples = Examples { grads, sum: Sink::F64(ViewMut::Dense(&mut sum)) };
        let shrunk = clip_sum(vec![examples], 2, 0.3, Scope::Tree, &config).unwrap();
        let bits: Vec<u64> = sum.iter().chain([&norm, &tiny]).map(|x| x.to_bits()).collect();
        (bits, count, known, shrunk)
    };
    let expected = (all(1), bias_correction(0.999, 777.0).to_bits());
    for mode in register::MODES {
        for threads in [1, 3] {
            let made = in_mode(mode, || (all(threads), bias_correction(0.999, 777.0).to_bits()));
            assert!(made == expected, "{mode:#x}, {threads}");
        }
    }
}

/// Threads inherit the mode of the one that starts them.
#[test]
fn helpers_that_were_started_in_another_mode() {
    let seen = std::sync::Mutex::new(Vec::new());
    let look = || seen.lock().unwrap().push(register::read() & !register::FLAGS);
    // More than any other test asks for, so that threads are started here.
    in_mode(register::MODES[2], || {
        par::for_each(9, 0..64, |_| {
            look();
            std::thread::sleep(std::time::Duration::from_millis(1));
        });
    });
    let default = register::MODES[register::MODES.len() - 1];
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 64);
    assert!(seen.iter().all(|&mode| mode == default));
}

#[test]
fn exception_flags_stay_as_they_were() {
    let values = [1e-310, 1e300, 0.1];
    let norm = || global_norm(vec![Source::F64(View::Dense(&values))], &plain().config);
    for mode in register::MODES {
        let after = in_mode(mode, || {
            norm();
            register::read()
        });
        assert_eq!(after, mode);
    }
}

#[test]
fn a_panic_leaves_the_mode_as_it_was() {
    let panics = || gradmill_core::sys::mode::in_default_mode(|| panic!("planted"));
    in_mode(register::MODES[2], || assert!(std::panic::catch_unwind(panics).is_err()));
}
