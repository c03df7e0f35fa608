//! How far an output voxel of the network sees.

/// The number of input voxels, on each side along each axis, that an output voxel of a
/// network of this depth can depend on.
///
/// A tile of a prediction needs this much of the image around it to come out as the
/// whole image would, if its start is a multiple of 2^depth. The reach differs between
/// the positions within a cell of the coarsest grid; this is the largest.
///
/// ```
/// // A convolution 3x3x3 pair at one resolution, and the last one.
/// assert_eq!(spotlight_learn::fnet::receptive_field_halo(0), 3);
/// ```
#[must_use]
pub fn receptive_field_halo(depth: usize) -> usize {
    let reach = |voxel: i64| {
        // The last convolution first: positions that must be known, layer by layer back.
        let (first, last) = level_input(depth, (voxel - 1, voxel + 1));
        (voxel - first).max(last - voxel)
    };
    let furthest = (0..1_i64 << depth).map(reach).max().unwrap_or(0);
    usize::try_from(furthest).unwrap_or(0)
}

/// The positions along one axis of a level's input on which those of its output depend.
fn level_input(depth: usize, output: (i64, i64)) -> (i64, i64) {
    if depth == 0 {
        return two_convolutions(output);
    }
    let joined = two_convolutions(output);
    let coarse = (joined.0.div_euclid(2), joined.1.div_euclid(2));
    let below = level_input(depth - 1, coarse);
    let skip = (joined.0.min(2 * below.0), joined.1.max(2 * below.1 + 1));
    two_convolutions(skip)
}

fn two_convolutions((first, last): (i64, i64)) -> (i64, i64) {
    (first - 2, last + 2)
}
