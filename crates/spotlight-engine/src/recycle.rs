//! Memory of dropped tensors, kept for the next ones.
//!
//! A training step drops and makes the same tensors again and again. Fresh memory from the system
//! costs a page fault for every four kilobytes, which is as much time as a light layer takes. So
//! the memory of a dropped tensor is kept, but never more than the tensors in use once needed
//! together: the peak of the process is what it would be without.

use std::sync::{Mutex, PoisonError};

/// Kept memory and what decides how much to keep; sizes in numbers.
struct Store {
    buffers: Vec<Vec<f32>>,
    kept: usize,
    used: usize,
    peak: usize,
}

static STORE: Mutex<Store> = Mutex::new(Store { buffers: Vec::new(), kept: 0, used: 0, peak: 0 });

/// A buffer of at least `len` numbers with any content.
pub(crate) fn take(len: usize) -> Vec<f32> {
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
pub(crate) fn give(buffer: Vec<f32>) {
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
