//! Filters, labels and segmentation: naive versions of the fast algorithms, properties that
//! hold for any image, and what comes out of bad input.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use proptest::prelude::*;

use spotlight_image::filter::{
    Clahe, Footprint, clahe, close, dilate, distance_transform, erode, gaussian, median, open,
    percentiles, stretch,
};
use spotlight_image::grid::voxel_count;
use spotlight_image::label::{
    Connectivity, bounding_boxes, clear_border, components, fill_holes, fill_object_holes,
    fill_object_holes_in_planes, fill_small_holes, fill_small_object_holes, relabel_sequential,
    remove_large_objects, remove_small_components, remove_small_objects, remove_thin_objects,
    remove_touching_objects, voxel_counts,
};
use spotlight_image::resample::{Alignment, Order, Resize, Zoom, resize, zoom_with};
use spotlight_image::segment::{
    Cleanup, Example, Grid, Peaks, Watershed, cleanup, foreground, local_maxima, local_maxima_in,
    prepare, segment, split, tune, watershed,
};
use spotlight_image::{Border, Shape, Volume};

fn shapes(largest: usize) -> impl Strategy<Value = Shape> {
    [1..=largest, 1..=largest, 1..=largest]
}

/// Volumes of small whole numbers, most of them below `values`.
fn labels(largest: usize, values: u32) -> impl Strategy<Value = Volume<u32>> {
    let voxels = proptest::collection::vec(0..values, 1..300);
    (shapes(largest), voxels).prop_map(|(shape, voxels)| {
        let voxel = |i: usize| voxels[(i * i + 5 * i) % voxels.len()];
        Volume::new(shape, (0..voxel_count(shape)).map(voxel).collect())
    })
}

fn masks(largest: usize) -> impl Strategy<Value = Volume<bool>> {
    (labels(largest, 8), 1..8_u32).prop_map(|(volume, limit)| volume.map(|v| *v < limit))
}

fn connectivities() -> impl Strategy<Value = Connectivity> {
    prop_oneof![Just(Connectivity::Faces), Just(Connectivity::Edges), Just(Connectivity::Corners)]
}

fn footprints() -> impl Strategy<Value = Footprint> {
    let cuboids = [1..5_usize, 1..5, 1..5].prop_map(Footprint::cuboid);
    prop_oneof![(0..5_usize).prop_map(Footprint::ball), cuboids]
}

fn borders() -> impl Strategy<Value = Border> {
    let constants = (-3.0..3.0_f64).prop_map(|v| Border::Constant(v.round()));
    prop_oneof![Just(Border::Nearest), Just(Border::Mirror), Just(Border::Reflect), constants]
}

/// All positions of a volume.
fn positions(shape: Shape) -> Vec<[usize; 3]> {
    Volume::from_fn(shape, |position| position).voxels
}

/// The positions under a footprint, which may lie outside.
fn under(footprint: &Footprint, [z, y, x]: [usize; 3]) -> Vec<[isize; 3]> {
    let place = |at: usize, step: isize| at as isize + step;
    let mut places = Vec::new();
    for row in &footprint.rows {
        for step in row.x[0]..=row.x[1] {
            places.push([place(z, row.z), place(y, row.y), place(x, step)]);
        }
    }
    places
}

fn inside(shape: Shape, place: [isize; 3]) -> Option<[usize; 3]> {
    let fits = (0..3).all(|axis| (0..shape[axis] as isize).contains(&place[axis]));
    fits.then(|| place.map(|index| index as usize))
}

fn neighbours(shape: Shape, position: [usize; 3], connectivity: Connectivity) -> Vec<[usize; 3]> {
    let steps =
        |place: &[isize; 3]| (0..3).filter(|axis| place[*axis] != position[*axis] as isize).count();
    let cube = under(&Footprint::cuboid([3; 3]), position).into_iter();
    let near = cube.filter(|place| (1..=connectivity.steps()).contains(&steps(place)));
    near.filter_map(|place| inside(shape, place)).collect()
}

