//! Crop and pad rules, tiles with a halo.
//!
//! A network that halves its grid k times needs lengths that are multiples of 2^k, and
//! answers differently when its input is shifted by anything but such a multiple. The
//! rules of this page keep both in mind. Cropping and blending follow F-net
//! (`fnet.transforms.Cropper` and `fnet.predict_piecewise`, C. Ounkomol et al., 2018).

use crate::grid::{Region, Shape, voxel_count};
use crate::{Border, Volume};

/// F-net's limit on the voxels of one input, for [`crop_to_multiple`].
pub const FNET_MAX_VOXELS: usize = 9_732_096;

/// The largest centred region whose lengths are multiples of `multiple`.
///
/// While it has more than `max_voxels`, y and x are shortened by `multiple` in turn, y
/// first. An axis shorter than `multiple` leaves an empty region.
///
/// # Panics
///
/// If `multiple` is 0.
///
/// # Examples
///
/// ```
/// use spotlight_image::tile::crop_to_multiple;
///
/// let region = crop_to_multiple([65, 232, 344], 16, None);
/// assert_eq!((region.start, region.shape), ([0, 4, 4], [64, 224, 336]));
/// ```
#[must_use]
pub fn crop_to_multiple(shape: Shape, multiple: usize, max_voxels: Option<usize>) -> Region {
    assert!(multiple > 0, "lengths cannot be multiples of 0");
    let mut cropped = shape.map(|length| length / multiple * multiple);
    let mut axis = 1;
    while max_voxels.is_some_and(|max| voxel_count(cropped) > max) {
        cropped[axis] = cropped[axis].saturating_sub(multiple);
        axis = 3 - axis;
    }
    Region { start: std::array::from_fn(|axis| (shape[axis] - cropped[axis]) / 2), shape: cropped }
}

/// A larger grid, and the place of the old one in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Shape of the larger grid.
    pub shape: Shape,
    /// Where the old grid lies in it.
    pub inner: Region,
}

/// The smallest grid around a shape whose lengths are multiples of `multiple`; of an odd
/// number of added planes the larger half comes after.
///
/// # Panics
///
/// If `multiple` is 0.
///
/// # Examples
///
/// ```
/// use spotlight_image::tile::pad_to_multiple;
///
/// let padding = pad_to_multiple([65, 232, 344], 16);
/// assert_eq!((padding.shape, padding.inner.start), ([80, 240, 352], [7, 4, 4]));
/// ```
#[must_use]
pub fn pad_to_multiple(shape: Shape, multiple: usize) -> Padding {
    assert!(multiple > 0, "lengths cannot be multiples of 0");
    let padded = shape.map(|length| length.next_multiple_of(multiple));
    let start = std::array::from_fn(|axis| (padded[axis] - shape[axis]) / 2);
    Padding { shape: padded, inner: Region { start, shape } }
}

/// Fills a larger grid with a volume and what [`Border`] says of its surroundings.
///
/// To undo it, crop to [`Padding::inner`].
///
/// # Panics
///
/// If the volume has not the shape of [`Padding::inner`], or no voxels.
///
/// # Examples
///
/// ```
/// use spotlight_image::tile::{pad, pad_to_multiple};
/// use spotlight_image::{Border, Volume};
///
/// let row = Volume::new([1, 1, 3], vec![1.0, 2.0, 3.0]);
/// let padding = pad_to_multiple(row.shape, 2);
/// let padded = pad(&row, &padding, Border::Constant(0.0));
/// assert_eq!(padded.shape, [2, 2, 4]);
/// assert_eq!(padded.plane(0), [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
/// assert_eq!(padded.crop(padding.inner), row);
/// ```
#[must_use]
pub fn pad(volume: &Volume<f32>, padding: &Padding, border: Border) -> Volume<f32> {
    let Padding { shape, inner } = *padding;
    assert_eq!(volume.shape, inner.shape, "the padding is for another shape");
    let sources: [Vec<Option<usize>>; 3] = std::array::from_fn(|axis| {
        let source =
            |i: usize| border.inside(i as isize - inner.start[axis] as isize, volume.shape[axis]);
        (0..shape[axis]).map(source).collect()
    });
    let outside = border.constant() as f32;
    Volume::from_fn(shape, |[z, y, x]| match (sources[0][z], sources[1][y], sources[2][x]) {
        (Some(z), Some(y), Some(x)) => volume.at([z, y, x]),
        _ => outside,
    })
}

/// A piece of a grid to be computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// What to read: the core and its halo.
    pub input: Region,
    /// What to write; the cores of all tiles cover the grid once.
    pub core: Region,
}

impl Tile {
    /// The core as a region of the tile's own input.
    #[must_use]
    pub fn core_in_input(&self) -> Region {
        self.core.seen_from(self.input)
    }
}

