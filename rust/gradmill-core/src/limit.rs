//! The least time that memory allows: the streams of an optimiser step with next to no arithmetic.

use pulp::NullaryFnOnce;

use crate::error::Error;
use crate::exec::{Config, global_norm};
use crate::leaf::{Sink, Source};
use crate::par;
use crate::walk::CHUNK;

struct Touch<'k> {
    updates: &'k [f32],
    arrays: [&'k mut [f32]; 3],
}

impl NullaryFnOnce for Touch<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let [first, second, third] = self.arrays;
        let moments = first.iter_mut().zip(second).zip(third);
        for (&update, ((first, second), third)) in self.updates.iter().zip(moments) {
            *first += update;
            *second += update;
            *third += update;
        }
    }
}

/// Reads `updates` and each of `arrays`, and writes each of `arrays`: the four reads and three writes of
/// AdamW in single precision. With `norm`, reads `updates` once more beforehand, as a global norm does.
///
/// Uses the chunks and threads of a step, so that both meet the same memory.
///
/// # Errors
/// [`Error::NotStreams`] where an array is strided, of another length or not of single precision.
pub fn touch(
    updates: &Source<'_>,
    mut arrays: [Sink<'_>; 3],
    norm: bool,
    config: &Config,
) -> Result<(), Error> {
    let elements = updates.dense::<f32>().ok_or(Error::NotStreams)?;
    let [first, second, third] = arrays.each_mut().map(Sink::dense::<f32>);
    let arrays =
        [first, second, third].map(|array| array.filter(|array| array.len() == elements.len()));
    let [Some(first), Some(second), Some(third)] = arrays else {
        return Err(Error::NotStreams);
    };
    if norm {
        std::hint::black_box(global_norm(vec![updates.clone()], config));
    }
    let threads = par::threads_for(config.threads, elements.len());
    let [first, second, third] = [first, second, third].map(|array| array.chunks_mut(CHUNK));
    let chunks = elements.chunks(CHUNK).zip(first).zip(second).zip(third);
    par::for_each(threads, chunks, |(((updates, first), second), third)| {
        config.tier.run(Touch { updates, arrays: [first, second, third] });
    });
    Ok(())
}
