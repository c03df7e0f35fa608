//! One picture of several volumes side by side: an xy section above an xz section.
//!
//! Each volume is a column. All columns show the same plane and the same line of
//! voxels, in their true proportions, with one scale bar; the values drawn black
//! and white are written above each column, so that columns with the same limits
//! can be compared by eye.

pub mod canvas;
pub mod section;

use spotlight_image::Volume;

pub use canvas::{Colour, Frame};
use canvas::{Picture, TextSize};
use section::{Section, fit, xy, xz};

const BACKGROUND: Colour = [18, 20, 24];
const TITLE: Colour = [240, 242, 245];
const CAPTION: Colour = [160, 166, 175];
const MARK: Colour = [255, 176, 32];
const BAR: Colour = [255, 255, 255];
const SHADOW: Colour = [0, 0, 0];

const MARGIN: usize = 24;
const GAP: usize = 16;
const TICK: usize = 7;
/// Small stacks are enlarged until a panel has at least this many columns.
const PANEL_AT_LEAST: usize = 320;
/// Large stacks are reduced until a panel has at most this many columns.
const PANEL_AT_MOST: usize = 800;

/// The values drawn black and white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Drawn black, as is everything below.
    pub low: f64,
    /// Drawn white, as is everything above.
    pub high: f64,
}

/// One column of the montage.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Written above the column.
    pub title: &'a str,
    /// What is shown; all columns have the same shape.
    pub volume: &'a Volume<f32>,
    /// The values drawn black and white.
    pub limits: Limits,
    /// Unit of the limits, written after them (may be empty).
    pub unit: &'a str,
}

/// Where the sections lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Plane of the xy section.
    pub z: usize,
    /// Line of the xz section.
    pub y: usize,
}

/// A drawn montage and the place of every panel in it.
#[derive(Clone, Debug)]
pub struct Montage {
    /// The picture.
    pub picture: Picture,
    /// For each column the frame of its xy and of its xz section.
    pub panels: Vec<[Frame; 2]>,
}

/// Draws volumes side by side, with notes below. Without a voxel size voxels are cubes, and the
/// bar counts them.
///
/// # Panics
///
/// If there is no column, shapes differ, the cut lies outside, or a spacing is not
/// positive.
#[must_use]
pub fn montage(
    columns: &[Column],
    cut: Cut,
    spacing_um: Option<[f64; 3]>,
    notes: &[String],
) -> Montage {
    let shape = columns.first().expect("a montage has at least one column").volume.shape;
    assert!(columns.iter().all(|c| c.volume.shape == shape), "columns differ in shape");
    let unit = if spacing_um.is_some() { "µm" } else { "voxels" };
    let spacing = spacing_um.unwrap_or([1.0; 3]);
    assert!(spacing.iter().all(|s| *s > 0.0), "spacing must be positive");
    let scale = Scale::new(shape, spacing);
    let captions: Vec<String> = columns.iter().map(caption).collect();
    let column_width = captions
        .iter()
        .map(|c| TextSize::Small.width(c))
        .chain(columns.iter().map(|c| TextSize::Large.width(c.title)))
        .fold(scale.width, usize::max);

    let left = MARGIN + TextSize::Small.width("xy") + 2 * TICK;
    let width = left + columns.len() * (column_width + GAP) - GAP + TICK + MARGIN;
    let notes = wrap(notes, width - left - MARGIN);
    let top = MARGIN + TextSize::Large.height() + 4 + TextSize::Small.height() + 10;
    let below = top + scale.height + GAP;
    let notes_top = below + scale.depth + GAP;
    let line = TextSize::Small.height() + 4;
    let height = notes_top + notes.len() * line + MARGIN;

    let mut picture = Picture::new(width, height, BACKGROUND);
    let mut panels = Vec::with_capacity(columns.len());
    for (index, (column, caption)) in columns.iter().zip(&captions).enumerate() {
        let start = left + index * (column_width + GAP);
        let middle = start + column_width / 2;
        centred(&mut picture, [middle, MARGIN], column.title, TextSize::Large, TITLE);
        let caption_top = MARGIN + TextSize::Large.height() + 4;
        centred(&mut picture, [middle, caption_top], caption, TextSize::Small, CAPTION);
        let x = start + (column_width - scale.width) / 2;
        let upper = Frame { x, y: top, width: scale.width, height: scale.height };
        let lower = Frame { x, y: below, width: scale.width, height: scale.depth };
        draw(&mut picture, upper, &xy(column.volume, cut.z), column.limits);
        draw(&mut picture, lower, &xz(column.volume, cut.y), column.limits);
        scale_bar(&mut picture, upper, scale.pixel, unit);
        panels.push([upper, lower]);
    }
    label_rows(&mut picture, &panels, shape, cut);
    for (index, note) in notes.iter().enumerate() {
        picture.text([left, notes_top + index * line], note, TextSize::Small, CAPTION);
    }
    Montage { picture, panels }
}

