//! Measuring within a bound of memory: the objects of one box after the other.
//!
//! ```text
//! batches: all objects → their joint box, if it fits
//!          else halves of them by position along z, y or x, each in the same way
//! measure: read a box → the rows of its objects → the next box
//! ```
//!
//! A feature depends on nothing but the voxels of the object's own box, so that a table does not
//! depend on the batches.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::object::Object;
use super::table::FeatureTable;
use super::{Channel, MeasureOptions, columns, row};
use crate::grid::voxel_count;
use crate::{Region, Volume};

/// Bytes that measuring an object takes for each voxel of its box: masks, grey levels, the image,
/// background runs and the boxes that vertices are sorted into.
const BYTES_OF_VOXEL: u64 = 12;

/// Bytes of the planes in which vertices are numbered, for each voxel of a plane.
const BYTES_OF_PLANE_VOXEL: u64 = 48;

/// Bytes of the vertices and triangles at a voxel of the surface.
const BYTES_OF_SURFACE_VOXEL: u64 = 200;

/// How much memory measuring may take, and what reading takes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasureMemory {
    /// The bound.
    pub bytes: u64,
    /// Bytes that a voxel of a box takes while the box is read and measured: labels, images and
    /// what reading needs besides.
    pub bytes_per_voxel: u64,
    /// Objects that are measured side by side.
    pub threads: usize,
}

/// Objects that are measured together, and the box that holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The joint box.
    pub region: Region,
    /// Which objects, by place.
    pub objects: Vec<usize>,
}

/// An object that is larger than the memory it may be measured in.
#[derive(Clone, Debug, PartialEq)]
pub struct TooLarge {
    /// The object.
    pub object: Object,
    /// What it needs.
    pub bytes: u64,
}

/// A box of a label image, with the same box of each image.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldBox {
    /// The labels.
    pub labels: Volume<u32>,
    /// The images, of the labels' shape.
    pub images: Vec<Volume<f32>>,
}

/// Parts objects into batches that fit into memory. Every object is in one batch.
///
/// # Errors
///
/// If an object does not fit alone.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::measure::{MeasureMemory, batches, objects};
///
/// let labels = Volume::from_fn([4, 40, 40], |[_, y, x]| (1 + y / 10 * 4 + x / 10) as u32);
/// let memory = MeasureMemory { bytes: 500_000, bytes_per_voxel: 6, threads: 1 };
/// let found = batches(&objects(&labels), &memory).unwrap();
/// assert_eq!(found.iter().map(|batch| batch.objects.len()).sum::<usize>(), 16);
/// let little = MeasureMemory { bytes: 5_000, ..memory };
/// assert_eq!(batches(&objects(&labels), &little).unwrap_err().object.label, 1);
/// ```
pub fn batches(objects: &[Object], memory: &MeasureMemory) -> Result<Vec<Batch>, Box<TooLarge>> {
    for object in objects {
        let bytes = bytes_of(objects, object.region, &[], memory) + bytes_of_object(object);
        if bytes > memory.bytes {
            return Err(Box::new(TooLarge { object: object.clone(), bytes }));
        }
    }
    let mut found = Vec::new();
    let mut places: Vec<usize> = (0..objects.len()).collect();
    part(objects, &mut places, memory, &mut found);
    Ok(found)
}

