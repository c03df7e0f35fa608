//! Which pairs train, which validate, which test.

use super::Split;

/// Shares of the rows for training, validation and test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fractions {
    /// Share for training.
    pub train: f64,
    /// Share for validation.
    pub validate: f64,
    /// Share for test.
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Self { train: 0.7, validate: 0.15, test: 0.15 }
    }
}

/// A seeded random split.
///
/// Shares are rounded; each part whose share is not 0 gets a row where there are enough,
/// training first, then test, then validation.
///
/// # Panics
///
/// If a share is negative or not finite, or all are 0.
///
/// # Examples
///
/// ```
/// use spotlight_io::manifest::{Fractions, Split, seeded_split};
///
/// let split = seeded_split(8, Fractions::default(), 0);
/// let count = |part| split.iter().filter(|split| **split == part).count();
/// assert_eq!([Split::Train, Split::Validate, Split::Test].map(count), [6, 1, 1]);
/// ```
#[must_use]
pub fn seeded_split(rows: usize, fractions: Fractions, seed: u32) -> Vec<Split> {
    let shares = [fractions.train, fractions.test, fractions.validate];
    let total: f64 = shares.iter().sum();
    assert!(shares.iter().all(|share| *share >= 0.0 && share.is_finite()) && total > 0.0);
    let mut counts = shares.map(|share| (share / total * rows as f64).round() as usize);
    for part in 0..3 {
        if shares[part] > 0.0 && counts[part] == 0 {
            counts[part] = 1;
        }
    }
    // Rounding and the rows given above must end at the number of rows.
    while counts.iter().sum::<usize>() > rows {
        let largest = (0..3).max_by_key(|part| (counts[*part], *part)).unwrap_or(0);
        counts[largest] -= 1;
    }
    while counts.iter().sum::<usize>() < rows {
        let first = (0..3).find(|part| shares[*part] > 0.0).unwrap_or(0);
        counts[first] += 1;
    }
    let parts = [Split::Train, Split::Test, Split::Validate];
    let dealt = parts.into_iter().zip(counts).flat_map(|(part, n)| std::iter::repeat_n(part, n));
    let mut split = vec![Split::Train; rows];
    for (row, part) in permutation(rows, seed).into_iter().zip(dealt) {
        split[row] = part;
    }
    split
}

/// The split of the paper: rows shuffled as `NumPy`'s `RandomState(seed).permutation` does,
/// the first `train_fraction` of them for training, the others for test.
///
/// With 720 rows, a fraction of 0.75 and seed 42 this is the split of F-net's authors. The
/// order of the shuffled rows is that of [`permutation`].
#[must_use]
pub fn paper_split(rows: usize, train_fraction: f64, seed: u32) -> Vec<Split> {
    let train = (train_fraction * rows as f64).round_ties_even() as usize;
    let mut split = vec![Split::Test; rows];
    for row in permutation(rows, seed).into_iter().take(train) {
        split[row] = Split::Train;
    }
    split
}

/// The numbers 0..rows in the order of `NumPy`'s `RandomState(seed).permutation(rows)`.
///
/// # Panics
///
/// If there are more than 2^32 rows.
#[must_use]
pub fn permutation(rows: usize, seed: u32) -> Vec<usize> {
    let mut random = MersenneTwister::new(seed);
    let mut order: Vec<usize> = (0..rows).collect();
    for last in (1..rows).rev() {
        let last_number = u32::try_from(last).expect("a table has fewer than 2^32 rows");
        order.swap(last, random.up_to(last_number) as usize);
    }
    order
}

/// MT19937, the generator of `NumPy`'s `RandomState`.
///
/// Reference: M. Matsumoto, T. Nishimura (1998), "Mersenne Twister".
struct MersenneTwister {
    state: [u32; WORDS],
    next: usize,
}

const WORDS: usize = 624;

impl MersenneTwister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        for index in 1..WORDS {
            let before = state[index - 1];
            let mixed = (before ^ before >> 30).wrapping_mul(1_812_433_253);
            state[index] = mixed.wrapping_add(index as u32);
        }
        Self { state, next: WORDS }
    }

    fn draw(&mut self) -> u32 {
        if self.next == WORDS {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    fn refill(&mut self) {
        for index in 0..WORDS {
            let upper = self.state[index] & 0x8000_0000;
            let joined = upper | self.state[(index + 1) % WORDS] & 0x7fff_ffff;
            let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + 397) % WORDS] ^ joined >> 1 ^ twist;
        }
        self.next = 0;
    }

    /// A number in 0..=most: bits are masked to the width of `most`, larger ones rejected.
    fn up_to(&mut self, most: u32) -> u32 {
        let mask = u32::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        loop {
            let number = self.draw() & mask;
            if number <= most {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_of_the_paper() {
        let order = permutation(720, 42);
        let train = [
            340, 290, 54, 198, 453, 65, 63, 145, 292, 390, 706, 448, 39, 101, 430, 328, 86, 627,
            259, 213, 446, 367, 33, 686, 478, 323, 254, 210, 120, 133,
        ];
        let test = [
            680, 558, 219, 653, 604, 656, 595, 386, 696, 509, 267, 441, 496, 112, 232, 625, 373,
            233, 567, 317,
        ];
        assert_eq!(order[..30], train);
        assert_eq!(order[540..560], test);
        let split = paper_split(720, 0.75, 42);
        assert_eq!(split.iter().filter(|part| **part == Split::Train).count(), 540);
        assert!(train.iter().all(|row| split[*row] == Split::Train));
        assert!(test.iter().all(|row| split[*row] == Split::Test));
    }

    #[test]
    fn other_permutations_of_numpy() {
        // numpy.random.RandomState(seed).permutation(n), version 2.4.6.
        assert!(permutation(0, 1).is_empty());
        assert_eq!(permutation(1, 1), [0]);
        assert_eq!(permutation(10, 0), [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]);
    }

    #[track_caller]
    fn check(rows: usize, fractions: Fractions, counts: [usize; 3]) {
        let split = seeded_split(rows, fractions, 3);
        let count = |part| split.iter().filter(|split| **split == part).count();
        assert_eq!([Split::Train, Split::Validate, Split::Test].map(count), counts, "{rows}");
    }

    #[test]
    fn every_part_gets_a_row_where_there_are_enough() {
        check(0, Fractions::default(), [0, 0, 0]);
        check(1, Fractions::default(), [1, 0, 0]);
        check(2, Fractions::default(), [1, 0, 1]);
        check(3, Fractions::default(), [1, 1, 1]);
        check(4, Fractions::default(), [2, 1, 1]);
        check(100, Fractions::default(), [70, 15, 15]);
        check(5, Fractions { train: 1.0, validate: 0.0, test: 0.0 }, [5, 0, 0]);
        check(5, Fractions { train: 0.8, validate: 0.2, test: 0.0 }, [4, 1, 0]);
    }

    #[test]
    fn the_seed_decides() {
        let one = seeded_split(50, Fractions::default(), 1);
        assert_eq!(one, seeded_split(50, Fractions::default(), 1));
        assert_ne!(one, seeded_split(50, Fractions::default(), 2));
    }
}
