//! Kernels alone, in cache and on one thread: `cargo bench -p gradmill-core`.
//!
//! `hand_fused` is the loop that a person would write for exactly this chain; `fused` and `op_by_op` are
//! what a program runs. Criterion measures one after the other, so the last lines print ratios that were
//! measured in turn.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::print_stdout, reason = "the ratios are the result")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use gradmill_core::data::{Params, Sink, Slot, Source, View, ViewMut};
use gradmill_core::sys::simd::Tier;
use gradmill_core::{Config, Leaf, Program, Step, run};
use pulp::NullaryFnOnce;

const LEN: usize = 100_000;

struct Chain {
    name: &'static str,
    ops: &'static [&'static str],
    scalars: &'static [f64],
    hand: fn(&mut Data, Tier),
}

/// Decays, epsilon, and the corrections of the first step.
const ADAM: [f64; 5] = [0.9, 0.999, 1e-8, 0.1, 0.001];

const CHAINS: [Chain; 4] = [
    Chain {
        name: "adamw",
        ops: &["scale_by_adam", "add_decayed_weights", "scale"],
        scalars: &[0.9, 0.999, 1e-8, 0.0, 0.0, 1.0, 0.0, 1e-4, -1e-3],
        hand: |data, tier| tier.run(AdamW(data)),
    },
    Chain {
        name: "rmsprop",
        ops: &["scale_by_rms", "scale"],
        scalars: &[0.9, 1e-8, 0.0, 0.0, 0.0, -1e-3],
        hand: |data, tier| tier.run(RmsProp(data)),
    },
    Chain {
        name: "sgd_momentum",
        ops: &["trace", "scale"],
        scalars: &[0.9, -1e-3],
        hand: |data, tier| tier.run(Momentum(data)),
    },
    Chain {
        name: "sgd",
        ops: &["scale"],
        scalars: &[-1e-3],
        hand: |data, tier| tier.run(Sgd(data)),
    },
];

#[derive(Clone)]
struct Data {
    updates: Vec<f32>,
    params: Vec<f32>,
    mu: Vec<f32>,
    nu: Vec<f32>,
}

impl Data {
    fn new() -> Self {
        let noise = |seed: u32| {
            (0..LEN as u32).map(move |i| {
                let bits = (i ^ seed).wrapping_mul(2_654_435_761) >> 8;
                bits as f32 / f32::from(u16::MAX) / 256.0 - 0.5
            })
        };
        Self {
            updates: noise(1).collect(),
            params: noise(2).collect(),
            mu: noise(3).collect(),
            nu: noise(4).map(|x| x * x).collect(),
        }
    }
}

struct AdamW<'d>(&'d mut Data);

impl NullaryFnOnce for AdamW<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Data { updates, params, mu, nu } = self.0;
        let [b1, b2, eps, c1, c2] = ADAM;
        let (r1, r2) = ((1.0 - b1) as f32, (1.0 - b2) as f32);
        let (f1, f2) = ((1.0 / c1) as f32, (1.0 / c2) as f32);
        let (b1, b2, eps) = (b1 as f32, b2 as f32, eps as f32);
        let arrays = params.iter_mut().zip(mu).zip(nu);
        for (&g, ((p, m), v)) in updates.iter().zip(arrays) {
            *m = b1 * *m + r1 * g;
            *v = b2 * *v + r2 * (g * g);
            let u = (*m * f1) / ((*v * f2).sqrt() + eps);
            *p += (u + 1e-4 * *p) * -1e-3;
        }
    }
}

struct RmsProp<'d>(&'d mut Data);

impl NullaryFnOnce for RmsProp<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Data { updates, params, nu, .. } = self.0;
        let rest = (1.0f64 - 0.9) as f32;
        for (&g, (p, v)) in updates.iter().zip(params.iter_mut().zip(nu)) {
            *v = 0.9 * *v + rest * (g * g);
            *p += g / (v.sqrt() + 1e-8) * -1e-3;
        }
    }
}

struct Momentum<'d>(&'d mut Data);

impl NullaryFnOnce for Momentum<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Data { updates, params, mu, .. } = self.0;
        for (&g, (p, m)) in updates.iter().zip(params.iter_mut().zip(mu)) {
            *m = g + 0.9 * *m;
            *p += *m * -1e-3;
        }
    }
}

struct Sgd<'d>(&'d mut Data);

impl NullaryFnOnce for Sgd<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (&g, p) in self.0.updates.iter().zip(&mut self.0.params) {
            *p += g * -1e-3;
        }
    }
}

fn step(program: &Program, chain: &Chain, data: &mut Data, tier: Tier, fuse: bool) {
    let in_place = |array| Slot { from: None, to: Sink::F32(ViewMut::Dense(array)) };
    let slots = [&mut data.mu[..], &mut data.nu[..]].into_iter().take(program.slots());
    let updates = Source::F32(View::Dense(&data.updates));
    let params = Params::Write(in_place(&mut data.params));
    let leaf = Leaf::new(updates, params, None, slots.map(|slot| Some(in_place(slot))).collect());
    let step = Step { scalars: chain.scalars, ..Step::default() };
    let config = Config { threads: 1, tier, fuse };
    black_box(run(program, &mut [leaf], step, &config)).expect("the chain is valid");
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for chain in &CHAINS {
        let program = Program::new(chain.ops.iter().copied()).expect("the ops exist");
        let mut group = criterion.benchmark_group(chain.name);
        group.throughput(Throughput::Elements(LEN as u64));
        for tier in Tier::ALL.into_iter().filter(|tier| tier.available()) {
            let data = Data::new();
            let mut copy = data.clone();
            group.bench_function(format!("hand_fused/{}", tier.name()), |bencher| {
                bencher.iter(|| (chain.hand)(&mut copy, tier));
            });
            for (name, fuse) in [("fused", true), ("op_by_op", false)] {
                let mut copy = data.clone();
                group.bench_function(format!("{name}/{}", tier.name()), |bencher| {
                    bencher.iter(|| step(&program, chain, &mut copy, tier, fuse));
                });
            }
        }
        group.finish();
    }
    println!("{LEN} float32 elements, one thread, {}: time over hand_fused", Tier::best().name());
    for chain in &CHAINS {
        let program = Program::new(chain.ops.iter().copied()).expect("the ops exist");
        let mut data = Data::new();
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..401 {
            for (which, times) in times.iter_mut().enumerate() {
                let start = Instant::now();
                match which {
                    0 => (chain.hand)(&mut data, Tier::best()),
                    _ => step(&program, chain, &mut data, Tier::best(), which == 1),
                }
                times.push(start.elapsed());
            }
        }
        let [hand, fused, op_by_op] = times.map(median);
        let (fused_ratio, blocks_ratio) = (fused / hand, op_by_op / hand);
        let per = hand * 1e9 / LEN as f64;
        println!(
            "{:14} fused {fused_ratio:.2}  op by op {blocks_ratio:.2}  (hand_fused {per:.3} ns an element)",
            chain.name
        );
    }
}