/// Measures the objects of an image box by box, as [`super::measure`] does at once: `read` gives
/// the boxes, with an image for each of the channels, of which these are the names.
///
/// `tell` learns how many objects are measured of how many, from any thread.
///
/// # Errors
///
/// The first of `read`.
///
/// # Panics
///
/// If a box that was read has another shape than it was asked for.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
///
/// use spotlight_image::Volume;
/// use spotlight_image::measure::{
///     FieldBox, MeasureMemory, MeasureOptions, batches, measure, measure_batches, objects,
/// };
///
/// let labels = Volume::from_fn([4, 40, 40], |[_, y, x]| (1 + y / 10 * 4 + x / 10) as u32);
/// let memory = MeasureMemory { bytes: 500_000, bytes_per_voxel: 6, threads: 1 };
/// let (objects, options) = (objects(&labels), MeasureOptions::default());
/// let batches = batches(&objects, &memory).unwrap();
/// let read = |region| Ok::<_, Infallible>(FieldBox { labels: labels.crop(region), images: vec![] });
/// let table = measure_batches(objects, &[], &options, &batches, read, &|_, _| ()).unwrap();
/// assert_eq!(table, measure(&labels, &[], &options));
/// ```
pub fn measure_batches<E>(
    objects: Vec<Object>,
    channels: &[&str],
    options: &MeasureOptions,
    batches: &[Batch],
    mut read: impl FnMut(Region) -> Result<FieldBox, E>,
    tell: &(dyn Fn(usize, usize) + Sync),
) -> Result<FeatureTable, E> {
    let mut columns = columns(channels);
    columns.iter_mut().for_each(|column| column.values = vec![f64::NAN; objects.len()]);
    let done = AtomicUsize::new(0);
    for batch in batches {
        let field = read(batch.region)?;
        let shapes = field.images.iter().map(|image| image.shape).chain([field.labels.shape]);
        shapes.for_each(|shape| assert_eq!(shape, batch.region.shape, "a box of another shape"));
        let named = channels.iter().zip(&field.images);
        let named: Vec<Channel<'_>> = named.map(|(name, image)| Channel { name, image }).collect();
        let measured = |place: &usize| {
            let row = row(&field.labels, batch.region.start, &objects[*place], &named, options);
            tell(done.fetch_add(1, Ordering::Relaxed) + 1, objects.len());
            row
        };
        let rows: Vec<Vec<f64>> = batch.objects.par_iter().map(measured).collect();
        for (place, row) in batch.objects.iter().zip(rows) {
            columns.iter_mut().zip(row).for_each(|(column, value)| column.values[*place] = value);
        }
    }
    Ok(FeatureTable { objects, columns, spacing_um: options.spacing_um })
}

/// Appends the batches of some objects, each of which fits alone.
fn part(objects: &[Object], places: &mut [usize], memory: &MeasureMemory, to: &mut Vec<Batch>) {
    let Some(region) = joint_box(objects, places) else { return };
    if places.len() == 1 || bytes_of(objects, region, places, memory) <= memory.bytes {
        places.sort_unstable();
        return to.push(Batch { region, objects: places.to_vec() });
    }
    let middle = places.len() / 2;
    let mut cost = |axis: usize| {
        halve(objects, places, axis);
        let (low, high) = places.split_at(middle);
        let voxels = |half| joint_box(objects, half).map_or(0, |region| voxel_count(region.shape));
        voxels(low) + voxels(high)
    };
    let costs = [0, 1, 2].map(&mut cost);
    let best = (0..3).min_by_key(|axis| costs[*axis]).unwrap_or(0);
    halve(objects, places, best);
    let (low, high) = places.split_at_mut(middle);
    part(objects, low, memory, to);
    part(objects, high, memory, to);
}

/// Brings the half of the objects whose boxes lie lower along an axis to the front.
fn halve(objects: &[Object], places: &mut [usize], axis: usize) {
    let key = |place: &usize| {
        let Region { start, shape } = objects[*place].region;
        (2 * start[axis] + shape[axis], *place)
    };
    places.select_nth_unstable_by_key(places.len() / 2, key);
}

fn joint_box(objects: &[Object], places: &[usize]) -> Option<Region> {
    let ends = |place: &usize| (objects[*place].region.start, objects[*place].region.stop());
    let join = |(a, b): ([usize; 3], [usize; 3]), (low, high): ([usize; 3], [usize; 3])| {
        ([0, 1, 2].map(|i| a[i].min(low[i])), [0, 1, 2].map(|i| b[i].max(high[i])))
    };
    let (start, stop) = places.iter().map(ends).reduce(join)?;
    Some(Region { start, shape: [0, 1, 2].map(|axis| stop[axis] - start[axis]) })
}

/// What a box with these objects needs: its voxels, and the largest that are measured at once.
fn bytes_of(objects: &[Object], region: Region, places: &[usize], memory: &MeasureMemory) -> u64 {
    let voxels = memory.bytes_per_voxel * voxel_count(region.shape) as u64;
    let mut working: Vec<u64> =
        places.iter().map(|place| bytes_of_object(&objects[*place])).collect();
    let at_once = memory.threads.max(1).min(working.len());
    if at_once < working.len() {
        working.select_nth_unstable_by(at_once, |a, b| b.cmp(a));
    }
    voxels + working[..at_once].iter().sum::<u64>()
}

