//! What we need of the XML metadata: the voxel size and the names of channels and scenes.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, ParsingOptions};

use super::segment::{Bytes, SEGMENT_HEADER, i32_at};
use crate::error::{Fault, malformed};
use crate::metadata::positive;
use crate::ome_xml::check_nesting;

/// Bytes between the header of the segment and the XML.
const BEFORE_XML: u64 = 256;
const MOST_NODES: u32 = 50_000_000;

/// What the metadata says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Metadata {
    /// Voxel size along (z, y, x) in µm.
    pub(crate) spacing_um: [Option<f64>; 3],
    pub(crate) channel_names: Vec<Option<String>>,
    /// Names of scenes by their numbers.
    pub(crate) scene_names: BTreeMap<i32, String>,
}

/// Reads the metadata segment.
pub(crate) fn read_metadata(bytes: &mut Bytes, at: u64) -> Result<Metadata, Fault> {
    bytes.check_segment(at, "ZISRAWMETADATA")?;
    let start = at + SEGMENT_HEADER;
    let size = i32_at(&bytes.at(start, BEFORE_XML)?, 0);
    let Ok(size) = u64::try_from(size) else {
        return malformed(format!("the metadata has {size} bytes; the file is damaged"));
    };
    let text = bytes.at(start + BEFORE_XML, size)?;
    match std::str::from_utf8(&text) {
        Ok(text) => parse(text),
        Err(_) => malformed("the XML metadata is not UTF-8; the file is damaged"),
    }
}

fn parse(text: &str) -> Result<Metadata, Fault> {
    let text = text.trim_start_matches('\u{feff}').trim_end_matches('\0').trim();
    if text.is_empty() {
        return Ok(Metadata::default());
    }
    check_nesting(text)?;
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = match Document::parse_with_options(text, options) {
        Ok(document) => document,
        Err(error) => return malformed(format!("the XML metadata is damaged ({error})")),
    };
    let root = document.root_element();
    let Some(metadata) = child(root, "Metadata") else { return Ok(Metadata::default()) };
    let dimensions = descend(metadata, &["Information", "Image", "Dimensions"]);
    Ok(Metadata {
        spacing_um: ["Z", "Y", "X"].map(|axis| spacing_um(metadata, axis)),
        channel_names: channel_names(metadata, dimensions),
        scene_names: scene_names(dimensions),
    })
}

/// Distance between voxels, which is stored in metres.
fn spacing_um(metadata: Node<'_, '_>, axis: &str) -> Option<f64> {
    let items = descend(metadata, &["Scaling", "Items"])?;
    let distance = items
        .children()
        .find(|node| node.has_tag_name("Distance") && node.attribute("Id") == Some(axis))?;
    let metres: f64 = child(distance, "Value")?.text()?.trim().parse().ok()?;
    positive(metres * 1e6)
}

/// The names of the image's channels; of one without, that of the display setting with its
/// identifier.
fn channel_names(metadata: Node<'_, '_>, dimensions: Option<Node<'_, '_>>) -> Vec<Option<String>> {
    let channels = dimensions.and_then(|node| child(node, "Channels"));
    let shown = descend(metadata, &["DisplaySetting", "Channels"]);
    let shown_name = |id: &str| {
        let mut channels = shown?.children();
        channels.find(|node| node.attribute("Id") == Some(id)).and_then(|node| named(node, "Name"))
    };
    let channels = channels.into_iter().flat_map(|node| node.children());
    let channels = channels.filter(|node| node.has_tag_name("Channel"));
    let name = |node: Node<'_, '_>| {
        named(node, "Name").or_else(|| node.attribute("Id").and_then(shown_name))
    };
    channels.map(name).collect()
}

fn scene_names(dimensions: Option<Node<'_, '_>>) -> BTreeMap<i32, String> {
    let scenes = dimensions.and_then(|node| descend(node, &["S", "Scenes"]));
    let scenes = scenes.into_iter().flat_map(|node| node.children());
    let name = |node: Node<'_, '_>| {
        Some((node.attribute("Index")?.trim().parse().ok()?, named(node, "Name")?))
    };
    scenes.filter(|node| node.has_tag_name("Scene")).filter_map(name).collect()
}

fn named(node: Node<'_, '_>, attribute: &str) -> Option<String> {
    let text = node.attribute(attribute)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn descend<'a, 'input>(node: Node<'a, 'input>, names: &[&str]) -> Option<Node<'a, 'input>> {
    names.iter().try_fold(node, |node, name| child(node, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zen_writes() {
        let text = r#"<ImageDocument><Metadata>
            <Information><Image><Dimensions>
                <Channels><Channel Id="Channel:0" Name="DAPI"/><Channel Id="Channel:1"/>
                    <Channel Id="Channel:2"/></Channels>
                <S><Scenes><Scene Index="1" Name="B7"/></Scenes></S>
            </Dimensions></Image></Information>
            <Scaling><Items><Distance Id="X"><Value>1.25E-07</Value></Distance>
                <Distance Id="Z"><Value>5e-007</Value></Distance>
                <Distance Id="Y"><Value>0</Value></Distance></Items></Scaling>
            <DisplaySetting><Channels><Channel Id="Channel:1" Name="GFP"/></Channels></DisplaySetting>
            </Metadata></ImageDocument>"#;
        let found = parse(text).unwrap_or_default();
        assert_eq!(found.channel_names, [Some("DAPI".into()), Some("GFP".into()), None]);
        assert_eq!(found.scene_names, BTreeMap::from([(1, "B7".to_owned())]));
        let [z, y, x] = found.spacing_um;
        assert!((z.unwrap_or(0.0) - 0.5).abs() < 1e-12 && y.is_none());
        assert!((x.unwrap_or(0.0) - 0.125).abs() < 1e-12);
        assert_eq!(parse("\u{feff}<A/>").unwrap_or_default(), Metadata::default());
        assert!(parse("<A><B></A>").is_err());
    }
}
