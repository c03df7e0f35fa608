//! The tiles a plane is cut into for Cellpose's network, and their mean weighted by a taper.
//!
//! A plane is an image (channel, y, x). It is framed with zeros, cut into overlapping tiles,
//! and what a network says of each tile is put together:
//!
//! ```text
//! framed   = plane within zeros, lengths 16 ceil(n / 16) + 16
//! tiles    = 1 along an axis of at most s = 224, else ceil((1 + 2 overlap) n / s) tiles of s,
//!            from floor(linspace(0, n - s))
//! w(i)     = 1 / (1 + exp((|i - mean| - (b / 2 - 20)) / 7.5)),  i = 0 ... b - 1,  b = max(224, s)
//! out(y,x) = sum of w(y) w(x) tile(y, x) / sum of w(y) w(x)
//! ```
//!
//! With augmentation, tiles overlap by half and every second one is turned over along y, x
//! or both; a flow along a turned axis changes its sign on the way back.
//!
//! The same as `get_pad_yx`, `make_tiles`, `unaugment_tiles` and `average_tiles` of
//! Cellpose 3.1.1.1 (M. Pachitariu and C. Stringer, Nature Methods 19, 2022), but for one:
//! an augmented plane shorter than a tile is given back without the zeros added to it.

use crate::tile::Padding;
use crate::{Region, Shape, Volume};

/// Lengths of a framed plane are multiples of this, as a network of four levels needs.
const MULTIPLE: usize = 16;

/// The taper is that of a tile of this length, or of a longer one if the tile is.
const TAPER_LENGTH: usize = 224;

/// How wide the slope of the taper is, in pixels.
const TAPER_SIGMA: f64 = 7.5;

/// How far from the edge of a tile its weight is one half, in pixels.
const TAPER_MARGIN: f64 = 20.0;

/// How a plane is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// Length of a tile along y and x, in pixels.
    pub size: usize,
    /// Share of a tile that overlaps the next, between 0.05 and 0.5 (clamped).
    pub overlap: f64,
    /// Whether tiles overlap by half and are turned over; sets `overlap` aside.
    pub augment: bool,
}

impl Default for Tiling {
    fn default() -> Self {
        Self { size: 224, overlap: 0.1, augment: false }
    }
}

/// A rectangle of a plane that the network sees at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneTile {
    /// First pixel along (y, x).
    pub start: [usize; 2],
    /// Number of pixels along (y, x).
    pub shape: [usize; 2],
    /// Whether it is turned over along (y, x).
    pub flipped: [bool; 2],
}

/// The frame of zeros around each plane of an image (channel or z, y, x), for
/// [`pad`](crate::tile::pad) with a constant border of 0.
///
/// # Examples
///
/// ```
/// use spotlight_image::cellpose::frame;
///
/// let padding = frame([2, 30, 45]);
/// assert_eq!((padding.shape, padding.inner.start), ([2, 48, 64], [0, 9, 9]));
/// ```
#[must_use]
pub fn frame(shape: Shape) -> Padding {
    let [channels, y, x] = shape;
    let framed = |length: usize| length.next_multiple_of(MULTIPLE) + MULTIPLE;
    let before = |length: usize| MULTIPLE / 2 + (length.next_multiple_of(MULTIPLE) - length) / 2;
    Padding {
        shape: [channels, framed(y), framed(x)],
        inner: Region { start: [0, before(y), before(x)], shape },
    }
}

/// The tiles of a plane of this many pixels along (y, x), x fastest.
///
/// With augmentation a tile may reach beyond a plane that is shorter than it.
///
/// # Panics
///
/// If the plane has no pixel, or a tile none.
///
/// # Examples
///
/// ```
/// use spotlight_image::cellpose::{Tiling, tiles};
///
/// let starts: Vec<_> = tiles([128, 352], &Tiling::default()).iter().map(|t| t.start).collect();
/// assert_eq!(starts, [[0, 0], [0, 128]]);
/// ```
#[must_use]
pub fn tiles(shape: [usize; 2], tiling: &Tiling) -> Vec<PlaneTile> {
    assert!(shape.iter().all(|length| *length > 0), "no tiles of {shape:?} pixels");
    assert!(tiling.size > 0, "a tile needs pixels");
    let size = shape.map(|n| if tiling.augment { tiling.size } else { n.min(tiling.size) });
    let [rows, columns] = [0, 1].map(|axis| starts(shape[axis], size[axis], tiling));
    let mut all = Vec::with_capacity(rows.len() * columns.len());
    for (j, y) in rows.iter().enumerate() {
        for (i, x) in columns.iter().enumerate() {
            // Along a row y is turned in every second tile, along a column x.
            let flipped = [i % 2 == 1, j % 2 == 1].map(|odd| odd && tiling.augment);
            all.push(PlaneTile { start: [*y, *x], shape: size, flipped });
        }
    }
    all
}

