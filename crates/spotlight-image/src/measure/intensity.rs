//! Brightness of an object in an intensity image.
//!
//! | column | definition |
//! |---|---|
//! | `intensity_mean` | mean over the voxels |
//! | `intensity_std` | standard deviation, ddof 0 |
//! | `intensity_min`, `intensity_max` | smallest and largest voxel |
//! | `intensity_sum` | sum over the voxels |
//! | `intensity_displacement` | distance between the centre and the centre of brightness |
//!
//! All sums are in f64. A voxel that is not a number makes all of them NaN. The displacement is
//! NaN where the brightness adds up to 0.
//!
//! References: `intensity_mean`, `_std`, `_min`, `_max` and `centroid_weighted` of scikit-image
//! 0.26; `MassDisplacement` of CellProfiler 4.

use super::table::Unit;
use crate::Volume;

/// Names and units of [`intensity_features`].
pub(super) const COLUMNS: [(&str, Unit); 6] = [
    ("intensity_mean", Unit::GreyLevel),
    ("intensity_std", Unit::GreyLevel),
    ("intensity_min", Unit::GreyLevel),
    ("intensity_max", Unit::GreyLevel),
    ("intensity_sum", Unit::GreyLevel),
    ("intensity_displacement", Unit::Length(1)),
];

/// The columns of an object, mask and image being crops of one shape.
pub(super) fn intensity_features(
    mask: &Volume<bool>,
    image: &Volume<f32>,
    spacing: [f64; 3],
) -> [f64; 6] {
    let [_, height, width] = mask.shape;
    let mut count = 0.0;
    let mut sum = 0.0;
    let (mut least, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
    // Sums of positions and of brightness times position.
    let (mut places, mut weighted) = ([0.0; 3], [0.0; 3]);
    for_each_inside(mask, |i| {
        let value = f64::from(image.voxels[i]);
        let place = [i / width / height, i / width % height, i % width].map(|p| p as f64);
        count += 1.0;
        sum += value;
        least = if value < least || value.is_nan() { value } else { least };
        largest = if value > largest || value.is_nan() { value } else { largest };
        for axis in 0..3 {
            places[axis] += place[axis];
            weighted[axis] += value * place[axis];
        }
    });
    let mean = sum / count;
    let mut squares = 0.0;
    for_each_inside(mask, |i| squares += (f64::from(image.voxels[i]) - mean).powi(2));
    let shift = |axis: usize| (weighted[axis] / sum - places[axis] / count) * spacing[axis];
    let displacement = (0..3).map(|axis| shift(axis).powi(2)).sum::<f64>().sqrt();
    let displacement = if sum == 0.0 { f64::NAN } else { displacement };
    let features = [mean, (squares / count).sqrt(), least, largest, sum, displacement];
    if mean.is_nan() { [f64::NAN; 6] } else { features }
}

fn for_each_inside(mask: &Volume<bool>, visit: impl FnMut(usize)) {
    let inside = mask.voxels.iter().enumerate().filter(|(_, inside)| **inside);
    inside.map(|(i, _)| i).for_each(visit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intensities_by_hand() {
        let mask = Volume::new([1, 1, 4], vec![true, true, false, true]);
        let image = Volume::new([1, 1, 4], vec![1.0, 2.0, 50.0, 6.0]);
        let found = intensity_features(&mask, &image, [1.0, 1.0, 0.5]);
        let centre: f64 = 4.0 / 3.0;
        let bright = (2.0 + 18.0) / 9.0;
        let expected = [3.0, (14.0_f64 / 3.0).sqrt(), 1.0, 6.0, 9.0, (bright - centre).abs() * 0.5];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn undefined_intensities_are_not_numbers() {
        let mask = Volume::filled([1, 1, 2], true);
        let of = |a: f32, b: f32| {
            intensity_features(&mask, &Volume::new([1, 1, 2], vec![a, b]), [1.0; 3])
        };
        assert!(of(f32::NAN, 1.0).iter().all(|v| v.is_nan()));
        assert_eq!(of(0.0, 0.0)[..5], [0.0; 5]);
        assert!(of(0.0, 0.0)[5].is_nan());
        assert!(of(-1.0, 1.0)[5].is_nan());
    }
}
