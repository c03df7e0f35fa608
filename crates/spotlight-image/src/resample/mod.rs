//! Spline zoom between voxel sizes.