/// Where tiles of `size` begin along an axis of `length`.
fn starts(length: usize, size: usize, tiling: &Tiling) -> Vec<usize> {
    let (n, s) = (length as f64, tiling.size as f64);
    let count = if tiling.augment {
        ((2.0 * n / s).ceil() as usize).max(2)
    } else if length <= tiling.size {
        1
    } else {
        ((1.0 + 2.0 * tiling.overlap.clamp(0.05, 0.5)) * n / s).ceil() as usize
    };
    let last = length.saturating_sub(size);
    if count == 1 {
        return vec![0];
    }
    let step = last as f64 / (count - 1) as f64;
    let start = |i: usize| if i + 1 == count { last } else { (i as f64 * step) as usize };
    (0..count).map(start).collect()
}

/// What a network is given of an image (channel, y, x) for a tile: turned over as the tile
/// says, 0 beyond the image.
///
/// # Panics
///
/// If the tile begins outside the image.
#[must_use]
pub fn extract(image: &Volume<f32>, tile: &PlaneTile) -> Volume<f32> {
    let [channels, height, width] = image.shape;
    let [rows, columns] = tile.shape;
    let inside = [height - tile.start[0], width - tile.start[1]];
    let mut part = Volume::filled([channels, rows, columns], 0.0);
    for channel in 0..channels {
        for y in 0..rows.min(inside[0]) {
            let from = image.offset([channel, tile.start[0] + y, tile.start[1]]);
            let line = &image.voxels[from..from + columns.min(inside[1])];
            let y = if tile.flipped[0] { rows - 1 - y } else { y };
            let to = part.offset([channel, y, 0]);
            let target = &mut part.voxels[to..to + columns];
            target[..line.len()].copy_from_slice(line);
            if tile.flipped[1] {
                target.reverse();
            }
        }
    }
    part
}

/// Turns what a network says of a turned tile back; channels 0 and 1 are flows along y
/// and x, which change their signs.
#[must_use]
pub fn unflip(output: &Volume<f32>, tile: &PlaneTile) -> Volume<f32> {
    let [_, height, width] = output.shape;
    let [flip_y, flip_x] = tile.flipped;
    Volume::from_fn(output.shape, |[channel, y, x]| {
        let y = if flip_y { height - 1 - y } else { y };
        let x = if flip_x { width - 1 - x } else { x };
        let value = output.at([channel, y, x]);
        let negative = (channel == 0 && flip_y) || (channel == 1 && flip_x);
        if negative { -value } else { value }
    })
}

/// The mean of overlapping tiles under way.
///
/// It holds 4 bytes for each pixel and channel, and 8 for the weight of each pixel.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_image::cellpose::{TileMean, Tiling, extract, tiles};
///
/// let image = Volume::from_fn([3, 30, 50], |[c, y, x]| (c + y + x) as f32);
/// let mut mean = TileMean::new(image.shape);
/// for tile in tiles([30, 50], &Tiling { size: 32, ..Tiling::default() }) {
///     let seen_by_the_network = extract(&image, &tile);
///     mean.add(&tile, &seen_by_the_network);
/// }
/// let found = mean.finish();
/// assert!(found.voxels.iter().zip(&image.voxels).all(|(a, b)| (a - b).abs() < 1e-4));
/// ```
#[derive(Clone, Debug)]
pub struct TileMean {
    sum: Volume<f32>,
    weight: Vec<f64>,
}

