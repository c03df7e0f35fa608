//! OME-TIFF: the planes that the OME-XML names, in this file and in those beside it.

use std::collections::HashMap;
use std::path::{Component, Path};

use super::directory::{Directories, read_directories};
use super::series::{Image, PlaneAt, Series};
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

/// Whether a path is a companion: OME-XML in a file of its own.
pub(crate) fn is_companion(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("ome")) && path.is_file()
}

/// The image set that a companion describes.
pub(crate) fn open_companion(path: &Path) -> Result<Image, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    let document = parse(&text_of(&bytes)).map_err(|fault| fault.at(path))?;
    drop(bytes);
    if let Some(name) = &document.metadata_file {
        let what = format!("it only points to other metadata; open {name}");
        return Err(Error::Format { path: path.to_owned(), what });
    }
    let mut files = Vec::new();
    let mut set =
        FileSet { path, files: &mut files, own: None, by_name: HashMap::new(), budget: 0 };
    let series = set.all_series(&document)?;
    Ok(Image { path: path.to_owned(), files, format: "OME-TIFF with companion", series })
}

/// All series of an OME-TIFF; the files that it names are added to `files`.
pub(crate) fn series(files: &mut Vec<Directories>) -> Result<Vec<Series>, Error> {
    let path = files[0].path.clone();
    let text = text_of(&files[0].pages[0].description);
    let mut document = parse(&text).map_err(|fault| fault.at(&path))?;
    let uuid = document.uuid.clone();
    if let Some(name) = &document.metadata_file {
        document = companion(&path, name)?;
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let own = Some(Own { uuid, name, all: renamed(&document) });
    FileSet { path: &path, files, own, by_name: HashMap::new(), budget: 0 }.all_series(&document)
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

/// The path of a part of a set, which must lie in the folder of `path`.
pub(crate) fn beside(path: &Path, name: &str) -> Result<std::path::PathBuf, Fault> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.contains('\\') {
        return unsupported(
            format!("a set of files with a part outside its folder ({name})"),
            "put all parts into one folder and save it again",
        );
    }
    Ok(path.parent().unwrap_or(Path::new("")).join(name))
}

/// The files of a set, opened as they are named.
struct FileSet<'a> {
    /// What was asked for; the parts are beside it.
    path: &'a Path,
    files: &'a mut Vec<Directories>,
    /// The first file, where it was the one that was asked for.
    own: Option<Own>,
    by_name: HashMap<String, usize>,
    /// Planes that the images may still announce, sparse ones included.
    budget: usize,
}

/// How a document may name the file that was asked for.
struct Own {
    uuid: Option<String>,
    /// In small letters.
    name: Option<String>,
    /// Whether all planes lie in it, whatever its name.
    all: bool,
}

impl FileSet<'_> {
    /// The images of a document that have planes.
    fn all_series(&mut self, document: &Document) -> Result<Vec<Series>, Error> {
        // A text of a few bytes can announce millions of planes: some may be left out, not most.
        let blocks: usize = document.images.iter().map(|image| image.blocks.len()).sum();
        let pages = self.files.first().map_or(0, |file| file.pages.len());
        self.budget = 1_000_000 + 64 * (blocks + pages);
        let mut all = Vec::new();
        for image in &document.images {
            if let Some(series) = self.series(image)? {
                all.push(series);
            }
        }
        if all.is_empty() {
            let what = "the OME-XML names no planes in a TIFF".to_owned();
            return Err(Error::Format { path: self.path.to_owned(), what });
        }
        Ok(all)
    }

    /// The series of an image; none where it has no planes.
    fn series(&mut self, image: &OmeImage) -> Result<Option<Series>, Error> {
        let total: usize = image.lengths.iter().product();
        let Some(left) = self.budget.checked_sub(total) else {
            let lengths = image.lengths;
            let what = format!("the OME-XML announces {lengths:?} planes and places far fewer");
            return Err(Error::Limit { path: self.path.to_owned(), what });
        };
        self.budget = left;
        let mut written = 0_usize;
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
            written += count;
            if written > 16 * total {
                let what = "the OME-XML places planes many times over".to_owned();
                return Err(Error::Format { path: self.path.to_owned(), what });
            }
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
        let alone = self.own.is_some() && image.blocks.is_empty();
        if alone && self.files[0].pages.len() >= total {
            planes = (0..total).map(|page| Some(PlaneAt { file: 0, page })).collect();
        }
        if planes.iter().all(Option::is_none) {
            return Ok(None);
        }
        self.check(image, &planes).map_err(|fault| fault.at(self.path))?;
        Ok(Some(Series {
            origins: None,
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
        let refuse = |what: String| Err(Error::Format { path: self.path.to_owned(), what });
        let Some(name) = &block.file_name else {
            return match self.own {
                Some(_) => Ok(0),
                None => refuse("the OME-XML does not say in which file its planes are".to_owned()),
            };
        };
        if let Some(own) = &self.own {
            let by_uuid = own.uuid.is_some() && block.uuid == own.uuid;
            if by_uuid || own.all || Some(name.to_lowercase()) == own.name {
                return Ok(0);
            }
        }
        if let Some(file) = self.by_name.get(name) {
            return Ok(*file);
        }
        let path = beside(self.path, name).map_err(|fault| fault.at(self.path))?;
        if !path.is_file() {
            return refuse(format!(
                "planes of it are in {name}, which is not beside it; put it there"
            ));
        }
        self.files.push(read_directories(&path)?);
        self.by_name.insert(name.clone(), self.files.len() - 1);
        Ok(self.files.len() - 1)
    }
}
