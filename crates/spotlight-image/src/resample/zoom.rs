//! Zoom with splines of order 0, 1 or 3, after SciPy's `scipy.ndimage.zoom`.

use rayon::prelude::*;

use super::spline::{Prefilter, cubic_weights};
use crate::grid::Shape;
use crate::lines::{LANES, Lanes, along_axis};
use crate::{Border, Volume, voxel::Voxel};

/// Before cubic coefficients are computed, [`Border::Nearest`] is made true by repeating
/// the last voxel this often; beyond that the coefficients no longer feel the edge.
const CUBIC_MARGIN: usize = 12;

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
    let changes = |axis: &usize| volume.shape[*axis] != shape[*axis];
    let mut axes: Vec<usize> = (0..3).rev().filter(changes).collect();
    // The axis that shrinks most goes first: it leaves the others less to do.
    let growth = |axis: &usize| shape[*axis] as f64 / volume.shape[*axis] as f64;
    axes.sort_by(|a, b| growth(a).total_cmp(&growth(b)));
    let steps: Vec<Step> =
        axes.iter().map(|a| Step::new(*a, volume.shape[*a], shape[*a], options)).collect();
    let mut result = match steps.as_slice() {
        [] => volume.clone(),
        [only] => only.apply(volume),
        [first, last] => last.apply::<f64, T>(&first.apply(volume)),
        [first, second, last] => {
            last.apply::<f64, T>(&second.apply::<f64, f64>(&first.apply(volume)))
        }
        _ => unreachable!("a volume has three axes"),
    };
    for step in &steps {
        step.fill_outside(&mut result, T::from_f64(options.border.constant()));
    }
    result
}

/// The zoom of one axis.
struct Step {
    axis: usize,
    old_length: usize,
    /// Voxels the line is extended by at both ends before anything else.
    margin: usize,
    prefilter: Option<Prefilter>,
    /// What each new voxel is made of.
    taps: Vec<Taps>,
    /// New voxels that lie outside and get the constant.
    outside: Vec<usize>,
    order: Order,
}

/// Places on the extended line and their weights; the order says how many count.
#[derive(Clone, Copy)]
struct Taps {
    places: [usize; 4],
    weights: [f64; 4],
}

impl Step {
    fn new(axis: usize, old_length: usize, new_length: usize, options: &Zoom) -> Self {
        assert!(old_length > 0 || new_length == 0, "no voxels along axis {axis} to zoom");
        let Zoom { order, border, alignment } = *options;
        let cubic = order == Order::Cubic;
        let margin = if cubic && border == Border::Nearest { CUBIC_MARGIN } else { 0 };
        let length = old_length + 2 * margin;
        let mut outside = Vec::new();
        let mut taps = Vec::with_capacity(new_length);
        for i in 0..new_length {
            let mut place = position(i, old_length, new_length, alignment) + margin as f64;
            let last = (length - 1) as f64;
            if matches!(border, Border::Constant(_)) && !(0.0..=last).contains(&place) {
                outside.push(i);
            }
            if matches!(border, Border::Nearest | Border::Constant(_)) {
                place = place.clamp(0.0, last);
            }
            taps.push(Taps::new(order, border, place, length));
        }
        let prefilter = cubic.then(|| Prefilter::new(border, length));
        Self { axis, old_length, margin, prefilter, taps, outside, order }
    }

    fn apply<S: Voxel, D: Voxel>(&self, volume: &Volume<S>) -> Volume<D> {
        let (first, last) = (self.margin, self.margin + self.old_length - 1);
        along_axis(volume, self.axis, self.margin, self.taps.len(), |line, new| {
            let (before, after) = (line[first], line[last]);
            line[..first].fill(before);
            line[last + 1..].fill(after);
            if let Some(prefilter) = &self.prefilter {
                prefilter.apply(line);
            }
            match self.order {
                Order::Nearest => self.interpolate::<1>(line, new),
                Order::Linear => self.interpolate::<2>(line, new),
                Order::Cubic => self.interpolate::<4>(line, new),
            }
        })
    }

    fn interpolate<const TAPS: usize>(&self, line: &[Lanes], new: &mut [Lanes]) {
        for (sum, taps) in new.iter_mut().zip(&self.taps) {
            *sum = [0.0; LANES];
            for tap in 0..TAPS {
                let (coefficient, weight) = (&line[taps.places[tap]], taps.weights[tap]);
                for lane in 0..LANES {
                    sum[lane] += coefficient[lane] * weight;
                }
            }
        }
    }

    /// Sets the planes across this axis that lie outside.
    fn fill_outside<T: Voxel>(&self, volume: &mut Volume<T>, value: T) {
        if self.outside.is_empty() {
            return;
        }
        let inner: usize = volume.shape[self.axis + 1..].iter().product();
        let block = (inner * self.taps.len()).max(1);
        volume.voxels.par_chunks_mut(block).for_each(|part| {
            for i in &self.outside {
                part[i * inner..(i + 1) * inner].fill(value);
            }
        });
    }
}

impl Taps {
    fn new(order: Order, border: Border, place: f64, length: usize) -> Self {
        let fraction = place - place.floor();
        let (first, weights) = match order {
            Order::Nearest => ((place + 0.5).floor(), [1.0, 0.0, 0.0, 0.0]),
            Order::Linear => (place.floor(), [1.0 - fraction, fraction, 0.0, 0.0]),
            Order::Cubic => (place.floor() - 1.0, cubic_weights(fraction)),
        };
        // Coefficients beyond the edge are those the prefilter assumed.
        let fold = match border {
            Border::Reflect | Border::Nearest => Border::Reflect,
            Border::Mirror | Border::Constant(_) => Border::Mirror,
        };
        let inside = |tap: usize| {
            let place = fold.inside(first as isize + tap as isize, length);
            place.expect("these borders are inside everywhere")
        };
        Self { places: std::array::from_fn(inside), weights }
    }
}

/// Where the new voxel `i` lies among the old ones.
fn position(i: usize, old_length: usize, new_length: usize, alignment: Alignment) -> f64 {
    match alignment {
        Alignment::Centres if new_length == 1 => 0.0,
        Alignment::Centres => i as f64 * ((old_length - 1) as f64 / (new_length - 1) as f64),
        Alignment::Faces => (i as f64 + 0.5) * (old_length as f64 / new_length as f64) - 0.5,
    }
}