impl TileMean {
    /// An image (channel, y, x) that no tile has reached.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { sum: Volume::filled(shape, 0.0), weight: vec![0.0; shape[1] * shape[2]] }
    }

    /// Adds what a network says of a tile, turned as the tile is.
    ///
    /// # Panics
    ///
    /// If the output is not as large as the tile, or has other channels than the image.
    pub fn add(&mut self, tile: &PlaneTile, output: &Volume<f32>) {
        let [channels, height, width] = self.sum.shape;
        assert_eq!(output.shape, [channels, tile.shape[0], tile.shape[1]], "output of a tile");
        let turned;
        let upright = if tile.flipped == [false; 2] {
            output
        } else {
            turned = unflip(output, tile);
            &turned
        };
        let longest = tile.shape[0].max(tile.shape[1]);
        let [down, across] = tile.shape.map(|length| taper(length, longest));
        let rows = tile.shape[0].min(height - tile.start[0]);
        let columns = tile.shape[1].min(width - tile.start[1]);
        for (y, down) in down.iter().enumerate().take(rows) {
            let first = (tile.start[0] + y) * width + tile.start[1];
            let weights = self.weight[first..first + columns].iter_mut();
            for (weight, across) in weights.zip(&across) {
                *weight += across * down;
            }
            for channel in 0..channels {
                let to = channel * height * width + first;
                let line = &upright.voxels[upright.offset([channel, y, 0])..];
                let sums = self.sum.voxels[to..to + columns].iter_mut();
                for ((sum, value), across) in sums.zip(line).zip(&across) {
                    *sum = (f64::from(*sum) + f64::from(*value) * (across * down)) as f32;
                }
            }
        }
    }

    /// The weighted mean; 0 where no tile was added.
    #[must_use]
    pub fn finish(mut self) -> Volume<f32> {
        for plane in self.sum.voxels.chunks_exact_mut(self.weight.len().max(1)) {
            for (sum, weight) in plane.iter_mut().zip(&self.weight) {
                *sum = if *weight > 0.0 { (f64::from(*sum) / weight) as f32 } else { 0.0 };
            }
        }
        self.sum
    }
}

/// The weights along one axis of a tile whose longest axis has `longest` pixels.
///
/// # Examples
///
/// ```
/// use spotlight_image::cellpose::taper;
///
/// let weights = taper(224, 224);
/// assert!(weights[0] < 0.07 && weights[112] > 0.99);
/// ```
#[must_use]
pub fn taper(length: usize, longest: usize) -> Vec<f64> {
    let whole = TAPER_LENGTH.max(longest);
    let mean = (whole as f64 - 1.0) / 2.0;
    let half = whole as f64 / 2.0 - TAPER_MARGIN;
    let first = whole / 2 - length / 2;
    let weight = |i: usize| {
        let distance = ((first + i) as f64 - mean).abs();
        1.0 / (1.0 + ((distance - half) / TAPER_SIGMA).exp())
    };
    (0..length).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Border;
    use crate::tile::pad;

    #[track_caller]
    fn check_identity(shape: Shape, tiling: &Tiling) {
        let image = Volume::from_fn(shape, |[c, y, x]| ((c * 7 + y * 5 + x * 3) % 11) as f32);
        let padding = frame(shape);
        let framed = pad(&image, &padding, Border::Constant(0.0));
        let mut mean = TileMean::new(framed.shape);
        for tile in tiles([framed.shape[1], framed.shape[2]], tiling) {
            let mut output = extract(&framed, &tile);
            // A network that answers a turned image with turned flows.
            for (channel, flipped) in tile.flipped.into_iter().enumerate().take(shape[0]) {
                let size = tile.shape[0] * tile.shape[1];
                let plane = &mut output.voxels[channel * size..(channel + 1) * size];
                plane.iter_mut().filter(|_| flipped).for_each(|value| *value = -*value);
            }
            mean.add(&tile, &output);
        }
        let found = mean.finish().crop(padding.inner);
        let far = found.voxels.iter().zip(&image.voxels).find(|(a, b)| (**a - **b).abs() > 1e-5);
        assert_eq!(far, None);
    }

    #[test]
    fn tiles_of_an_image_make_the_image() {
        check_identity([3, 33, 70], &Tiling { size: 32, ..Tiling::default() });
        check_identity([3, 33, 70], &Tiling { size: 32, overlap: 0.4, augment: false });
        check_identity([2, 33, 70], &Tiling { size: 32, augment: true, ..Tiling::default() });
        check_identity([1, 1, 1], &Tiling::default());
    }

    #[test]
    fn augmented_planes_may_be_shorter_than_a_tile() {
        check_identity([2, 5, 70], &Tiling { size: 48, augment: true, ..Tiling::default() });
    }

    #[test]
    fn a_pixel_without_tiles_is_0() {
        assert_eq!(TileMean::new([1, 1, 2]).finish().voxels, [0.0, 0.0]);
        assert_eq!(TileMean::new([1, 0, 2]).finish().voxels, []);
    }
}
