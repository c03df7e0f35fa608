//! Whether a run can fit the machine, found out before it begins.
//!
//! Going backwards through the network needs what every layer gave going forwards, so that the
//! memory of these values is the least that an iteration takes. The true need is higher; this is
//! for runs that cannot end well, such as the paper's batch of 24 on a small laptop.

use anyhow::Result;
use spotlight_learn::train::Recipe;

use crate::cli::failure;

/// Channels are kept in blocks of this many.
const BLOCK: f64 = 16.0;

/// Refuses a recipe that needs more memory than the machine has, where that is known.
pub(super) fn check(recipe: &Recipe) -> Result<()> {
    let needed = least_bytes(recipe);
    match machine_bytes() {
        Some(there) if needed > there => {
            let gib = |bytes: f64| format!("{:.1} GiB", bytes / f64::from(1 << 30));
            let message = format!(
                "an iteration needs more than {} of memory and this machine has {}",
                gib(needed),
                gib(there)
            );
            Err(failure(message, "make --batch, --patch or --width smaller"))
        }
        _ => Ok(()),
    }
}

/// Bytes of what all layers give for one batch.
fn least_bytes(recipe: &Recipe) -> f64 {
    let voxels: f64 = recipe.sample.patch.iter().map(|length| *length as f64).product();
    let depth = recipe.network.depth as i32;
    let values =
        |level: i32, channels: f64| voxels / 8_f64.powi(level) * (channels / BLOCK).ceil() * BLOCK;
    let levels = (0..=depth).map(|level| {
        let channels = recipe.network.width as f64 * 2_f64.powi(level);
        // Two convolutions before the lower levels; one up and two convolutions after them.
        let own = if level == depth { 2.0 } else { 5.0 } * values(level, channels);
        let down = if level == depth { 0.0 } else { values(level + 1, channels) };
        own + down
    });
    levels.sum::<f64>() * recipe.train.batch as f64 * size_of::<f32>() as f64
}

/// Memory of the machine or of the container, where the system tells it in files (Linux).
fn machine_bytes() -> Option<f64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| parse_total(&text));
    let container = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    [machine, container].into_iter().flatten().reduce(f64::min)
}

/// Bytes in the line `MemTotal:       16384000 kB`.
fn parse_total(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_needs_some_gibibytes() {
        let gib = least_bytes(&Recipe::default()) / f64::from(1 << 30);
        assert!((2.0..4.0).contains(&gib), "{gib}");
    }

    #[test]
    fn one_level_is_two_convolutions() {
        let mut recipe = Recipe::default();
        (recipe.network.depth, recipe.network.width, recipe.train.batch) = (0, 3, 2);
        recipe.sample.patch = [2, 3, 4];
        // Two layers of 24 voxels in one block of 16 channels, for two samples of f32.
        assert_eq!(least_bytes(&recipe), 2.0 * 24.0 * 16.0 * 2.0 * 4.0);
    }

    #[test]
    fn an_absurd_batch_is_refused_where_memory_is_known() {
        let mut recipe = Recipe::default();
        recipe.train.batch = 100_000_000;
        assert_eq!(check(&recipe).is_err(), machine_bytes().is_some());
    }

    #[test]
    fn memory_is_read_from_its_line() {
        let text = "MemTotal:       16384000 kB\nMemFree:  1 kB\n";
        assert_eq!(parse_total(text), Some(16_384_000.0 * 1024.0));
        assert_eq!(parse_total(""), None);
    }
}
