//! What we need of OME-XML: the axes of every image, where its planes are, the voxel size
//! and the names of the channels.

use roxmltree::{Node, ParsingOptions};

use crate::error::{Fault, malformed, unsupported};
use crate::metadata::{micrometres_per_unit, positive};

/// The parts of a document that matter for reading.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Identifier of the file that holds the document.
    pub(crate) uuid: Option<String>,
    /// The file with the metadata, where this document only points to it.
    pub(crate) metadata_file: Option<String>,
    pub(crate) images: Vec<OmeImage>,
}

/// One `Image` element.
#[derive(Debug)]
pub(crate) struct OmeImage {
    pub(crate) name: String,
    /// Letters of the axes over the planes, slowest first.
    pub(crate) axes: [char; 3],
    /// Lengths of those axes, the samples of a colour taken out of the channels.
    pub(crate) lengths: [usize; 3],
    /// Width and height.
    pub(crate) size: [usize; 2],
    /// Numbers a pixel.
    pub(crate) samples: usize,
    /// Voxel size along (z, y, x) in µm.
    pub(crate) spacing_um: [Option<f64>; 3],
    pub(crate) channel_names: Vec<Option<String>>,
    pub(crate) blocks: Vec<PlaneBlock>,
}

/// One `TiffData` element: consecutive planes and where they are.
#[derive(Debug)]
pub(crate) struct PlaneBlock {
    /// Position of the first plane along [`OmeImage::axes`].
    pub(crate) first: [usize; 3],
    /// First directory.
    pub(crate) directory: usize,
    /// Number of planes; none means all that the file has.
    pub(crate) count: Option<usize>,
    /// Identifier of the file.
    pub(crate) uuid: Option<String>,
    /// Name of the file.
    pub(crate) file_name: Option<String>,
}

