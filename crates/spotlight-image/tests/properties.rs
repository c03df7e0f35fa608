//! Properties that hold for any image, and naive versions of the fast algorithms.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use proptest::prelude::*;

use spotlight_image::evaluate::{dice, mse, pearson, pearson_in_mask, psnr, psnr_in_mask};
use spotlight_image::filter::{gaussian, median_cube};
use spotlight_image::foreground::{Bins, OtsuRecipe, mask, otsu_threshold, threshold};
use spotlight_image::grid::voxel_count;
use spotlight_image::resample::{Alignment, Order, Resize, Zoom, resize, zoom_with};
use spotlight_image::standardise::{moments, standardise};
use spotlight_image::tile::{
    Blend, Padding, crop_to_multiple, overlapping_tiles, pad, pad_to_multiple, tiles_with_halo,
};
use spotlight_image::{Border, Region, Shape, Volume};

fn shapes(largest: usize) -> impl Strategy<Value = Shape> {
    [1..=largest, 1..=largest, 1..=largest]
}

/// Volumes of many or of few different values.
fn volumes(largest: usize) -> impl Strategy<Value = Volume<f32>> {
    let values = prop_oneof![(-1e3..1e3_f32).boxed(), (0..4_u8).prop_map(f32::from).boxed()];
    (shapes(largest), proptest::collection::vec(values, 1..200)).prop_map(|(shape, values)| {
        let voxel = |i: usize| values[(i * i + 7 * i) % values.len()];
        Volume::new(shape, (0..voxel_count(shape)).map(voxel).collect())
    })
}

fn borders() -> impl Strategy<Value = Border> {
    prop_oneof![
        Just(Border::Nearest),
        Just(Border::Mirror),
        Just(Border::Reflect),
        (-9.0..9.0).prop_map(Border::Constant),
        (-9.0..9.0).prop_map(Border::Cutoff),
    ]
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Nearest), Just(Order::Linear), Just(Order::Cubic)]
}

/// The voxel at a position that may lie outside.
fn beyond(volume: &Volume<f64>, position: [isize; 3], border: Border) -> f64 {
    let inside: Vec<_> =
        (0..3).map(|axis| border.inside(position[axis], volume.shape[axis])).collect();
    match (border, inside.as_slice()) {
        (_, [Some(z), Some(y), Some(x)]) => volume.at([*z, *y, *x]),
        (Border::Constant(value) | Border::Cutoff(value), _) => value,
        _ => panic!("only constant borders have an outside"),
    }
}

