//! Cubic splines, one axis after the other.

use std::borrow::Cow;

use super::spline::{Prefilter, cubic_weights};
use crate::filter::Blur;
use crate::grid::Shape;
use crate::lines::{LANES, along_axis};
use crate::{Border, Volume, voxel::Voxel};

/// Where no recursion exists that fits a border, the line is extended by this many voxels
/// before coefficients are computed; beyond that they no longer feel the edge.
const MARGIN: usize = 12;

/// Cubic interpolation at each position, after a blur along (z, y, x) where there is one.
/// Axes whose length stays are left as they are: a spline takes the old values there.
///
/// Each axis is blurred right before it is interpolated, with no rounding in between: filters
/// along different axes may change places, and so fewer voxels are blurred along the others.
/// A volume that is owned is freed as soon as the first axis is done.
pub(super) fn cubic<T: Voxel>(
    volume: Cow<'_, Volume<T>>,
    positions: &[Vec<f64>; 3],
    border: Border,
    blurs: [Option<Blur>; 3],
) -> Volume<T> {
    match steps(volume.shape, positions, border, blurs).as_slice() {
        [] => volume.into_owned(),
        [only] => apply(only, &volume),
        [first, others @ ..] => {
            let mut between: Volume<f64> = apply(first, &volume);
            drop(volume);
            if let [second, _] = others {
                between = apply(second, &between);
            }
            apply(&others[others.len() - 1], &between)
        }
    }
}

/// Whether an axis keeps its voxels.
fn stays(old_length: usize, positions: &[f64]) -> bool {
    old_length == positions.len() && positions.iter().enumerate().all(|(i, at)| *at == i as f64)
}

/// The steps of [`cubic`], one for each axis that changes, in their order.
pub(crate) fn steps(
    shape: Shape,
    positions: &[Vec<f64>; 3],
    border: Border,
    mut blurs: [Option<Blur>; 3],
) -> Vec<Step> {
    let growth = |axis: &usize| positions[*axis].len() as f64 / shape[*axis] as f64;
    let mut axes: Vec<usize> =
        (0..3).rev().filter(|axis| !stays(shape[*axis], &positions[*axis])).collect();
    // The axis that shrinks most goes first: it leaves the others less to do.
    axes.sort_by(|a, b| growth(a).total_cmp(&growth(b)));
    let step = |axis| Step::new(axis, shape[axis], &positions[axis], border, blurs[axis].take());
    axes.into_iter().map(step).collect()
}

/// The blur and the interpolation along one axis.
pub(crate) struct Step {
    pub(crate) axis: usize,
    blur: Option<Blur>,
    old_length: usize,
    border: Border,
    /// Voxels the line is extended by at both ends before anything else.
    margin: usize,
    prefilter: Prefilter,
    /// The four coefficients each new voxel is made of, and their weights.
    taps: Vec<[(usize, f64); 4]>,
}

impl Step {
    fn new(
        axis: usize,
        old_length: usize,
        positions: &[f64],
        border: Border,
        blur: Option<Blur>,
    ) -> Self {
        let margin = match border {
            Border::Nearest | Border::Constant(_) => MARGIN,
            Border::Mirror | Border::Reflect | Border::Cutoff(_) => 0,
        };
        let length = old_length + 2 * margin;
        // Coefficients beyond the edge are those the prefilter assumed.
        let fold = match border {
            Border::Reflect | Border::Nearest => Border::Reflect,
            Border::Mirror | Border::Constant(_) | Border::Cutoff(_) => Border::Mirror,
        };
        let taps = |position: &f64| {
            let place = (position + margin as f64).floor();
            let weights = cubic_weights(position + margin as f64 - place);
            std::array::from_fn(|tap| {
                let inside = fold.inside(place as isize - 1 + tap as isize, length);
                (inside.expect("a mirror shows a voxel everywhere"), weights[tap])
            })
        };
        let taps = positions.iter().map(taps).collect();
        let prefilter = Prefilter::new(border, length);
        Self { axis, blur, old_length, border, margin, prefilter, taps }
    }

    /// Voxels of a new line.
    pub(crate) fn length(&self) -> usize {
        self.taps.len()
    }
}

/// Blurs and interpolates along an axis; every line by itself.
pub(crate) fn apply<S: Voxel, D: Voxel>(step: &Step, volume: &Volume<S>) -> Volume<D> {
    let margin = step.margin + step.blur.as_ref().map_or(0, Blur::radius);
    let length = step.old_length + 2 * step.margin;
    along_axis(volume, step.axis, margin, step.taps.len(), |line, new| {
        if let Some(blur) = &step.blur {
            blur.shift(&mut line[step.margin..], step.old_length);
        }
        let line = &mut line[..length];
        let (first, last) = (step.margin, step.margin + step.old_length - 1);
        let (before, after) = match step.border {
            Border::Constant(value) => ([value; LANES], [value; LANES]),
            _ => (line[first], line[last]),
        };
        line[..first].fill(before);
        line[last + 1..].fill(after);
        step.prefilter.apply(line);
        for (sum, taps) in new.iter_mut().zip(&step.taps) {
            *sum = [0.0; LANES];
            for (place, weight) in taps {
                let coefficients = &line[*place];
                for lane in 0..LANES {
                    sum[lane] += coefficients[lane] * weight;
                }
            }
        }
    })
}
