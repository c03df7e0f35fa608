//! Sums over many regions, cut in the same way for any number of threads.
//!
//! The gradient of the weights sums over all voxels. The regions are dealt to a fixed number of
//! parts; each part has its own sums, and the parts are added in their order.

use std::ops::Range;

use rayon::prelude::*;

use crate::{kernel::source::Shared, memory::Buffer};

/// Tasks that there should be, so that many cores are busy.
const TASKS: usize = 64;

/// Sums of every part, every broadcast block and every vector block.
pub(super) struct Partial {
    sums: Buffer,
    /// The items of each part.
    parts: Vec<Range<usize>>,
    broadcasts: usize,
    vectors: usize,
    pair: usize,
}

impl Partial {
    /// Room for the sums of `items` items; a pair of blocks has `pair` sums.
    pub(super) fn new(items: usize, broadcasts: usize, vectors: usize, pair: usize) -> Self {
        let count = TASKS.div_ceil(broadcasts).min(items);
        let step = items.div_ceil(count);
        let parts: Vec<_> =
            (0..items).step_by(step).map(|start| start..(start + step).min(items)).collect();
        let sums = Buffer::new(parts.len() * broadcasts * vectors * pair);
        Self { sums, parts, broadcasts, vectors, pair }
    }

    /// Calls `work(items, broadcast block, sums of all vector blocks)` for each part and broadcast
    /// block, in parallel.
    pub(super) fn fill(&mut self, work: impl Fn(Range<usize>, usize, Shared) + Sync) {
        let (parts, broadcasts) = (&self.parts, self.broadcasts);
        self.sums.par_chunks_exact_mut(self.vectors * self.pair).enumerate().for_each(
            |(task, sums)| {
                sums.fill(0.0);
                work(parts[task / broadcasts].clone(), task % broadcasts, Shared::new(sums));
            },
        );
    }

    /// Calls `store(broadcast block, vector block, sums)` with the total of each pair of blocks,
    /// in parallel.
    pub(super) fn totals(&self, store: impl Fn(usize, usize, &[f32]) + Sync) {
        (0..self.broadcasts * self.vectors).into_par_iter().for_each(|pair| {
            let part = self.broadcasts * self.vectors * self.pair;
            let of_part = |index: usize| &self.sums[index * part + pair * self.pair..][..self.pair];
            let mut total = of_part(0).to_vec();
            for index in 1..self.parts.len() {
                total.iter_mut().zip(of_part(index)).for_each(|(total, more)| *total += more);
            }
            store(pair / self.vectors, pair % self.vectors, &total);
        });
    }
}