/// Cuts a grid into cores of at most `core_shape`, each with at least `halo` voxels around
/// it to read (fewer only at the edge of the grid).
///
/// Inputs begin and end at multiples of `multiple`, so that a network sees the same phase
/// of its down-sampling in a tile as in the whole; with a halo of the network's receptive
/// radius, tiles then equal the whole. Cores along an axis have about equal lengths. Order:
/// z slowest, x fastest.
///
/// # Panics
///
/// If a length of `shape` is not a multiple of `multiple`, or `core_shape` or `multiple`
/// is 0 somewhere.
///
/// # Examples
///
/// ```
/// use spotlight_image::tile::tiles_with_halo;
///
/// let tiles = tiles_with_halo([32, 256, 256], [32, 128, 256], [16, 40, 40], 16);
/// assert_eq!(tiles.len(), 2);
/// assert_eq!(tiles[1].core.start, [0, 128, 0]);
/// assert_eq!(tiles[1].input.start, [0, 80, 0]); // 128 - 40, down to a multiple of 16
/// ```
#[must_use]
pub fn tiles_with_halo(
    shape: Shape,
    core_shape: Shape,
    halo: [usize; 3],
    multiple: usize,
) -> Vec<Tile> {
    assert!(core_shape.iter().all(|length| *length > 0), "a core needs voxels: {core_shape:?}");
    assert!(
        shape.iter().all(|length| length.is_multiple_of(multiple)),
        "lengths of {shape:?} must be multiples of {multiple}"
    );
    let spans: [Vec<[usize; 4]>; 3] = std::array::from_fn(|axis| {
        let length = shape[axis];
        let count = length.div_ceil(core_shape[axis]);
        let span = |i: usize| {
            let (start, stop) = (i * length / count, (i + 1) * length / count);
            let from = start.saturating_sub(halo[axis]) / multiple * multiple;
            let to = (stop + halo[axis]).next_multiple_of(multiple).min(length);
            [start, stop - start, from, to - from]
        };
        (0..count).map(span).collect()
    });
    product(&spans, |spans| Tile {
        core: Region { start: spans.map(|s| s[0]), shape: spans.map(|s| s[1]) },
        input: Region { start: spans.map(|s| s[2]), shape: spans.map(|s| s[3]) },
    })
}

/// F-net's overlapping tiles: every `tile_shape - overlap` voxels one, the last moved back
/// to end at the edge. Axes shorter than the tile are taken whole.
///
/// # Panics
///
/// If the overlap is not less than the tile.
///
/// # Examples
///
/// ```
/// use spotlight_image::tile::overlapping_tiles;
///
/// let tiles = overlapping_tiles([8, 8, 20], [8, 8, 8], [2, 2, 2]);
/// let starts: Vec<usize> = tiles.iter().map(|tile| tile.start[2]).collect();
/// assert_eq!(starts, [0, 6, 12]);
/// ```
#[must_use]
pub fn overlapping_tiles(shape: Shape, tile_shape: Shape, overlap: [usize; 3]) -> Vec<Region> {
    let size: Shape = std::array::from_fn(|axis| tile_shape[axis].min(shape[axis]));
    let starts: [Vec<usize>; 3] = std::array::from_fn(|axis| {
        let last = shape[axis] - size[axis];
        if last == 0 {
            return vec![0];
        }
        assert!(overlap[axis] < size[axis], "tiles {size:?} must be larger than {overlap:?}");
        (0..last).step_by(size[axis] - overlap[axis]).chain([last]).collect()
    });
    product(&starts, |start| Region { start, shape: size })
}

/// The weight of each voxel of a tile in a blend: the outer product of triangles over the
/// axes that are highest in the middle and nowhere 0.
///
/// # Examples
///
/// ```
/// use spotlight_image::tile::triangle_window;
///
/// assert_eq!(triangle_window([1, 1, 4]).voxels, [0.25, 0.75, 0.75, 0.25]);
/// assert_eq!(triangle_window([1, 1, 3]).voxels, [0.5, 1.0, 0.5]);
/// ```
#[must_use]
pub fn triangle_window(shape: Shape) -> Volume<f32> {
    let [z_weights, y_weights, x_weights] = shape.map(triangle);
    Volume::from_fn(shape, |[z, y, x]| (z_weights[z] * y_weights[y] * x_weights[x]) as f32)
}

fn triangle(length: usize) -> Vec<f64> {
    let weight = |i: usize| {
        let rank = i.min(length - 1 - i) as f64;
        let odd = (length % 2) as f64;
        (2.0 * rank + 1.0 + odd) / (length as f64 + odd)
    };
    (0..length).map(weight).collect()
}

