//! Label images: connected components, and what is removed from and filled in them.
//!
//! A label image gives every voxel the number of the object it belongs to; 0 is none.
//! Numbers may have gaps and may exceed 65,535.

mod border;
mod components;
mod holes;
mod object_holes;
mod objects;

pub use border::clear_border;
pub use components::components;
pub(crate) use components::{Components, Rows, find_runs, root};
pub(crate) use holes::fill;
pub use holes::{fill_holes, fill_small_holes};
pub(crate) use object_holes::{crop_object, open_faces, paste_object, searched};
pub use object_holes::{fill_object_holes, fill_object_holes_in_planes, fill_small_object_holes};
pub(crate) use objects::boxes_in;
pub use objects::{
    bounding_boxes, relabel_sequential, remove_large_objects, remove_small_components,
    remove_small_objects, remove_thin_objects, remove_touching_objects, voxel_counts,
};

use serde::{Deserialize, Serialize};

/// Which voxels are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connectivity {
    /// The 6 that share a face. (scikit-image's connectivity 1.)
    Faces,
    /// The 18 that share a face or an edge. (Connectivity 2.)
    Edges,
    /// The 26 that share a face, an edge or a corner. (Connectivity 3, full.)
    Corners,
}

impl Connectivity {
    /// How many axes a step to a neighbour may go along at once.
    #[must_use]
    pub fn steps(self) -> usize {
        match self {
            Self::Faces => 1,
            Self::Edges => 2,
            Self::Corners => 3,
        }
    }
}
