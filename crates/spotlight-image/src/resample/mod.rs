//! Resampling between voxel sizes.
//!
//! [`zoom`] interpolates with splines and nothing else; it is the paper's resizer.
//! [`zoom_part`] gives a box of its result from a box of its input, for stacks that do not fit in
//! memory. [`resize`] blurs first where it shrinks, for images that are looked at or segmented.

mod cubic;
mod linear;
mod part;
mod resize;
mod spline;
mod zoom;

pub(crate) use cubic::{Step, apply};
pub use part::{zoom_part, zoom_source};
pub use resize::{Resize, rescale, rescale_shape, resize, resize_owned};
pub(crate) use resize::{clip_to_range, default_steps};
pub use zoom::{Alignment, Order, Zoom, resample_to_spacing, zoom, zoom_shape, zoom_with};
