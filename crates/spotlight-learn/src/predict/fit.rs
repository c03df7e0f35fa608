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

/// A fitted stack, and how to undo the fit.
pub(super) struct Fitted {
    pub(super) volume: Volume<f32>,
    undo: Undo,
}

enum Undo {
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

    /// Brings a stack to multiples of `multiple`; [`Fit::shape`] must give a shape.
    pub(super) fn apply(self, stack: &Volume<f32>, multiple: usize) -> Fitted {
        let padded = |border| {
            let padding = pad_to_multiple(stack.shape, multiple);
            Fitted { volume: pad(stack, &padding, border), undo: Undo::Crop(padding.inner) }
        };
        match self {
            Self::Mirror => padded(Border::Mirror),
            Self::Zero => padded(Border::Constant(0.0)),
            Self::Crop => {
                let region = crop_to_multiple(stack.shape, multiple, None);
                let undo = Undo::Paste(region.start, stack.shape);
                Fitted { volume: stack.crop(region), undo }
            }
        }
    }
}

impl Fitted {
    /// A prediction for the fitted stack, on the grid of the stack before.
    pub(super) fn undo(&self, prediction: &Volume<f32>) -> Volume<f32> {
        match self.undo {
            Undo::Crop(region) => prediction.crop(region),
            Undo::Paste(start, shape) => {
                let mut whole = Volume::filled(shape, 0.0);
                whole.paste(start, prediction);
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
        let found = fit.apply(&stack, multiple);
        assert_eq!(fit.shape(shape, multiple), Some(found.volume.shape));
        assert_eq!(found.volume.voxels[..fitted.len()], *fitted);
        assert_eq!(found.volume.shape, [multiple, multiple, fitted.len()]);
        let undone = found.undo(&found.volume);
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
