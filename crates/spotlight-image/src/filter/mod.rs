//! Filters in 3D: median and Gaussian.
