//! Aligned memory, and what is dropped of it kept for the next user.
//!
//! A training step drops and makes the same tensors again and again. Fresh memory from the system
//! costs a page fault for every four kilobytes, which is as much time as a light layer takes. So
//! the memory of a dropped buffer is kept, but never more than the buffers in use once needed
//! together: the peak of the process is what it would be without.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

/// Numbers in a cache line; vectors that lie in two lines are slow to load.
const LINE: usize = 16;

/// Numbers in memory that starts at a cache line, with any content at first.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// Up to one line longer than needed, because only the part from `start` is aligned.
    storage: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` numbers with any content.
    pub(crate) fn new(len: usize) -> Self {
        let storage = take(len + LINE);
        let past = storage.as_ptr().addr() / size_of::<f32>() % LINE;
        Self { storage, start: (LINE - past) % LINE, len }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..self.start + self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.storage));
    }
}

/// Kept memory and what decides how much to keep; sizes in numbers.
struct Store {
    buffers: Vec<Vec<f32>>,
    kept: usize,
    used: usize,
    peak: usize,
}

static STORE: Mutex<Store> = Mutex::new(Store { buffers: Vec::new(), kept: 0, used: 0, peak: 0 });

/// A buffer of at least `len` numbers with any content.
fn take(len: usize) -> Vec<f32> {
    let mut store = STORE.lock().unwrap_or_else(PoisonError::into_inner);
    // Not much longer than needed, so that small tensors do not hold the memory of large ones.
    let fits = |buffer: &Vec<f32>| (len..=len + len / 8).contains(&buffer.len());
    let found = (0..store.buffers.len())
        .filter(|&index| fits(&store.buffers[index]))
        .min_by_key(|&index| store.buffers[index].len());
    let buffer = found.map(|index| store.buffers.remove(index));
    let taken = buffer.as_ref().map_or(len, Vec::len);
    if buffer.is_some() {
        store.kept -= taken;
    }
    store.used += taken;
    store.peak = store.peak.max(store.used);
    let surplus = store.trim();
    drop(store);
    drop(surplus);
    // Zeroed pages come from the system untouched: the first writer pays for them, in parallel.
    buffer.unwrap_or_else(|| vec![0.0; len])
}

/// Takes a buffer back.
fn give(buffer: Vec<f32>) {
    let mut store = STORE.lock().unwrap_or_else(PoisonError::into_inner);
    store.used -= buffer.len();
    store.kept += buffer.len();
    store.buffers.push(buffer);
    let surplus = store.trim();
    drop(store);
    drop(surplus);
}

impl Store {
    /// Removes the oldest buffers until used and kept ones together are no more than the peak.
    fn trim(&mut self) -> Vec<Vec<f32>> {
        let mut count = 0;
        while self.used + self.kept > self.peak {
            self.kept -= self.buffers[count].len();
            count += 1;
        }
        self.buffers.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_memory_stays_below_the_peak() {
        let mut store = Store { buffers: Vec::new(), kept: 0, used: 30, peak: 50 };
        for len in [10, 5, 10] {
            store.buffers.push(vec![0.0; len]);
            store.kept += len;
        }
        let surplus: Vec<_> = store.trim().iter().map(Vec::len).collect();
        assert_eq!((surplus, store.kept), (vec![10], 15));
    }
}