/// Numbers components by filling one after the other.
fn naive_components(volume: &Volume<u32>, connectivity: Connectivity) -> Volume<u32> {
    let mut found = Volume::filled(volume.shape, 0);
    let mut count = 0;
    for position in positions(volume.shape) {
        if volume.at(position) == 0 || found.at(position) != 0 {
            continue;
        }
        count += 1;
        let mut open = vec![position];
        while let Some(position) = open.pop() {
            let offset = found.offset(position);
            if found.voxels[offset] == 0 {
                found.voxels[offset] = count;
                let near = neighbours(volume.shape, position, connectivity).into_iter();
                open.extend(near.filter(|n| volume.at(*n) == volume.at(position)));
            }
        }
    }
    found
}

fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn components_equal_filling(volume in labels(9, 4), connectivity in connectivities()) {
        prop_assert_eq!(components(&volume, connectivity), naive_components(&volume, connectivity));
    }

    #[test]
    fn distances_equal_search(mask in masks(9), spacing in [0.1..3.0_f64, 0.1..3.0, 0.1..3.0]) {
        let distance: Volume<f64> = distance_transform(&mask, spacing);
        let background: Vec<_> =
            positions(mask.shape).into_iter().filter(|p| !mask.at(*p)).collect();
        for position in positions(mask.shape) {
            let squared = |other: &[usize; 3]| -> f64 {
                let along = |axis: usize| spacing[axis] * position[axis].abs_diff(other[axis]) as f64;
                (0..3).map(|axis| along(axis).powi(2)).sum()
            };
            let nearest = background.iter().map(squared).fold(f64::INFINITY, f64::min).sqrt();
            let found = distance.at(position);
            prop_assert!(found == nearest || (found - nearest).abs() < 1e-12 * nearest);
        }
    }

    #[test]
    fn morphology_equals_its_definition(mask in masks(10), footprint in footprints()) {
        let (grown, shrunk) = (dilate(&mask, &footprint), erode(&mask, &footprint));
        let mut covered = Volume::filled(mask.shape, false);
        for position in positions(mask.shape) {
            let places = under(&footprint, position).into_iter();
            let voxels: Vec<_> = places.filter_map(|place| inside(mask.shape, place)).collect();
            prop_assert_eq!(shrunk.at(position), voxels.iter().all(|v| mask.at(*v)));
            for voxel in voxels.iter().filter(|_| mask.at(position)) {
                let offset = covered.offset(*voxel);
                covered.voxels[offset] = true;
            }
        }
        prop_assert_eq!(&grown, &covered);
        let contains = |a: &Volume<bool>, b: &Volume<bool>| {
            a.voxels.iter().zip(&b.voxels).all(|(a, b)| *a || !*b)
        };
        let ball = Footprint::ball(2);
        prop_assert!(contains(&mask, &open(&mask, &ball)));
        prop_assert!(contains(&close(&mask, &ball), &mask));
        prop_assert_eq!(open(&open(&mask, &ball), &ball), open(&mask, &ball));
    }

    #[test]
    fn median_equals_sorting(
        volume in labels(9, 9), footprint in footprints(), border in borders(),
    ) {
        let volume = volume.map(|v| *v as f32 / 3.0);
        let naive = Volume::from_fn(volume.shape, |position| {
            let mut values: Vec<f32> = Vec::new();
            for place in under(&footprint, position) {
                let indices: Vec<_> = (0..3)
                    .filter_map(|axis| border.inside(place[axis], volume.shape[axis]))
                    .collect();
                values.push(match (border, indices.as_slice()) {
                    (_, [z, y, x]) => volume.at([*z, *y, *x]),
                    (Border::Constant(value), _) => value as f32,
                    _ => panic!("only a constant border has an outside"),
                });
            }
            values.sort_by(f32::total_cmp);
            values[values.len() / 2]
        });
        prop_assert_eq!(median(&volume, &footprint, border), naive);
    }

    #[test]
    fn percentiles_equal_sorting(volume in labels(7, 1000), percent in 0.0..=100.0_f64) {
        let volume = volume.map(|v| *v as f32 - 500.3);
        let mut sorted: Vec<f64> = volume.voxels.iter().map(|v| f64::from(*v)).collect();
        sorted.sort_by(f64::total_cmp);
        let place = percent / 100.0 * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        let expected = low + (high - low) * place.fract();
        prop_assert!((percentiles(&volume, &[percent])[0] - expected).abs() < 1e-9);
        let range = percentiles(&volume, &[0.0, 100.0]);
        prop_assert_eq!(range, [sorted[0], sorted[sorted.len() - 1]]);
        let stretched = stretch(&volume, [0.0, 100.0]);
        prop_assert!(stretched.voxels.iter().all(|v| (0.0..=1.0).contains(v)));
    }

    #[test]
    fn maxima_equal_a_maximum_filter(volume in labels(9, 6), footprint in footprints()) {
        let image = volume.map(|v| *v as f32);
        let options = Peaks { footprint: footprint.clone(), margin: 0, ..Peaks::default() };
        let lowest = image.voxels.iter().fold(f32::INFINITY, |a, b| a.min(*b));
        let is_maximum = |position: &[usize; 3]| {
            let places = under(&footprint, *position).into_iter();
            let mut voxels = places.filter_map(|place| inside(image.shape, place));
            voxels.all(|v| image.at(v) <= image.at(*position))
        };
        let all: Vec<_> = positions(image.shape).into_iter().filter(is_maximum).collect();
        let trivial = footprint.voxel_count() > 1 && all.len() == image.voxels.len();
        let high = |p: &[usize; 3]| image.at(*p) > lowest && !trivial;
        let mut expected: Vec<_> = all.into_iter().filter(high).collect();
        expected.sort_by(|a, b| image.at(*b).total_cmp(&image.at(*a)));
        prop_assert_eq!(local_maxima(&image, &options), expected);
    }

    #[test]
    fn small_holes_of_objects_equal_those_of_masks(volume in labels(7, 4), limit in 0..40_usize) {
        let mut expected = volume.clone();
        for label in voxel_counts(&volume).into_keys() {
            let object = expected.map(|v| *v == label);
            if object.voxels.contains(&true) {
                let filled = fill_small_holes(&object, limit, Connectivity::Faces);
                for (voxel, _) in expected.voxels.iter_mut().zip(&filled.voxels).filter(|(_, f)| **f) {
                    *voxel = label;
                }
            }
        }
        prop_assert_eq!(fill_small_object_holes(&volume, limit), expected);
    }

    #[test]
    fn floods_reach_all_that_hangs_together(
        landscape in labels(8, 5), seed in labels(8, 40), connectivity in connectivities(),
    ) {
        let voxel = |i: usize| seed.voxels[i % seed.voxels.len()];
        let markers: Vec<u32> = (0..landscape.voxels.len()).map(voxel).collect();
        let markers = Volume::new(landscape.shape, markers).map(|v| if *v < 4 { *v } else { 0 });
        let mask = landscape.map(|v| *v > 0);
        let image = landscape.map(|v| *v as f32);
        let basins = watershed(&image, &markers, Some(&mask), connectivity);
        let parts = components(&mask, connectivity);
        let mut reached = std::collections::BTreeSet::from([0]);
        for (part, marker) in parts.voxels.iter().zip(&markers.voxels) {
            reached.extend((*marker != 0).then_some(*part));
        }
        for (i, basin) in basins.voxels.iter().enumerate() {
            prop_assert_eq!(*basin != 0, mask.voxels[i] && reached.contains(&parts.voxels[i]));
            prop_assert!(markers.voxels[i] == 0 || !mask.voxels[i] || *basin == markers.voxels[i]);
        }
    }

    #[test]
    fn removing_leaves_the_others_as_they_were(volume in labels(8, 6), limit in 0..60_usize) {
        let counts = voxel_counts(&volume);
        let small = remove_small_objects(&volume, limit);
        let large = remove_large_objects(&volume, limit);
        for (i, label) in volume.voxels.iter().enumerate() {
            let count = counts.get(label).copied().unwrap_or(0);
            prop_assert_eq!(small.voxels[i], if count < limit { 0 } else { *label });
            prop_assert_eq!(large.voxels[i], if count > limit { 0 } else { *label });
        }
        let renumbered = relabel_sequential(&volume);
        prop_assert_eq!(voxel_counts(&renumbered).into_values().collect::<Vec<_>>(),
            counts.into_values().collect::<Vec<_>>());
        for (label, region) in bounding_boxes(&volume) {
            let within = volume.crop(region).voxels.iter().filter(|v| **v == label).count();
            prop_assert_eq!(within, voxel_counts(&volume)[&label]);
        }
    }

    /// Blurring and interpolating axis by axis is blurring all, then interpolating all.
    #[test]
    fn shrinking_is_blurring_and_zooming(
        volume in labels(14, 900), shape in shapes(14), border in borders(),
    ) {
        let volume = volume.map(|v| f64::from(*v));
        let options = Resize { border, clip: false, ..Resize::default() };
        let found = resize(&volume, shape, &options);
        let sigma = |axis: usize| {
            ((volume.shape[axis] as f64 / shape[axis] as f64 - 1.0) / 2.0).max(0.0)
        };
        let blurred = gaussian(&volume, std::array::from_fn(sigma), 4.0, border);
        let zoom = Zoom { order: Order::Cubic, border, alignment: Alignment::Faces };
        let expected = zoom_with(&blurred, shape, &zoom);
        for (a, b) in found.voxels.iter().zip(&expected.voxels) {
            prop_assert!((a - b).abs() < 1e-6, "{} is not {}", a, b);
        }
    }
}

