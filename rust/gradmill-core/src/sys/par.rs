//! One thread pool a process, built on first use and never at import.
//!
//! A forked child must not touch its parent's pool, whose threads do not exist there: the pool is keyed
//! by process id, and a stale one is leaked, since joining it would wait for ever.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::mode::in_default_mode;

/// Below this many elements, waking a thread costs more than it saves. Fuzzed inputs are smaller.
pub const PARALLEL_FROM: usize = if cfg!(fuzzing) { 1 << 6 } else { 1 << 18 };

/// Each thread has at least so many elements to work on.
const SHARE: usize = PARALLEL_FROM >> 3;

/// No step takes more threads, however many are asked for: memory is saturated long before, and starting
/// them can bring a machine down.
pub const MOST: usize = 1024;

struct ProcessPool {
    pid: u32,
    /// How many threads were asked for. The system may have refused to start some or all of them.
    asked: usize,
    pool: Option<ThreadPool>,
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            std::mem::forget(self.pool.take());
        }
    }
}

static POOL: ArcSwapOption<ProcessPool> = ArcSwapOption::const_empty();
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Where the thread count comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadsFrom {
    /// [`set_threads`].
    Set,
    /// An environment variable.
    Env(&'static str),
    /// The smaller of the affinity mask and the cgroup quota.
    Machine,
}

/// Sets the number of threads for this process; 0 returns to the environment's or the machine's.
pub fn set_threads(count: usize) {
    CHOSEN.store(count.min(MOST), Ordering::Relaxed);
}

/// The number of threads in force and its origin.
#[must_use]
pub fn threads() -> (usize, ThreadsFrom) {
    let chosen = CHOSEN.load(Ordering::Relaxed);
    if chosen > 0 {
        return (chosen, ThreadsFrom::Set);
    }
    default_threads()
}

/// Variables that say how many threads to take, the first that is set before the others.
const VARIABLES: [&str; 2] = ["GRADMILL_NUM_THREADS", "RAYON_NUM_THREADS"];

/// Looked up once a process, and without a lock: another thread that is in here must not stop the child of
/// a fork, whose own affinity counts.
fn default_threads() -> (usize, ThreadsFrom) {
    /// The process id, the origin and the count, in 32, 16 and 16 bits; 0 at first, which is nobody's.
    static FOUND: AtomicU64 = AtomicU64::new(0);
    let pid = u64::from(std::process::id());
    let before = FOUND.load(Ordering::Relaxed);
    let (origin, count) = if before >> 32 == pid {
        ((before >> 16 & 0xffff) as usize, (before & 0xffff) as usize)
    } else {
        let found = look_up();
        FOUND.store(pid << 32 | (found.0 as u64) << 16 | found.1 as u64, Ordering::Relaxed);
        found
    };
    (count, VARIABLES.get(origin).map_or(ThreadsFrom::Machine, |name| ThreadsFrom::Env(name)))
}

/// The place of the origin among the variables, the machine's behind them, and the count.
fn look_up() -> (usize, usize) {
    let count_in = |name| std::env::var(name).ok()?.trim().parse().ok().filter(|&count| count > 0);
    let machine = || std::thread::available_parallelism().map_or(1, usize::from);
    let set = VARIABLES.iter().enumerate().find_map(|(at, name)| Some((at, count_in(name)?)));
    let (origin, count) = set.unwrap_or_else(|| (VARIABLES.len(), machine()));
    (origin, count.min(MOST))
}

/// How many threads work on so many elements: one on few, else as many as `asked`, or as are in force
/// where that is 0, as long as there is work for them.
#[must_use]
pub fn threads_for(asked: usize, elements: usize) -> usize {
    if elements < PARALLEL_FROM {
        return 1;
    }
    let most = if asked == 0 { threads().0 } else { asked.min(MOST) };
    most.min(elements / SHARE)
}

/// The pool for so many helpers, with fewer threads where the system refuses to start as many.
fn pool(helpers: usize) -> Arc<ProcessPool> {
    let pid = std::process::id();
    if let Some(entry) = POOL.load_full()
        && entry.pid == pid
        && entry.asked >= helpers
    {
        return entry;
    }
    let fewer_and_fewer = std::iter::successors(Some(helpers), |&count| Some(count / 2));
    let pool = fewer_and_fewer.take_while(|&count| count > 0).find_map(|count| {
        ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("gradmill-{index}"))
            .build()
            .ok()
    });
    let entry = Arc::new(ProcessPool { pid, asked: helpers, pool });
    POOL.store(Some(Arc::clone(&entry)));
    entry
}

