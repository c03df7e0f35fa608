//! Reads a label image with its images and checks that they are of one place.

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_image::measure::Channel;
use spotlight_io::{Selection, Stack, read_stack};

use super::plan::{Field, Image, LengthUnit, Plan};
use crate::cli::failure;
use crate::cli::labels::labels_of;
use crate::cli::stacks::with_size;

/// What is measured together.
pub(super) struct Stacks {
    pub(super) labels: Volume<u32>,
    /// The images of [`Stacks::names`].
    pub(super) images: Vec<Volume<f32>>,
    /// What the columns of the images are called.
    pub(super) names: Vec<String>,
    /// Voxel size that lengths are measured with.
    pub(super) spacing_um: Option<[f64; 3]>,
}

impl Stacks {
    /// The images as measuring takes them.
    pub(super) fn channels(&self) -> Vec<Channel<'_>> {
        let named = self.names.iter().zip(&self.images);
        named.map(|(name, image)| Channel { name, image }).collect()
    }
}

/// Reads the files of a field.
///
/// # Errors
///
/// If one cannot be read, has another shape than the labels, or an image has no name.
pub(super) fn read(field: &Field, plan: &Plan) -> Result<Stacks> {
    let selection = Selection { channel: plan.label_channel.clone(), ..Selection::default() };
    let stack = read_stack(&field.labels, &selection)?;
    let spacing_um = match plan.unit {
        LengthUnit::Micrometre => plan.spacing_um.or(stack.spacing_um),
        LengthUnit::Voxel | LengthUnit::VoxelForWant => None,
    };
    let shape = stack.shape();
    let (mut images, mut names) = (Vec::new(), Vec::new());
    for image in &field.images {
        let selection = Selection { channel: image.channel.clone(), ..Selection::default() };
        let read = read_stack(&image.path, &selection)?;
        if read.shape() != shape {
            return Err(shapes_disagree(&stack, &read));
        }
        names.push(name(image, &read)?);
        images.push(read.to_f32());
    }
    Ok(Stacks { labels: labels_of(stack)?, images, names, spacing_um })
}

/// Letters and digits of the name of an image: underscores part the names of features.
fn name(image: &Image, stack: &Stack) -> Result<String> {
    let name = image.name.as_ref().or(stack.channel_name.as_ref());
    let letters: String =
        name.into_iter().flat_map(|name| name.chars()).filter(|c| c.is_alphanumeric()).collect();
    if letters.is_empty() {
        let path = image.path.display();
        return Err(failure(
            format!("{path} gives its channel no name to call the features by"),
            format!("name it: --image DNA={path}"),
        ));
    }
    Ok(letters)
}

fn shapes_disagree(labels: &Stack, image: &Stack) -> anyhow::Error {
    let told = |stack: &Stack| with_size(&stack.path, stack.shape());
    failure(
        format!("{} and {}", told(labels), told(image)),
        "measure labels in images of the same field and voxel size",
    )
}
