//! Scenes: which sub-blocks form an image, and where its planes are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::directory::Entry;
use super::pixel::PixelType;
use crate::error::{Fault, malformed, unsupported};

/// Voxels without a sub-block that an image may have for every byte of its file: stage positions
/// can lie far apart, but not as far as damage says.
const MOST_GAPS: u128 = 1024;

/// One image: the sub-blocks of one scene in full resolution.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Number of the scene, where the file counts scenes.
    pub(crate) number: Option<i32>,
    /// The sub-blocks, sorted by plane; in a plane, what is drawn later lies above.
    tiles: Vec<Entry>,
    /// First position along (t, c, z).
    pub(crate) first: [i32; 3],
    /// Number of positions along (t, c, z).
    pub(crate) lengths: [usize; 3],
    /// First row and column.
    pub(crate) start: [i64; 2],
    /// Rows and columns.
    pub(crate) size: [usize; 2],
    /// Rows and columns of the largest tile.
    pub(crate) tile: [usize; 2],
    pub(crate) pixel: PixelType,
    /// Resolutions, the full one included.
    pub(crate) levels: usize,
    /// Why it cannot be read, where that is so.
    refusal: Option<String>,
}

impl Scene {
    pub(crate) fn tiles(&self) -> &[Entry] {
        &self.tiles
    }

    /// The tiles of a plane, by its place in the image.
    pub(crate) fn plane(&self, place: [usize; 3]) -> &[Entry] {
        let wanted: [i64; 3] =
            std::array::from_fn(|axis| i64::from(self.first[axis]) + place[axis] as i64);
        let key = |entry: &Entry| entry.plane.map(i64::from);
        let from = self.tiles.partition_point(|tile| key(tile) < wanted);
        let to = self.tiles.partition_point(|tile| key(tile) <= wanted);
        &self.tiles[from..to]
    }

    /// Number of planes that are not in the file at all.
    pub(crate) fn missing_planes(&self) -> usize {
        let present: BTreeSet<[i32; 3]> = self.tiles.iter().map(|tile| tile.plane).collect();
        self.lengths.iter().product::<usize>().saturating_sub(present.len())
    }

    /// Rows and columns of the image that a tile covers.
    pub(crate) fn window(&self, tile: &Entry) -> [Range<usize>; 2] {
        std::array::from_fn(|axis| {
            let start = (i64::from(tile.start[axis]) - self.start[axis]) as usize;
            start..start + tile.size[axis] as usize
        })
    }

    /// Fails where the sub-blocks do not form one image of z-stacks.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match &self.refusal {
            None => Ok(()),
            Some(what) => unsupported(what, "split it in ZEN and save the parts on their own"),
        }
    }
}

/// The scenes of a file by their numbers; sub-blocks that name no scene are one of their own.
pub(crate) fn scenes(entries: Vec<Entry>, length: u64) -> Result<Vec<Scene>, Fault> {
    let (full, reduced): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(Entry::is_full);
    let mut parts: BTreeMap<Option<i32>, Vec<Entry>> = BTreeMap::new();
    for entry in full {
        parts.entry(entry.scene).or_default().push(entry);
    }
    if parts.is_empty() {
        return malformed("the file holds no sub-block of full resolution");
    }
    let reduced = &reduced;
    parts.into_iter().map(|(number, tiles)| scene(number, tiles, reduced, length)).collect()
}

fn scene(
    number: Option<i32>,
    mut tiles: Vec<Entry>,
    reduced: &[Entry],
    length: u64,
) -> Result<Scene, Fault> {
    // Stable: tiles without a number are below the others, in the order of the directory.
    tiles.sort_by_key(|tile| (tile.plane, tile.mosaic));
    let range = |of: &dyn Fn(&Entry) -> (i64, i64)| {
        let bounds = tiles.iter().map(of);
        bounds.fold((i64::MAX, i64::MIN), |all, one| (all.0.min(one.0), all.1.max(one.1)))
    };
    let planes: [(i64, i64); 3] = std::array::from_fn(|axis| {
        range(&|tile| (i64::from(tile.plane[axis]), i64::from(tile.plane[axis]) + 1))
    });
    let edges: [(i64, i64); 2] = std::array::from_fn(|axis| {
        range(&|tile| {
            let start = i64::from(tile.start[axis]);
            (start, start + i64::from(tile.size[axis]))
        })
    });
    let size = |(from, to): (i64, i64)| (to - from) as usize;
    let found = Scene {
        number,
        first: planes.map(|(from, _)| from as i32),
        lengths: planes.map(size),
        start: edges.map(|(from, _)| from),
        size: edges.map(size),
        tile: std::array::from_fn(|axis| {
            tiles.iter().map(|tile| tile.size[axis] as usize).max().unwrap_or(0)
        }),
        pixel: tiles[0].pixel,
        levels: 1 + levels(number, reduced),
        refusal: refusal(&tiles),
        tiles,
    };
    check_gaps(&found, length)?;
    Ok(found)
}

/// Number of reduced resolutions of a scene. Sizes of tiles at the edge are rounded, so that
/// reductions are compared as whole numbers.
fn levels(scene: Option<i32>, reduced: &[Entry]) -> usize {
    let of_scene = reduced.iter().filter(|entry| entry.scene.is_none() || entry.scene == scene);
    let factor = |entry: &Entry| {
        let along =
            |axis: usize| f64::from(entry.size[axis]) / f64::from(entry.stored[axis].max(1));
        along(0).max(along(1)).round() as u64
    };
    of_scene.map(factor).collect::<BTreeSet<u64>>().len()
}

fn refusal(tiles: &[Entry]) -> Option<String> {
    let first = &tiles[0];
    if let Some(other) = tiles.iter().find(|tile| tile.pixel != first.pixel) {
        let name = |pixel: PixelType| format!("{} x {}", pixel.samples, pixel.sample_type);
        let (one, two) = (name(first.pixel), name(other.pixel));
        return Some(format!("a CZI image whose pixels are partly {one}, partly {two}"));
    }
    let letter = |entry: &Entry| entry.others.iter().map(|pair| pair.0).collect::<Vec<_>>();
    let mut letters: Vec<char> = tiles.iter().flat_map(letter).collect();
    letters.sort_unstable();
    letters.dedup();
    letters.into_iter().find_map(|letter| {
        let at =
            |tile: &Entry| tile.others.iter().find(|other| other.0 == letter).map_or(0, |o| o.1);
        let count = tiles.iter().map(at).collect::<BTreeSet<i32>>().len();
        let what = match letter {
            'H' => "phases",
            'V' => "views",
            'R' => "rotations",
            'I' => "illuminations",
            'B' => "blocks",
            _ => "positions",
        };
        (count > 1).then(|| format!("a CZI image of {count} {what} (dimension {letter})"))
    })
}

/// Fails where an image is far larger than what is stored of it.
fn check_gaps(scene: &Scene, length: u64) -> Result<(), Fault> {
    let lengths = scene.lengths.iter().chain(&scene.size);
    let volume = lengths.fold(1_u128, |all, length| all.saturating_mul(*length as u128));
    let stored: u128 = scene.tiles.iter().map(|tile| u128::from(tile.pixels())).sum();
    if volume > stored + MOST_GAPS * u128::from(length) + (1 << 20) {
        let ([times, channels, depth], [height, width]) = (scene.lengths, scene.size);
        return Err(Fault::Limit(format!(
            "the sub-blocks span an image of {times} x {channels} x {depth} x {height} x {width} \
             pixels (t, c, z, y, x) but hold {stored} of them; the file is damaged, or its \
             positions are too far apart for one image"
        )));
    }
    Ok(())
}