/// What measuring one object takes beside the box: an estimate, since the surface is not known.
fn bytes_of_object(object: &Object) -> u64 {
    let [depth, height, width] = object.region.shape.map(|side| side as u64);
    let faces = 2 * (depth * height + depth * width + height * width);
    BYTES_OF_VOXEL * depth * height * width
        + BYTES_OF_PLANE_VOXEL * (height + 2) * (width + 2)
        + BYTES_OF_SURFACE_VOXEL * object.voxels.min(2 * faces)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::{FeatureSet, ObjectSearch, measure};
    use super::*;

    /// Boxes with a hole or a corner less, over one another in part; a scattered label and one
    /// at the far corner.
    fn labels(shape: [usize; 3]) -> Volume<u32> {
        let mut labels = Volume::from_fn(shape, |[z, y, x]| {
            let inside = (z % 9) * (y % 11) * (x % 12) % 5 > 0;
            u32::from(inside) * (1 + z / 9 * 100 + y / 11 * 10 + x / 12) as u32 * 7919
        });
        for step in 0..9 {
            let at = labels.offset([step, 2 * step, 3 * step]);
            labels.voxels[at] = u32::MAX;
        }
        *labels.voxels.last_mut().unwrap() = 4;
        labels
    }

    fn image(shape: [usize; 3], factor: usize) -> Volume<f32> {
        Volume::from_fn(shape, |[z, y, x]| ((factor * z + 3 * y * y + 5 * x) % 101) as f32 * 0.37)
    }

    #[test]
    fn any_memory_gives_the_same_table() {
        let shape = [23, 37, 53];
        let labels = labels(shape);
        let images = [image(shape, 7), image(shape, 2)];
        let named = |i: usize| Channel { name: ["a", "b"][i], image: &images[i] };
        let options = MeasureOptions {
            features: FeatureSet::ShapeAndIntensity,
            spacing_um: Some([0.3, 0.1, 0.1]),
            ..MeasureOptions::default()
        };
        let whole = measure(&labels, &[named(0), named(1)], &options);
        let mut numbers_of_batches = Vec::new();
        for bytes in [1 << 30, 400_000, 150_000] {
            let mut search = ObjectSearch::new(shape);
            for z in 0..shape[0] {
                let region = Region { start: [z, 0, 0], shape: [1, shape[1], shape[2]] };
                search.add(region.start, &labels.crop(region));
            }
            let objects = search.finish();
            let memory = MeasureMemory { bytes, bytes_per_voxel: 14, threads: 2 };
            let batches = batches(&objects, &memory).unwrap();
            numbers_of_batches.push(batches.len());
            for batch in &batches {
                let needed = bytes_of(&objects, batch.region, &batch.objects, &memory);
                assert!(needed <= bytes, "{needed}");
            }
            let read = |region: Region| {
                let images = images.iter().map(|image| image.crop(region)).collect();
                Ok::<_, Infallible>(FieldBox { labels: labels.crop(region), images })
            };
            let told = AtomicUsize::new(0);
            let tell = |_, of| {
                told.fetch_add(1, Ordering::Relaxed);
                assert_eq!(of, whole.objects.len());
            };
            let table =
                measure_batches(objects, &["a", "b"], &options, &batches, read, &tell).unwrap();
            assert_eq!(format!("{table:?}"), format!("{whole:?}"));
            assert_eq!(told.into_inner(), whole.objects.len());
        }
        let [one, some, many] = numbers_of_batches[..] else { unreachable!() };
        assert!(one == 1 && some > 1 && many > some, "{numbers_of_batches:?}");
    }

    #[test]
    fn an_object_that_does_not_fit_is_named() {
        let mut labels = Volume::filled([9, 9, 9], 0);
        labels.voxels[0] = 5;
        for at in [[1, 1, 1], [8, 8, 8]] {
            let at = labels.offset(at);
            labels.voxels[at] = 7;
        }
        let objects = super::super::objects(&labels);
        let memory = MeasureMemory { bytes: 6000, bytes_per_voxel: 1, threads: 1 };
        let TooLarge { object, bytes } = *batches(&objects, &memory).unwrap_err();
        assert_eq!((object.label, object.region.shape), (7, [8; 3]));
        assert!(bytes > 6000);
    }

    #[test]
    fn an_error_of_reading_ends_it() {
        let labels = labels([9, 22, 36]);
        let objects = super::super::objects(&labels);
        let memory = MeasureMemory { bytes: 1 << 30, bytes_per_voxel: 4, threads: 1 };
        let batches = batches(&objects, &memory).unwrap();
        let options = MeasureOptions::default();
        let read = |_| Err("unplugged");
        let result = measure_batches(objects, &[], &options, &batches, read, &|_, _| ());
        assert_eq!(result.unwrap_err(), "unplugged");
        let none = measure_batches(Vec::new(), &[], &options, &[], read, &|_, _| ()).unwrap();
        assert!(none.objects.is_empty() && none.columns.len() == 43);
    }
}
