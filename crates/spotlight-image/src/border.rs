//! [`Border`]: what an image is taken to be beyond its edge.
//!
//! Filters and splines look a few voxels past the edge. The rules below are those
//! of SciPy's `scipy.ndimage`, under its names.

/// How an axis `a b c d` goes on beyond its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Border {
    /// The last voxel repeats: `a a a | a b c d | d d d`.
    Nearest,
    /// A mirror at the centre of the last voxel: `d c b | a b c d | c b a`.
    Mirror,
    /// A mirror at the outer face of the last voxel: `c b a | a b c d | d c b`.
    Reflect,
    /// One value everywhere outside. (SciPy's `grid-constant` where it interpolates.)
    Constant(f64),
    /// As `Constant` in filters; but where a grid is resampled, places beyond the centre of
    /// the last voxel get the value itself and all others never see it. (SciPy's `constant`.)
    Cutoff(f64),
}

impl Border {
    /// The voxel of an axis of this length that stands at `index`; `None` where
    /// the rule gives a value instead.
    ///
    /// # Panics
    ///
    /// If the length is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_image::Border;
    ///
    /// assert_eq!(Border::Nearest.inside(-2, 4), Some(0));
    /// assert_eq!(Border::Mirror.inside(-2, 4), Some(2));
    /// assert_eq!(Border::Reflect.inside(-2, 4), Some(1));
    /// assert_eq!(Border::Constant(0.0).inside(-2, 4), None);
    /// ```
    #[must_use]
    pub fn inside(self, index: isize, length: usize) -> Option<usize> {
        assert!(length > 0, "an axis without voxels has no border");
        let last = length as isize - 1;
        if (0..=last).contains(&index) {
            return Some(index as usize);
        }
        match self {
            Self::Nearest => Some(index.clamp(0, last) as usize),
            Self::Mirror if last == 0 => Some(0),
            Self::Mirror => {
                let folded = index.rem_euclid(2 * last);
                Some(folded.min(2 * last - folded) as usize)
            }
            Self::Reflect => {
                let folded = index.rem_euclid(2 * last + 2);
                Some(folded.min(2 * last + 1 - folded) as usize)
            }
            Self::Constant(_) | Self::Cutoff(_) => None,
        }
    }

    /// The value beyond the edge where no voxel stands for it.
    pub(crate) fn constant(self) -> f64 {
        if let Self::Constant(value) | Self::Cutoff(value) = self { value } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(border: Border, length: usize, expected: &str) {
        let from = -(expected.len() as isize - length as isize) / 2;
        let letter = |i: usize| char::from(b'a' + (i as u8));
        let indices = from..from + expected.len() as isize;
        let found: String = indices.map(|i| border.inside(i, length).map_or('.', letter)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rules_follow_scipy() {
        check(Border::Nearest, 3, "aaaaabccccc");
        check(Border::Mirror, 3, "abcbabcbabc");
        check(Border::Reflect, 3, "bccbaabccbaab"[..].get(1..12).unwrap());
        check(Border::Constant(1.0), 3, "....abc....");
        check(Border::Mirror, 1, "aaaaa");
        check(Border::Reflect, 1, "aaaaa");
    }
}
