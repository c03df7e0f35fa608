//! Zoom with splines of order 0, 1 or 3, after SciPy's `scipy.ndimage.zoom`.

use std::borrow::Cow;

use super::{cubic, linear};
use crate::filter::Blur;
use crate::grid::Shape;
use crate::{Border, Volume, voxel::Voxel};

/// The interpolating spline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Order 0: the nearest voxel. For labels.
    Nearest,
    /// Order 1: linear between neighbours.
    Linear,
    /// Order 3: cubic, through all voxels; may overshoot their range.
    #[default]
    Cubic,
}

/// What of the old and the new grid coincides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alignment {
    /// The centres of the first and of the last voxels.
    #[default]
    Centres,
    /// The outer faces of the first and of the last voxels (SciPy's `grid_mode`).
    Faces,
}

/// How [`zoom_with`] interpolates. The default is the paper's resizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zoom {
    /// The spline.
    pub order: Order,
    /// What lies beyond the edge.
    pub border: Border,
    /// How the grids lie on each other.
    pub alignment: Alignment,
}

impl Default for Zoom {
    fn default() -> Self {
        Self { order: Order::Cubic, border: Border::Nearest, alignment: Alignment::Centres }
    }
}

/// Interpolates to a grid of another shape over the same field of view.
///
/// The centres of the corner voxels stay where they are; beyond the edge the last voxel
/// repeats; nothing is blurred before. With [`Order::Cubic`] this is F-net's `Resizer`,
/// which the paper uses to bring all stacks to one voxel size.
///
/// # Panics
///
/// If an axis without voxels is to get some.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::resample::{Order, zoom};
///
/// let ramp = Volume::new([1, 1, 3], vec![0.0_f32, 2.0, 4.0]);
/// let finer = zoom(&ramp, [1, 1, 5], Order::Linear);
/// assert_eq!(finer.voxels, [0.0, 1.0, 2.0, 3.0, 4.0]);
/// ```
#[must_use]
pub fn zoom<T: Voxel>(volume: &Volume<T>, shape: Shape, order: Order) -> Volume<T> {
    zoom_with(volume, shape, &Zoom { order, ..Zoom::default() })
}

/// The shape that [`zoom`] by these factors leads to: voxels times factor, halves rounded
/// to even.
///
/// # Examples
///
/// ```
/// use spotlight_image::resample::zoom_shape;
///
/// // From voxels of 0.108 µm to 0.29 µm in y and x, as in F-net.
/// let shape = zoom_shape([65, 624, 924], [1.0, 0.37241, 0.37241]);
/// assert_eq!(shape, [65, 232, 344]);
/// ```
#[must_use]
pub fn zoom_shape(shape: Shape, factors: [f64; 3]) -> Shape {
    std::array::from_fn(|axis| (shape[axis] as f64 * factors[axis]).round_ties_even() as usize)
}

/// Interpolates from one voxel size to another, both in µm along (z, y, x).
///
/// The number of voxels is rounded, and at least 1.
///
/// # Panics
///
/// If a voxel size is not a positive number.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::resample::{Order, resample_to_spacing};
///
/// let fine = Volume::filled([8, 40, 40], 1.0_f32);
/// let coarse = resample_to_spacing(&fine, [0.29, 0.145, 0.145], [0.29; 3], Order::Cubic);
/// assert_eq!(coarse.shape, [8, 20, 20]);
/// ```
#[must_use]
pub fn resample_to_spacing<T: Voxel>(
    volume: &Volume<T>,
    from_um: [f64; 3],
    to_um: [f64; 3],
    order: Order,
) -> Volume<T> {
    let positive = |size: &f64| *size > 0.0 && size.is_finite();
    assert!(
        from_um.iter().chain(&to_um).all(positive),
        "voxel sizes must be positive, are {from_um:?} and {to_um:?}"
    );
    let factors = std::array::from_fn(|axis| from_um[axis] / to_um[axis]);
    let shape = zoom_shape(volume.shape, factors);
    zoom(volume, shape.map(|length| length.max(1)), order)
}

/// [`zoom`] with all choices: spline, border and alignment of the grids.
///
/// Sums are formed in f64; whole-number voxels are rounded half away from zero and
/// clipped to their type.
///
/// # Panics
///
/// If an axis without voxels is to get some.
#[must_use]
pub fn zoom_with<T: Voxel>(volume: &Volume<T>, shape: Shape, options: &Zoom) -> Volume<T> {
    zoom_blurred(Cow::Borrowed(volume), shape, options, [None, None, None])
}

/// [`zoom_with`] after a blur along (z, y, x), which only cubic splines take.
pub(super) fn zoom_blurred<T: Voxel>(
    volume: Cow<'_, Volume<T>>,
    shape: Shape,
    options: &Zoom,
    blurs: [Option<Blur>; 3],
) -> Volume<T> {
    let possible = |(old, new): (&usize, &usize)| *old > 0 || *new == 0;
    assert!(
        volume.shape.iter().zip(&shape).all(possible),
        "no voxels to zoom from {:?} to {shape:?}",
        volume.shape
    );
    let Zoom { order, border, alignment } = *options;
    let positions: [Vec<f64>; 3] =
        std::array::from_fn(|axis| positions(volume.shape[axis], shape[axis], alignment));
    let old = volume.shape;
    let mut result = match order {
        Order::Nearest => linear::nearest(&volume, &positions, border),
        Order::Linear => linear::linear(&volume, &positions, border),
        Order::Cubic => cubic::cubic(volume, &positions, border, blurs),
    };
    if let Border::Cutoff(value) = border {
        for (axis, positions) in positions.iter().enumerate() {
            cut_off(&mut result, axis, old[axis], positions, T::from_f64(value));
        }
    }
    result
}

/// Where the voxels of a new axis lie among those of the old one.
pub(super) fn positions(old_length: usize, new_length: usize, alignment: Alignment) -> Vec<f64> {
    let (old, new) = (old_length as f64, new_length as f64);
    // One division for all, as in SciPy: a position at the last voxel may come out an ulp
    // beyond it, which decides what Border::Cutoff cuts off.
    let step = match alignment {
        Alignment::Centres if new_length == 1 => 1.0,
        Alignment::Centres => (old - 1.0) / (new - 1.0),
        Alignment::Faces => old / new,
    };
    let position = |i: usize| match alignment {
        Alignment::Centres => i as f64 * step,
        Alignment::Faces => (i as f64 + 0.5) * step - 0.5,
    };
    (0..new_length).map(position).collect()
}

/// Sets the planes across an axis whose position lies outside the old voxels' centres.
fn cut_off<T: Voxel>(
    volume: &mut Volume<T>,
    axis: usize,
    old_length: usize,
    positions: &[f64],
    value: T,
) {
    let last = old_length as f64 - 1.0;
    let is_outside = |i: &usize| !(0.0..=last).contains(&positions[*i]);
    let outside: Vec<usize> = (0..positions.len()).filter(is_outside).collect();
    let inner: usize = volume.shape[axis + 1..].iter().product();
    for block in volume.voxels.chunks_mut((inner * positions.len()).max(1)) {
        for i in &outside {
            block[i * inner..(i + 1) * inner].fill(value);
        }
    }
}
