//! Exact Euclidean distance to the background.
//!
//! Squared distances are separable: with f(x) the squared distance along the axes done so
//! far, the next axis with voxels w apart gives
//!
//! ```text
//! d(x) = min over x' of f(x') + w² (x - x')²,
//! ```
//!
//! the lower envelope of parabolas, found in one sweep: P. F. Felzenszwalb and
//! D. P. Huttenlocher (2012), "Distance transforms of sampled functions". A line falls into
//! stretches between background voxels: no parabola from beyond these can be the lowest, so
//! that background costs nothing.

use rayon::prelude::*;

use crate::lines::columns;
use crate::{Volume, voxel::Voxel};

/// Distance of each voxel of a mask to the centre of the nearest voxel that is not in it.
///
/// `spacing` is the distance between voxels along (z, y, x), in any unit; the result is in
/// that unit, f32 or f64. Outside the mask it is 0; without any voxel outside it is infinite.
/// What lies beyond the edge of the volume is neither inside nor outside.
/// (`scipy.ndimage.distance_transform_edt`.)
///
/// # Panics
///
/// If a spacing is not a positive number.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, filter::distance_transform};
///
/// let mask = Volume::new([1, 1, 4], vec![false, true, true, true]);
/// let distance: Volume<f32> = distance_transform(&mask, [1.0, 1.0, 0.5]);
/// assert_eq!(distance.voxels, [0.0, 0.5, 1.0, 1.5]);
/// ```
#[must_use]
pub fn distance_transform<T: Voxel>(mask: &Volume<bool>, spacing: [f64; 3]) -> Volume<T> {
    const { assert!(!T::WHOLE, "distances are not whole numbers") };
    let positive = |size: &f64| *size > 0.0 && size.is_finite();
    assert!(spacing.iter().all(positive), "spacings must be positive, are {spacing:?}");
    let mut distance = squared_in_planes(mask, spacing);
    if !mask.voxels.is_empty() {
        across_planes(&mut distance, spacing[0]);
    }
    distance
}

/// The first part of [`distance_transform`], which each plane is done alone by: the squared
/// distance to the background of the same plane.
pub(crate) fn squared_in_planes<T: Voxel>(mask: &Volume<bool>, spacing: [f64; 3]) -> Volume<T> {
    let [_, height, width] = mask.shape;
    let mut distance = Volume::filled(mask.shape, T::from_f64(0.0));
    if mask.voxels.is_empty() {
        return distance;
    }
    let rows = distance.voxels.par_chunks_mut(width).zip(mask.voxels.par_chunks(width));
    rows.for_each(|(distance, mask)| along_row(mask, spacing[2], distance));
    along_columns(&mut distance.voxels, height, width, spacing[1]);
    distance
}

/// The second part, which each column along z is done alone by: the distance, from the squared
/// ones in the planes.
pub(crate) fn across_planes<T: Voxel>(squared: &mut Volume<T>, spacing: f64) {
    let [depth, height, width] = squared.shape;
    along_columns(&mut squared.voxels, depth, height * width, spacing);
    squared.voxels.par_iter_mut().for_each(|d| *d = T::from_f64(d.to_f64().sqrt()));
}

/// Squared distance to the background in the same row.
fn along_row<T: Voxel>(mask: &[bool], spacing: f64, distance: &mut [T]) {
    let mut steps = f64::INFINITY;
    for (distance, inside) in distance.iter_mut().zip(mask) {
        steps = if *inside { steps + 1.0 } else { 0.0 };
        *distance = T::from_f64(steps);
    }
    steps = f64::INFINITY;
    for distance in distance.iter_mut().rev() {
        let before = distance.to_f64();
        steps = if before == 0.0 { 0.0 } else { steps + 1.0 };
        *distance = T::from_f64((before.min(steps) * spacing).powi(2));
    }
}

/// Adds the axis of `length` voxels, `inner` places apart in memory.
fn along_columns<T: Voxel>(squared: &mut [T], length: usize, inner: usize, spacing: f64) {
    if length == 1 {
        return;
    }
    columns(squared, length, inner).into_par_iter().for_each_init(
        || (Vec::new(), Envelope::default()),
        |(lines, envelope), (_, _, mut rows)| {
            let count = rows[0].len();
            lines.resize(count * length, 0.0);
            for (i, row) in rows.iter().enumerate() {
                for (line, voxel) in row.iter().enumerate() {
                    lines[line * length + i] = voxel.to_f64();
                }
            }
            for line in lines.chunks_exact_mut(length) {
                envelope.apply(line, spacing * spacing);
            }
            for (i, row) in rows.iter_mut().enumerate() {
                for (line, voxel) in row.iter_mut().enumerate() {
                    *voxel = T::from_f64(lines[line * length + i]);
                }
            }
        },
    );
}

/// The parabolas that are the lowest somewhere.
#[derive(Default)]
struct Envelope {
    parabolas: Vec<Parabola>,
}

/// A parabola with its lowest point at `place`, the lowest of all after `from`.
struct Parabola {
    place: f64,
    height: f64,
    from: f64,
}

impl Envelope {
    /// Replaces f by d; `weight` is w².
    fn apply(&mut self, line: &mut [f64], weight: f64) {
        let mut start = 0;
        while let Some(skipped) = line[start..].iter().position(|f| *f > 0.0) {
            let first = start + skipped;
            let stop = line[first..].iter().position(|f| *f == 0.0);
            let stop = stop.map_or(line.len(), |inside| first + inside);
            self.parabolas.clear();
            let before = first.saturating_sub(1);
            let with_background = &line[before..line.len().min(stop + 1)];
            for (place, height) in with_background.iter().enumerate() {
                if height.is_finite() {
                    self.add((before + place) as f64, *height, weight);
                }
            }
            self.write(&mut line[first..stop], first, weight);
            start = stop;
        }
    }

    fn add(&mut self, place: f64, height: f64, weight: f64) {
        let mut from = f64::NEG_INFINITY;
        while let Some(last) = self.parabolas.last() {
            let rise = (height - last.height) / weight;
            from = (rise + place * place - last.place * last.place) / (2.0 * (place - last.place));
            if from > last.from {
                break;
            }
            self.parabolas.pop();
            from = f64::NEG_INFINITY;
        }
        self.parabolas.push(Parabola { place, height, from });
    }

    fn write(&self, line: &mut [f64], first: usize, weight: f64) {
        let mut parabolas = self.parabolas.iter().peekable();
        let Some(mut lowest) = parabolas.next() else { return };
        for (place, d) in line.iter_mut().enumerate() {
            let place = (first + place) as f64;
            while let Some(next) = parabolas.next_if(|next| next.from < place) {
                lowest = next;
            }
            *d = lowest.height + weight * (place - lowest.place).powi(2);
        }
    }
}
