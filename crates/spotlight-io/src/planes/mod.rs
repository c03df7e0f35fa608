//! Images of which every file holds one plane: a path with fields in braces names them all.
//!
//! `plate/img_t{t}_z{z:03}_c{c:DAPI,FITC}.tif` is one image. The axes are those of the fields
//! and nothing else: [`pattern`] reads them, [`find`] lists the folders, and here the files are
//! put together. Without a field for z every file holds a z-stack.

pub(crate) mod find;
pub(crate) mod pattern;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::Error;
use crate::error::{Fault, malformed, unsupported};
use crate::metadata::AxisOrigin;
use crate::ome_xml::parse;
use crate::tiff::directory::{Directories, read_directories};
use crate::tiff::ome::text_of;
use crate::tiff::read::check_maker;
use crate::tiff::series::{PlaneAt, Series};
use crate::tiff::{Image, imagej, nd_tiff, ome, plain, shaped};
use find::{Found, Places};
use pattern::{AXES, Pattern};

/// Whether a path is a pattern: it has a brace and is no file or folder itself.
pub(crate) fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains('{')) && !path.exists()
}

/// Opens all files of a pattern as one image.
pub(crate) fn open(path: &Path) -> Result<Image, Error> {
    let pattern = Pattern::parse(path)?;
    let found = find::files(&pattern)?;
    let places = Places::of(&pattern, &found).map_err(|fault| fault.at(path))?;
    let paths = grid(&pattern, &places, found).map_err(|fault| fault.at(path))?;
    let with_z = pattern.has('z');
    let parts: Vec<Result<Part, Error>> =
        paths.par_iter().map(|path| Part::open(path, with_z)).collect();
    // One after another, so that the error is always that of the first bad file.
    let parts = parts.into_iter().collect::<Result<Vec<Part>, Error>>()?;
    check_alike(&parts)?;
    let depth = parts[0].pages.len();
    let [times, channels, steps] = places.lengths();
    let mut series = Series {
        leading: vec![('T', times), ('C', channels), ('Z', steps * depth)],
        spacing_um: parts[0].spacing_um,
        channel_names: places.channel_names(),
        origins: Some(origins(&pattern, parts[0].z_origin)),
        ..Series::default()
    };
    let mut files = Vec::with_capacity(parts.len());
    for (file, part) in parts.into_iter().enumerate() {
        series.planes.extend(part.pages.iter().map(|page| Some(PlaneAt { file, page: *page })));
        files.push(part.file);
    }
    Ok(Image { path: path.to_owned(), files, format: "TIFF series", series: vec![series] })
}

/// Where T, C and Z are known from: without `{z}` every file is a z-stack by itself.
fn origins(pattern: &Pattern, z_origin: AxisOrigin) -> [AxisOrigin; 3] {
    let of = |letter: char, without: AxisOrigin| match pattern.has(letter) {
        true => AxisOrigin::Pattern,
        false => without,
    };
    [of('t', AxisOrigin::Absent), of('c', AxisOrigin::Absent), of('z', z_origin)]
}

/// The files in the order of the axes, z fastest; fails where one is missing.
fn grid(pattern: &Pattern, places: &Places, found: Vec<Found>) -> Result<Vec<PathBuf>, Fault> {
    let mut by_place: HashMap<[usize; 3], PathBuf> = HashMap::new();
    for file in found {
        let Some(place) = places.place_of(&file) else { continue };
        if let Some(other) = by_place.insert(place, file.path.clone()) {
            return malformed(format!(
                "{} and {} are the same plane; make the pattern fit one of them",
                other.display(),
                file.path.display()
            ));
        }
    }
    let [times, channels, steps] = places.lengths();
    let mut paths = Vec::with_capacity(by_place.len());
    for index in 0..times.saturating_mul(channels).saturating_mul(steps) {
        let place = [index / (channels * steps), index / steps % channels, index % steps];
        let Some(path) = by_place.remove(&place) else {
            let texts = places.texts_of(place);
            return malformed(format!(
                "the file {} is missing ({}); put it there or make the pattern fit fewer files",
                pattern.name_of(&texts).display(),
                places.ranges()
            ));
        };
        paths.push(path);
    }
    Ok(paths)
}

