//! The last step of a segmentation: remove what cannot be a nucleus, close the others.

use crate::Volume;
use crate::label::{
    Connectivity, clear_border, components, fill_small_object_holes, remove_large_objects,
    remove_small_objects,
};

/// What [`cleanup`] removes and fills, in voxels; a step is left out where there is `None`.
/// The default is the paper's for nuclei at 0.58 µm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// Smaller objects are removed.
    pub min_object_voxels: Option<usize>,
    /// Larger objects are removed.
    pub max_object_voxels: Option<usize>,
    /// Objects that come this near to the edge in y or x are removed; 0 if they touch it.
    /// The first and last plane are no such edge.
    pub border_buffer_voxels: Option<usize>,
    /// Holes of an object with fewer voxels than this are filled.
    pub hole_voxels: Option<usize>,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            min_object_voxels: Some(500),
            max_object_voxels: Some(7500),
            border_buffer_voxels: Some(0),
            hole_voxels: Some(50),
        }
    }
}

/// Removes small and large objects, those at the edge in y and x, and fills holes of the
/// others, in this order; then numbers the connected objects (26 neighbours) 1, 2, 3 ...
/// (`cubic`'s `cleanup_segmentation`, but without its limit to 65,535 objects.)
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::segment::{Cleanup, cleanup};
///
/// let labels = Volume::new([1, 3, 4], vec![0, 0, 0, 0, 0, 9, 5, 0, 3, 0, 0, 0]);
/// let options =
///     Cleanup { min_object_voxels: None, hole_voxels: None, ..Cleanup::default() };
/// assert_eq!(cleanup(&labels, &options).voxels, [0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0]);
/// ```
#[must_use]
pub fn cleanup(labels: &Volume<u32>, options: &Cleanup) -> Volume<u32> {
    let mut cleaned = labels.clone();
    if let Some(voxels) = options.min_object_voxels {
        cleaned = remove_small_objects(&cleaned, voxels);
    }
    if let Some(voxels) = options.max_object_voxels {
        cleaned = remove_large_objects(&cleaned, voxels);
    }
    if let Some(voxels) = options.border_buffer_voxels {
        cleaned = clear_border(&cleaned, [None, Some(voxels), Some(voxels)]);
        cleaned = components(&cleaned, Connectivity::Corners);
    }
    if let Some(voxels) = options.hole_voxels {
        cleaned = fill_small_object_holes(&cleaned, voxels);
    }
    components(&cleaned, Connectivity::Corners)
}
