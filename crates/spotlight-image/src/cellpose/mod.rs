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
//! All equals Cellpose 3.1.1.1 on the CPU, with PyTorch's sampling in 3D, unless a function
//! says otherwise. Labels are u32 and any number of objects is possible.
//!
//! References: C. Stringer, T. Wang, M. Michaelos and M. Pachitariu, Nature Methods 18, 2021;
//! M. Pachitariu and C. Stringer, Nature Methods 19, 2022.

mod tiles;

pub use tiles::{PlaneTile, TileMean, Tiling, extract, frame, taper, tiles, unflip};
