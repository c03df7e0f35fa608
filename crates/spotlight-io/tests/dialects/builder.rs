//! Builds small TIFF files tag by tag.

/// A plane and what its tags say.
#[derive(Clone, Debug)]
pub(crate) struct Plane {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) data: Vec<u8>,
    /// Bytes that follow the data without a directory.
    pub(crate) after: Vec<u8>,
    /// Whether the data lies at the end of the file, after the directory.
    pub(crate) at_end: bool,
    pub(crate) bits: u16,
    pub(crate) compression: u16,
    pub(crate) photometric: u16,
    pub(crate) samples: u16,
    pub(crate) planar: bool,
    pub(crate) predictor: u16,
    pub(crate) bits_reversed: bool,
    pub(crate) reduced: bool,
    pub(crate) sparse: bool,
    pub(crate) maker: Option<u16>,
    resolution: Option<((u32, u32), u16)>,
    description: Vec<u8>,
}

impl Plane {
    /// An uncompressed 8-bit plane.
    pub(crate) fn grey(height: u32, width: u32, data: &[u8]) -> Self {
        Self {
            width,
            height,
            data: data.to_vec(),
            after: Vec::new(),
            at_end: false,
            bits: 8,
            compression: 1,
            photometric: 1,
            samples: 1,
            planar: false,
            predictor: 1,
            bits_reversed: false,
            reduced: false,
            sparse: false,
            maker: None,
            resolution: None,
            description: Vec::new(),
        }
    }

    pub(crate) fn described(mut self, text: &[u8]) -> Self {
        self.description = text.to_vec();
        self
    }

    pub(crate) fn resolution(mut self, pixels_per_unit: (u32, u32), unit: u16) -> Self {
        self.resolution = Some((pixels_per_unit, unit));
        self
    }
}

/// Bytes in one of the two orders.
struct Output {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Output {
    fn short(&mut self, value: u16) {
        let bytes = if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        self.bytes.extend(bytes);
    }

    fn long(&mut self, value: u32) {
        let bytes = self.encoded(value);
        self.bytes.extend(bytes);
    }

    fn encoded(&self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn here(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap()
    }

    /// Adds bytes at an even position and gives it.
    fn add(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(2), 0);
        let at = self.here();
        self.bytes.extend(bytes);
        at
    }

    fn patch(&mut self, at: u32, value: u32) {
        let value = self.encoded(value);
        self.bytes[at as usize..][..4].copy_from_slice(&value);
    }
}

/// A file of planes. The last four bytes are the end of the last directory, unless data
/// lies at the end.
pub(crate) fn tiff(big_endian: bool, planes: &[Plane]) -> Vec<u8> {
    let mut out = Output { bytes: Vec::new(), big_endian };
    out.bytes.extend(if big_endian { b"MM" } else { b"II" });
    out.short(42);
    out.long(0);
    let mut link = 4;
    for plane in planes {
        let mut data = plane.data.clone();
        data.extend(&plane.after);
        let data_at = if plane.at_end { 0 } else { out.add(&data) };
        let text_at = out.add(&plane.description);
        let resolution = plane.resolution.unwrap_or(((1, 1), 1));
        let resolution_at = out.add(&[]);
        out.long(resolution.0.0);
        out.long(resolution.0.1);
        // The planes of samples are strips of their own.
        let strips = if plane.planar { u32::from(plane.samples) } else { 1 };
        let strip = u32::try_from(plane.data.len()).unwrap() / strips;
        let offsets_at = out.add(&[]);
        (0..strips).for_each(|index| out.long(data_at + index * strip));
        let counts_at = out.add(&[]);
        (0..strips).for_each(|_| out.long(strip));
        let (offset, count) = match (plane.sparse, strips) {
            (true, _) => (0, 0),
            (false, 1) => (data_at, strip),
            _ => (offsets_at, counts_at),
        };
        let tags = tags(plane, (strips, offset, count), text_at, resolution_at);
        let at = out.add(&[]);
        out.patch(link, at);
        out.short(u16::try_from(tags.len()).unwrap());
        let mut offset_tag_at = 0;
        for (tag, kind, count, value) in tags {
            out.short(tag);
            out.short(kind);
            out.long(count);
            if tag == 273 {
                offset_tag_at = out.here();
            }
            if kind == 3 {
                out.short(u16::try_from(value).unwrap());
                out.short(0);
            } else {
                out.long(value);
            }
        }
        link = out.here();
        out.long(0);
        if plane.at_end {
            let data_at = out.add(&data);
            out.patch(offset_tag_at, data_at);
        }
    }
    out.bytes
}

/// Number, type, count, and the value or its position.
type Tag = (u16, u16, u32, u32);

/// The tags of a plane whose longer values are written already.
fn tags(
    plane: &Plane,
    (strips, offset, count): (u32, u32, u32),
    text_at: u32,
    resolution_at: u32,
) -> Vec<Tag> {
    let mut tags: Vec<Tag> = vec![
        (254, 4, 1, u32::from(plane.reduced)),
        (256, 4, 1, plane.width),
        (257, 4, 1, plane.height),
        (258, 3, 1, u32::from(plane.bits)),
        (259, 3, 1, u32::from(plane.compression)),
        (262, 3, 1, u32::from(plane.photometric)),
        (266, 3, 1, if plane.bits_reversed { 2 } else { 1 }),
        (273, 4, strips, offset),
        (277, 3, 1, u32::from(plane.samples)),
        (279, 4, strips, count),
        (284, 3, 1, if plane.planar { 2 } else { 1 }),
        (317, 3, 1, u32::from(plane.predictor)),
    ];
    if !plane.description.is_empty() {
        let length = u32::try_from(plane.description.len()).unwrap();
        assert!(length > 4, "a description that does not fit into its tag");
        tags.push((270, 2, length, text_at));
    }
    if plane.resolution.is_some() {
        tags.push((282, 5, 1, resolution_at));
        tags.push((283, 5, 1, resolution_at));
        tags.push((296, 3, 1, u32::from(plane.resolution.map_or(1, |r| r.1))));
    }
    tags.extend(plane.maker.map(|tag| (tag, 4, 1, 0)));
    tags.sort_unstable();
    tags
}
