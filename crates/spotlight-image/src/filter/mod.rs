//! Filters in 3D: median, Gaussian, contrast, distances and binary morphology.

mod clahe;
mod distance;
mod footprint;
mod gaussian;
mod median;
mod morphology;
mod order;
mod stretch;

pub use clahe::{Clahe, clahe};
pub(crate) use clahe::{TileCounts, bin_of_values, interpolate, places, to_u16, to_unit};
pub use distance::distance_transform;
pub(crate) use distance::{across_planes, squared_in_planes};
pub use footprint::{Footprint, FootprintRow};
pub(crate) use gaussian::Blur;
pub use gaussian::gaussian;
pub use median::{median, median_cube};
pub use morphology::{close, dilate, erode, open};
pub(crate) use order::{bin_of, count_lower, count_upper, from_ordered, joined, ordered};
pub(crate) use stretch::{Stretching, percentile, ranks_of};
pub use stretch::{percentiles, stretch};