/// Overlapping tiles under way to one volume: their mean, weighted by [`triangle_window`].
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::tile::{Blend, overlapping_tiles};
///
/// let whole = Volume::from_fn([4, 6, 9], |[z, y, x]| (z + y + x) as f32);
/// let mut blend = Blend::new(whole.shape);
/// for tile in overlapping_tiles(whole.shape, [4, 4, 4], [0, 1, 2]) {
///     blend.add(tile.start, &whole.crop(tile));
/// }
/// assert_eq!(blend.finish(), whole);
/// ```
#[derive(Clone, Debug)]
pub struct Blend {
    sum: Volume<f64>,
    weight: Volume<f64>,
}

impl Blend {
    /// A volume that no tile has reached.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { sum: Volume::filled(shape, 0.0), weight: Volume::filled(shape, 0.0) }
    }

    /// Adds a tile, its first voxel at `start`.
    ///
    /// # Panics
    ///
    /// If it does not lie inside.
    pub fn add(&mut self, start: [usize; 3], tile: &Volume<f32>) {
        let region = Region { start, shape: tile.shape };
        assert!(region.fits(self.sum.shape), "{region:?} is not inside {:?}", self.sum.shape);
        let [z_weights, y_weights, x_weights] = tile.shape.map(triangle);
        for (z, z_weight) in z_weights.iter().enumerate() {
            for (y, y_weight) in y_weights.iter().enumerate() {
                let row = &tile.voxels[tile.offset([z, y, 0])..][..tile.shape[2]];
                let to = self.sum.offset([start[0] + z, start[1] + y, start[2]]);
                for (x, x_weight) in x_weights.iter().enumerate() {
                    let weight = z_weight * y_weight * x_weight;
                    self.sum.voxels[to + x] += weight * f64::from(row[x]);
                    self.weight.voxels[to + x] += weight;
                }
            }
        }
    }

    /// The weighted mean; 0 where no tile was added.
    #[must_use]
    pub fn finish(self) -> Volume<f32> {
        let mean = |(sum, weight): (&f64, &f64)| {
            if *weight > 0.0 { (sum / weight) as f32 } else { 0.0 }
        };
        let voxels = self.sum.voxels.iter().zip(&self.weight.voxels).map(mean).collect();
        Volume::new(self.sum.shape, voxels)
    }
}

/// Every combination of one element for each axis, z slowest.
fn product<T: Copy, U>(axes: &[Vec<T>; 3], combine: impl Fn([T; 3]) -> U) -> Vec<U> {
    let mut all = Vec::with_capacity(axes.iter().map(Vec::len).product());
    for z in &axes[0] {
        for y in &axes[1] {
            for x in &axes[2] {
                all.push(combine([*z, *y, *x]));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of `fnet.transforms.Cropper`, version 0.2.0.
    #[track_caller]
    fn check_crop(shape: Shape, max: usize, start: [usize; 3], stop: [usize; 3]) {
        let found = crop_to_multiple(shape, 16, Some(max));
        assert_eq!((found.start, found.stop()), (start, stop));
    }

    #[test]
    fn crops_as_fnet() {
        check_crop([34, 37, 45], FNET_MAX_VOXELS, [1, 2, 6], [33, 34, 38]);
        check_crop([65, 624, 924], FNET_MAX_VOXELS, [0, 184, 182], [64, 440, 742]);
        check_crop([40, 200, 333], 600_000, [4, 60, 54], [36, 140, 278]);
        check_crop([17, 15, 33], FNET_MAX_VOXELS, [0, 7, 0], [16, 7, 32]);
    }

    #[track_caller]
    fn check_starts(length: usize, size: usize, overlap: usize, expected: &[usize]) {
        let tiles = overlapping_tiles([length, 1, 1], [size, 1, 1], [overlap, 0, 0]);
        let starts: Vec<usize> = tiles.iter().map(|tile| tile.start[0]).collect();
        assert_eq!(starts, expected);
        assert!(tiles.iter().all(|tile| tile.shape[0] == size.min(length)));
    }

    #[test]
    fn the_last_tile_ends_at_the_edge() {
        check_starts(8, 8, 4, &[0]);
        check_starts(5, 8, 9, &[0]);
        check_starts(12, 8, 4, &[0, 4]);
        check_starts(13, 8, 4, &[0, 4, 5]);
        check_starts(10, 8, 0, &[0, 2]);
    }

    #[test]
    fn cores_are_about_equal() {
        let tiles = tiles_with_halo([48, 16, 16], [40, 99, 99], [3; 3], 16);
        let cores: Vec<_> = tiles.iter().map(|t| (t.core.start[0], t.core.shape[0])).collect();
        assert_eq!(cores, [(0, 24), (24, 24)]);
        let inputs: Vec<_> = tiles.iter().map(|t| (t.input.start[0], t.input.shape[0])).collect();
        assert_eq!(inputs, [(0, 32), (16, 32)]);
    }
}