fn close(found: &Volume<f64>, expected: &Volume<f64>, tolerance: f64) -> bool {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance * (1.0 + b.abs());
    found.shape == expected.shape && found.voxels.iter().zip(&expected.voxels).all(near)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn median_equals_sorting(volume in volumes(11), radius in 0..4_isize) {
        let wide = volume.map(|v| f64::from(*v));
        let naive = Volume::from_fn(volume.shape, |p| {
            let mut cube = Vec::new();
            for dz in -radius..=radius {
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let position = [p[0] as isize + dz, p[1] as isize + dy, p[2] as isize + dx];
                        cube.push(beyond(&wide, position, Border::Nearest));
                    }
                }
            }
            cube.sort_by(f64::total_cmp);
            cube[cube.len() / 2] as f32
        });
        prop_assert_eq!(median_cube(&volume, 2 * radius as usize + 1), naive);
    }

    #[test]
    fn gaussian_equals_full_sum(
        volume in volumes(8),
        sigma in [0.0..2.0, 0.0..2.0, 0.0..2.0_f64],
        truncate in 1.0..4.0,
        border in borders(),
    ) {
        let volume = volume.map(|v| f64::from(*v));
        let kernels = sigma.map(|s| {
            let radius = (truncate * s + 0.5_f64) as isize;
            let weight = |d: isize| if s > 0.0 { (-0.5 * (d as f64 / s).powi(2)).exp() } else { 1.0 };
            let weights: Vec<_> = (-radius..=radius).map(|d| (d, weight(d))).collect();
            let sum: f64 = weights.iter().map(|w| w.1).sum();
            weights.into_iter().map(|(d, w)| (d, w / sum)).collect::<Vec<_>>()
        });
        let naive = Volume::from_fn(volume.shape, |p| {
            let mut sum = 0.0;
            for (dz, wz) in &kernels[0] {
                for (dy, wy) in &kernels[1] {
                    for (dx, wx) in &kernels[2] {
                        let position = [p[0] as isize + dz, p[1] as isize + dy, p[2] as isize + dx];
                        sum += wz * wy * wx * beyond(&volume, position, border);
                    }
                }
            }
            sum
        });
        prop_assert!(close(&gaussian(&volume, sigma, truncate, border), &naive, 1e-10));
    }

    #[test]
    fn zoom_to_the_same_shape_changes_nothing(
        volume in volumes(9),
        order in orders(),
        border in borders(),
        faces in any::<bool>(),
    ) {
        let alignment = if faces { Alignment::Faces } else { Alignment::Centres };
        let options = Zoom { order, border, alignment };
        prop_assert_eq!(&zoom_with(&volume, volume.shape, &options), &volume);
    }

    #[test]
    fn zoom_goes_through_the_old_voxels(
        volume in volumes(7),
        order in orders(),
        border in borders(),
        times in 1..4_usize,
    ) {
        let volume = volume.map(|v| f64::from(*v));
        let options = Zoom { order, border, alignment: Alignment::Centres };
        let fine = zoom_with(&volume, volume.shape.map(|n| (n - 1) * times + 1), &options);
        let back = Volume::from_fn(volume.shape, |p| fine.at(p.map(|i| i * times)));
        prop_assert!(close(&back, &volume, 1e-9));
    }

    #[test]
    fn one_value_stays_one_value(
        shape in shapes(9),
        new_shape in shapes(20),
        order in orders(),
        border in prop_oneof![Just(Border::Nearest), Just(Border::Mirror), Just(Border::Reflect)],
    ) {
        let flat = Volume::filled(shape, 3.7_f32);
        let options = Zoom { order, border, alignment: Alignment::Faces };
        prop_assert_eq!(zoom_with(&flat, new_shape, &options), Volume::filled(new_shape, 3.7));
        let options = Resize { order, border, ..Resize::default() };
        prop_assert_eq!(resize(&flat, new_shape, &options), Volume::filled(new_shape, 3.7));
        prop_assert_eq!(gaussian(&flat, [3.0; 3], 4.0, border), flat);
    }

    #[test]
    fn linear_zoom_keeps_ramps(shape in shapes(9), new_shape in shapes(20)) {
        let slope = [2.0, -3.0, 0.5];
        let ramp = |shape: Shape, step: [f64; 3]| {
            Volume::from_fn(shape, |p| (0..3).map(|a| slope[a] * step[a] * p[a] as f64).sum())
        };
        let step = std::array::from_fn(|a| match (shape[a], new_shape[a]) {
            (_, 1) => 0.0,
            (old, new) => (old as f64 - 1.0) / (new as f64 - 1.0),
        });
        let options = Zoom { order: Order::Linear, ..Zoom::default() };
        let found = zoom_with(&ramp(shape, [1.0; 3]), new_shape, &options);
        prop_assert!(close(&found, &ramp(new_shape, step), 1e-12));
    }

    #[test]
    fn otsu_finds_the_largest_variance_between_classes(
        levels in proptest::collection::vec(0..2000_i32, 2..300),
        offset in -500..500_i32,
    ) {
        let levels: Vec<i32> = levels.iter().map(|v| v + offset).collect();
        let volume = Volume::new([1, 1, levels.len()], levels.clone());
        let variance = |threshold: i32| {
            let mean = |class: &[i32]| class.iter().sum::<i32>() as f64 / class.len() as f64;
            let (low, high): (Vec<i32>, Vec<i32>) = levels.iter().partition(|v| **v <= threshold);
            if high.is_empty() { return 0.0 }
            (low.len() * high.len()) as f64 * (mean(&low) - mean(&high)).powi(2)
        };
        let found = otsu_threshold(&volume, Bins::Integers) as i32;
        let best = levels.iter().map(|v| variance(*v)).fold(0.0, f64::max);
        prop_assert!(variance(found) >= best * (1.0 - 1e-12));
        let as_floats = volume.map(|v| *v as f32);
        prop_assert_eq!(otsu_threshold(&as_floats, Bins::Integers), f64::from(found));
        let wide = volume.map(|v| *v * 500_000);
        prop_assert_eq!(otsu_threshold(&wide, Bins::Integers), f64::from(found) * 5e5);
    }

    #[test]
    fn a_bin_centre_divides_the_voxels(volume in volumes(8), bins in 1..300_usize) {
        let found = otsu_threshold(&volume, Bins::Count(bins));
        let (low, high) = volume.voxels.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        prop_assert!((f64::from(low)..=f64::from(high)).contains(&found));
        let cells = mask(&volume, found);
        prop_assert!(cells.voxels.contains(&true));
        // Where a bin is no wider than the distance of two numbers, its centre may be its edge.
        let finest = f64::from(low.abs().max(high.abs())) * f64::from(f32::EPSILON);
        let width = (f64::from(high) - f64::from(low)) / bins as f64;
        prop_assume!(low == high || width > 2.0 * finest);
        prop_assert_eq!(low < high, cells.voxels.contains(&false));
    }

    #[test]
    fn standardised_stacks_have_no_mean_and_unit_deviation(volume in volumes(9)) {
        let before = moments(&volume);
        prop_assume!(before.std > 0.0);
        let after = moments(&standardise(&volume, before.mean, before.std));
        prop_assert!(after.mean.abs() < 1e-5 && (after.std - 1.0).abs() < 1e-5);
    }

    #[test]
    fn cores_cover_the_grid_once(
        sixteenths in shapes(5),
        core_shape in shapes(40),
        halo in [0..20_usize, 0..20_usize, 0..20_usize],
        multiple in prop_oneof![Just(1_usize), Just(4), Just(16)],
    ) {
        let shape = sixteenths.map(|n| n * multiple);
        let mut times = Volume::filled(shape, 0);
        for tile in tiles_with_halo(shape, core_shape, halo, multiple) {
            prop_assert!(tile.input.fits(shape) && tile.core_in_input().fits(tile.input.shape));
            for axis in 0..3 {
                prop_assert!(tile.core.shape[axis] <= core_shape[axis]);
                prop_assert_eq!(tile.input.start[axis] % multiple, 0);
                prop_assert_eq!(tile.input.shape[axis] % multiple, 0);
                let before = tile.core.start[axis] - tile.input.start[axis];
                prop_assert!(before >= halo[axis] || tile.input.start[axis] == 0);
                let after = tile.input.stop()[axis] - tile.core.stop()[axis];
                prop_assert!(after >= halo[axis] || tile.input.stop()[axis] == shape[axis]);
                prop_assert!(before < halo[axis] + multiple && after < halo[axis] + multiple);
            }
            let ones = times.crop(tile.core).map(|n| n + 1);
            times.paste(tile.core.start, &ones);
        }
        prop_assert!(times.voxels.iter().all(|n| *n == 1));
    }

    #[test]
    fn a_local_filter_by_tiles_equals_the_whole(volume in volumes(14), core_shape in shapes(9)) {
        let whole = median_cube(&volume, 5);
        let mut tiled = Volume::filled(volume.shape, 0.0);
        for tile in tiles_with_halo(volume.shape, core_shape, [2; 3], 1) {
            let part = median_cube(&volume.crop(tile.input), 5).crop(tile.core_in_input());
            tiled.paste(tile.core.start, &part);
        }
        prop_assert_eq!(tiled, whole);
    }

    #[test]
    fn blended_tiles_of_an_image_are_the_image(
        volume in volumes(12),
        tile_shape in shapes(14),
        overlap in [0..9_usize, 0..9_usize, 0..9_usize],
    ) {
        let overlap = std::array::from_fn(|a| overlap[a].min(tile_shape[a].min(volume.shape[a]) - 1));
        let mut blend = Blend::new(volume.shape);
        for tile in overlapping_tiles(volume.shape, tile_shape, overlap) {
            blend.add(tile.start, &volume.crop(tile));
        }
        let found = blend.finish().map(|v| f64::from(*v));
        prop_assert!(close(&found, &volume.map(|v| f64::from(*v)), 1e-6));
    }

    #[test]
    fn crops_are_centred_multiples(shape in shapes(200), multiple in 1..20_usize, max in 1..1_000_000_usize) {
        let region = crop_to_multiple(shape, multiple, Some(max));
        prop_assert!(region.fits(shape) && voxel_count(region.shape) <= max);
        prop_assert!(region.shape.iter().all(|n| n % multiple == 0));
        let centred = |a| (shape[a] - region.shape[a]) / 2;
        prop_assert_eq!(region.start, std::array::from_fn(centred));
        let whole = crop_to_multiple(shape, multiple, None);
        prop_assert!((0..3).all(|a| shape[a] - whole.shape[a] < multiple));
    }

    #[test]
    fn padding_is_undone_by_cropping(volume in volumes(9), multiple in 1..9_usize, border in borders()) {
        let padding = pad_to_multiple(volume.shape, multiple);
        let padded = pad(&volume, &padding, border);
        prop_assert!(padded.shape.iter().all(|n| n % multiple == 0));
        prop_assert_eq!(padded.crop(padding.inner), volume);
    }

    #[test]
    fn scores_know_no_order_and_no_scale(a in volumes(9), gain in 0.1..9.0_f32, seed in any::<u64>()) {
        let b = Volume::from_fn(a.shape, |p| a.at(p) + ((p[0] * 7 + p[1] * 3 + p[2]) as u64 ^ seed) as u8 as f32);
        prop_assert_eq!(mse(&a, &b), mse(&b, &a));
        prop_assert_eq!(psnr(&a, &b, 9.0), psnr(&b, &a, 9.0));
        prop_assert_eq!(psnr(&a, &a, 9.0), f64::INFINITY);
        let r = pearson(&a, &b);
        let scaled = pearson(&a.map(|v| gain * v + 3.0), &b);
        prop_assert!((r.is_nan() && scaled.is_nan()) || (r - scaled).abs() < 1e-4);
        let everything = Volume::filled(a.shape, true);
        prop_assert_eq!(psnr_in_mask(&a, &b, &everything, 9.0), psnr(&a, &b, 9.0));
        prop_assert_eq!(pearson_in_mask(&a, &b, &everything).to_bits(), r.to_bits());
        let (above, below) = (a.map(|v| *v > 1.0), b.map(|v| *v > 1.0));
        prop_assert_eq!(dice(&above, &below), dice(&below, &above));
        prop_assert_eq!(dice(&above, &above), 1.0);
    }
}

/// Larger than all pieces that work is cut into.
#[test]
fn nothing_depends_on_the_number_of_threads() {
    let volume =
        Volume::from_fn([9, 150, 310], |[z, y, x]| ((z * 31 + y * y + x * x * x) % 1009) as f32);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let resized = resize(&volume, [5, 70, 333], &Resize::default());
            let limits =
                [OtsuRecipe::Smooth, OtsuRecipe::Plain].map(|r| threshold(&volume, true, r));
            (moments(&volume), pearson(&volume, &median_cube(&volume, 3)), limits, resized)
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn padding_is_a_plain_struct() {
    let inner = Region { start: [0, 1, 0], shape: [1, 1, 2] };
    let row = Volume::new([1, 1, 2], vec![1.0, 2.0]);
    let padded = pad(&row, &Padding { shape: [1, 3, 3], inner }, Border::Nearest);
    assert_eq!(padded.voxels, [1.0, 2.0, 2.0, 1.0, 2.0, 2.0, 1.0, 2.0, 2.0]);
}
