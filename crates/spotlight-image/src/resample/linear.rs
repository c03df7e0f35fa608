//! Splines of order 0 and 1: a new voxel is one old voxel, or a mean of up to eight.
//!
//! Few voxels are read, so all three axes are done at once. Products and sums are formed in
//! the order of `scipy.ndimage.zoom`: whole-number images have many values half-way between
//! two levels, and these are then rounded to the same side.

use rayon::prelude::*;

use crate::{Border, Volume, voxel::Voxel};

/// An old voxel (`None` is the border's value) and its weight.
type Tap = (Option<usize>, f64);

/// The old voxel nearest to each position.
pub(super) fn nearest<T: Voxel>(
    volume: &Volume<T>,
    positions: &[Vec<f64>; 3],
    border: Border,
) -> Volume<T> {
    combine(volume, positions, border, |position| {
        let place = (position + 0.5).floor();
        [(place, 1.0), (place, 0.0)]
    })
}

/// Linear interpolation between the old voxels around each position.
pub(super) fn linear<T: Voxel>(
    volume: &Volume<T>,
    positions: &[Vec<f64>; 3],
    border: Border,
) -> Volume<T> {
    combine(volume, positions, border, |position| {
        let place = position.floor();
        let first = 1.0 - (position - place);
        [(place, first), (place + 1.0, 1.0 - first)]
    })
}

/// Weighted sums; `weights` gives the places to look at along an axis.
fn combine<T: Voxel>(
    volume: &Volume<T>,
    positions: &[Vec<f64>; 3],
    border: Border,
    weights: impl Fn(f64) -> [(f64, f64); 2],
) -> Volume<T> {
    let taps: [Vec<Vec<Tap>>; 3] = std::array::from_fn(|axis| {
        let length = volume.shape[axis];
        positions[axis]
            .iter()
            .map(|p| taps(weights(fold(*p, length, border)), length, border))
            .collect()
    });
    let shape = taps.each_ref().map(Vec::len);
    let constant = border.constant();
    let rows: Vec<(usize, usize)> =
        (0..shape[0]).flat_map(|z| (0..shape[1]).map(move |y| (z, y))).collect();
    let row = |(z, y): (usize, usize)| -> Vec<T> {
        let voxel = |x_taps: &Vec<Tap>| {
            let mut sum = 0.0;
            for (z, z_weight) in &taps[0][z] {
                for (y, y_weight) in &taps[1][y] {
                    for (x, x_weight) in x_taps {
                        let value = match (z, y, x) {
                            (Some(z), Some(y), Some(x)) => volume.at([*z, *y, *x]).to_f64(),
                            _ => constant,
                        };
                        sum += value * z_weight * y_weight * x_weight;
                    }
                }
            }
            T::from_f64(sum)
        };
        taps[2].iter().map(voxel).collect()
    };
    Volume::new(shape, rows.into_par_iter().map(row).collect::<Vec<_>>().concat())
}

/// A position before the first voxel as the equal one that SciPy uses: its weights come
/// out with the same rounding.
fn fold(position: f64, length: usize, border: Border) -> f64 {
    match border {
        Border::Nearest => position.clamp(0.0, length as f64 - 1.0),
        Border::Mirror if position < 0.0 => -position,
        Border::Reflect if position < 0.0 => -position - 1.0,
        _ => position,
    }
}

fn taps(weights: [(f64, f64); 2], length: usize, border: Border) -> Vec<Tap> {
    // Positions inside never reach beyond the edge but with a weight of 0 (or an ulp), and
    // those outside are cut off later.
    let border = if let Border::Cutoff(_) = border { Border::Mirror } else { border };
    let used = weights.into_iter().filter(|(_, weight)| *weight != 0.0);
    used.map(|(place, weight)| (border.inside(place as isize, length), weight)).collect()
}
