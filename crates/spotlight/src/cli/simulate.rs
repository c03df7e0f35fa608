//! `spotlight simulate`: writes simulated pairs of stacks with their truth and a manifest.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use spotlight_image::Shape;
use spotlight_image::simulate::{SimulatedPair, Simulation, simulate};
use spotlight_io::manifest::{self, Manifest, Row, Split};
use spotlight_io::{OutputChannel, Voxels, WriteOptions, write_ome_tiff};

use crate::cli::{Context, values, wrong_use};
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  spotlight simulate -o simulated
  spotlight simulate -o small --pairs 4 --shape 32,128,128 --seed 1
  spotlight train simulated/manifest.csv -o run";

/// The options of `spotlight simulate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Folder for the stacks and the manifest
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Number of pairs
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub pairs: u16,
    /// Voxels of each stack along z, y, x
    #[arg(long, value_name = "Z,Y,X", default_value = "64,256,256", value_parser = values::shape)]
    pub shape: Shape,
    /// Voxel size in µm along z, y, x
    #[arg(long, value_name = "Z,Y,X", default_value = "0.29", value_parser = values::spacing_um)]
    pub spacing: [f64; 3],
    /// Seed of all random numbers: the same seed writes the same bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// The table of the pairs.
const MANIFEST: &str = "manifest.csv";

/// Runs `spotlight simulate`.
///
/// # Errors
///
/// When files are in the way or cannot be written.
pub fn run(options: &Options, context: &Context) -> Result<()> {
    let simulation = Simulation {
        shape: options.shape,
        spacing_um: options.spacing,
        seed: options.seed,
        ..Simulation::default()
    };
    let pairs = usize::from(options.pairs);
    let mut progress = Progress::new(context, "simulate", pairs as u64);
    let manifest = write_pairs(&options.output, &simulation, pairs, options.overwrite, |done| {
        progress.set(done as u64, "");
    })?;
    drop(progress);
    let rows = Manifest::read(&manifest)?.rows;
    let count = |split| rows.iter().filter(|row| row.split == Some(split)).count();
    context.print(&format!(
        "{}: {pairs} pairs ({} train, {} validate, {} test)\n",
        manifest.display(),
        count(Split::Train),
        count(Split::Validate),
        count(Split::Test),
    ))
}

/// Writes simulated pairs into a folder, and last the manifest, whose path it returns.
///
/// Pair `i` is `pair_00i_signal.ome.tif`, `…_target.ome.tif` and `…_mask.ome.tif` (one
/// label for each nucleus, 0 outside). `simulation.seed` is the seed of the whole set.
/// `observe` is told the number of pairs written.
///
/// # Errors
///
/// When files are in the way and `overwrite` is false, or a file cannot be written.
pub fn write_pairs(
    folder: &Path,
    simulation: &Simulation,
    pairs: usize,
    overwrite: bool,
    mut observe: impl FnMut(usize),
) -> Result<PathBuf> {
    let names: Vec<[String; 3]> = (0..pairs)
        .map(|i| ["signal", "target", "mask"].map(|role| format!("pair_{i:03}_{role}.ome.tif")))
        .collect();
    if !overwrite {
        let all = names.iter().flatten().map(|name| folder.join(name));
        if let Some(taken) = all.chain([folder.join(MANIFEST)]).find(|path| path.exists()) {
            return Err(wrong_use(
                format!("{} exists already", taken.display()),
                "choose another folder, or add --overwrite to replace it",
            ));
        }
    }
    std::fs::create_dir_all(folder)
        .with_context(|| format!("while making the folder {}", folder.display()))?;
    for (index, names) in names.iter().enumerate() {
        let seed = pair_seed(simulation.seed, index as u64);
        let pair = simulate(&Simulation { seed, ..simulation.clone() });
        write_pair(folder, names, &pair, overwrite)?;
        observe(index + 1);
    }
    let rows = names.iter().enumerate().map(|(index, [signal, target, mask])| Row {
        signal: folder.join(signal),
        channel_signal: None,
        target: folder.join(target),
        channel_target: None,
        mask: Some(folder.join(mask)),
        split: Some(split_of(index, pairs)),
    });
    let path = folder.join(MANIFEST);
    manifest::write(&path, &rows.collect::<Vec<_>>(), overwrite)?;
    Ok(path)
}

fn write_pair(
    folder: &Path,
    names: &[String; 3],
    pair: &SimulatedPair,
    overwrite: bool,
) -> Result<()> {
    let [signal, target, mask] = names.each_ref().map(|name| folder.join(name));
    let options = WriteOptions { overwrite, ..WriteOptions::default() };
    for (path, name, volume) in [
        (signal, "Transmitted light", &pair.transmitted),
        (target, "Fluorescence", &pair.fluorescence),
        (mask, "Nuclei", &pair.labels),
    ] {
        let voxels = Voxels::U16(volume.clone());
        let channel = OutputChannel { name, voxels: &voxels };
        write_ome_tiff(&path, &[channel], Some(pair.spacing_um), &options)?;
    }
    Ok(())
}

/// Which part a pair belongs to: the last quarter tests (at least one pair of two or
/// more), the pair before it validates (of four or more), the others train.
fn split_of(index: usize, pairs: usize) -> Split {
    let test = if pairs < 2 { 0 } else { (pairs / 4).max(1) };
    let validate = usize::from(pairs >= 4);
    if index >= pairs - test {
        Split::Test
    } else if index >= pairs - test - validate {
        Split::Validate
    } else {
        Split::Train
    }
}

/// A seed for each pair, so that sets of different seeds share no pair (SplitMix64).
fn pair_seed(seed: u64, index: u64) -> u64 {
    let mix = |value: u64| {
        let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    mix(mix(seed) ^ index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: usize, [train, validate, test]: [usize; 3]) {
        let count = |split| (0..pairs).filter(|i| split_of(*i, pairs) == split).count();
        let found = [Split::Train, Split::Validate, Split::Test].map(count);
        assert_eq!(found, [train, validate, test]);
    }

    #[test]
    fn the_last_quarter_tests() {
        check(1, [1, 0, 0]);
        check(2, [1, 0, 1]);
        check(3, [2, 0, 1]);
        check(4, [2, 1, 1]);
        check(8, [5, 1, 2]);
        check(100, [74, 1, 25]);
    }

    #[test]
    fn sets_of_different_seeds_share_no_pair() {
        let mut seeds: Vec<u64> =
            (0..50).flat_map(|seed| (0..50).map(move |index| pair_seed(seed, index))).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 2500);
    }
}
