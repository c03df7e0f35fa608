//! The memory of tensors and of scratch: one heap that is kept from step to step.
//!
//! A training step drops and makes the same tensors again and again. Fresh memory from the system
//! costs a page fault for every four kilobytes, which would be as much time as a light layer
//! takes. So the heap keeps what is dropped: after the first step, a step allocates nothing.
//!
//! ```text
//! slabs   [ used | free |  used  ] [    free    ] [used|free]     from the system, 2 MiB aligned
//! take    the smallest hole that is large enough; without one, a new slab
//! give    a hole, joined with the holes beside it
//! ```
//! With `--cfg spotlight_plain_memory`, every buffer is asked of the system by itself, so that tools
//! which watch memory see its true ends.
//!
//! Where slabs and the wanted one together would go far beyond what was ever in use at once, empty
//! slabs are given back to the system first. On Linux the slabs are made of large pages where the
//! system has them: the kernels walk through many streams at a time.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
    sync::{Mutex, PoisonError},
};

mod system;

/// Numbers in a cache line; every buffer starts and ends at one.
const LINE: usize = 16;

/// Slabs are multiples of this many numbers: two megabytes, a large page.
const PAGE: usize = 512 * 1024;

/// How much larger than the most in use at once the slabs may be before empty ones are given back.
const SLACK: f64 = 1.5;

/// Numbers in memory that starts at a cache line, with any content at first.
#[derive(Debug)]
pub(crate) struct Buffer {
    first: NonNull<f32>,
    len: usize,
}

// SAFETY: a buffer owns its numbers as a `Vec` does.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of `len` numbers with any content.
    pub(crate) fn new(len: usize) -> Self {
        let first = match len {
            0 => NonNull::dangling(),
            _ if cfg!(spotlight_plain_memory) => system::take_plain(len),
            _ => lock().take(len.next_multiple_of(LINE)),
        };
        Self { first, len }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the heap has lent these numbers to this buffer alone; the system gave them as
        // zeros, so they were always numbers.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match self.len {
            0 => {}
            len if cfg!(spotlight_plain_memory) => system::give_plain(self.first, len),
            len => lock().give(self.first, len.next_multiple_of(LINE)),
        }
    }
}

/// What the heap holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapUse {
    /// In slabs from the system.
    pub reserved: usize,
    /// In tensors and scratch now.
    pub used: usize,
    /// In tensors and scratch at most so far.
    pub peak: usize,
    /// How often memory was asked of the system so far.
    pub requests: usize,
}

/// What the heap of all engines of this process holds.
///
/// # Examples
///
/// ```
/// use spotlight_engine::{Tensor, heap_use};
///
/// let tensor = Tensor::zeros(1, 16, [4, 4, 4]);
/// assert!(heap_use().used >= 16 * 64 * 4);
/// # drop(tensor);
/// ```
#[must_use]
pub fn heap_use() -> HeapUse {
    let heap = lock();
    let bytes = |numbers: usize| numbers * size_of::<f32>();
    HeapUse {
        reserved: bytes(heap.reserved()),
        used: bytes(heap.used),
        peak: bytes(heap.peak),
        requests: heap.requests,
    }
}

/// A piece of memory from the system with its holes: where each starts, and its length.
struct Slab {
    first: NonNull<f32>,
    len: usize,
    holes: BTreeMap<usize, usize>,
}

// SAFETY: a slab owns its memory.
unsafe impl Send for Slab {}

struct Heap {
    slabs: Vec<Slab>,
    used: usize,
    peak: usize,
    requests: usize,
}

static HEAP: Mutex<Heap> = Mutex::new(Heap { slabs: Vec::new(), used: 0, peak: 0, requests: 0 });