/// Whether helpers are worth asking. Where threads of another library spin on the other processors, as those of OpenMP do
/// for a while after their work, the system lets a helper run only when the caller has done everything by itself; and the
/// caller would wait a time slice for it, many times as long as its work took.
struct Patience {
    /// How many calls are still to be made alone.
    alone: AtomicUsize,
    /// How often in a row helpers have come too late.
    late: AtomicUsize,
    /// Whether helpers are asked however late they come.
    is_endless: AtomicBool,
}

impl Patience {
    /// Most doublings of the number of calls that are made alone.
    const DOUBLINGS: usize = 6;

    const fn new() -> Self {
        Self {
            alone: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            is_endless: AtomicBool::new(false),
        }
    }

    /// Whether to ask helpers in the call at hand.
    fn asks(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.is_endless.load(Ordering::Relaxed)
            || self.alone.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err()
    }

    /// Takes note of whether helpers that were asked came too late.
    fn note(&self, were_late: bool) {
        if were_late {
            let times = (self.late.load(Ordering::Relaxed) + 1).min(Self::DOUBLINGS);
            self.late.store(times, Ordering::Relaxed);
            self.alone.store(1 << times, Ordering::Relaxed);
        } else {
            self.late.store(0, Ordering::Relaxed);
        }
    }
}

static PATIENCE: Patience = Patience::new();

/// Asks helpers in each call from now on, or only where they come in time: for tests, which count them.
pub fn always_ask(always: bool) {
    PATIENCE.is_endless.store(always, Ordering::Relaxed);
}

/// Calls `work` on each of `tasks`, on the calling thread and up to `threads - 1` helpers.
///
/// Tasks are handed out one by one, in order; which thread runs which is not determined. All run in the default
/// floating-point mode.
pub fn for_each<I>(threads: usize, tasks: I, work: impl Fn(I::Item) + Sync)
where
    I: Iterator + Send,
{
    let entry = (threads > 1 && PATIENCE.asks()).then(|| pool(threads - 1));
    let Some(pool) = entry.as_ref().and_then(|entry| entry.pool.as_ref()) else {
        in_default_mode(|| tasks.for_each(work));
        return;
    };
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let helped = AtomicBool::new(false);
    let start = Instant::now();
    let own = pool.in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| {
                in_default_mode(|| {
                    while let Some(task) = next() {
                        helped.store(true, Ordering::Relaxed);
                        work(task);
                    }
                });
            });
        }
        in_default_mode(|| {
            while let Some(task) = next() {
                work(task);
            }
        });
        start.elapsed()
    });
    PATIENCE.note(!helped.into_inner() && start.elapsed() > 2 * own);
}

#[cfg(test)]
mod tests {
    use super::Patience;

    fn calls_alone(patience: &Patience) -> usize {
        (0..1000).take_while(|_| !patience.asks()).count()
    }

    #[test]
    fn helpers_that_come_too_late_are_asked_less_and_less() {
        let patience = Patience::new();
        assert_eq!(calls_alone(&patience), 0);
        let alone: Vec<_> = (0..8)
            .map(|_| {
                patience.note(true);
                calls_alone(&patience)
            })
            .collect();
        assert_eq!(alone, [2, 4, 8, 16, 32, 64, 64, 64]);
        patience.note(false);
        assert_eq!(calls_alone(&patience), 0);
        patience.note(true);
        assert_eq!(calls_alone(&patience), 2);
    }
}