/// Blurred balls on a noisy ground, without a clock or a generator.
fn nuclei(shape: Shape) -> Volume<f32> {
    let centres = [[10, 14, 16], [11, 40, 20], [10, 18, 44], [13, 44, 48], [12, 30, 70]];
    Volume::from_fn(shape, |p| {
        let squared =
            |c: &[usize; 3]| -> usize { (0..3).map(|i| c[i].abs_diff(p[i]).pow(2)).sum() };
        let nearest = centres.iter().map(squared).min().unwrap() as f32;
        let noise = ((p[0] * 7919 + p[1] * 104_729 + p[2] * 1_299_709) % 101) as f32;
        900.0 / (1.0 + (nearest / 90.0).powi(4)) + noise
    })
}

fn small_objects() -> Watershed {
    let cleanup = Cleanup { min_object_voxels: 50, ..Cleanup::default() };
    Watershed { ball_radius: 5, cleanup, ..Watershed::default() }
}

#[test]
fn nuclei_are_found_on_any_number_of_threads() {
    let image = nuclei([24, 60, 84]);
    let labels = segment(&image, &small_objects());
    assert_eq!(labels.shape, [12, 30, 42]);
    assert_eq!(voxel_counts(&labels).len(), 5);
    for threads in [1, 3] {
        assert_eq!(on_threads(threads, || segment(&image, &small_objects())), labels);
    }
}

