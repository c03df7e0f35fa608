//! Resizing with anti-aliasing, after scikit-image's `skimage.transform.resize`.

use std::borrow::Cow;

use super::cubic::{Step, steps};
use super::zoom::{Alignment, Order, Zoom, positions, zoom_blurred, zoom_with};
use crate::filter::{Blur, gaussian};
use crate::grid::Shape;
use crate::{Border, Volume, voxel::Voxel};

/// The anti-aliasing kernel ends at this many standard deviations, as in SciPy.
const TRUNCATE: f64 = 4.0;

/// How [`resize`] works; the default is scikit-image's with a cubic spline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    /// The spline.
    pub order: Order,
    /// What lies beyond the edge. (scikit-image's 'reflect' is [`Border::Mirror`],
    /// 'symmetric' is [`Border::Reflect`], 'edge' is [`Border::Nearest`].)
    pub border: Border,
    /// Whether to blur axes that shrink by a factor f with a Gaussian of (f - 1) / 2
    /// voxels first. Not for labels.
    pub anti_aliasing: bool,
    /// Whether to clip the result to the range of the input, which cubic splines overshoot.
    pub clip: bool,
}

impl Default for Resize {
    fn default() -> Self {
        Self { order: Order::Cubic, border: Border::Mirror, anti_aliasing: true, clip: true }
    }
}

/// Resizes to a shape; the outer faces of the image stay where they are.
///
/// The voxel type stays: whole numbers are rounded, where scikit-image returns floats.
///
/// # Panics
///
/// If an axis without voxels is to get some.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::resample::{Order, Resize, resize};
///
/// let labels = Volume::new([1, 1, 3], vec![1_u16, 2, 3]);
/// let options = Resize { order: Order::Nearest, anti_aliasing: false, ..Resize::default() };
/// assert_eq!(resize(&labels, [1, 1, 6], &options).voxels, [1, 1, 2, 2, 3, 3]);
/// ```
#[must_use]
pub fn resize<T: Voxel>(volume: &Volume<T>, shape: Shape, options: &Resize) -> Volume<T> {
    resize_any(Cow::Borrowed(volume), shape, options)
}

/// [`resize`] of a volume that is needed no more: cubic splines free it as soon as they are
/// done with one axis.
///
/// # Panics
///
/// As [`resize`].
#[must_use]
pub fn resize_owned<T: Voxel>(volume: Volume<T>, shape: Shape, options: &Resize) -> Volume<T> {
    resize_any(Cow::Owned(volume), shape, options)
}

fn resize_any<T: Voxel>(volume: Cow<'_, Volume<T>>, shape: Shape, options: &Resize) -> Volume<T> {
    let zoom = Zoom { order: options.order, border: options.border, alignment: Alignment::Faces };
    let sigma = |axis: usize| sigma(volume.shape[axis], shape[axis]);
    let old_range = if options.clip { range(&volume.voxels) } else { None };
    let mut result = if options.anti_aliasing && options.order == Order::Cubic {
        let blurs = blurs(volume.shape, shape, options.border);
        zoom_blurred(volume, shape, &zoom, blurs)
    } else if options.anti_aliasing {
        let sigma = std::array::from_fn(sigma);
        zoom_with(&gaussian(&volume, sigma, TRUNCATE, options.border), shape, &zoom)
    } else {
        zoom_with(&volume, shape, &zoom)
    };
    if let Some(range) = old_range {
        clip(range, &mut result, options.border);
    }
    result
}

/// The standard deviation of the blur before an axis changes its length.
fn sigma(old: usize, new: usize) -> f64 {
    ((old as f64 / new as f64 - 1.0) / 2.0).max(0.0)
}

/// The blurs along the axes that shrink.
fn blurs(old: Shape, new: Shape, border: Border) -> [Option<Blur>; 3] {
    std::array::from_fn(|axis| {
        let sigma = sigma(old[axis], new[axis]);
        (sigma > 0.0).then(|| Blur::new(sigma, TRUNCATE, border, old[axis]))
    })
}

/// The steps of [`resize`] with its default options, all but the clipping, of which each is done
/// along one axis: the first from f32, those between in f64, the last to f32.
pub(crate) fn default_steps(old: Shape, new: Shape) -> Vec<Step> {
    let Resize { border, .. } = Resize::default();
    let positions = std::array::from_fn(|axis| positions(old[axis], new[axis], Alignment::Faces));
    steps(old, &positions, border, blurs(old, new, border))
}

/// Clips to a range, as [`resize`] does.
pub(crate) fn clip_to_range((low, high): (f32, f32), result: &mut Volume<f32>) {
    clip((low, high), result, Resize::default().border);
}

/// [`resize`] by factors along (z, y, x); the shape is that of [`rescale_shape`].
///
/// # Panics
///
/// If the volume has no voxels.
#[must_use]
pub fn rescale<T: Voxel>(volume: &Volume<T>, factors: [f64; 3], options: &Resize) -> Volume<T> {
    resize(volume, rescale_shape(volume.shape, factors), options)
}

/// The shape that [`rescale`] leads to: halves rounded to even, at least 1.
#[must_use]
pub fn rescale_shape(shape: Shape, factors: [f64; 3]) -> Shape {
    super::zoom_shape(shape, factors).map(|length| length.max(1))
}

/// Clips to the range of the old voxels. A constant border may widen that range where the
/// result reaches it.
fn clip<T: Voxel>((mut low, mut high): (T, T), result: &mut Volume<T>, border: Border) {
    if let (Border::Constant(value), Some((found_low, found_high))) =
        (border, range(&result.voxels))
        && (found_low.to_f64()..=found_high.to_f64()).contains(&value)
    {
        let value = T::from_f64(value);
        (low, high) = (smaller(low, value), larger(high, value));
    }
    for voxel in &mut result.voxels {
        *voxel = larger(low, smaller(high, *voxel));
    }
}

/// Smallest and largest voxel; a NaN counts only if there is nothing else.
fn range<T: Voxel>(voxels: &[T]) -> Option<(T, T)> {
    let first = *voxels.first()?;
    let widen = |(low, high), v: &T| (smaller(low, *v), larger(high, *v));
    Some(voxels.iter().fold((first, first), widen))
}

/// The second if either is NaN.
fn smaller<T: Voxel>(a: T, b: T) -> T {
    if a < b { a } else { b }
}

/// The second if either is NaN.
fn larger<T: Voxel>(a: T, b: T) -> T {
    if a > b { a } else { b }
}