/// One file and its planes.
struct Part {
    file: Directories,
    pages: Vec<usize>,
    spacing_um: [Option<f64>; 3],
    z_origin: AxisOrigin,
}

impl Part {
    fn open(path: &Path, one_plane: bool) -> Result<Self, Error> {
        if nd_tiff::has_magic(path) {
            let refused = unsupported("an NDTiff stack in a pattern", "open its folder instead");
            return refused.map_err(|fault| fault.at(path));
        }
        let mut file = read_directories(path)?;
        let series = own_series(&mut file).map_err(|fault| fault.at(path))?;
        let refuse = |what: String| Err(Error::Format { path: path.to_owned(), what });
        let pages: Vec<usize> = series.planes.iter().flatten().map(|plane| plane.page).collect();
        if one_plane && pages.len() != 1 {
            let count = pages.len();
            return refuse(format!(
                "it holds {count} planes, but by its pattern, which has z, a file holds one; leave \
                 z out of the pattern or open the file alone"
            ));
        }
        for (letter, words) in [('T', "time points"), ('C', "channels")] {
            let length = series.length(letter);
            if length > 1 {
                return refuse(format!(
                    "it holds {length} {words}, but a file of a pattern is one plane or one \
                     z-stack; open it alone"
                ));
            }
        }
        series.depth().map_err(|fault| fault.at(path))?;
        // Thousands of descriptions are not worth their memory.
        file.pages.iter_mut().for_each(|page| page.description = Vec::new());
        let [_, _, z_origin] = series.origins(&file.pages[pages[0]]);
        Ok(Self { file, pages, spacing_um: series.spacing_um, z_origin })
    }
}

/// What a file holds by itself, whatever other files its OME-XML may name.
fn own_series(file: &mut Directories) -> Result<Series, Fault> {
    check_maker(file)?;
    let description = &file.pages[0].description;
    if imagej::is_imagej(description) {
        return imagej::series(file);
    }
    let text = ome::is_ome(description).then(|| text_of(description));
    let shaped = shaped::is_shaped(description);
    let mut all = if shaped { shaped::series(file)? } else { plain::series(file) };
    if all.len() != 1 {
        let count = all.len();
        return malformed(format!("it holds {count} images of different size, expected one"));
    }
    let mut series = all.remove(0);
    let Some(image) =
        text.map(|text| parse(&text)).transpose()?.and_then(|d| d.images.into_iter().next())
    else {
        return Ok(series);
    };
    series.spacing_um = image.spacing_um;
    series.origins = None;
    let planes = series.planes.len();
    let depth = image.axes.iter().zip(image.lengths).find(|axis| *axis.0 == 'Z');
    if planes > 1 && depth.is_none_or(|axis| axis.1 != planes) {
        return malformed(format!(
            "it holds {planes} planes that are not one z-stack by its OME-XML (planes along {:?}: \
             {:?}); open it alone",
            image.axes, image.lengths
        ));
    }
    Ok(series)
}

/// Fails where files differ in size, type or number of planes.
fn check_alike(parts: &[Part]) -> Result<(), Error> {
    let first = &parts[0];
    let page = |part: &Part, index: usize| part.file.pages[part.pages[index]].clone();
    let kind = |part: &Part| {
        let page = page(part, 0);
        let (planes, [y, x]) = (part.pages.len(), [page.height, page.width]);
        format!("{planes} x {y} x {x} pixels of {} x {} bits", page.samples, page.bits)
    };
    for part in parts {
        let alike = |index: &usize| {
            first.file.pages[first.pages[0]].matches(&part.file.pages[part.pages[*index]])
        };
        if part.pages.len() != first.pages.len() || !(0..part.pages.len()).all(|i| alike(&i)) {
            let what = format!(
                "it holds {}, but {} holds {} and all files of a pattern must be alike",
                kind(part),
                first.file.path.display(),
                kind(first)
            );
            return Err(Error::Format { path: part.file.path.clone(), what });
        }
    }
    Ok(())
}

/// Position of an axis in [`AXES`].
fn axis_number(letter: char) -> usize {
    AXES.iter().position(|axis| *axis == letter).unwrap_or(0)
}
