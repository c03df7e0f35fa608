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
    check_nesting(text)?;
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

/// Fails where tags are nested or filled with attributes beyond all use, on which a parser
/// would spend its stack or its time.
pub(crate) fn check_nesting(text: &str) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    let (mut depth, mut end) = (0_usize, 0_usize);
    for (at, _) in text.match_indices('<') {
        match bytes.get(at + 1) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) => {
                if end <= at {
                    end = text[at..].find('>').map_or(text.len(), |length| at + length);
                    let attributes = bytes[at..end].iter().filter(|byte| **byte == b'=').count();
                    if attributes > 10_000 {
                        let what = format!("the XML has a tag with {attributes} attributes");
                        return Err(Fault::Limit(what));
                    }
                }
                depth += usize::from(bytes[end - 1] != b'/');
            }
        }
        if depth > 1000 {
            return Err(Fault::Limit("the XML is nested more than 1000 deep".to_owned()));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn image_of(pixels: &str) -> Result<OmeImage, Fault> {
        let text = format!("<OME><Image Name=\"a\">{pixels}</Image></OME>");
        parse(&text).map(|mut document| document.images.remove(0))
    }

    #[test]
    fn units_of_every_axis() {
        let image = image_of(
            "<Pixels DimensionOrder=\"XYCZT\" SizeX=\"2\" SizeY=\"3\" SizeZ=\"4\" SizeC=\"2\" \
             SizeT=\"1\" PhysicalSizeX=\"108\" PhysicalSizeXUnit=\"nm\" PhysicalSizeY=\"0.000108\" \
             PhysicalSizeYUnit=\"mm\" PhysicalSizeZ=\"0.29\"><Channel Name=\"BF\"/><Channel/>\
             <TiffData FirstZ=\"1\" IFD=\"3\"/></Pixels>",
        )
        .unwrap();
        let [z, y, x] = image.spacing_um.map(Option::unwrap);
        assert!((x - 0.108).abs() < 1e-12 && (y - 0.108).abs() < 1e-12 && z == 0.29);
        assert_eq!((image.axes, image.lengths), (['T', 'Z', 'C'], [1, 4, 2]));
        assert_eq!(image.channel_names, [Some("BF".to_owned()), None]);
        let block = &image.blocks[0];
        assert_eq!((block.first, block.directory, block.count), ([0, 1, 0], 3, Some(1)));
    }

    #[test]
    fn samples_are_taken_out_of_the_channels() {
        let image = image_of(
            "<Pixels DimensionOrder=\"XYCZT\" SizeX=\"2\" SizeY=\"3\" SizeZ=\"1\" SizeC=\"6\" \
             SizeT=\"1\" PhysicalSizeX=\"-1\" PhysicalSizeY=\"1\" PhysicalSizeYUnit=\"pixel\">\
             <Channel SamplesPerPixel=\"3\"/><Channel SamplesPerPixel=\"3\"/></Pixels>",
        )
        .unwrap();
        assert_eq!((image.lengths, image.samples), ([1, 1, 2], 3));
        assert_eq!(image.spacing_um, [None; 3]);
    }

    #[test]
    fn damaged_documents_are_errors() {
        let sizes = "SizeX=\"2\" SizeY=\"3\" SizeZ=\"1\" SizeC=\"1\"";
        assert!(image_of(&format!("<Pixels {sizes}/>")).is_err());
        assert!(image_of(&format!("<Pixels {sizes} SizeT=\"x\"/>")).is_err());
        assert!(image_of(&format!("<Pixels {sizes} SizeT=\"4000000000\"/>")).is_err());
        assert!(
            image_of(&format!("<Pixels DimensionOrder=\"XYZ\" {sizes} SizeT=\"1\"/>")).is_err()
        );
        assert!(parse("<OME><Image>").is_err());
        assert!(matches!(parse(&"<a>".repeat(100_000)), Err(Fault::Limit(_))));
        assert!(parse(&"<".repeat(1_000_000)).is_err());
        let attributes: String = (0..20_000).map(|n| format!(" a{n}=\"\"")).collect();
        assert!(matches!(parse(&format!("<OME{attributes}/>")), Err(Fault::Limit(_))));
    }
}
