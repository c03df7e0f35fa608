//! Why scores are not defined, and what they are relative to: a line each.

use spotlight_image::Shape;

use super::images::Region;
use super::pixels::{MICRO, PixelScores, RINGS, has_square_pixels};
use super::pooled::Series;
use super::set::Findings;
use crate::table::count;

/// Five scales of MicroMS3IM and MS-SSIM need planes of this side.
const FIVE_SCALES: usize = 176;

/// The window of SSIM.
const WINDOW: usize = 7;

/// All that a reader of the tables needs to know.
pub(super) fn notes(findings: &Findings, series: &[Series]) -> Vec<String> {
    let images = findings.images.len();
    let without_mask = findings.images.iter().filter(|image| image.row.mask.is_none()).count();
    let mut notes = Vec::new();
    if !findings.pixels.is_empty() {
        notes.extend(spaces(findings));
        notes.push(match without_mask {
            0 => "Dice: against the true masks.".to_owned(),
            _ if without_mask == images => {
                "Dice: against the foreground of the targets.".to_owned()
            }
            others => {
                let others = count(others, "image");
                format!("Dice: against the true masks, in {others} against the target.")
            }
        });
        notes.extend(pixel_notes(findings));
    }
    if !findings.objects.is_empty() && without_mask > 0 {
        notes.push(format!("Objects: {without_mask} of {images} images have no true labels."));
    }
    let unmatched = findings.segmentations.iter().filter(|s| s.feature_distance.is_nan()).count();
    if unmatched > 0 {
        let all = findings.segmentations.len();
        notes.push(format!(
            "Features: no object matches at any IoU in {unmatched} of {all} segmentations."
        ));
    }
    if partly_defined(series) {
        notes.push(
            "Some scores are not defined in some images and are means of the others: their number \
             is in the table summary."
                .to_owned(),
        );
    }
    notes
}

/// Whether a mean is of fewer images than others of its contender.
fn partly_defined(series: &[Series]) -> bool {
    series.iter().flat_map(|series| &series.values).any(|values| {
        let defined = values.iter().filter(|value| !value.is_nan()).count();
        0 < defined && defined < values.len()
    })
}

/// In which intensities each contender is compared.
fn spaces(findings: &Findings) -> impl Iterator<Item = String> + '_ {
    findings.contenders.iter().enumerate().filter_map(|(place, contender)| {
        let ranges: Vec<f64> = findings
            .pixels
            .iter()
            .filter(|scores| scores.contender == place)
            .map(|scores| scores.data_range)
            .collect();
        let mean = ranges.iter().sum::<f64>() / ranges.len() as f64;
        let space = match (contender.predictions.is_some(), contender.model.is_some()) {
            (false, _) => return None,
            (true, true) => "in the space of its model; data range",
            (true, false) => "as it is, without a model; mean data range",
        };
        Some(format!("{}: compared {space} {}.", contender.name, (mean * 1e4).round() / 1e4))
    })
}

fn pixel_notes(findings: &Findings) -> Vec<String> {
    let rows: Vec<&PixelScores> =
        findings.pixels.iter().filter(|scores| scores.region == Region::Whole).collect();
    let all = rows.len();
    let count = |is: &dyn Fn(&PixelScores) -> bool| rows.iter().filter(|row| is(row)).count();
    let small = |[_, y, x]: Shape, side: usize| y.min(x) < side;
    // In the whole image, or times the mask: the rows of an image stand together.
    let regions = findings.pixels.chunk_by(|a, b| (a.contender, a.image) == (b.contender, b.image));
    let undefined: Vec<&[PixelScores]> = regions.collect();
    let count_undefined = |place: usize, able: &dyn Fn(&PixelScores) -> bool| {
        let lacks = |scores: &PixelScores| {
            scores.region != Region::ForegroundVoxels && scores.values[place].is_nan()
        };
        undefined.iter().filter(|rows| able(&rows[0]) && rows.iter().any(lacks)).count()
    };
    let square = |row: &PixelScores| row.spacing_um.is_some_and(|um| has_square_pixels(&um));
    let causes = [
        (
            "MS-SSIM and MicroMS3IM need planes of 176 x 176 pixels",
            count(&|row| small(row.shape, FIVE_SCALES)),
        ),
        (
            "SSIM needs 7 planes of 7 x 7 pixels, or a single plane",
            count(&|row| small(row.shape, WINDOW) || (2..WINDOW).contains(&row.shape[0])),
        ),
        (
            "MicroMS3IM: no gain makes prediction and target alike",
            count_undefined(MICRO, &|row| !small(row.shape, FIVE_SCALES)),
        ),
        ("FRC and FSC need a voxel size", count(&|row| row.spacing_um.is_none())),
        ("FRC needs square pixels", count(&|row| row.spacing_um.is_some() && !square(row))),
        ("FRC: no curve falls through its threshold", count_undefined(RINGS, &square)),
        (
            "FSC: no curve falls through its threshold",
            count_undefined(RINGS + 1, &|row| {
                findings.shells && row.spacing_um.is_some() && row.shells_need.is_none()
            }),
        ),
    ];
    let mut notes: Vec<String> = causes
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(cause, count)| format!("{cause}: - in {count} of {all} predictions."))
        .collect();
    notes.extend(shells_note(&rows));
    let planes: usize = rows.iter().map(|row| row.shape[0]).sum();
    for region in [Region::Whole, Region::Foreground] {
        let of_region = findings.pixels.iter().filter(|scores| scores.region == region);
        let constant: usize = of_region.map(|scores| scores.constant_planes).sum();
        if constant > 0 {
            let what = if region == Region::Whole { "constant" } else { "without foreground" };
            notes.push(format!(
                "MicroMS3IM leaves out {constant} of {planes} planes, {what} in the target."
            ));
        }
    }
    notes
}

/// In how many predictions the resolution by shells does not fit into memory, and what would do.
fn shells_note(rows: &[&PixelScores]) -> Option<String> {
    let needs: Vec<u64> = rows.iter().filter_map(|row| row.shells_need).collect();
    let bytes = *needs.iter().max()?;
    Some(format!(
        "FSC: left out in {} of {} predictions, for want of memory: it needs up to {bytes} bytes \
         (--memory {}MiB).",
        needs.len(),
        rows.len(),
        bytes.div_ceil(1 << 20),
    ))
}