/// The limits that cut off the darkest and the brightest voxels.
///
/// `low` and `high` are percentiles in 0 to 100; values that are not finite are
/// left out. A volume of one value is drawn black.
#[must_use]
pub fn percentile_limits(volume: &Volume<f32>, low: f64, high: f64) -> Limits {
    let mut sorted: Vec<f32> = volume.voxels.iter().copied().filter(|v| v.is_finite()).collect();
    if sorted.is_empty() {
        return Limits { low: 0.0, high: 1.0 };
    }
    sorted.sort_unstable_by(f32::total_cmp);
    let percentile = |q: f64| {
        let rank = q / 100.0 * (sorted.len() - 1) as f64;
        let below = rank.floor() as usize;
        let above = (below + 1).min(sorted.len() - 1);
        let share = rank - below as f64;
        f64::from(sorted[below]) * (1.0 - share) + f64::from(sorted[above]) * share
    };
    Limits { low: percentile(low), high: percentile(high) }
}

/// The cut through most of a mask: its fullest plane, and the fullest line in it.
///
/// An empty mask is cut in the middle.
///
/// # Panics
///
/// If the mask has no voxels.
#[must_use]
pub fn fullest_cut(mask: &Volume<bool>) -> Cut {
    let [depth, height, width] = mask.shape;
    let count = |voxels: &[bool]| voxels.iter().filter(|inside| **inside).count();
    let fullest = |counts: Vec<usize>| {
        let most = *counts.iter().max().expect("the mask has voxels");
        if most == 0 {
            return counts.len() / 2;
        }
        counts.iter().position(|c| *c == most).expect("the largest count is one of them")
    };
    let z = fullest((0..depth).map(|z| count(mask.plane(z))).collect());
    let y = fullest((0..height).map(|y| count(&mask.plane(z)[y * width..][..width])).collect());
    Cut { z, y }
}

/// Size of the panels in pixels and of a pixel in the unit of the spacing.
struct Scale {
    width: usize,
    height: usize,
    depth: usize,
    pixel: f64,
}

impl Scale {
    fn new(shape: [usize; 3], spacing: [f64; 3]) -> Self {
        let finest = spacing[1].min(spacing[2]);
        let columns = (shape[2] as f64 * spacing[2] / finest).round() as usize;
        let pixel = if columns > PANEL_AT_MOST {
            finest * columns.div_ceil(PANEL_AT_MOST) as f64
        } else {
            finest / PANEL_AT_LEAST.div_ceil(columns.max(1)) as f64
        };
        let pixels =
            |axis: usize| ((shape[axis] as f64 * spacing[axis] / pixel).round() as usize).max(1);
        Self { width: pixels(2), height: pixels(1), depth: pixels(0), pixel }
    }
}

fn draw(picture: &mut Picture, frame: Frame, section: &Section, limits: Limits) {
    let span = limits.high - limits.low;
    let gray = |value: &f32| {
        let share = (f64::from(*value) - limits.low) / span;
        // Not-a-number, and every value where there is no span, is drawn black.
        if share > 0.0 { (share.min(1.0) * 255.0).round() as u8 } else { 0 }
    };
    let values: Vec<u8> = fit(section, frame.width, frame.height).values.iter().map(gray).collect();
    picture.gray(frame, &values);
}

fn caption(column: &Column) -> String {
    let Limits { low, high } = column.limits;
    let digits =
        |value: f64| if high - low >= 20.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    format!("{} to {} {}", digits(low), digits(high), column.unit).trim_end().to_owned()
}

fn centred(
    picture: &mut Picture,
    [middle, y]: [usize; 2],
    text: &str,
    size: TextSize,
    colour: Colour,
) {
    picture.text([middle - size.width(text) / 2, y], text, size, colour);
}

/// Names the rows, and marks in each section where the other one was cut.
fn label_rows(picture: &mut Picture, panels: &[[Frame; 2]], shape: [usize; 3], cut: Cut) {
    let position = |index: usize, of: usize, pixels: usize| (2 * index + 1) * pixels / (2 * of);
    for (name, row) in [("xy", 0), ("xz", 1)] {
        let frame = panels[0][row];
        picture.text([MARGIN, frame.y], name, TextSize::Small, TITLE);
    }
    for [upper, lower] in panels {
        for (frame, at) in [
            (upper, position(cut.y, shape[1], upper.height)),
            (lower, position(cut.z, shape[0], lower.height)),
        ] {
            let y = frame.y + at.min(frame.height - 1);
            picture.fill(
                Frame { x: frame.x - TICK - 1, y, width: TICK, height: 2.min(frame.bottom() - y) },
                MARK,
            );
            picture.fill(
                Frame { x: frame.right() + 1, y, width: TICK, height: 2.min(frame.bottom() - y) },
                MARK,
            );
        }
    }
}

