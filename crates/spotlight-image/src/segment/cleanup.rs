//! The last step of a segmentation: remove what cannot be a nucleus, close the others.

use serde::{Deserialize, Serialize};

use crate::Volume;
use crate::label::{
    Connectivity, clear_border, components, fill_small_object_holes, remove_large_objects,
    remove_small_objects,
};

/// What [`cleanup`] removes and fills. The default is the paper's for nuclei at 0.58 µm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cleanup {
    /// Objects with fewer voxels are removed.
    pub min_object_voxels: usize,
    /// Objects with more voxels are removed; 0 for no limit.
    pub max_object_voxels: usize,
    /// Whether objects at the edge in y or x are removed. The first and last plane are no
    /// such edge.
    pub clear_border: bool,
    /// How near to the edge an object may not come, in voxels; 0 if it may not touch it.
    pub border_buffer_voxels: usize,
    /// Holes of an object with fewer voxels than this are filled.
    pub hole_voxels: usize,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            min_object_voxels: 500,
            max_object_voxels: 7500,
            clear_border: true,
            border_buffer_voxels: 0,
            hole_voxels: 50,
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
///     Cleanup { min_object_voxels: 0, hole_voxels: 0, ..Cleanup::default() };
/// assert_eq!(cleanup(&labels, &options).voxels, [0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0]);
/// ```
#[must_use]
pub fn cleanup(labels: &Volume<u32>, options: &Cleanup) -> Volume<u32> {
    let mut cleaned = remove_small_objects(labels, options.min_object_voxels);
    if options.max_object_voxels > 0 {
        cleaned = remove_large_objects(&cleaned, options.max_object_voxels);
    }
    if options.clear_border {
        let buffer = Some(options.border_buffer_voxels);
        cleaned = clear_border(&cleaned, [None, buffer, buffer]);
        cleaned = components(&cleaned, Connectivity::Corners);
    }
    if options.hole_voxels > 0 {
        cleaned = fill_small_object_holes(&cleaned, options.hole_voxels);
    }
    components(&cleaned, Connectivity::Corners)
}
