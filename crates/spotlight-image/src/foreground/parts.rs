//! The threshold of a stack of which only a part is in memory at a time.
//!
//! ```text
//! pass 1  smallest and largest voxel, of the smoothed stack or as it is
//! pass 2  the histogram between them
//! ```
//!
//! Each part is read with the voxels around it that smoothing reaches, so that its inner voxels
//! are those of the smoothed stack, and counts add up in any order: the threshold is the same to
//! the last bit, however the stack is parted.

use std::collections::BTreeMap;

use super::{
    BINS, Bin, COUNTERS, EqualBins, MEDIAN_SIZE, OtsuRecipe, SIGMA, TRUNCATE, best_split,
    count_voxels, range, smooth,
};
use crate::grid::{Region, Shape};
use crate::{Volume, filter::ordered};

/// Voxels around a part that its smoothed voxels depend on, along each axis.
///
/// ```
/// use spotlight_image::foreground::{OtsuRecipe, halo};
///
/// assert_eq!((halo(OtsuRecipe::Smooth), halo(OtsuRecipe::Plain)), (22, 0));
/// ```
#[must_use]
pub fn halo(recipe: OtsuRecipe) -> usize {
    match recipe {
        OtsuRecipe::Smooth => MEDIAN_SIZE / 2 + (TRUNCATE * SIGMA + 0.5) as usize,
        OtsuRecipe::Plain => 0,
    }
}

/// [`super::threshold`] of a stack of this shape, which is read in parts: every one of them
/// twice, with [`halo`] voxels more on all sides where the stack has them.
///
/// # Errors
///
/// The first of `read`.
///
/// # Panics
///
/// As [`super::threshold`], or if a part that was read has another shape than it was asked for.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
///
/// use spotlight_image::{Region, Volume};
/// use spotlight_image::foreground::{OtsuRecipe, threshold, threshold_of_parts};
///
/// let stack = Volume::from_fn([8, 20, 40], |p| if p[2] < 10 { 5.0 } else { 1.0 });
/// let parts = [0, 4].map(|z| Region { start: [z, 0, 0], shape: [4, 20, 40] });
/// let read = |region| Ok::<_, Infallible>(stack.crop(region));
/// let recipe = OtsuRecipe::Smooth;
/// let found = threshold_of_parts(stack.shape, &parts, false, recipe, read).unwrap();
/// assert_eq!(found, threshold(&stack, false, recipe));
/// ```
pub fn threshold_of_parts<E>(
    shape: Shape,
    parts: &[Region],
    integer: bool,
    recipe: OtsuRecipe,
    mut read: impl FnMut(Region) -> Result<Volume<f32>, E>,
) -> Result<f64, E> {
    let mut for_each = |see: SeePart| {
        for part in parts {
            let around = part.grown(halo(recipe), shape);
            let read = read(around)?;
            assert_eq!(read.shape, around.shape, "a part of another shape");
            see(&match recipe {
                OtsuRecipe::Plain => read.voxels,
                OtsuRecipe::Smooth => smooth(&read).crop(part.seen_from(around)).voxels,
            });
        }
        Ok(())
    };
    if integer && recipe == OtsuRecipe::Plain {
        let (low, high) = range_of_parts(&mut for_each)?;
        if low == high {
            return Ok(low);
        }
        return Ok(best_split(&levels(low, high, &mut for_each)?));
    }
    otsu_of_parts(BINS, &mut for_each)
}

/// Otsu's threshold by so many equal bins of voxels that are shown part by part, twice.
pub(crate) fn otsu_of_parts<E>(
    bins: usize,
    for_each: &mut dyn FnMut(SeePart) -> Result<(), E>,
) -> Result<f64, E> {
    let (low, high) = range_of_parts(for_each)?;
    if low == high {
        return Ok(low);
    }
    let equal = EqualBins::new::<f32>(low, high, bins);
    let mut counts = vec![0; bins];
    for_each(&mut |voxels| {
        add(&mut counts, &count_voxels(voxels, bins, |value| equal.bin_of(value)));
    })?;
    Ok(equal.threshold::<f32>(&counts))
}

