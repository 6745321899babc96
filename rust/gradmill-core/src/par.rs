//! One thread pool a process, built on first use and never at import.
//!
//! A forked child must not touch its parent's pool, whose threads do not exist there: the pool is keyed
//! by process id, and a stale one is leaked, since joining it would wait for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rayon::{ThreadPool, ThreadPoolBuilder};

struct Entry {
    pid: u32,
    pool: Option<ThreadPool>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            std::mem::forget(self.pool.take());
        }
    }
}

static POOL: ArcSwapOption<Entry> = ArcSwapOption::const_empty();
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Where the thread count comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// [`set_threads`].
    Set,
    /// An environment variable.
    Env(&'static str),
    /// The smaller of the affinity mask and the cgroup quota.
    Machine,
}

/// Sets the number of threads for this process; 0 returns to the environment's or the machine's.
pub fn set_threads(count: usize) {
    CHOSEN.store(count, Ordering::Relaxed);
}

/// The number of threads in force and its origin.
#[must_use]
pub fn threads() -> (usize, Origin) {
    let chosen = CHOSEN.load(Ordering::Relaxed);
    if chosen > 0 {
        return (chosen, Origin::Set);
    }
    default_threads()
}

fn default_threads() -> (usize, Origin) {
    static DEFAULT: std::sync::OnceLock<(usize, Origin)> = std::sync::OnceLock::new();
    *DEFAULT.get_or_init(|| {
        for name in ["GRADMILL_NUM_THREADS", "RAYON_NUM_THREADS"] {
            let value = std::env::var(name).ok().and_then(|text| text.trim().parse().ok());
            if let Some(count) = value.filter(|&count: &usize| count > 0) {
                return (count, Origin::Env(name));
            }
        }
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        (count, Origin::Machine)
    })
}

/// A pool with at least `helpers` threads, or `None` where the system refuses to start them.
fn pool(helpers: usize) -> Option<Arc<Entry>> {
    let pid = std::process::id();
    if let Some(entry) = POOL.load_full() {
        let large_enough = |pool: &ThreadPool| pool.current_num_threads() >= helpers;
        if entry.pid == pid && entry.pool.as_ref().is_some_and(large_enough) {
            return Some(entry);
        }
    }
    let built = ThreadPoolBuilder::new()
        .num_threads(helpers)
        .thread_name(|index| format!("gradmill-{index}"))
        .build()
        .ok()?;
    let entry = Arc::new(Entry { pid, pool: Some(built) });
    POOL.store(Some(Arc::clone(&entry)));
    Some(entry)
}

/// Calls `work` on each of `tasks`, on the calling thread and up to `threads - 1` helpers.
///
/// Tasks are handed out one by one, in order; which thread runs which is not determined.
pub fn for_each<I>(threads: usize, tasks: I, work: impl Fn(I::Item) + Sync)
where
    I: Iterator + Send,
{
    let Some(entry) = (threads > 1).then(|| pool(threads - 1)).flatten() else {
        tasks.for_each(work);
        return;
    };
    let Some(pool) = entry.pool.as_ref() else {
        return;
    };
    let tasks = Mutex::new(tasks);
    let drain = || {
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
            match task {
                Some(task) => work(task),
                None => break,
            }
        }
    };
    pool.in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| drain());
        }
        drain();
    });
}
