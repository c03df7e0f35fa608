//! Cavities of an object: background that the outside does not reach.
//!
//! Background is connected over faces, edges and corners (connectivity 26), so a cavity is
//! closed only if not even a diagonal step leads out; this is `scipy.ndimage.binary_fill_holes`
//! with a 3×3×3 structure, which scikit-image's `area_filled` uses. Instead of flooding voxel
//! by voxel, whole runs of background in a row are joined (union–find), of which there are few.

use crate::Volume;

/// Background voxels `start..stop` of a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u32,
    stop: u32,
}

/// Number of background voxels inside an object that are not connected to the outside.
///
/// # Examples
///
/// ```
/// use spotlight_image::{Volume, measure::cavity_voxels};
///
/// let shell = Volume::from_fn([3, 3, 3], |position| position != [1, 1, 1]);
/// assert_eq!(cavity_voxels(&shell), 1);
/// let leaky = Volume::from_fn([3, 3, 3], |p| p != [1, 1, 1] && p != [0, 0, 0]);
/// assert_eq!(cavity_voxels(&leaky), 0);
/// ```
#[must_use]
pub fn cavity_voxels(mask: &Volume<bool>) -> u64 {
    let [depth, height, width] = mask.shape;
    let (runs, first) = background_runs(mask);
    // Node 0 is the outside, node i + 1 is run i.
    let mut parents: Vec<u32> = (0..=runs.len() as u32).collect();
    for z in 0..depth {
        for y in 0..height {
            let row = z * height + y;
            let own = first[row]..first[row + 1];
            let at_face = z == 0 || y == 0 || z + 1 == depth || y + 1 == height;
            for i in own.clone() {
                let at_end = runs[i].start == 0 || runs[i].stop as usize == width;
                if at_face || at_end {
                    join(&mut parents, 0, i as u32 + 1);
                }
            }
            for (dz, dy) in [(1, -1), (1, 0), (1, 1), (0, 1)] {
                let (before_z, before_y) = (z.checked_sub(dz), y.checked_add_signed(-dy));
                let (Some(z), Some(y)) = (before_z, before_y) else { continue };
                if y < height {
                    let row = z * height + y;
                    join_touching(&mut parents, &runs, own.clone(), first[row]..first[row + 1]);
                }
            }
        }
    }
    let closed = (0..runs.len()).filter(|i| root(&mut parents, *i as u32 + 1) != 0);
    closed.map(|i| u64::from(runs[i].stop - runs[i].start)).sum()
}

/// The runs of all rows one after the other, and the first run of each row.
fn background_runs(mask: &Volume<bool>) -> (Vec<Run>, Vec<usize>) {
    let [depth, height, width] = mask.shape;
    let mut runs = Vec::new();
    let mut first = Vec::with_capacity(depth * height + 1);
    for row in mask.voxels.chunks_exact(width.max(1)) {
        first.push(runs.len());
        let mut start = 0;
        while start < width {
            let value = row[start];
            let same = row[start..].iter().take_while(|other| **other == value).count();
            if !value {
                runs.push(Run { start: start as u32, stop: (start + same) as u32 });
            }
            start += same;
        }
    }
    first.resize(depth * height + 1, runs.len());
    (runs, first)
}

/// Joins runs of two neighbouring rows that touch, be it diagonally.
fn join_touching(
    parents: &mut [u32],
    runs: &[Run],
    mut a: std::ops::Range<usize>,
    mut b: std::ops::Range<usize>,
) {
    while !a.is_empty() && !b.is_empty() {
        let (one, other) = (runs[a.start], runs[b.start]);
        if one.start <= other.stop && other.start <= one.stop {
            join(parents, a.start as u32 + 1, b.start as u32 + 1);
        }
        if one.stop < other.stop {
            a.next();
        } else {
            b.next();
        }
    }
}

/// The smaller number becomes the root, so whatever is joined to the outside has root 0.
fn join(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b) as usize] = a.min(b);
}

fn root(parents: &mut [u32], mut node: u32) -> u32 {
    while parents[node as usize] != node {
        let above = parents[parents[node as usize] as usize];
        parents[node as usize] = above;
        node = above;
    }
    node
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    /// Floods the background of the mask with a margin, voxel by voxel.
    fn oracle(mask: &Volume<bool>) -> u64 {
        let shape = mask.shape.map(|length| length + 2);
        let mut free = Volume::from_fn(shape, |p| {
            let inside = (0..3).all(|a| (1..=mask.shape[a]).contains(&p[a]));
            !(inside && mask.at(p.map(|v| v - 1)))
        });
        let mut queue = vec![[0, 0, 0]];
        while let Some(position) = queue.pop() {
            let offset = free.offset(position);
            if !std::mem::take(&mut free.voxels[offset]) {
                continue;
            }
            for part in 0..27 {
                let step = [part / 9, part / 3 % 3, part % 3];
                let next = [0, 1, 2].map(|a| (position[a] + step[a]).wrapping_sub(1));
                if (0..3).all(|a| next[a] < shape[a]) {
                    queue.push(next);
                }
            }
        }
        free.voxels.iter().filter(|v| **v).count() as u64
    }

    #[test]
    fn cavities_equal_a_flood() {
        let mut with_cavity = 0;
        for seed in 0..200 {
            let mask = noise([4, 5 + seed % 3, 6], seed, 80 + seed as u64 / 10);
            let expected = oracle(&mask);
            assert_eq!(cavity_voxels(&mask), expected, "{seed}");
            with_cavity += usize::from(expected > 0);
        }
        assert!(with_cavity > 30, "{with_cavity}");
    }

    #[test]
    fn a_box_without_voxels_has_no_cavity() {
        assert_eq!(cavity_voxels(&Volume::new([2, 2, 0], Vec::new())), 0);
        assert_eq!(cavity_voxels(&Volume::filled([3, 3, 3], false)), 0);
    }
}
