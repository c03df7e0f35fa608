//! Opens a label image with its images, checks that they are of one place, and measures them: at
//! once where they fit into memory, else box by box.

use anyhow::Result;
use spotlight_image::grid::{boxes_of_blocks, voxel_count};
use spotlight_image::measure::{
    Channel, FeatureTable, FieldBox, MeasureMemory, MeasureOptions, ObjectSearch, batches,
    measure_and_tell, measure_batches,
};
use spotlight_image::{Region, Volume};
use spotlight_io::{Image as ImageFile, OpenStack, Selection};

use super::plan::{Field, Image, LengthUnit, Plan};
use crate::cli::failure;
use crate::cli::labels::{label_reading_bytes, labels_of_box, object_too_large};
use crate::cli::stacks::{into_f32, reading_bytes, with_size};

/// Bytes that the measuring itself takes for each voxel of a stack that is in memory.
const WORKING_BYTES: u64 = 12;

/// Part of the work that is done when the objects of a stack are found.
const FOUND: f64 = 0.2;

/// What is measured together.
pub(super) struct Stacks {
    labels: OpenStack,
    /// The images of [`Stacks::names`].
    images: Vec<OpenStack>,
    /// What the columns of the images are called.
    pub(super) names: Vec<String>,
    /// Voxel size that lengths are measured with.
    pub(super) spacing_um: Option<[f64; 3]>,
}

/// Opens the files of a field.
///
/// # Errors
///
/// If one cannot be read, has another shape than the labels, or an image has no name.
pub(super) fn open(field: &Field, plan: &Plan) -> Result<Stacks> {
    let selection = Selection { channel: plan.label_channel.clone(), ..Selection::default() };
    let labels = ImageFile::open(&field.labels)?.stack(&selection)?;
    let spacing_um = match plan.unit {
        LengthUnit::Micrometre => plan.spacing_um.or(labels.spacing_um()),
        LengthUnit::Voxel | LengthUnit::VoxelForWant => None,
    };
    let (mut images, mut names) = (Vec::new(), Vec::new());
    for image in &field.images {
        let selection = Selection { channel: image.channel.clone(), ..Selection::default() };
        let opened = ImageFile::open(&image.path)?.stack(&selection)?;
        if opened.shape() != labels.shape() {
            return Err(shapes_disagree(&labels, &opened));
        }
        names.push(name(image, &opened)?);
        images.push(opened);
    }
    Ok(Stacks { labels, images, names, spacing_um })
}

impl Stacks {
    /// Measures the objects within this many bytes of memory; `tell` learns the part that is
    /// done, from any thread.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or an object does not fit.
    pub(super) fn measure(
        &self,
        options: &MeasureOptions,
        memory_bytes: u64,
        tell: &(dyn Fn(f64) + Sync),
    ) -> Result<FeatureTable> {
        let voxels = voxel_count(self.labels.shape()) as u64;
        if (self.bytes_per_voxel() + WORKING_BYTES).saturating_mul(voxels) > memory_bytes {
            return self.measure_parts(options, memory_bytes, tell);
        }
        let FieldBox { labels, images } = self.read(Region::whole(self.labels.shape()))?;
        let named = self.names.iter().zip(&images);
        let channels: Vec<Channel<'_>> =
            named.map(|(name, image)| Channel { name, image }).collect();
        let tell = |done: usize, of: usize| tell(done as f64 / of.max(1) as f64);
        Ok(measure_and_tell(&labels, &channels, options, &tell))
    }

    /// As [`Stacks::measure`], where no more than a box is in memory at a time.
    fn measure_parts(
        &self,
        options: &MeasureOptions,
        memory_bytes: u64,
        tell: &(dyn Fn(f64) + Sync),
    ) -> Result<FeatureTable> {
        let shape = self.labels.shape();
        let of_voxel = label_reading_bytes(self.labels.sample_type());
        let parts = boxes_of_blocks(shape, self.labels.block(), to_size(memory_bytes / of_voxel));
        let mut search = ObjectSearch::new(shape);
        for (done, region) in parts.iter().enumerate() {
            search.add(region.start, &self.read_labels(*region)?);
            tell(FOUND * (done + 1) as f64 / parts.len() as f64);
        }
        let objects = search.finish();
        let memory = MeasureMemory {
            bytes: memory_bytes,
            bytes_per_voxel: self.bytes_per_voxel(),
            threads: rayon::current_num_threads(),
        };
        let batches = batches(&objects, &memory)
            .map_err(|large| object_too_large(self.labels.path(), &large))?;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let read = |region| self.read(region);
        let tell = |done: usize, of: usize| {
            tell(FOUND + (1.0 - FOUND) * done as f64 / of.max(1) as f64);
        };
        measure_batches(objects, &names, options, &batches, read, &tell)
    }

    /// Bytes that a voxel of a box takes while all of it is read: the labels and images that are
    /// there already, and the one that is being read.
    fn bytes_per_voxel(&self) -> u64 {
        let of_images =
            self.images.iter().enumerate().map(|(before, image)| {
                4 * (before as u64 + 1) + reading_bytes(image.sample_type())
            });
        let of_labels = label_reading_bytes(self.labels.sample_type());
        of_images.fold(of_labels, u64::max)
    }

    fn read(&self, region: Region) -> Result<FieldBox> {
        let labels = self.read_labels(region)?;
        let image = |stack: &OpenStack| Ok(into_f32(stack.read(region)?));
        let images = self.images.iter().map(image).collect::<Result<_>>()?;
        Ok(FieldBox { labels, images })
    }

    fn read_labels(&self, region: Region) -> Result<Volume<u32>> {
        labels_of_box(self.labels.read(region)?, region.start, self.labels.path())
    }
}

fn to_size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Letters and digits of the name of an image: underscores part the names of features.
fn name(image: &Image, stack: &OpenStack) -> Result<String> {
    let name = image.name.as_deref().or(stack.channel_name());
    let letters: String =
        name.into_iter().flat_map(str::chars).filter(|c| c.is_alphanumeric()).collect();
    if letters.is_empty() {
        let path = image.path.display();
        return Err(failure(
            format!("{path} gives its channel no name to call the features by"),
            format!("name it: --image DNA={path}"),
        ));
    }
    Ok(letters)
}

fn shapes_disagree(labels: &OpenStack, image: &OpenStack) -> anyhow::Error {
    let told = |stack: &OpenStack| with_size(stack.path(), stack.shape());
    failure(
        format!("{} and {}", told(labels), told(image)),
        "measure labels in images of the same field and voxel size",
    )
}