#[test]
fn the_steps_are_the_whole() {
    let (image, options) = (nuclei([20, 40, 40]), small_objects());
    let mask = foreground(&prepare(&image, &options), &options);
    assert_eq!(cleanup(&split(&mask, &options), &options.cleanup), segment(&image, &options));
}

#[test]
fn tuning_finds_the_settings_that_made_the_truth() {
    let image = nuclei([24, 60, 84]);
    let made_by = Watershed { median_size: 3, ball_radius: 15, ..small_objects() };
    let truth = segment(&image, &made_by);
    let grid = Grid {
        median_size: vec![5, 3],
        ball_radius: vec![5, 15],
        seed_dilation: vec![1],
        min_object_voxels: vec![10_000, 50],
        max_object_voxels: vec![7500],
    };
    let equal = |a: &Volume<u32>, b: &Volume<u32>| {
        if a.voxels.iter().all(|v| *v == 0) {
            return f64::NAN;
        }
        let same = a.voxels.iter().zip(&b.voxels).filter(|(a, b)| a == b).count();
        same as f64 / a.voxels.len() as f64
    };
    let examples = [Example { image: &image, truth: &truth }; 2];
    let trials = tune(&examples, &Watershed::default(), &grid, equal);
    assert_eq!(trials.len(), 8);
    assert_eq!((trials[0].score, &trials[0].options), (1.0, &made_by));
    assert!(trials.is_sorted_by(|a, b| b.score.is_nan() || a.score >= b.score));
    assert!(trials[7].score.is_nan(), "without any object there is no score");
    // The same as segmenting each anew.
    for trial in &trials[..4] {
        assert_eq!(equal(&segment(&image, &trial.options), &truth), trial.score);
    }
    assert!(tune(&[], &made_by, &grid, equal).iter().all(|trial| trial.score.is_nan()));
}

