//! Tests of the simulated pairs as a whole.

use super::*;

fn small(seed: u64) -> Simulation {
    Simulation { shape: [16, 48, 40], spacing_um: [0.6; 3], seed, ..Simulation::default() }
}

fn mean_where(image: &Volume<u16>, labels: &Volume<u16>, keep: impl Fn(u16) -> bool) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (value, label) in image.voxels.iter().zip(&labels.voxels) {
        if keep(*label) {
            sum += f64::from(*value);
            count += 1.0;
        }
    }
    sum / count
}

/// FNV-1a over all voxels: any change of any byte shows.
fn hash(pair: &SimulatedPair) -> u64 {
    let stacks = [&pair.transmitted, &pair.fluorescence, &pair.labels];
    let voxels = stacks.into_iter().flat_map(|stack| &stack.voxels);
    voxels.fold(0xcbf2_9ce4_8422_2325, |hash, voxel| {
        (hash ^ u64::from(*voxel)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let options = small(3);
    let expected = hash(&simulate(&options));
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| hash(&simulate(&options))), expected, "{threads} threads");
    }
    assert_ne!(hash(&simulate(&small(4))), expected);
}

#[test]
fn labels_are_numbered_without_gaps() {
    for seed in 0..4 {
        let pair = simulate(&small(seed));
        let count = *pair.labels.voxels.iter().max().unwrap();
        assert!(count >= 3, "seed {seed}: {count} nuclei");
        for label in 1..=count {
            assert!(pair.labels.voxels.contains(&label), "seed {seed}: no nucleus {label}");
        }
    }
}

#[test]
fn nuclei_fluoresce_and_the_rest_hardly() {
    for seed in 0..3 {
        let pair = simulate(&small(seed));
        let dark = 100.0;
        let inside = mean_where(&pair.fluorescence, &pair.labels, |label| label > 0) - dark;
        let outside = mean_where(&pair.fluorescence, &pair.labels, |label| label == 0) - dark;
        assert!(inside > 1.5 * outside, "seed {seed}: {inside} inside, {outside} outside");
    }
}
