//! The OME-XML of a file we write, schema 2016-06.

use crate::voxels::SampleType;

/// What the document says.
pub(crate) struct Description<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: Option<&'a str>,
    pub(crate) shape: [usize; 3],
    pub(crate) times: usize,
    pub(crate) sample_type: SampleType,
    pub(crate) channels: &'a [&'a str],
    pub(crate) order: PlaneOrder,
    /// Voxel size along (z, y, x), each where it is known.
    pub(crate) spacing_um: [Option<f64>; 3],
}

/// The order of the planes of a time point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaneOrder {
    /// All planes along z of one channel, then those of the next.
    DepthFirst,
    /// All channels of one plane, as `ImageJ`'s hyperstacks have it.
    ChannelFirst,
}

/// The document: one image; its planes lie one after the other.
pub(crate) fn document(image: &Description<'_>) -> String {
    let [z, y, x] = image.shape;
    let (channels, times) = (image.channels.len(), image.times);
    let order = match image.order {
        PlaneOrder::DepthFirst => "XYZCT",
        PlaneOrder::ChannelFirst => "XYCZT",
    };
    let sizes =
        format!("SizeX=\"{x}\" SizeY=\"{y}\" SizeZ=\"{z}\" SizeC=\"{channels}\" SizeT=\"{times}\"");
    let size = |(letter, um): (&str, Option<f64>)| {
        let attribute =
            |um| format!(" PhysicalSize{letter}=\"{um}\" PhysicalSize{letter}Unit=\"µm\"");
        um.map_or_else(String::new, attribute)
    };
    let um = image.spacing_um;
    let spacing = [("X", um[2]), ("Y", um[1]), ("Z", um[0])].map(size).concat();
    let channel = |(index, name): (usize, &&str)| {
        let name = match escape(name) {
            name if name.is_empty() => name,
            name => format!(" Name=\"{name}\""),
        };
        format!("<Channel ID=\"Channel:0:{index}\"{name} SamplesPerPixel=\"1\"/>")
    };
    let names: String = image.channels.iter().enumerate().map(channel).collect();
    let text = |text: &str| format!("<Description>{}</Description>", escape(text));
    let description = image.description.map_or_else(String::new, text);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <OME xmlns=\"{SCHEMA}\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:schemaLocation=\"{SCHEMA} {SCHEMA}/ome.xsd\" Creator=\"Spotlight {VERSION}\">\
         <Image ID=\"Image:0\" Name=\"{name}\">{description}\
         <Pixels ID=\"Pixels:0\" DimensionOrder=\"{order}\" Type=\"{kind}\" BigEndian=\"false\" \
         {sizes}{spacing}>{names}<TiffData IFD=\"0\" PlaneCount=\"{planes}\"/></Pixels></Image>\
         </OME>",
        name = escape(image.name),
        kind = type_name(image.sample_type),
        planes = z * channels * times,
    )
}

const SCHEMA: &str = "http://www.openmicroscopy.org/Schemas/OME/2016-06";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// OME's name of a type.
fn type_name(sample_type: SampleType) -> &'static str {
    match sample_type {
        SampleType::F32 => "float",
        SampleType::F64 => "double",
        other => other.name(),
    }
}

/// Text as it may stand in an attribute; characters that XML 1.0 forbids are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ome_xml::parse;

    #[test]
    fn what_is_written_is_read() {
        let text = document(&Description {
            name: "a \"stack\" & <more>",
            description: Some("model: x\nseed: 1\u{1}"),
            shape: [4, 5, 6],
            times: 1,
            order: PlaneOrder::DepthFirst,
            sample_type: SampleType::F32,
            channels: &["DAPI & co", "prediction"],
            spacing_um: [Some(0.29), Some(0.108), Some(0.1083)],
        });
        let found = parse(&text).unwrap();
        let image = &found.images[0];
        assert_eq!(image.name, "a \"stack\" & <more>");
        assert_eq!((image.axes, image.lengths), (['T', 'C', 'Z'], [1, 2, 4]));
        assert_eq!(image.size, [6, 5]);
        assert_eq!(image.spacing_um, [Some(0.29), Some(0.108), Some(0.1083)]);
        let names: Vec<_> = image.channel_names.iter().flatten().collect();
        assert_eq!(names, ["DAPI & co", "prediction"]);
        assert_eq!(image.blocks[0].count, Some(8));
        assert!(text.contains("Type=\"float\"") && text.contains("model: x&#10;seed: 1<"));
    }
}
