//! `ImageJ` stacks: `key=value` lines in the first description.
//!
//! Reference: the reader and writer of `ImageJ` 1 (`ij.io.TiffDecoder`, `TiffEncoder`).

use super::directory::Directories;
use super::series::{Series, add_contiguous, pixel_size_um};
use crate::error::{Fault, malformed};
use crate::metadata::{micrometres_per_unit, positive};

/// Whether a description is `ImageJ`'s.
pub(crate) fn is_imagej(description: &[u8]) -> bool {
    description.starts_with(b"ImageJ=")
}

/// The one series of an `ImageJ` file.
pub(crate) fn series(file: &mut Directories) -> Result<Series, Fault> {
    let text = super::ome::text_of(&file.pages[0].description);
    let lines = Lines::of(&text);
    let [mut channels, slices, frames] =
        [lines.count("channels")?, lines.count("slices")?, lines.count("frames")?];
    let page = &file.pages[0];
    // The samples of a colour image may be declared as channels.
    if channels > 1 && channels == page.samples {
        channels = 1;
    }
    let product = channels.checked_mul(slices).and_then(|n| n.checked_mul(frames));
    let Some(product) = product else { return malformed("the numbers of planes are too large") };
    // Old versions name only the number of images: their meaning is not recorded.
    let images = lines.count("images")?;
    let unnamed = if product == 1 { images.max(file.pages.len()) } else { 1 };
    let count = product.max(unnamed);
    if file.pages.len() < count {
        if file.pages.len() > 1 {
            let found = file.pages.len();
            return malformed(format!("{count} planes are announced, but {found} are in the file"));
        }
        add_contiguous(file, 0, count)?;
    }
    let page = &file.pages[0];
    if let Some(odd) = file.pages[..count].iter().position(|other| !other.matches(page)) {
        return malformed(format!("plane {odd} differs in size or type from the first"));
    }
    let mut series = Series::of_pages(0..count);
    series.leading = match lines.text("order").to_lowercase().as_str() {
        "ctz" => vec![('Z', slices), ('T', frames), ('C', channels)],
        "zct" => vec![('T', frames), ('C', channels), ('Z', slices)],
        "ztc" => vec![('C', channels), ('T', frames), ('Z', slices)],
        "tcz" => vec![('Z', slices), ('C', channels), ('T', frames)],
        "tzc" => vec![('C', channels), ('Z', slices), ('T', frames)],
        _ => vec![('T', frames), ('Z', slices), ('C', channels)],
    };
    if unnamed > 1 {
        series.leading.insert(0, ('I', unnamed));
    }
    series.spacing_um = spacing_um(&lines, page);
    if file.pages.len() > count {
        let more = file.pages.len() - count;
        series.warnings.push(format!("{more} planes beyond those announced are left out"));
    }
    if frames > 1 && slices == 1 {
        let warning = "the planes are recorded as time points; if they are a z-stack, exchange the \
                       axes in Fiji (Image > Properties)";
        series.warnings.push(warning.to_owned());
    }
    Ok(series)
}

/// Voxel size along (z, y, x) in µm.
fn spacing_um(lines: &Lines<'_>, page: &super::page::Page) -> [Option<f64>; 3] {
    let unit = micrometres_per_unit(lines.text("unit"));
    let own = |key: &str| match lines.text(key) {
        "" => unit,
        text => micrometres_per_unit(text),
    };
    let z = lines.text("spacing").parse::<f64>().ok().map(f64::abs).and_then(positive);
    let z = z.zip(own("zunit")).map(|(units, um)| units * um);
    let [y, x] = pixel_size_um(page, [own("yunit"), unit]);
    [z, y, x]
}

/// The lines of a description.
struct Lines<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(key, value)| (key.trim(), value.trim())).collect())
    }

    fn text(&self, key: &str) -> &'a str {
        self.0.iter().find(|pair| pair.0 == key).map_or("", |pair| pair.1)
    }

    /// A number of planes; 1 where it is not given.
    fn count(&self, key: &str) -> Result<usize, Fault> {
        let text = self.text(key);
        match text.parse::<usize>() {
            Ok(count @ 1..=4_000_000) => Ok(count),
            _ if text.is_empty() => Ok(1),
            _ => malformed(format!("the number of {key} is {text}")),
        }
    }
}