fn lock() -> std::sync::MutexGuard<'static, Heap> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heap {
    fn reserved(&self) -> usize {
        self.slabs.iter().map(|slab| slab.len).sum()
    }

    /// `len` numbers, a multiple of a line.
    fn take(&mut self, len: usize) -> NonNull<f32> {
        self.used += len;
        self.peak = self.peak.max(self.used);
        let (slab, start) = self.hole(len).unwrap_or_else(|| {
            self.grow(len);
            (self.slabs.len() - 1, 0)
        });
        self.slabs[slab].take(start, len)
    }

    /// The smallest hole of at least `len` numbers.
    fn hole(&self, len: usize) -> Option<(usize, usize)> {
        let slabs = self.slabs.iter().enumerate();
        let holes = slabs.flat_map(|(index, slab)| {
            slab.holes.iter().map(move |(&start, &size)| (size, index, start))
        });
        holes.filter(|&(size, ..)| size >= len).min().map(|(_, slab, start)| (slab, start))
    }

    /// A new slab of at least `len` numbers.
    fn grow(&mut self, len: usize) {
        let len = len.next_multiple_of(PAGE);
        let most = (self.peak as f64 * SLACK) as usize;
        let mut reserved = self.reserved();
        self.slabs.retain(|slab| {
            let keep = reserved + len <= most || !slab.is_empty();
            if !keep {
                reserved -= slab.len;
                system::give(slab.first, slab.len);
            }
            keep
        });
        self.requests += 1;
        let first = system::take(len);
        self.slabs.push(Slab { first, len, holes: BTreeMap::from([(0, len)]) });
    }

    fn give(&mut self, first: NonNull<f32>, len: usize) {
        self.used -= len;
        let slab = self.slabs.iter_mut().find_map(|slab| {
            let start = first.addr().get().checked_sub(slab.first.addr().get())?;
            let start = start / size_of::<f32>();
            (start < slab.len).then_some((slab, start))
        });
        if let Some((slab, start)) = slab {
            slab.give(start, len);
        }
    }
}

impl Slab {
    fn is_empty(&self) -> bool {
        self.holes.get(&0) == Some(&self.len)
    }

    /// Takes the first numbers of a hole.
    fn take(&mut self, start: usize, len: usize) -> NonNull<f32> {
        let size = self.holes.remove(&start).unwrap_or_default();
        if size > len {
            self.holes.insert(start + len, size - len);
        }
        // SAFETY: the hole lies in the slab.
        unsafe { self.first.add(start) }
    }

    /// Makes a hole and joins it with those beside it.
    fn give(&mut self, mut start: usize, mut len: usize) {
        if let Some(after) = self.holes.remove(&(start + len)) {
            len += after;
        }
        let before = self.holes.range(..start).next_back().map(|(&start, &len)| (start, len));
        if let Some((first, size)) = before.filter(|(first, size)| first + size == start) {
            (start, len) = (first, size + len);
        }
        self.holes.insert(start, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap() -> Heap {
        Heap { slabs: Vec::new(), used: 0, peak: 0, requests: 0 }
    }

    #[test]
    fn holes_are_joined_and_used_again() {
        let mut heap = heap();
        let places: Vec<_> = (0..4).map(|_| heap.take(PAGE / 4)).collect();
        assert_eq!((heap.slabs.len(), heap.requests), (1, 1));
        for index in [0, 2, 1, 3] {
            heap.give(places[index], PAGE / 4);
        }
        assert!(heap.slabs[0].is_empty() && heap.used == 0);
        assert_eq!(heap.take(PAGE), places[0]);
        assert_eq!(heap.requests, 1);
    }

    #[test]
    fn the_smallest_hole_that_fits_is_taken() {
        let mut heap = heap();
        let places: Vec<_> = [8, 1, 2, 1].map(|lines| heap.take(lines * LINE)).into();
        heap.give(places[0], 8 * LINE);
        heap.give(places[2], 2 * LINE);
        assert_eq!(heap.take(2 * LINE), places[2]);
        assert_eq!(heap.take(3 * LINE), places[0]);
    }

    #[test]
    fn empty_slabs_go_back_when_other_sizes_come() {
        let mut heap = heap();
        for pages in 1..20 {
            let place = heap.take(pages * PAGE);
            assert!(heap.reserved() as f64 <= SLACK * heap.peak as f64);
            heap.give(place, pages * PAGE);
        }
        let place = heap.take(PAGE);
        assert_eq!(heap.requests, 19);
        heap.give(place, PAGE);
    }

    #[test]
    fn buffers_are_aligned_and_empty_ones_cost_nothing() {
        let buffers: Vec<_> = [1, 15, 16, 17, 100_000].map(Buffer::new).into();
        assert!(buffers.iter().all(|buffer| buffer.as_ptr().addr() % 64 == 0));
        assert!(Buffer::new(0).is_empty());
    }
}
