//! [`ZarrOptions`]: how a store is written.

use spotlight_image::grid::Shape;

use crate::voxels::SampleType;

/// The version of OME-Zarr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NgffVersion {
    /// 0.4 on Zarr 2: a file for every chunk, known to older viewers.
    V04,
    /// 0.5 on Zarr 3: chunks together in shards.
    #[default]
    V05,
}

/// How chunks are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZarrCompression {
    /// Not at all.
    None,
    /// Zstandard.
    #[default]
    Zstd,
    /// Blosc: Zstandard after the bytes of equal weight are put together, which is smaller
    /// for numbers of several bytes.
    Blosc,
}

/// How [`crate::ZarrWriter`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZarrOptions {
    /// The version of OME-Zarr.
    pub version: NgffVersion,
    /// Lengths of a chunk along (z, y, x): what a viewer decodes at once. An axis shorter
    /// than its chunk is one chunk.
    pub chunk: Shape,
    /// Lengths of a write unit along (z, y, x), rounded up to whole chunks: a shard in
    /// version 0.5. None is four chunks along each axis, fewer planes where that has more
    /// than 64 MiB.
    pub unit: Option<Shape>,
    /// Number of resolution levels at most, the full one included; none is as many as it
    /// takes until y and x are at most 256.
    pub levels: Option<usize>,
    /// The compression.
    pub compression: ZarrCompression,
    /// Whether an existing store, or an unfinished one of other content, is replaced.
    pub overwrite: bool,
    /// Whether the numbers are labels: lower levels then take a voxel of each block, not
    /// the mean.
    pub labels: bool,
    /// Text for the metadata, such as how the image came about.
    pub description: Option<String>,
}

impl Default for ZarrOptions {
    fn default() -> Self {
        Self {
            version: NgffVersion::V05,
            chunk: [16, 128, 128],
            unit: None,
            levels: None,
            compression: ZarrCompression::Zstd,
            overwrite: false,
            labels: false,
            description: None,
        }
    }
}

/// A unit of the default size has at most this many bytes before compression.
const UNIT_BYTES: usize = 64 << 20;

impl ZarrOptions {
    /// Number of voxels along (z, y, x) of a write unit of an image.
    ///
    /// # Panics
    ///
    /// If a length of the image or of the chunk is 0.
    #[must_use]
    pub fn unit_shape(&self, shape: Shape, sample_type: SampleType) -> Shape {
        self.blocks(shape, sample_type).1
    }

    /// Chunk and write unit of a level, none longer than the level needs.
    pub(super) fn blocks(&self, shape: Shape, sample_type: SampleType) -> (Shape, Shape) {
        let chunk: Shape = std::array::from_fn(|axis| self.chunk[axis].min(shape[axis]));
        let wanted = self.unit.unwrap_or_else(|| {
            let bytes = self.chunk.iter().product::<usize>() * 16 * sample_type.bytes();
            let chunks = (UNIT_BYTES / bytes.max(1)).clamp(1, 4);
            [self.chunk[0] * chunks, self.chunk[1] * 4, self.chunk[2] * 4]
        });
        let unit = std::array::from_fn(|axis| {
            wanted[axis].clamp(1, shape[axis]).next_multiple_of(chunk[axis])
        });
        (chunk, unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_no_longer_than_the_image_and_units_are_whole_chunks() {
        let options = ZarrOptions::default();
        let large = [100, 2000, 2000];
        assert_eq!(options.blocks(large, SampleType::U16), ([16, 128, 128], [64, 512, 512]));
        assert_eq!(options.blocks(large, SampleType::F64), ([16, 128, 128], [32, 512, 512]));
        assert_eq!(
            options.blocks([20, 100, 130], SampleType::U8),
            ([16, 100, 128], [32, 100, 256])
        );
        let odd = ZarrOptions { unit: Some([1, 200, 5000]), ..options };
        assert_eq!(odd.blocks(large, SampleType::U8), ([16, 128, 128], [16, 256, 2048]));
    }
}
