//! The array half of Cellpose: all but its network.
//!
//! Cellpose predicts, for each voxel, whether it lies in a cell and which way its centre is.
//! Everything around the network is here, as functions on arrays: an image is normalised
//! ([`normalise`]), resized ([`resize_linear`]), framed and cut into tiles ([`frame`],
//! [`tiles`]); the answers to the tiles are averaged ([`TileMean`]); and the flows are
//! followed to their ends, which makes objects ([`masks_of_stack`], [`masks_of_planes`]).
//! [`stitch`] joins objects of planes to objects of a stack. The other way round,
//! [`flows_of_planes`] and its kin make the flows that a perfect network would predict.
//!
//! All equals Cellpose 3.1.1.1 on the CPU, unless a function says otherwise. Labels are u32,
//! so any number of objects is possible.
//!
//! References: C. Stringer, T. Wang, M. Michaelos and M. Pachitariu, Nature Methods 18, 2021;
//! M. Pachitariu and C. Stringer, Nature Methods 19, 2022.

mod dynamics;
mod flows;
mod heat;
mod normalise;
mod resize;
mod stitch;
mod tiles;

pub use dynamics::{
    Dynamics, ends_in_plane, ends_in_stack, fill_and_remove, flow_errors, masks_of_planes,
    masks_of_stack, objects_of_plane, objects_of_stack, remove_bad_flows,
};
pub use flows::{
    flows_of_planes, flows_of_stack, joint_flows_of_planes, joint_flows_of_stack, object_centres,
};
pub use normalise::{Normalisation, normalise, normalise99};
pub use resize::{resize_linear, resize_nearest, scaled_shape};
pub use stitch::stitch;
pub use tiles::{PlaneTile, TileMean, Tiling, extract, frame, taper, tiles, unflip};