fn range_of_parts<E>(for_each: &mut dyn FnMut(SeePart) -> Result<(), E>) -> Result<(f64, f64), E> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for_each(&mut |voxels| {
        let (least, largest) = range(voxels);
        (low, high) = (low.min(least), high.max(largest));
    })?;
    Ok((low, high))
}

/// What is shown the voxels of every part.
pub(crate) type SeePart<'a> = &'a mut dyn FnMut(&[f32]);

/// The grey levels that occur, as of a whole stack.
fn levels<E>(
    low: f64,
    high: f64,
    for_each: &mut dyn FnMut(SeePart) -> Result<(), E>,
) -> Result<Vec<Bin>, E> {
    let whole = |voxels: &[f32]| {
        assert!(voxels.iter().all(|v| v.fract() == 0.0), "grey levels must be whole numbers");
    };
    let levels = high - low + 1.0;
    if levels <= COUNTERS as f64 {
        let mut counts = vec![0; levels as usize];
        for_each(&mut |voxels| {
            whole(voxels);
            add(&mut counts, &count_voxels(voxels, levels as usize, |v| (v - low) as usize));
        })?;
        let bins = counts.into_iter().enumerate().map(|(i, count)| (low + i as f64, count));
        return Ok(bins.filter(|(_, count)| *count > 0).collect());
    }
    let mut counts: BTreeMap<u32, Bin> = BTreeMap::new();
    for_each(&mut |voxels| {
        whole(voxels);
        for run in voxels.chunk_by(|a, b| a == b) {
            // Both zeros are one level.
            let level = run[0] + 0.0;
            let bin = counts.entry(ordered(level)).or_insert((f64::from(level), 0));
            bin.1 += run.len() as u64;
        }
    })?;
    Ok(counts.into_values().collect())
}

fn add(counts: &mut [u64], more: &[u64]) {
    counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::foreground::threshold;
    use crate::grid::boxes_of_blocks;

    fn check(stack: &Volume<f32>, integer: bool, recipe: OtsuRecipe) {
        let expected = threshold(stack, integer, recipe);
        for (block, most) in [([1, 1, 1], 4000), ([3, 5, 7], 0), ([9, 40, 20], 0)] {
            let parts = boxes_of_blocks(stack.shape, block, most);
            if parts.len() > 400 {
                continue;
            }
            let read = |region| Ok::<_, Infallible>(stack.crop(region));
            let found = threshold_of_parts(stack.shape, &parts, integer, recipe, read).unwrap();
            assert_eq!(found.to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn parts_have_the_threshold_of_the_whole() {
        let bumps = |[z, y, x]: [usize; 3]| {
            let near = (z as f32 - 12.0).powi(2) + (y as f32 - 30.0).powi(2);
            let noise = ((z * 7919 + y * 104_729 + x * 1_299_709) % 1009) as f32;
            (3000.0 * (-near / 200.0).exp() * (x as f32 / 9.0).sin() + noise).round()
        };
        let stack = Volume::from_fn([27, 61, 45], bumps);
        check(&stack, true, OtsuRecipe::Plain);
        check(&stack, false, OtsuRecipe::Plain);
        check(&stack, true, OtsuRecipe::Smooth);
        check(&stack.map(|v| v * 0.37 - 5.0), false, OtsuRecipe::Smooth);
        check(&stack.map(|v| v * 4096.0), true, OtsuRecipe::Plain);
        check(&stack.map(|_| 7.0), true, OtsuRecipe::Plain);
    }

    #[test]
    fn an_error_ends_it() {
        let parts = [Region::whole([1, 2, 2])];
        let read = |_| Err("unplugged");
        let found = threshold_of_parts([1, 2, 2], &parts, true, OtsuRecipe::Plain, read);
        assert_eq!(found, Err("unplugged"));
    }
}
