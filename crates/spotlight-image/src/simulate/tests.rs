//! Tests of the simulated pairs as a whole.

use super::*;

/// Some ten whole nuclei in a stack that takes a moment.
fn small(seed: u64) -> Simulation {
    Simulation { shape: [24, 64, 60], spacing_um: [0.6; 3], seed, ..Simulation::default() }
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

/// Mean and standard deviation.
fn moments(image: &Volume<u16>) -> (f64, f64) {
    let mean = mean_where(image, image, |_| true);
    let squares = image.voxels.iter().map(|voxel| (f64::from(*voxel) - mean).powi(2));
    (mean, (squares.sum::<f64>() / image.voxels.len() as f64).sqrt())
}

/// FNV-1a over all voxels: any change of any byte shows.
fn hash(pair: &SimulatedPair) -> u64 {
    let stacks = [&pair.transmitted, &pair.fluorescence, &pair.labels];
    let voxels = stacks.into_iter().flat_map(|stack| &stack.voxels);
    voxels.fold(0xcbf2_9ce4_8422_2325, |hash, voxel| {
        (hash ^ u64::from(*voxel)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Number of parts a label falls into, and its voxels.
fn parts(labels: &Volume<u16>, label: u16) -> (usize, usize) {
    let mut open = labels.map(|voxel| *voxel == label);
    let (mut parts, mut size) = (0, 0);
    let [depth, rows, columns] = labels.shape;
    while let Some(first) = open.voxels.iter().position(|voxel| *voxel) {
        parts += 1;
        let mut stack = vec![first];
        open.voxels[first] = false;
        while let Some(place) = stack.pop() {
            size += 1;
            let (z, y, x) = (place / (rows * columns), place / columns % rows, place % columns);
            let steps = [
                (z > 0, place.wrapping_sub(rows * columns)),
                (z + 1 < depth, place + rows * columns),
                (y > 0, place.wrapping_sub(columns)),
                (y + 1 < rows, place + columns),
                (x > 0, place.wrapping_sub(1)),
                (x + 1 < columns, place + 1),
            ];
            for (_, next) in steps.into_iter().filter(|(inside, _)| *inside) {
                if std::mem::take(&mut open.voxels[next]) {
                    stack.push(next);
                }
            }
        }
    }
    (parts, size)
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let options = small(3);
    let expected = hash(&simulate(&options));
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| hash(&simulate(&options))), expected, "{threads} threads");
    }
}

#[test]
fn seeds_give_different_scenes_and_noise() {
    let (one, other) = (simulate(&small(0)), simulate(&small(1)));
    assert_ne!(one.labels, other.labels);
    assert_ne!(one.transmitted, other.transmitted);
    assert_ne!(one.fluorescence, other.fluorescence);
}

#[test]
fn labels_are_numbered_without_gaps_and_whole() {
    for seed in 0..4 {
        let pair = simulate(&small(seed));
        let count = *pair.labels.voxels.iter().max().unwrap();
        assert!(count >= 5, "seed {seed}: {count} nuclei");
        for label in 1..=count {
            assert_eq!(parts(&pair.labels, label).0, 1, "seed {seed}: parts of nucleus {label}");
        }
    }
}

/// Whole nuclei have the volume of an ellipsoid of the size asked for; metaphase
/// plates are switched off, for they are smaller.
#[test]
fn nuclei_have_the_volume_asked_for() {
    let options =
        Simulation { mitotic_fraction: 0.0, coverage: 0.3, shape: [28, 90, 90], ..small(5) };
    let labels = simulate(&options).labels;
    let [depth, rows, columns] = labels.shape;
    let [height, width] = [options.nucleus_height_um, options.nucleus_diameter_um];
    let expected = std::f64::consts::PI / 6.0 * height * width * width;
    let mut whole = 0;
    for label in 1..=*labels.voxels.iter().max().unwrap() {
        let cut = labels.voxels.iter().enumerate().any(|(place, voxel)| {
            let (z, y, x) = (place / (rows * columns), place / columns % rows, place % columns);
            let at_side = z == 0 || z + 1 == depth || y == 0 || y + 1 == rows;
            *voxel == label && (at_side || x == 0 || x + 1 == columns)
        });
        if !cut {
            whole += 1;
            let volume = parts(&labels, label).1 as f64 * 0.6_f64.powi(3);
            assert!((0.4..2.0).contains(&(volume / expected)), "nucleus {label}: {volume} µm³");
        }
    }
    assert!(whole >= 3, "{whole} whole nuclei");
}

#[test]
fn nuclei_fluoresce_and_the_rest_hardly() {
    const DARK: f64 = 100.0;
    for seed in 0..3 {
        let pair = simulate(&small(seed));
        let inside = mean_where(&pair.fluorescence, &pair.labels, |label| label > 0) - DARK;
        let outside = mean_where(&pair.fluorescence, &pair.labels, |label| label == 0) - DARK;
        assert!(inside > 1.8 * outside, "seed {seed}: {inside} inside, {outside} outside");
    }
}

/// The scene bends light: far more contrast than the noise of an empty field.
#[test]
fn transmitted_light_shows_the_scene_and_not_only_noise() {
    let options = small(2);
    let (mean, spread) = moments(&simulate(&options).transmitted);
    let noise = mean / options.transmitted_photons.sqrt();
    assert!(spread > 2.0 * noise, "spread {spread}, noise {noise}");
    assert!(spread < 0.3 * mean, "spread {spread} of {mean}");
}

/// Phase objects seen through a closed condenser turn from dark to bright through
/// the focus, so the sum of the contrast over all planes nearly cancels.
#[test]
fn contrast_turns_over_through_the_focus() {
    let quiet = Simulation { transmitted_photons: 12_000.0, read_noise: 0.0, ..small(6) };
    let pair = simulate(&quiet);
    let [depth, rows, columns] = quiet.shape;
    let plane = rows * columns;
    let mean = mean_where(&pair.transmitted, &pair.labels, |_| true);
    let spread = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    };
    let single: Vec<f64> =
        pair.transmitted.plane(depth / 2).iter().map(|v| f64::from(*v) / mean).collect();
    let summed: Vec<f64> = (0..plane)
        .map(|place| {
            let column = (0..depth).map(|z| f64::from(pair.transmitted.voxels[z * plane + place]));
            column.sum::<f64>() / (depth as f64 * mean)
        })
        .collect();
    assert!(spread(&summed) < 0.6 * spread(&single), "{} {}", spread(&summed), spread(&single));
}

#[test]
fn any_shape_and_spacing_works() {
    let shapes = [[1, 1, 1], [1, 40, 40], [16, 32, 32], [32, 32, 32], [5, 7, 90], [33, 17, 20]];
    for (shape, seed) in shapes.into_iter().zip(0..) {
        for spacing_um in [[0.29; 3], [2.0, 0.65, 0.65]] {
            let pair = simulate(&Simulation { shape, spacing_um, seed, ..Simulation::default() });
            assert_eq!(pair.transmitted.shape, shape);
            assert_eq!(pair.fluorescence.shape, shape);
            assert_eq!(pair.labels.shape, shape);
            assert_eq!(pair.spacing_um, spacing_um);
            assert!(pair.labels.voxels.contains(&1), "{shape:?} at {spacing_um:?} µm");
        }
    }
}

/// Stacks as small as the tests of training use still have both classes.
#[test]
fn small_stacks_have_a_foreground_and_a_background() {
    for seed in 0..8 {
        for shape in [[16, 32, 32], [32, 32, 32]] {
            let options = Simulation { shape, seed, ..Simulation::default() };
            let labels = simulate(&options).labels;
            let inside = labels.voxels.iter().filter(|label| **label > 0).count();
            let part = inside as f64 / labels.voxels.len() as f64;
            assert!((0.1..0.97).contains(&part), "{shape:?}, seed {seed}: {part}");
        }
    }
}

#[test]
#[should_panic(expected = "no voxels")]
fn an_empty_shape_panics() {
    let _ = simulate(&Simulation { shape: [0, 8, 8], ..Simulation::default() });
}
