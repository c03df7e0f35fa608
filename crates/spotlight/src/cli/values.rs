//! Values that options are made of: shapes, spacings, amounts of memory, lists of files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_image::Shape;
use spotlight_io::manifest::{Manifest, Row, Split};
use spotlight_io::{Channel, is_address, is_image_folder, is_pattern};

use crate::cli::{failure, wrong_use};

/// Reads `64,256,256`: numbers of voxels along (z, y, x).
///
/// # Errors
///
/// If these are not three whole numbers above 0.
pub fn shape(text: &str) -> Result<Shape, String> {
    let parts: Option<Vec<usize>> =
        text.split(',').map(|part| part.trim().parse().ok().filter(|n| *n > 0)).collect();
    parts.and_then(|parts| parts.try_into().ok()).ok_or_else(|| {
        "expected three whole numbers of voxels z,y,x, such as 64,256,256".to_owned()
    })
}

/// Reads `0.29,0.108,0.108`, or one number for all axes: voxel sizes along (z, y, x) in µm.
///
/// # Errors
///
/// If these are not one or three numbers above 0.
pub fn spacing_um(text: &str) -> Result<[f64; 3], String> {
    let parts: Option<Vec<f64>> = text
        .split(',')
        .map(|part| part.trim().parse().ok().filter(|um: &f64| um.is_finite() && *um > 0.0))
        .collect();
    match parts.as_deref() {
        Some([all]) => Ok([*all; 3]),
        Some([z, y, x]) => Ok([*z, *y, *x]),
        _ => Err("expected voxel sizes z,y,x in µm, such as 0.29,0.108,0.108".to_owned()),
    }
}

/// Reads an amount of memory, `4GiB`, `500 MB` or a plain number of bytes.
///
/// # Errors
///
/// If it is not a number above 0 with one of the units B, kB, MB, GB, TB, KiB, MiB, GiB, TiB.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.trim()[digits.len()..].to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => f64::NAN,
    };
    let amount = digits.trim().parse::<f64>().unwrap_or(f64::NAN) * factor;
    if amount.is_finite() && amount >= 1.0 {
        Ok(amount as u64)
    } else {
        Err("expected an amount of memory, such as 4GiB or 500MB".to_owned())
    }
}

/// Reads a channel: a whole number is its position from 0, anything else its name.
///
/// # Errors
///
/// Never.
#[must_use = "a parser changes nothing"]
pub fn channel(text: &str) -> Result<Channel, std::convert::Infallible> {
    text.parse()
}

/// Splits `DNA=a.tif` into `DNA` and `a.tif`; a path that exists is never taken apart.
#[must_use]
pub fn name_and_path(text: &str) -> (Option<&str>, &str) {
    let is_named = |(name, path): &(&str, &str)| {
        !name.is_empty() && !path.is_empty() && !name.contains(['/', '\\'])
    };
    match text.split_once('=').filter(is_named) {
        Some((name, path)) if !Path::new(text).exists() => (Some(name), path),
        _ => (None, text),
    }
}

/// The model file in the folder of a training run; any other path stands for itself.
#[must_use]
pub fn model_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() }
}

/// The rows of a manifest, or those of one part.
///
/// # Errors
///
/// If the manifest cannot be read or has no such row.
pub fn rows(manifest: &Path, split: Option<Split>) -> Result<Vec<Row>> {
    let mut rows = Manifest::read(manifest)?.rows;
    rows.retain(|row| split.is_none() || row.split == split);
    match split {
        Some(split) if rows.is_empty() => Err(failure(
            format!("{}: no row has the split {split}", manifest.display()),
            "give some rows that split, or leave --split out",
        )),
        _ => Ok(rows),
    }
}

