//! Stacks larger than memory: read box by box, with what is in between in a temporary file beside
//! the labels, which are written plane by plane.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_image::grid::voxel_count;
use spotlight_image::segment::Watershed;
use spotlight_image::segment::streamed::{self, Boxes, Fault, LabelRuns, Room, Scratch};
use spotlight_image::{Region, Shape, Volume};
use spotlight_io::OpenStack;

use crate::cli::labels::{places_on_grid, write_label_planes};
use crate::cli::{failure, stacks};

/// Most bytes that a voxel of the stack takes while it is prepared or its labels are written.
const WHOLE: u64 = 14;

/// Bytes that a voxel of the grid takes besides the stack, while nuclei are found.
const ON_GRID: u64 = 16;

/// Bytes that a voxel of the stack takes besides, where a picture is drawn.
const PREVIEW: u64 = 10;

/// Bytes of the program and what it has to do for every stack.
const ALWAYS: u64 = 64 << 20;

/// About the most memory that it takes to segment a whole stack.
pub(super) fn whole_bytes(shape: Shape, reduced: Shape, preview: bool) -> u64 {
    let (voxels, on_grid) = (voxel_count(shape) as u64, voxel_count(reduced) as u64);
    let finding = 4 * voxels + ON_GRID * on_grid;
    let picture = if preview { PREVIEW * voxels } else { 0 };
    ALWAYS + finding.max(WHOLE * voxels) + picture
}

/// The labels of a stack that is read box by box; `output` is where they will be written.
///
/// # Errors
///
/// If the stack cannot be read, or the memory or the space for temporary files do not suffice.
pub(super) fn watershed(
    stack: &OpenBoxes,
    chain: &Watershed,
    output: &Path,
    memory_bytes: u64,
    tell: &mut dyn FnMut(f64),
) -> Result<LabelRuns> {
    let open = |bytes: u64| open_beside(output, bytes);
    let room = Room::new(memory_bytes, &open);
    streamed::segment(stack, chain, &room, tell).map_err(|fault| stack.explain(fault))
}

/// The prepared stack, which alone is in memory.
///
/// # Errors
///
/// As [`watershed`].
pub(super) fn prepare(
    stack: &OpenBoxes,
    chain: &Watershed,
    output: &Path,
    memory_bytes: u64,
    tell: &mut dyn FnMut(f64),
) -> Result<Volume<f32>> {
    let open = |bytes: u64| open_beside(output, bytes);
    let room = Room::new(memory_bytes, &open);
    streamed::prepare(stack, chain, &room, tell).map_err(|fault| stack.explain(fault))
}

/// Labels whose planes can be had one by one.
pub(super) trait LabelPlanes {
    /// Number of voxels along (z, y, x).
    fn shape(&self) -> Shape;
    /// The largest label.
    fn count(&self) -> u32;
    /// The labels of a plane, row by row.
    fn plane(&self, z: usize) -> Vec<u32>;
}

impl LabelPlanes for LabelRuns {
    fn shape(&self) -> Shape {
        self.shape()
    }

    fn count(&self) -> u32 {
        self.count()
    }

    fn plane(&self, z: usize) -> Vec<u32> {
        self.plane(z)
    }
}

impl LabelPlanes for Volume<u32> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn count(&self) -> u32 {
        self.voxels.iter().copied().max().unwrap_or(0)
    }

    fn plane(&self, z: usize) -> Vec<u32> {
        Self::plane(self, z).to_vec()
    }
}

/// Writes labels plane by plane on a grid, every voxel with the label of the nearest one.
///
/// # Errors
///
/// If the file is in the way or cannot be written.
pub(super) fn write(
    path: &Path,
    labels: &impl LabelPlanes,
    shape: Shape,
    spacing_um: Option<[f64; 3]>,
    overwrite: bool,
) -> Result<()> {
    let from = labels.shape();
    let [planes, rows, columns]: [Vec<usize>; 3] =
        std::array::from_fn(|axis| places_on_grid(from[axis], shape[axis]));
    let mut known: Option<(usize, Vec<u32>)> = None;
    let on_grid = |z: usize| {
        let place = planes[z];
        if known.as_ref().is_none_or(|(own, _)| *own != place) {
            known = Some((place, labels.plane(place)));
        }
        let plane = known.as_ref().map_or(&[][..], |(_, plane)| plane);
        let row = |y: &usize| &plane[y * from[2]..(y + 1) * from[2]];
        rows.iter().flat_map(|y| columns.iter().map(|x| row(y)[*x])).collect()
    };
    write_label_planes(path, shape, labels.count(), spacing_um, overwrite, on_grid)
}

/// A stack of a file or store, read box by box.
pub(super) struct OpenBoxes(pub(super) OpenStack);

impl OpenBoxes {
    /// The error for a user.
    fn explain(&self, fault: Fault<anyhow::Error>) -> anyhow::Error {
        match fault {
            Fault::Outside(error) => error,
            Fault::TooLarge { needed_bytes, .. } => failure(
                format!("{}: {fault}", self.0.path().display()),
                format!("allow more with --memory {}MiB", needed_bytes.div_ceil(1 << 20)),
            ),
        }
    }
}

impl Boxes<anyhow::Error> for OpenBoxes {
    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn block(&self) -> Shape {
        self.0.block()
    }

    fn read(&self, region: Region) -> Result<Volume<f32>> {
        stacks::to_finite_box(self.0.read(region)?, region.start, self.0.path())
    }
}

/// A temporary file that has no name.
struct ScratchFile {
    file: File,
    folder: PathBuf,
}

/// Makes a temporary file in the folder of an output.
fn open_beside(output: &Path, bytes: u64) -> Result<Box<dyn Scratch<anyhow::Error>>> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let made = tempfile::tempfile_in(&folder);
    let file = made.map_err(|error| unusable(&folder, &error))?;
    file.set_len(bytes).map_err(|error| unusable(&folder, &error))?;
    Ok(Box::new(ScratchFile { file, folder }))
}

/// The error of a folder where a temporary file cannot be made, written or read.
fn unusable(folder: &Path, error: &std::io::Error) -> anyhow::Error {
    failure(
        format!("a temporary file in {} cannot be used: {error}", folder.display()),
        "free some space, choose another folder with --output, or allow more with --memory",
    )
}

impl Scratch<anyhow::Error> for ScratchFile {
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let sought = self.file.seek(SeekFrom::Start(at));
        let written = sought.and_then(|_| self.file.write_all(bytes));
        written.map_err(|error| unusable(&self.folder, &error))
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let sought = self.file.seek(SeekFrom::Start(at));
        let read = sought.and_then(|_| self.file.read_exact(bytes));
        read.map_err(|error| unusable(&self.folder, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_file_is_0_and_keeps_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut scratch = open_beside(&folder.path().join("a.tif"), 100).unwrap();
        let mut bytes = [9; 4];
        scratch.read(96, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4]);
        scratch.write(50, &[1, 2, 3]).unwrap();
        scratch.read(49, &mut bytes).unwrap();
        assert_eq!(bytes, [0, 1, 2, 3]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let missing = open_beside(&folder.path().join("none/a.tif"), 100).err().unwrap();
        assert!(missing.to_string().contains("none cannot be used"), "{missing}");
    }
}
