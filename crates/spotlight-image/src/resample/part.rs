//! A box of a zoomed volume from a box of the volume: [`zoom`](super::zoom) piece by piece.
//!
//! A cubic spline depends on all voxels of a line, but hardly on far ones: a coefficient feels
//! a voxel by 0.268 to the power of their distance. So far from an edge that is none, the edge
//! makes no difference that f64 could hold.

use super::zoom::{Alignment, Order, positions};
use super::{cubic, linear};
use crate::grid::{Region, Shape};
use crate::{Border, Volume, voxel::Voxel};

/// Voxels around a box that a cubic spline needs: 0.268^28 is less than f64 resolves.
const CUBIC_HALO: usize = 30;

/// The box of a volume of shape `old` that [`zoom_part`] needs for the box `wanted` of the
/// zoomed volume of shape `new`.
///
/// # Panics
///
/// If `wanted` does not lie inside `new`.
///
/// # Examples
///
/// ```
/// use spotlight_image::Region;
/// use spotlight_image::resample::{Order, zoom_source};
///
/// let wanted = Region { start: [0, 500, 0], shape: [4, 100, 10] };
/// let source = zoom_source([4, 2000, 10], [4, 1000, 10], wanted, Order::Cubic);
/// assert_eq!((source.start, source.shape), ([0, 970, 0], [4, 260, 10]));
/// ```
#[must_use]
pub fn zoom_source(old: Shape, new: Shape, wanted: Region, order: Order) -> Region {
    assert!(wanted.fits(new), "{wanted:?} is not inside {new:?}");
    let halo = if order == Order::Cubic { CUBIC_HALO } else { 1 };
    let span = |axis: usize| -> [usize; 2] {
        let (start, stop) = (wanted.start[axis], wanted.stop()[axis]);
        if old[axis] == new[axis] || start == stop {
            return [start.min(old[axis]), stop.min(old[axis])];
        }
        let places = positions(old[axis], new[axis], Alignment::Centres);
        let (first, last) = (places[start].floor() as usize, places[stop - 1].ceil() as usize);
        [first.saturating_sub(halo), (last + halo + 1).min(old[axis])]
    };
    let spans = [span(0), span(1), span(2)];
    Region { start: spans.map(|[start, _]| start), shape: spans.map(|[start, stop]| stop - start) }
}

/// The box `wanted` of [`zoom`](super::zoom) of a volume of shape `old` to the shape `new`;
/// `part` is the box [`zoom_source`] of that volume.
///
/// # Panics
///
/// If the part has another shape than [`zoom_source`] says.
///
/// # Examples
///
/// ```
/// use spotlight_image::resample::{Order, zoom, zoom_part, zoom_source};
/// use spotlight_image::{Region, Volume};
///
/// let old = Volume::from_fn([1, 1, 200], |[_, _, x]| (x % 7) as f32);
/// let (new, wanted) = ([1, 1, 260], Region { start: [0, 0, 100], shape: [1, 1, 20] });
/// let source = zoom_source(old.shape, new, wanted, Order::Cubic);
/// let part = zoom_part(&old.crop(source), old.shape, new, wanted, Order::Cubic);
/// assert_eq!(part, zoom(&old, new, Order::Cubic).crop(wanted));
/// ```
#[must_use]
pub fn zoom_part<T: Voxel>(
    part: &Volume<T>,
    old: Shape,
    new: Shape,
    wanted: Region,
    order: Order,
) -> Volume<T> {
    let source = zoom_source(old, new, wanted, order);
    assert_eq!(part.shape, source.shape, "the part is not the source of {wanted:?}");
    let places: [Vec<f64>; 3] = std::array::from_fn(|axis| {
        let all = positions(old[axis], new[axis], Alignment::Centres);
        let wanted = &all[wanted.start[axis]..wanted.stop()[axis]];
        wanted.iter().map(|place| place - source.start[axis] as f64).collect()
    });
    match order {
        Order::Nearest => linear::nearest(part, &places, Border::Nearest),
        Order::Linear => linear::linear(part, &places, Border::Nearest),
        Order::Cubic => {
            let part = std::borrow::Cow::Borrowed(part);
            cubic::cubic(part, &places, Border::Nearest, [None, None, None])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::zoom;
    use super::*;

    /// Boxes at the edges and in the middle equal those of the whole.
    #[track_caller]
    fn check(old: Shape, new: Shape, order: Order) {
        let volume =
            Volume::from_fn(old, |[z, y, x]| ((z * 31 + y * 17 + x * 7) % 23) as f32 - 3.0);
        let whole = zoom(&volume, new, order);
        for part in 0..4 {
            let start = new.map(|length| length * part / 4);
            let shape = std::array::from_fn(|axis| new[axis] * (part + 1) / 4 - start[axis]);
            let wanted = Region { start, shape };
            let source = zoom_source(old, new, wanted, order);
            let found = zoom_part(&volume.crop(source), old, new, wanted, order);
            let expected = whole.crop(wanted);
            assert_eq!(found.shape, expected.shape);
            for (a, b) in found.voxels.iter().zip(&expected.voxels) {
                assert!((a - b).abs() < 1e-5, "{a} and {b} in {wanted:?}");
            }
        }
    }

    #[test]
    fn parts_are_those_of_the_whole() {
        for order in [Order::Nearest, Order::Linear, Order::Cubic] {
            check([5, 130, 207], [5, 61, 300], order);
            check([9, 8, 310], [14, 16, 150], order);
            check([1, 70, 9], [1, 200, 9], order);
        }
    }
}
