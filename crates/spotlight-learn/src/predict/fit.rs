//! To a size that the network can halve often enough, and back.

use serde::{Deserialize, Serialize};
use spotlight_image::tile::{crop_to_multiple, pad, pad_to_multiple};
use spotlight_image::{Border, Region, Shape, Volume};

/// How a stack is brought to multiples of 2 to the power of the depth of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// It is mirrored at its outermost voxels until it is large enough: every voxel gets
    /// a prediction, and the network sees no edge that is not there.
    #[default]
    Mirror,
    /// Zeros, the mean of a standardised stack, are put around it.
    Zero,
    /// It is cropped around its middle, as F-net's authors did; voxels that are cropped
    /// away are 0 in the prediction.
    Crop,
}

/// How to bring what was computed for a fitted stack back to the grid of the stack before.
pub(super) enum Undo {
    /// Take this region of the fitted grid.
    Crop(Region),
    /// Lay the fitted grid at this voxel of a grid of this shape.
    Paste([usize; 3], Shape),
}

impl Fit {
    /// The shape after fitting; none where cropping would leave nothing.
    pub(super) fn shape(self, shape: Shape, multiple: usize) -> Option<Shape> {
        let fitted = match self {
            Self::Mirror | Self::Zero => pad_to_multiple(shape, multiple).shape,
            Self::Crop => crop_to_multiple(shape, multiple, None).shape,
        };
        (!fitted.contains(&0)).then_some(fitted)
    }

    /// Voxels that are put before the first along each axis.
    pub(super) fn before(shape: Shape, fitted: Shape) -> [usize; 3] {
        std::array::from_fn(|axis| (fitted[axis] - shape[axis]) / 2)
    }

    /// For so many places of the fitted axis from `start` on, the voxel that stands there; none
    /// where it is a zero. Not for [`Fit::Crop`].
    pub(super) fn places(
        self,
        length: usize,
        fitted: usize,
        start: usize,
        count: usize,
    ) -> Vec<Option<usize>> {
        let border = if self == Self::Zero { Border::Constant(0.0) } else { Border::Mirror };
        let before = (fitted - length) / 2;
        let place = |at: usize| border.inside(at as isize - before as isize, length);
        (start..start + count).map(place).collect()
    }

    /// Brings a stack to multiples of `multiple`; [`Fit::shape`] must give a shape.
    pub(super) fn apply(self, stack: Volume<f32>, multiple: usize) -> (Volume<f32>, Undo) {
        let padded = |border| {
            let padding = pad_to_multiple(stack.shape, multiple);
            (pad(&stack, &padding, border), Undo::Crop(padding.inner))
        };
        if stack.shape.iter().all(|length| length.is_multiple_of(multiple)) {
            let all = Region { start: [0; 3], shape: stack.shape };
            return (stack, Undo::Crop(all));
        }
        match self {
            Self::Mirror => padded(Border::Mirror),
            Self::Zero => padded(Border::Constant(0.0)),
            Self::Crop => {
                let region = crop_to_multiple(stack.shape, multiple, None);
                (stack.crop(region), Undo::Paste(region.start, stack.shape))
            }
        }
    }
}

impl Undo {
    /// A prediction for the fitted stack, on the grid of the stack before.
    pub(super) fn apply(&self, prediction: Volume<f32>) -> Volume<f32> {
        match *self {
            Self::Crop(region) if region.shape == prediction.shape => prediction,
            Self::Crop(region) => prediction.crop(region),
            Self::Paste(start, shape) => {
                let mut whole = Volume::filled(shape, 0.0);
                whole.paste(start, &prediction);
                whole
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fit: Fit, row: &[f32], multiple: usize, fitted: &[f32], back: &[f32]) {
        let shape = [multiple, multiple, row.len()];
        let stack = Volume::from_fn(shape, |[_, _, x]| row[x]);
        let (found, undo) = fit.apply(stack, multiple);
        assert_eq!(fit.shape(shape, multiple), Some(found.shape));
        assert_eq!(found.voxels[..fitted.len()], *fitted);
        assert_eq!(found.shape, [multiple, multiple, fitted.len()]);
        let undone = undo.apply(found);
        assert_eq!(undone.shape, shape);
        assert_eq!(undone.voxels[..row.len()], *back);
    }

    #[test]
    fn stacks_are_fitted_around_their_middle_and_back() {
        let row = [1.0, 2.0, 3.0, 4.0, 5.0];
        check(Fit::Mirror, &row, 4, &[2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 4.0, 3.0], &row);
        check(Fit::Zero, &row, 4, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0], &row);
        check(Fit::Crop, &row, 2, &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0, 0.0]);
        check(Fit::Mirror, &row[..4], 4, &row[..4], &row[..4]);
        check(Fit::Mirror, &row[..1], 4, &[1.0; 4], &row[..1]);
    }

    #[test]
    fn a_stack_that_cannot_be_cropped_has_no_shape() {
        assert_eq!(Fit::Crop.shape([15, 64, 64], 16), None);
        assert_eq!(Fit::Crop.shape([65, 232, 344], 16), Some([64, 224, 336]));
    }
}
