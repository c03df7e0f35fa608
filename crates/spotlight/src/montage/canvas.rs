//! A picture in memory: rectangles, lines of text and gray panels, saved as PNG.

use std::io::Write;

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Red, green, blue.
pub type Colour = [u8; 3];

/// A picture, row by row from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// The pixels, `width * height` of them.
    pub pixels: Vec<Colour>,
}

/// A box of pixels, its top left corner and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Column of the left edge.
    pub x: usize,
    /// Row of the top edge.
    pub y: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
}

impl Frame {
    /// One past the last column.
    #[must_use]
    pub fn right(&self) -> usize {
        self.x + self.width
    }

    /// One past the last row.
    #[must_use]
    pub fn bottom(&self) -> usize {
        self.y + self.height
    }
}

/// Height of a line of text in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextSize {
    /// 16 pixels: captions and notes.
    Small,
    /// 24 pixels: titles.
    Large,
}

impl TextSize {
    fn raster(self) -> RasterHeight {
        match self {
            Self::Small => RasterHeight::Size16,
            Self::Large => RasterHeight::Size24,
        }
    }

    /// Height of a line in pixels.
    #[must_use]
    pub fn height(self) -> usize {
        self.raster().val()
    }

    /// Width of a line of text in pixels.
    #[must_use]
    pub fn width(self, text: &str) -> usize {
        text.chars().count() * get_raster_width(FontWeight::Regular, self.raster())
    }
}

impl Picture {
    /// A picture of one colour.
    #[must_use]
    pub fn new(width: usize, height: usize, colour: Colour) -> Self {
        Self { width, height, pixels: vec![colour; width * height] }
    }

    /// The pixel in a column and a row.
    ///
    /// # Panics
    ///
    /// If it lies outside.
    #[must_use]
    pub fn at(&self, x: usize, y: usize) -> Colour {
        assert!(x < self.width && y < self.height, "({x}, {y}) is outside the picture");
        self.pixels[y * self.width + x]
    }

    /// Paints a box in one colour.
    ///
    /// # Panics
    ///
    /// If it does not fit in the picture.
    pub fn fill(&mut self, frame: Frame, colour: Colour) {
        for y in frame.y..frame.bottom() {
            self.row(frame, y).fill(colour);
        }
    }

    /// Paints a box with gray values in 0 to 255, row by row.
    ///
    /// # Panics
    ///
    /// If it does not fit in the picture, or the values do not fill it.
    pub fn gray(&mut self, frame: Frame, values: &[u8]) {
        assert_eq!(values.len(), frame.width * frame.height, "values do not fill {frame:?}");
        for (y, values) in values.chunks_exact(frame.width).enumerate() {
            for (pixel, value) in self.row(frame, frame.y + y).iter_mut().zip(values) {
                *pixel = [*value; 3];
            }
        }
    }

    /// Writes a line of text with its top left corner at (x, y).
    ///
    /// Characters outside Latin-1, for which there is no glyph, are written as `?`.
    ///
    /// # Panics
    ///
    /// If the line does not fit in the picture.
    pub fn text(&mut self, [x, y]: [usize; 2], text: &str, size: TextSize, colour: Colour) {
        let mut left = x;
        for character in text.chars() {
            let glyph = get_raster(character, FontWeight::Regular, size.raster())
                .or_else(|| get_raster('?', FontWeight::Regular, size.raster()))
                .expect("the font holds the question mark");
            let frame = Frame { x: left, y, width: glyph.width(), height: glyph.height() };
            for (row, coverage) in glyph.rows().enumerate() {
                for (pixel, alpha) in self.row(frame, y + row).iter_mut().zip(coverage) {
                    *pixel = blend(*pixel, colour, *alpha);
                }
            }
            left += glyph.width();
        }
    }

    /// Encodes the picture as PNG, with a description that viewers can show.
    ///
    /// # Errors
    ///
    /// If the writer fails.
    pub fn write_png(&self, to: impl Write, description: &str) -> Result<(), png::EncodingError> {
        let size = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let mut encoder = png::Encoder::new(to, size(self.width), size(self.height));
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.add_itxt_chunk("Description".to_owned(), description.to_owned())?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()
    }

    fn row(&mut self, frame: Frame, y: usize) -> &mut [Colour] {
        assert!(
            frame.right() <= self.width && y < self.height,
            "{frame:?} leaves the picture of {} x {}",
            self.width,
            self.height
        );
        &mut self.pixels[y * self.width + frame.x..][..frame.width]
    }
}

fn blend(under: Colour, over: Colour, alpha: u8) -> Colour {
    let alpha = u32::from(alpha);
    std::array::from_fn(|i| {
        let mixed = u32::from(under[i]) * (255 - alpha) + u32::from(over[i]) * alpha;
        u8::try_from((mixed + 127) / 255).expect("a mean of two bytes is a byte")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_painted_and_nothing_else() {
        let mut picture = Picture::new(4, 3, [0; 3]);
        picture.fill(Frame { x: 1, y: 1, width: 2, height: 2 }, [255; 3]);
        let bright: Vec<usize> = (0..12).filter(|i| picture.pixels[*i] == [255; 3]).collect();
        assert_eq!(bright, [5, 6, 9, 10]);
    }

    #[test]
    fn text_stays_in_its_line_and_knows_the_micro_sign() {
        let mut picture = Picture::new(100, 30, [0; 3]);
        picture.text([10, 5], "10 µm", TextSize::Small, [255; 3]);
        let rows: Vec<usize> =
            (0..30).filter(|y| (0..100).any(|x| picture.at(x, *y) != [0; 3])).collect();
        assert!(rows.first() >= Some(&5) && rows.last() < Some(&21), "{rows:?}");
        let mut unknown = Picture::new(100, 30, [0; 3]);
        unknown.text([10, 5], "10 ?m", TextSize::Small, [255; 3]);
        assert_ne!(picture, unknown);
    }

    #[test]
    fn png_holds_the_same_pixels() {
        let mut picture = Picture::new(5, 4, [1, 2, 3]);
        picture.gray(Frame { x: 1, y: 1, width: 2, height: 1 }, &[9, 200]);
        let mut file = Vec::new();
        picture.write_png(&mut file, "two voxels, 0.29 µm").unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut bytes).unwrap();
        assert_eq!(bytes, picture.pixels.as_flattened());
    }
}