/// The files, folders and addresses that names and patterns (`*`, `?`, `[a-z]`, `**`) stand for,
/// in order.
///
/// A web address, a name with fields in braces (`img_z{z}.tif`) and a name of an existing file
/// or folder stand for themselves, whatever characters are in them. What a pattern finds comes
/// sorted: files but for those that Zarr keeps beside its arrays, and folders that are an image
/// or have a model. What is named twice comes once.
///
/// # Errors
///
/// If a name is no file, or a pattern fits none.
pub fn files(names: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut seen = HashSet::new();
    let mut files: Vec<PathBuf> = Vec::new();
    for name in names {
        for file in matches(name)? {
            if seen.insert(file.clone()) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// Whether a path can stand for an input: it exists, or only opening it can tell.
#[must_use]
pub fn may_exist(path: &Path) -> bool {
    is_address(path) || is_pattern(path) || path.exists()
}

fn matches(name: &Path) -> Result<Vec<PathBuf>> {
    let text = name.to_string_lossy();
    if may_exist(name) {
        return Ok(vec![name.to_owned()]);
    }
    if !text.contains(['*', '?', '[']) {
        return Err(failure(format!("{text}: no such file"), "check the name and the folder"));
    }
    let found = glob::glob(&text)
        .map_err(|error| wrong_use(format!("{text}: not a pattern of names: {error}"), ""))?;
    let mut files: Vec<PathBuf> = found.filter_map(Result::ok).filter(|f| is_input(f)).collect();
    files.sort();
    if files.is_empty() {
        return Err(failure(format!("{text}: no file fits this pattern"), ""));
    }
    Ok(files)
}

/// Whether what a pattern has found is meant: neither Zarr's own files nor any folder.
fn is_input(path: &Path) -> bool {
    const OF_ZARR: [&str; 5] = ["zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"];
    if path.is_dir() {
        return is_image_folder(path) || model_path(path).is_file();
    }
    !path.file_name().is_some_and(|name| OF_ZARR.iter().any(|own| name == *own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_three_whole_numbers() {
        assert_eq!(shape("64, 256,128"), Ok([64, 256, 128]));
        for wrong in ["64,256", "0,1,1", "1,2,3,4", "a,b,c", "1.5,2,3", ""] {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spacings_are_one_or_three_sizes() {
        assert_eq!(spacing_um("0.29,0.108,0.1"), Ok([0.29, 0.108, 0.1]));
        assert_eq!(spacing_um("0.5"), Ok([0.5; 3]));
        for wrong in ["0.29,0.1", "-1,1,1", "nan", "inf,1,1", ""] {
            assert!(spacing_um(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_has_a_unit() {
        for (text, amount) in [
            ("4GiB", 4 << 30),
            ("500 MB", 500_000_000),
            ("1.5k", 1500),
            ("7", 7),
            ("2tib", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(amount), "{text}");
        }
        for wrong in ["", "GiB", "4 GiBs", "-1", "0", "nan"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_with_an_equals_sign_in_a_folder_is_a_path() {
        assert_eq!(name_and_path("x=1/a.tif"), (Some("x"), "1/a.tif"));
        assert_eq!(name_and_path("run/x=1/a.tif"), (None, "run/x=1/a.tif"));
        assert_eq!(name_and_path("=a.tif"), (None, "=a.tif"));
    }

    #[test]
    fn patterns_become_sorted_files_and_names_stay() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.tif", "a.tif", "c[1].tif"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names = ["c[1].tif", "[ab]*", "a.tif"].map(|name| folder.path().join(name));
        let found = files(&names).unwrap();
        let found: Vec<_> = found.iter().map(|f| f.file_name().unwrap().to_owned()).collect();
        assert_eq!(found, ["c[1].tif", "a.tif", "b.tif"]);
        for missing in ["d.tif", "d*"] {
            let error = files(&[folder.path().join(missing)]).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }

    #[test]
    fn addresses_and_names_with_fields_stand_for_themselves() {
        let names = ["https://host/a.zarr/B/3/0", "no/img_z{z:02}_c{c}.tif", "s3://b/[x]*.zarr"];
        let names = names.map(PathBuf::from);
        assert_eq!(files(&names).unwrap(), names);
    }

    #[test]
    fn a_pattern_finds_the_fields_of_a_plate_and_nothing_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for group in ["", "B", "B/3", "B/3/1", "B/3/0", "B/3/0/labels"] {
            std::fs::create_dir_all(at(group)).unwrap();
            std::fs::write(at(group).join(".zgroup"), "{\"zarr_format\": 2}").unwrap();
            std::fs::write(at(group).join(".zattrs"), "{}").unwrap();
        }
        std::fs::create_dir_all(at("B/3/0/0")).unwrap();
        std::fs::write(at("B/3/0/0/.zarray"), "{}").unwrap();
        std::fs::create_dir_all(at("B/3/thumbnails")).unwrap();
        assert_eq!(files(&[at("*/*/*")]).unwrap(), [at("B/3/0"), at("B/3/1")]);
        // Levels are arrays inside an image, and no images.
        assert_eq!(files(&[at("B/3/0/*")]).unwrap(), [at("B/3/0/labels")]);
        std::fs::write(at("B/3/0/labels/.zarray"), "{}").unwrap();
        assert!(files(&[at("B/3/0/*")]).is_err());
    }
}