/// Most elements and attributes that a document may have.
const MOST_NODES: u32 = 50_000_000;

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Document, Fault> {
    let depth = deepest(text);
    if depth > 1000 {
        return Err(Fault::Limit(format!("the OME-XML is nested {depth} deep")));
    }
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = match roxmltree::Document::parse_with_options(text.trim(), options) {
        Ok(document) => document,
        Err(error) => return malformed(format!("the OME-XML is damaged ({error})")),
    };
    let root = document.root_element();
    let mut found = Document { uuid: attribute(root, "UUID"), ..Document::default() };
    for child in root.children() {
        match child.tag_name().name() {
            "BinaryOnly" => {
                found.metadata_file = attribute(child, "MetadataFile");
                if found.metadata_file.is_none() {
                    return malformed("the OME-XML points to other metadata but names no file");
                }
            }
            "Image" => {
                let pixels = child.children().find(|node| node.has_tag_name_local("Pixels"));
                if let Some(pixels) = pixels {
                    found.images.push(image(child, pixels)?);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// How deep tags are nested, so that no hostile document exhausts the stack of the parser.
fn deepest(text: &str) -> usize {
    let (mut depth, mut most) = (0_usize, 0_usize);
    for (at, _) in text.match_indices('<') {
        match text.as_bytes().get(at + 1) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) => {
                let end = text[at..].find('>').map_or(text.len(), |end| at + end);
                if !text[..end].ends_with('/') {
                    depth += 1;
                    most = most.max(depth);
                }
            }
        }
    }
    most
}

fn image(image: Node<'_, '_>, pixels: Node<'_, '_>) -> Result<OmeImage, Fault> {
    let order = attribute(pixels, "DimensionOrder").unwrap_or_else(|| "XYZCT".to_owned());
    let axes: Vec<char> = order.chars().rev().collect();
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    let [t, c, z, 'Y', 'X'] = axes[..] else { return unknown_order(&order) };
    if sorted != ['C', 'T', 'X', 'Y', 'Z'] {
        return unknown_order(&order);
    }
    let axes = [t, c, z];
    let channels: Vec<Node<'_, '_>> =
        pixels.children().filter(|node| node.has_tag_name_local("Channel")).collect();
    let samples = |node: &Node<'_, '_>| number(*node, "SamplesPerPixel").map(|n| n.unwrap_or(1));
    let first_samples = channels.first().map_or(Ok(1), samples)?.max(1);
    for channel in &channels {
        if samples(channel)?.max(1) != first_samples {
            return unsupported(
                "an OME-TIFF that mixes grey and colour channels",
                "save the channels one by one, for instance in Fiji",
            );
        }
    }
    let mut lengths = [1; 3];
    for (length, axis) in lengths.iter_mut().zip(axes) {
        *length = size(pixels, axis)?;
        if axis == 'C' {
            *length = (*length / first_samples).max(1);
        }
    }
    if lengths.iter().try_fold(1_usize, |n, l| n.checked_mul(*l)).is_none_or(|n| n > 4_000_000) {
        return Err(Fault::Limit(format!("the OME-XML announces {lengths:?} planes")));
    }
    let blocks = pixels.children().filter(|node| node.has_tag_name_local("TiffData"));
    Ok(OmeImage {
        name: attribute(image, "Name").unwrap_or_default(),
        axes,
        lengths,
        size: [size(pixels, 'X')?, size(pixels, 'Y')?],
        samples: first_samples,
        spacing_um: ['Z', 'Y', 'X'].map(|axis| spacing_um(pixels, axis)),
        channel_names: channels.iter().map(|node| attribute(*node, "Name")).collect(),
        blocks: blocks.map(|node| block(node, axes)).collect::<Result<_, _>>()?,
    })
}

fn unknown_order<T>(order: &str) -> Result<T, Fault> {
    malformed(format!("the OME-XML has the DimensionOrder {order}, expected one such as XYZCT"))
}

fn size(pixels: Node<'_, '_>, axis: char) -> Result<usize, Fault> {
    let name = format!("Size{axis}");
    match number(pixels, &name)? {
        Some(0) | None => malformed(format!("the OME-XML has no {name}")),
        Some(length) => Ok(length),
    }
}

/// Voxel size along an axis; µm is the unit where none is written.
fn spacing_um(pixels: Node<'_, '_>, axis: char) -> Option<f64> {
    let length = attribute(pixels, &format!("PhysicalSize{axis}"))?;
    let length = positive(length.trim().parse().ok()?)?;
    match attribute(pixels, &format!("PhysicalSize{axis}Unit")) {
        None => Some(length),
        Some(unit) => micrometres_per_unit(&unit).map(|um| length * um),
    }
}

fn block(node: Node<'_, '_>, axes: [char; 3]) -> Result<PlaneBlock, Fault> {
    let directory = number(node, "IFD")?;
    let count = match number(node, "PlaneCount")? {
        Some(count) => Some(count),
        None => number(node, "NumPlanes")?,
    };
    let mut first = [0; 3];
    for (position, axis) in first.iter_mut().zip(axes) {
        *position = number(node, &format!("First{axis}"))?.unwrap_or(0);
    }
    let uuid = node.children().find(|child| child.has_tag_name_local("UUID"));
    Ok(PlaneBlock {
        first,
        directory: directory.unwrap_or(0),
        // With a directory but no count it is one plane.
        count: count.or(directory.map(|_| 1)).filter(|count| *count > 0),
        uuid: uuid.and_then(|node| node.text()).map(|text| text.trim().to_owned()),
        file_name: uuid.and_then(|node| attribute(node, "FileName")),
    })
}

fn attribute(node: Node<'_, '_>, name: &str) -> Option<String> {
    node.attribute(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number(node: Node<'_, '_>, name: &str) -> Result<Option<usize>, Fault> {
    match attribute(node, name) {
        None => Ok(None),
        Some(text) => match text.parse::<u32>() {
            Ok(value) => Ok(Some(value as usize)),
            Err(_) => malformed(format!("the OME-XML has {name}={text}, expected a number")),
        },
    }
}

/// Names without their schema, which changed with every version.
trait LocalName {
    fn has_tag_name_local(&self, name: &str) -> bool;
}

impl LocalName for Node<'_, '_> {
    fn has_tag_name_local(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}
