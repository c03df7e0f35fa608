//! Filters in 3D: median and Gaussian.

mod gaussian;
mod median;

pub use gaussian::gaussian;
pub use median::median_cube;
