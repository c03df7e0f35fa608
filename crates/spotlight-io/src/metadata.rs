//! What a file says about itself: [`ImageInfo`], and lengths in µm.

use std::path::PathBuf;

use crate::voxels::SampleType;

/// Order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// Where it is known from what an axis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisOrigin {
    /// The file or store says it.
    Metadata,
    /// The fields of a pattern of names say it.
    Pattern,
    /// The caller has said it ([`crate::PageAxes`]).
    Given,
    /// Nothing says it: it is taken for what most files mean.
    Assumed,
    /// There is no such axis; its length is 1.
    Absent,
}

/// One axis of an image as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// `T`ime, `C`hannel, `Z`, `Y` or `X`.
    pub axis: char,
    /// Its length.
    pub length: usize,
    /// Where it is known from.
    pub origin: AxisOrigin,
}

impl Dimension {
    /// The axes T, C, Z, Y, X.
    pub(crate) fn all(lengths: [usize; 5], origins: [AxisOrigin; 5]) -> [Self; 5] {
        std::array::from_fn(|index| Self {
            axis: ['T', 'C', 'Z', 'Y', 'X'][index],
            length: lengths[index],
            origin: origins[index],
        })
    }
}

/// What a file holds, as [`crate::inspect`] finds without reading the voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// The file.
    pub path: PathBuf,
    /// The format, such as `OME-TIFF` or `ImageJ TIFF`.
    pub format: String,
    /// Axes of the first image, slowest first, in the letters of
    /// [`ArrayData::axes`](crate::ArrayData::axes).
    pub axes: String,
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// The axes T, C, Z, Y, X as they are read, whatever their order in the file.
    pub dimensions: [Dimension; 5],
    /// Type of the numbers.
    pub sample_type: SampleType,
    /// A name for every channel; its number where the file has no name.
    pub channel_names: Vec<String>,
    /// Voxel size along (z, y, x) in µm, where the file gives all three.
    pub spacing_um: Option<[f64; 3]>,
    /// Voxel size along (z, y, x) in µm, each where the file gives it.
    pub partial_spacing_um: [Option<f64>; 3],
    /// Number of time points.
    pub times: usize,
    /// Names of all images in the file; empty text where one has no name.
    pub series: Vec<String>,
    /// Number of resolution levels of the first image.
    pub levels: usize,
    /// Order of the bytes.
    pub byte_order: ByteOrder,
    /// Name of the compression.
    pub compression: String,
    /// How the voxels lie in the file.
    pub storage: Storage,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// How the voxels of an image lie in its file or store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In the planes of a TIFF.
    Tiff {
        /// Number of planes stored.
        pages: usize,
        /// Whether file positions have 64 bits (`BigTIFF`).
        big: bool,
        /// TIFF's number of the predictor; 1 is none.
        predictor: u16,
        /// Height and width of a tile, where the planes are stored in tiles.
        tile: Option<[usize; 2]>,
    },
    /// In the chunks of a Zarr array.
    Zarr {
        /// Version of the storage format: 2 or 3.
        version: u8,
        /// Lengths of a chunk along the axes of the image.
        chunk: Vec<usize>,
        /// Lengths of a shard, where chunks are stored together.
        shard: Option<Vec<usize>>,
    },
    /// In the sub-blocks of a CZI.
    Czi {
        /// Number of sub-blocks of full resolution in the file.
        sub_blocks: usize,
    },
}

/// µm in a unit of length as files spell it; none where it is no length.
pub(crate) fn micrometres_per_unit(unit: &str) -> Option<f64> {
    // Escapes of Java ("\u00B5m"), and UTF-8 taken for Latin-1 once ("Âµm").
    let unit = unit.trim().trim_matches('"').trim().trim_end_matches('\0');
    let unit = unit.replace("\\u00B5", "µ").replace("\\u00b5", "µ");
    let unit = unit.replace("\\u03BC", "µ").replace("\\u03bc", "µ").replace("Âµ", "µ");
    let unit = unit.replace(['\u{3bc}', '\u{fffd}'], "µ");
    let known = match unit.as_str() {
        "µm" | "um" | "µ" | "u" => 1.0,
        "nm" => 1e-3,
        "pm" => 1e-6,
        "Å" | "\u{212b}" => 1e-4,
        "mm" => 1e3,
        "cm" => 1e4,
        "dm" => 1e5,
        "m" => 1e6,
        "km" => 1e9,
        "in" => 25_400.0,
        "ft" => 304_800.0,
        "mil" | "thou" => 25.4,
        _ => return micrometres_per_word(&unit.to_lowercase()),
    };
    Some(known)
}

fn micrometres_per_word(unit: &str) -> Option<f64> {
    let singular = unit.strip_suffix('s').unwrap_or(unit);
    match singular {
        "µm" | "um" | "micron" | "micrometer" | "micrometre" => Some(1.0),
        "nm" | "nanometer" | "nanometre" => Some(1e-3),
        "angstrom" | "ångström" => Some(1e-4),
        "mm" | "millimeter" | "millimetre" => Some(1e3),
        "cm" | "centimeter" | "centimetre" => Some(1e4),
        "meter" | "metre" => Some(1e6),
        "picometer" | "picometre" => Some(1e-6),
        "decimeter" | "decimetre" => Some(1e5),
        "kilometer" | "kilometre" => Some(1e9),
        "foot" => Some(304_800.0),
        "inch" | "inche" => Some(25_400.0),
        _ => None,
    }
}

/// What a user should know of a voxel size along (z, y, x) in µm.
pub(crate) fn spacing_warnings(spacing_um: [Option<f64>; 3]) -> Vec<String> {
    let mut all = Vec::new();
    let missing = spacing_um.iter().zip(["z", "y", "x"]).filter(|pair| pair.0.is_none());
    let missing: Vec<&str> = missing.map(|pair| pair.1).collect();
    if !missing.is_empty() {
        all.push(format!("the voxel size along {} is not recorded", missing.join(", ")));
    }
    let [z, y, x] = spacing_um;
    if let (Some(y), Some(x)) = (y, x)
        && (y / x - 1.0).abs() > 0.01
    {
        all.push(format!("pixels are not square ({y} x {x} µm)"));
    }
    if let (Some(z), Some(x)) = (z, x)
        && !(0.1..=50.0).contains(&(z / x))
    {
        all.push(format!("the z step ({z} µm) and the pixel size ({x} µm) are far apart"));
    }
    all
}

/// A length if it is one: finite and positive.
pub(crate) fn positive(length: f64) -> Option<f64> {
    (length.is_finite() && length > 0.0).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_as_files_spell_them() {
        let micrometre = ["µm", "μm", "um", "micron", "Microns", "\\u00B5m", "Âµm", " µm\0"];
        for unit in micrometre {
            assert_eq!(micrometres_per_unit(unit), Some(1.0), "{unit:?}");
        }
        assert_eq!(micrometres_per_unit("nm"), Some(1e-3));
        assert_eq!(micrometres_per_unit("mm"), Some(1e3));
        assert_eq!(micrometres_per_unit("inch"), Some(25_400.0));
        for unit in ["pixel", "pixels", "", "reference frame", "li"] {
            assert_eq!(micrometres_per_unit(unit), None, "{unit:?}");
        }
    }
}