/// A bar of 10 µm, or of the round length nearest to a quarter of the panel where
/// 10 µm would be too short or too long to be seen well.
fn scale_bar(picture: &mut Picture, panel: Frame, pixel: f64, unit: &str) {
    let whole = panel.width as f64 * pixel;
    let length =
        if (0.08..=0.6).contains(&(10.0 / whole)) { 10.0 } else { round_length(whole / 4.0) };
    let width = (length / pixel).round() as usize;
    let text = format!("{length} {unit}");
    let text_width = TextSize::Small.width(&text);
    let (inset, thick) = (12, 4);
    let widest = width.max(text_width);
    if panel.width < widest + 2 * inset || panel.height < 40 + inset {
        return;
    }
    let middle = panel.right() - inset - widest / 2;
    let bar =
        Frame { x: middle - width / 2, y: panel.bottom() - inset - thick, width, height: thick };
    let edge = Frame { x: bar.x - 1, y: bar.y - 1, width: bar.width + 2, height: bar.height + 2 };
    picture.fill(edge, SHADOW);
    picture.fill(bar, BAR);
    let [x, y] = [middle - text_width / 2, bar.y - TextSize::Small.height() - 2];
    for (across, down) in [(0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (2, 2), (0, 2), (2, 0)] {
        picture.text([x + across - 1, y + down - 1], &text, TextSize::Small, SHADOW);
    }
    picture.text([x, y], &text, TextSize::Small, BAR);
}

/// The largest of 1, 2, 5, 10, 20, … that is not longer.
fn round_length(length: f64) -> f64 {
    let power = 10f64.powf(length.log10().floor());
    let steps = [5.0, 2.0, 1.0];
    steps.iter().map(|step| step * power).find(|round| *round <= length).unwrap_or(power)
}

/// Breaks notes into lines of at most `width` pixels, between words.
fn wrap(notes: &[String], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for note in notes {
        let mut line = String::new();
        for word in note.split_whitespace() {
            if !line.is_empty() && TextSize::Small.width(&format!("{line} {word}")) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(shape: [usize; 3]) -> Volume<f32> {
        Volume::from_fn(shape, |[z, y, x]| (z + y + x) as f32)
    }

    fn column<'a>(title: &'a str, volume: &'a Volume<f32>) -> Column<'a> {
        Column { title, volume, limits: Limits { low: 0.0, high: 100.0 }, unit: "counts" }
    }

    #[test]
    fn panels_keep_the_proportions_of_the_stack() {
        let volume = ramp([10, 64, 64]);
        let columns = [column("a", &volume), column("b", &volume)];
        let drawn = montage(&columns, Cut { z: 3, y: 9 }, Some([0.58, 0.29, 0.29]), &[]);
        assert_eq!(drawn.panels.len(), 2);
        let [upper, lower] = drawn.panels[1];
        assert_eq!([upper.width, upper.height], [320, 320]);
        assert_eq!([lower.width, lower.height], [320, 100]);
        // Voxel (z 3, y 9, x 63) has the value 75 in both sections.
        let gray = [(75.0f64 / 100.0 * 255.0).round() as u8; 3];
        assert_eq!(drawn.picture.at(upper.right() - 1, upper.y + 9 * 5), gray);
        assert_eq!(drawn.picture.at(lower.right() - 1, lower.y + 3 * 10), gray);
    }

    #[test]
    fn columns_are_as_wide_as_their_words_and_nothing_is_clipped() {
        let volume = ramp([4, 8, 1]);
        let title = "a title that is much longer than its panel";
        let notes = ["word ".repeat(100)];
        let drawn = montage(&[column(title, &volume)], Cut { z: 0, y: 0 }, Some([1.0; 3]), &notes);
        assert!(drawn.picture.width > TextSize::Large.width(title));
        let edge = (0..drawn.picture.height)
            .flat_map(|y| [drawn.picture.at(0, y), drawn.picture.at(drawn.picture.width - 1, y)]);
        assert!(edge.into_iter().all(|pixel| pixel == BACKGROUND));
    }

    #[test]
    fn large_stacks_are_reduced_by_a_whole_factor() {
        let volume = Volume::filled([2, 20, 1700], 1.0);
        let drawn =
            montage(&[column("a", &volume)], Cut { z: 0, y: 0 }, Some([0.3, 0.1, 0.1]), &[]);
        assert_eq!(drawn.panels[0][0].width, 567);
    }

    #[test]
    fn percentiles_interpolate_and_skip_what_is_not_finite() {
        let volume = Volume::new([1, 1, 6], vec![4.0, f32::NAN, 0.0, 3.0, 1.0, 2.0]);
        assert_eq!(percentile_limits(&volume, 12.5, 100.0), Limits { low: 0.5, high: 4.0 });
    }

    #[test]
    fn the_cut_goes_through_most_of_the_mask() {
        let inside = [[2, 1, 0], [2, 1, 2], [2, 3, 1], [1, 0, 0]];
        let mask = Volume::from_fn([4, 4, 3], |position| inside.contains(&position));
        assert_eq!(fullest_cut(&mask), Cut { z: 2, y: 1 });
        assert_eq!(fullest_cut(&Volume::filled([4, 6, 2], false)), Cut { z: 2, y: 3 });
    }

    #[test]
    fn bars_have_round_lengths() {
        for (length, round) in [(18.5, 10.0), (2.3, 2.0), (7.0, 5.0), (0.61, 0.5), (100.0, 100.0)] {
            assert!((round_length(length) - round).abs() < 1e-9, "{length}");
        }
    }
}
