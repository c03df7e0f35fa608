//! Builds small CZI files segment by segment.

/// A sub-block and what its entry says.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    /// First row and column.
    pub(crate) start: [i32; 2],
    pub(crate) size: [i32; 2],
    pub(crate) stored: [i32; 2],
    /// Further dimensions with their positions, such as `('Z', 3)`.
    pub(crate) at: Vec<(char, i32)>,
    pub(crate) pixel: i32,
    pub(crate) compression: i32,
    pub(crate) data: Vec<u8>,
    pub(crate) schema: [u8; 2],
    pub(crate) file_part: i32,
}

impl Tile {
    /// An uncompressed 8-bit tile.
    pub(crate) fn grey(start: [i32; 2], size: [i32; 2], at: &[(char, i32)], data: &[u8]) -> Self {
        Self {
            start,
            size,
            stored: size,
            at: at.to_vec(),
            pixel: 0,
            compression: 0,
            data: data.to_vec(),
            schema: *b"DV",
            file_part: 0,
        }
    }

    pub(crate) fn pixels(mut self, pixel: i32, compression: i32, data: Vec<u8>) -> Self {
        (self.pixel, self.compression, self.data) = (pixel, compression, data);
        self
    }

    fn entry(&self, position: i64) -> Vec<u8> {
        let mut out = self.schema.to_vec();
        out.extend(self.pixel.to_le_bytes());
        out.extend(position.to_le_bytes());
        out.extend(self.file_part.to_le_bytes());
        out.extend(self.compression.to_le_bytes());
        out.extend([0; 6]);
        let count = i32::try_from(self.at.len()).unwrap() + 2;
        out.extend(count.to_le_bytes());
        let mut dimension = |name: char, start: i32, size: i32, stored: i32| {
            out.extend([u8::try_from(name).unwrap(), 0, 0, 0]);
            out.extend(start.to_le_bytes());
            out.extend(size.to_le_bytes());
            out.extend(0_f32.to_le_bytes());
            out.extend(stored.to_le_bytes());
        };
        dimension('X', self.start[1], self.size[1], self.stored[1]);
        dimension('Y', self.start[0], self.size[0], self.stored[0]);
        self.at.iter().for_each(|(name, start)| dimension(*name, *start, 1, 1));
        out
    }
}

/// A file of tiles: header, sub-blocks, directory, metadata.
pub(crate) fn czi(tiles: &[Tile], xml: &str) -> Vec<u8> {
    let mut out = Vec::new();
    segment(&mut out, "ZISRAWFILE", &[0; 512]);
    let mut entries = i32::try_from(tiles.len()).unwrap().to_le_bytes().to_vec();
    entries.resize(128, 0);
    for tile in tiles {
        let entry = tile.entry(i64::try_from(out.len()).unwrap());
        let mut content = Vec::new();
        // Lengths of the metadata, the attachment and the pixels.
        content.extend(3_i32.to_le_bytes());
        content.extend(0_i32.to_le_bytes());
        content.extend((tile.data.len() as i64).to_le_bytes());
        content.extend(&entry);
        content.resize(content.len().max(256), 0);
        content.extend(b"<M>");
        content.extend(&tile.data);
        segment(&mut out, "ZISRAWSUBBLOCK", &content);
        entries.extend(entry);
    }
    let directory_at = out.len() as i64;
    segment(&mut out, "ZISRAWDIRECTORY", &entries);
    let metadata_at = out.len() as i64;
    let mut metadata = i32::try_from(xml.len()).unwrap().to_le_bytes().to_vec();
    metadata.resize(256, 0);
    metadata.extend(xml.as_bytes());
    segment(&mut out, "ZISRAWMETADATA", &metadata);
    out[32..36].copy_from_slice(&1_i32.to_le_bytes());
    out[84..92].copy_from_slice(&directory_at.to_le_bytes());
    out[92..100].copy_from_slice(&metadata_at.to_le_bytes());
    out
}

fn segment(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut header = name.as_bytes().to_vec();
    header.resize(16, 0);
    let allocated = content.len().next_multiple_of(32);
    header.extend((allocated as i64).to_le_bytes());
    header.extend((content.len() as i64).to_le_bytes());
    out.extend(header);
    out.extend(content);
    out.resize(out.len() + allocated - content.len(), 0);
}