#[test]
fn constant_images_have_no_nuclei() {
    for value in [0.0, -3.0, 7.5, 1e30] {
        let labels = segment(&Volume::filled([6, 20, 30], value), &Watershed::default());
        assert_eq!(labels, Volume::filled([3, 10, 15], 0));
    }
}

#[test]
fn no_voxels_and_one() {
    let none: Volume<f32> = Volume::filled([3, 0, 4], 1.0);
    assert_eq!(segment(&none, &Watershed::default()).shape, [3, 0, 4]);
    let one = segment(&Volume::filled([1, 1, 1], 3.0), &Watershed::default());
    assert_eq!(one, Volume::filled([1, 1, 1], 0));
    let (yes, no) = (Volume::filled([1, 1, 1], true), Volume::filled([1, 1, 1], false));
    assert_eq!(split(&yes, &Watershed::default()).voxels, [0]);
    assert_eq!(components(&yes, Connectivity::Corners).voxels, [1]);
    assert_eq!(fill_holes(&no), no);
    assert_eq!(dilate(&yes, &Footprint::ball(9)), yes);
    assert_eq!(local_maxima(&Volume::filled([1, 1, 1], 5.0), &Peaks::default()), [[0; 3]; 0]);
    let empty: Volume<bool> = Volume::filled([0, 2, 2], true);
    assert_eq!(erode(&empty, &Footprint::ball(1)), empty);
    assert_eq!(fill_holes(&empty), empty);
    assert_eq!(split(&empty, &Watershed::default()).shape, [0, 2, 2]);
}

#[test]
fn empty_masks_stay_empty() {
    let empty = Volume::filled([4, 5, 6], false);
    let nothing = Volume::filled([4, 5, 6], 0);
    let distance: Volume<f32> = distance_transform(&empty, [1.0; 3]);
    assert!(distance.voxels.iter().all(|d| *d == 0.0));
    assert_eq!(split(&empty, &Watershed::default()), nothing);
    assert_eq!(components(&empty, Connectivity::Faces), nothing);
    assert_eq!(open(&empty, &Footprint::ball(2)), empty);
    assert_eq!(remove_small_components(&empty, 5, Connectivity::Edges), empty);
    assert!(local_maxima_in(&distance, &empty, &Peaks::default()).is_empty());
    for cleaned in [
        cleanup(&nothing, &Cleanup::default()),
        clear_border(&nothing, [Some(3); 3]),
        fill_object_holes(&nothing),
        fill_object_holes_in_planes(&nothing, 5),
        relabel_sequential(&nothing),
        remove_touching_objects(&nothing),
        watershed(&distance, &nothing, None, Connectivity::Faces),
    ] {
        assert_eq!(cleaned, nothing);
    }
}

