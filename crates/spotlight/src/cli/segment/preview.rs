//! A picture of a segmentation, to see at a glance whether it is right: sections of the stack,
//! and the outlines of its nuclei over the same sections.

use std::path::Path;

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_io::atomic;

use crate::montage::{Colour, Column, Frame, fullest_cut, montage, percentile_limits};

/// Percentiles of the voxels that are drawn black and white.
const LIMITS: (f64, f64) = (0.1, 99.9);

/// Draws a stack and the labels on its grid, and writes both as PNG.
///
/// # Errors
///
/// If the file is in the way or cannot be written.
pub(super) fn write(
    path: &Path,
    image: &Volume<f32>,
    labels: &Volume<u32>,
    spacing_um: Option<[f64; 3]>,
    overwrite: bool,
) -> Result<()> {
    let cut = fullest_cut(&labels.map(|label| *label > 0));
    let limits = percentile_limits(image, LIMITS.0, LIMITS.1);
    let nuclei = labels.voxels.iter().copied().max().unwrap_or(0);
    let title = if nuclei == 1 { "1 nucleus".to_owned() } else { format!("{nuclei} nuclei") };
    let column = |title| Column { title, volume: image, limits, unit: "" };
    let columns = [column("Stack"), column(title.as_str())];
    let [depth, height, width] = image.shape;
    let notes = [format!(
        "Plane z = {} of {depth} above line y = {} of {height}; the orange marks show where the \
         other one lies.",
        cut.z + 1,
        cut.y + 1,
    )];
    let mut drawn = montage(&columns, cut, spacing_um, &notes);
    let [upper, lower] = drawn.panels[1];
    let picture = &mut drawn.picture;
    outline(
        upper,
        |[row, column]| {
            labels.at([cut.z, row * height / upper.height, column * width / upper.width])
        },
        |frame, colour| picture.fill(frame, colour),
    );
    outline(
        lower,
        |[row, column]| {
            labels.at([row * depth / lower.height, cut.y, column * width / lower.width])
        },
        |frame, colour| picture.fill(frame, colour),
    );
    let mut png = Vec::new();
    picture.write_png(&mut png, &notes.join(" "))?;
    Ok(atomic::write_bytes(path, &png, overwrite)?)
}

/// Paints the pixels of a panel whose right or lower neighbour has another label.
fn outline(panel: Frame, label: impl Fn([usize; 2]) -> u32, mut paint: impl FnMut(Frame, Colour)) {
    for row in 0..panel.height {
        for column in 0..panel.width {
            let here = label([row, column]);
            let beside = [
                [row, (column + 1).min(panel.width - 1)],
                [(row + 1).min(panel.height - 1), column],
            ];
            // Of two labels the one that is not background gives the colour.
            if let Some(other) = beside.map(&label).into_iter().find(|other| *other != here) {
                let at = Frame { x: panel.x + column, y: panel.y + row, width: 1, height: 1 };
                paint(at, colour(if here > 0 { here } else { other }));
            }
        }
    }
}

/// A bright colour for each label; neighbours in number are far apart in hue.
fn colour(label: u32) -> Colour {
    const GOLDEN_TURN: f64 = 0.618_033_988_749_895;
    let sector = (f64::from(label) * GOLDEN_TURN).fract() * 6.0;
    let rising = (255.0 * sector.fract()) as u8;
    match sector as u8 {
        0 => [255, rising, 60],
        1 => [255 - rising, 255, 60],
        2 => [60, 255, rising],
        3 => [60, 255 - rising, 255],
        4 => [rising.max(90), 60, 255],
        _ => [255, 60, 255 - rising],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_lie_where_labels_change() {
        let labels = Volume::new([1, 3, 4], vec![0, 0, 0, 0, 0, 7, 7, 0, 0, 0, 0, 0]);
        let panel = Frame { x: 10, y: 20, width: 4, height: 3 };
        let mut painted = Vec::new();
        outline(
            panel,
            |[row, column]| labels.at([0, row, column]),
            |frame, colour| {
                painted.push([frame.y - 20, frame.x - 10]);
                assert_eq!(colour, super::colour(7));
            },
        );
        assert_eq!(painted, [[0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
    }

    #[test]
    fn labels_next_in_number_differ_in_colour() {
        for label in 1..200 {
            let (a, b) = (colour(label), colour(label + 1));
            let apart: u32 = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b))).sum();
            assert!(apart > 120, "{label}: {a:?} {b:?}");
        }
    }
}
