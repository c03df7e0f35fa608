//! OME-TIFF: the planes that the OME-XML names, in this file and in those beside it.

use std::collections::HashMap;
use std::path::{Component, Path};

use super::directory::{Directories, read_directories};
use super::series::{PlaneAt, Series};
use crate::Error;
use crate::error::{Fault, malformed, unsupported};
use crate::ome_xml::read::OmeImage;
use crate::ome_xml::{Document, PlaneBlock, parse};

/// Whether a description is OME-XML.
pub(crate) fn is_ome(description: &[u8]) -> bool {
    let end = description.trim_ascii_end();
    end.ends_with(b"OME>") && description.windows(4).any(|w| w == b"<OME" || w == b":OME")
}

/// A description as text: UTF-8 where it is, else Latin-1.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// All series of an OME-TIFF; the files that it names are added to `files`.
pub(crate) fn series(files: &mut Vec<Directories>) -> Result<Vec<Series>, Error> {
    let path = files[0].path.clone();
    let text = text_of(&files[0].pages[0].description);
    let mut document = parse(&text).map_err(|fault| fault.at(&path))?;
    let own_uuid = document.uuid.clone();
    if let Some(name) = &document.metadata_file {
        document = companion(&path, name)?;
    }
    let mut set = FileSet { files, own_uuid, by_name: HashMap::new(), renamed: renamed(&document) };
    let mut all = Vec::new();
    for image in &document.images {
        if let Some(series) = set.series(image)? {
            all.push(series);
        }
    }
    if all.is_empty() {
        let what = "the OME-XML names no planes of this file".to_owned();
        return Err(Error::Format { path, what });
    }
    Ok(all)
}

/// Reads the document that another file holds.
fn companion(path: &Path, name: &str) -> Result<Document, Error> {
    let other = beside(path, name).map_err(|fault| fault.at(path))?;
    let missing = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Format {
            path: path.to_owned(),
            what: format!("its metadata is in {name}, which is not beside it; put it there"),
        },
        _ => Error::read(&other, source),
    };
    let bytes = std::fs::read(&other).map_err(missing)?;
    let text = if bytes.starts_with(b"II") || bytes.starts_with(b"MM") {
        text_of(&read_directories(&other)?.pages[0].description)
    } else {
        text_of(&bytes)
    };
    let document = parse(&text).map_err(|fault| fault.at(&other))?;
    if document.metadata_file.is_some() {
        let what = "the OME-XML points on to yet another file".to_owned();
        return Err(Error::Format { path: other, what });
    }
    Ok(document)
}

/// Whether all planes are said to lie in one file: then it is the one being read, whatever
/// its name, for files are renamed by hand.
fn renamed(document: &Document) -> bool {
    let blocks = || document.images.iter().flat_map(|image| &image.blocks);
    let first = blocks().next().and_then(|block| block.file_name.clone());
    first.is_some() && blocks().all(|block| block.file_name == first)
}

fn beside(path: &Path, name: &str) -> Result<std::path::PathBuf, Fault> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.contains('\\') {
        return unsupported(
            format!("an OME-TIFF with a part outside its folder ({name})"),
            "put all parts into one folder and save it again",
        );
    }
    Ok(path.parent().unwrap_or(Path::new("")).join(name))
}

/// The files of a set, opened as they are named.
struct FileSet<'a> {
    files: &'a mut Vec<Directories>,
    own_uuid: Option<String>,
    by_name: HashMap<String, usize>,
    renamed: bool,
}

impl FileSet<'_> {
    /// The series of an image; none where it has no planes.
    fn series(&mut self, image: &OmeImage) -> Result<Option<Series>, Error> {
        let total: usize = image.lengths.iter().product();
        let mut planes: Vec<Option<PlaneAt>> = vec![None; total];
        let mut warnings = Vec::new();
        for block in &image.blocks {
            let file = self.file_of(block)?;
            let stored = self.files[file].pages.len();
            let inside = block.first.iter().zip(image.lengths).all(|(at, length)| *at < length);
            if !inside {
                // ImageJ leaves such entries behind when it crops.
                warnings.push(format!("planes at {:?} lie outside of the image", block.first));
                continue;
            }
            let places = block.first.iter().zip(image.lengths);
            let start = places.fold(0, |at, (index, length)| at * length + index);
            let count = block.count.unwrap_or(stored.saturating_sub(block.directory));
            let count = count.min(total - start);
            for step in 0..count {
                let page = block.directory.saturating_add(step);
                if page >= stored {
                    let name = self.files[file].path.clone();
                    let what = format!("plane {page} is announced, but {stored} are in the file");
                    return Err(Error::Format { path: name, what });
                }
                planes[start + step] = Some(PlaneAt { file, page });
            }
        }
        let path = self.files[0].path.clone();
        if image.blocks.is_empty() && self.files[0].pages.len() >= total {
            planes = (0..total).map(|page| Some(PlaneAt { file: 0, page })).collect();
        }
        if planes.iter().all(Option::is_none) {
            return Ok(None);
        }
        self.check(image, &planes).map_err(|fault| fault.at(&path))?;
        Ok(Some(Series {
            name: image.name.clone(),
            leading: image.axes.into_iter().zip(image.lengths).collect(),
            planes,
            whole: None,
            spacing_um: image.spacing_um,
            channel_names: image.channel_names.clone(),
            warnings,
        }))
    }

    /// The planes must be what the OME-XML says, and all alike.
    fn check(&self, image: &OmeImage, planes: &[Option<PlaneAt>]) -> Result<(), Fault> {
        let pages = planes.iter().flatten().map(|at| &self.files[at.file].pages[at.page]);
        let Some(first) = pages.clone().next() else { return Ok(()) };
        let [x, y] = image.size;
        if [first.width, first.height] != image.size {
            let (height, width) = (first.height, first.width);
            return malformed(format!(
                "the OME-XML says {y} x {x} pixels, but the planes have {height} x {width}"
            ));
        }
        if first.samples != image.samples {
            let (said, found) = (image.samples, first.samples);
            return malformed(format!(
                "the OME-XML says {said} samples a pixel, but the planes have {found}"
            ));
        }
        if let Some(odd) = pages.clone().position(|page| !page.matches(first)) {
            return malformed(format!("plane {odd} differs in size or type from the first"));
        }
        Ok(())
    }

    fn file_of(&mut self, block: &PlaneBlock) -> Result<usize, Error> {
        let own = self.files[0].path.clone();
        let own_name = own.file_name().map(|name| name.to_string_lossy().to_lowercase());
        let Some(name) = &block.file_name else { return Ok(0) };
        let by_uuid = self.own_uuid.is_some() && block.uuid == self.own_uuid;
        if by_uuid || Some(name.to_lowercase()) == own_name || self.renamed {
            return Ok(0);
        }
        if let Some(file) = self.by_name.get(name) {
            return Ok(*file);
        }
        let path = beside(&own, name).map_err(|fault| fault.at(&own))?;
        if !path.exists() {
            let what = format!("planes of it are in {name}, which is not beside it; put it there");
            return Err(Error::Format { path: own, what });
        }
        self.files.push(read_directories(&path)?);
        self.by_name.insert(name.clone(), self.files.len() - 1);
        Ok(self.files.len() - 1)
    }
}