#[test]
fn full_masks_are_infinitely_deep_and_have_no_seed() {
    let full = Volume::filled([5, 6, 7], true);
    let distance: Volume<f32> = distance_transform(&full, [1.0; 3]);
    assert!(distance.voxels.iter().all(|d| *d == f32::INFINITY));
    assert_eq!(split(&full, &Watershed::default()), Volume::filled([5, 6, 7], 0));
    assert_eq!(erode(&full, &Footprint::ball(3)), full);
}

#[test]
fn one_plane_is_an_image() {
    let stack = nuclei([24, 60, 84]);
    let plane = Volume::new([1, 60, 84], stack.plane(11).to_vec());
    // The plane has less background than a stack's holes may have.
    let options = Watershed { hole_voxels: 20, ..small_objects() };
    let labels = segment(&plane, &options);
    assert_eq!(labels.shape, [1, 30, 42]);
    assert_eq!(voxel_counts(&labels).len(), 5);
    let ring = Volume::from_fn([1, 5, 5], |[_, y, x]| [y, x].contains(&0) || [y, x].contains(&4));
    assert!(fill_holes(&ring).voxels.iter().all(|voxel| *voxel));
    // Two planes are a volume: both are its edge.
    let two = Volume::new([2, 60, 84], [stack.plane(10), stack.plane(11)].concat());
    assert_eq!(segment(&two, &small_objects()).shape, [1, 30, 42]);
}

#[test]
fn labels_go_beyond_65_535() {
    // 42 voxels a side, every other one: none touches another.
    let shape = [84, 84, 84];
    let dots = Volume::from_fn(shape, |p| p.iter().all(|index| index % 2 == 0));
    let labels = components(&dots, Connectivity::Corners);
    assert_eq!(labels.voxels.iter().max(), Some(&(42 * 42 * 42)));
    assert_eq!(voxel_counts(&labels).len(), 42 * 42 * 42);
    let options = Cleanup { min_object_voxels: 0, ..Cleanup::default() };
    let cleaned = cleanup(&labels, &options);
    // The outermost of 42 touch an edge in y and x at one end.
    assert_eq!(cleaned.voxels.iter().max(), Some(&(42 * 41 * 41)));
    let flat = Volume::filled(shape, 0.0_f32);
    let basins = watershed(&flat, &labels, None, Connectivity::Faces);
    assert_eq!(voxel_counts(&basins).len(), 42 * 42 * 42);
    let huge = Volume::new([1, 1, 4], vec![u32::MAX, 0, u32::MAX, u32::MAX - 1]);
    assert_eq!(remove_small_objects(&huge, 2).voxels, [u32::MAX, 0, u32::MAX, 0]);
    assert_eq!(remove_thin_objects(&huge, 0), huge);
    assert_eq!(fill_small_object_holes(&huge, 2).voxels, [u32::MAX, u32::MAX, u32::MAX, u32::MAX]);
}

#[test]
#[should_panic(expected = "finite")]
fn not_a_number() {
    let mut image = Volume::filled([4, 4, 4], 1.0);
    image.voxels[7] = f32::NAN;
    let _ = segment(&image, &Watershed::default());
}

#[test]
#[should_panic(expected = "shapes")]
fn shapes_must_agree() {
    let (landscape, markers) = (Volume::filled([2, 2, 2], 0.0), Volume::filled([2, 2, 3], 1));
    let _ = watershed(&landscape, &markers, None, Connectivity::Faces);
}

#[test]
fn equalisation_of_thin_stacks_and_large_tiles() {
    let image = nuclei([3, 9, 200]).map(|v| v / 1001.0);
    let options = Clahe { tile: Some([40, 50, 7]), ..Clahe::default() };
    let found = clahe(image.clone(), &options);
    assert!(found.voxels.iter().all(|v| (0.0..=1.0).contains(v)));
    for threads in [1, 3] {
        assert_eq!(on_threads(threads, || clahe(image.clone(), &options)), found);
    }
}
