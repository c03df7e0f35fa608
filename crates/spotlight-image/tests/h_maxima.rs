//! Maxima by height: a naive version of the definition on small volumes, and the seeds that
//! the watershed takes from them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use proptest::prelude::*;

use spotlight_image::grid::voxel_count;
use spotlight_image::label::{Connectivity, components};
use spotlight_image::segment::{Watershed, distinct_h_maxima, h_maxima, split};
use spotlight_image::{Shape, Volume};

fn shapes() -> impl Strategy<Value = Shape> {
    [1..=6_usize, 1..=6_usize, 1..=7_usize]
}

fn connectivities() -> impl Strategy<Value = Connectivity> {
    prop_oneof![Just(Connectivity::Faces), Just(Connectivity::Edges), Just(Connectivity::Corners)]
}

fn volumes(voxel: impl Strategy<Value = f32>) -> impl Strategy<Value = Volume<f32>> {
    (shapes(), proptest::collection::vec(voxel, 6 * 6 * 7))
        .prop_map(|(shape, voxels)| Volume::new(shape, voxels[..voxel_count(shape)].to_vec()))
}

/// Whole numbers, most of them equal to a neighbour, and now and then something special.
fn plateaus() -> impl Strategy<Value = Volume<f32>> {
    let infinite = prop_oneof![Just(f32::INFINITY), Just(f32::NEG_INFINITY)];
    let special = prop_oneof![Just(-0.0), Just(f32::NAN), infinite];
    volumes(prop_oneof![
        30 => (0..3_u8).prop_map(f32::from),
        10 => (0..7_u8).prop_map(f32::from),
        1 => special,
    ])
}

/// The definition: among the voxels above its value less the height that a maximum is
/// connected with, none is higher. Those that nothing exceeds have the lowest voxel for that.
fn naive(volume: &Volume<f32>, height: f64, connectivity: Connectivity) -> Volume<bool> {
    let volume = &volume.map(|value| if value.is_nan() { f32::NEG_INFINITY } else { *value });
    let lowest = volume.voxels.iter().copied().fold(f32::INFINITY, f32::min);
    let rise = |from: f32| f64::from(from) - f64::from(lowest);
    Volume::from_fn(volume.shape, |place| {
        let peak = volume.at(place);
        let island = island(volume, place, height, connectivity);
        let is_highest = island.iter().all(|voxel| volume.voxels[*voxel] <= peak);
        is_highest && peak > lowest && rise(peak) >= height
    })
}

/// The voxels that are connected with one over those that lie less than the height below it.
fn island(
    volume: &Volume<f32>,
    start: [usize; 3],
    height: f64,
    connectivity: Connectivity,
) -> Vec<usize> {
    let value = |place| f64::from(volume.at(place));
    let peak = value(start);
    let mut seen = Volume::filled(volume.shape, false);
    let (mut open, mut island) = (vec![start], Vec::new());
    while let Some(place) = open.pop() {
        let offset = seen.offset(place);
        if std::mem::replace(&mut seen.voxels[offset], true) {
            continue;
        }
        island.push(offset);
        let near = neighbours(place, volume.shape, connectivity).into_iter();
        open.extend(near.filter(|near| value(*near) >= peak || peak - value(*near) < height));
    }
    island
}

fn neighbours(place: [usize; 3], shape: Shape, connectivity: Connectivity) -> Vec<[usize; 3]> {
    let steps = |other: &[usize; 3]| (0..3).filter(|axis| other[*axis] != place[*axis]).count();
    let all = Volume::from_fn(shape, |other| other).voxels;
    let is_near = |other: &[usize; 3]| (0..3).all(|axis| other[axis].abs_diff(place[axis]) <= 1);
    let counts = |other: &[usize; 3]| (1..=connectivity.steps()).contains(&steps(other));
    all.into_iter().filter(|other| is_near(other) && counts(other)).collect()
}

proptest! {
    #[test]
    fn plateaus_follow_the_definition(
        volume in plateaus(),
        connectivity in connectivities(),
        height in prop_oneof![Just(0.0), Just(0.5), Just(1.0), Just(1.5), Just(2.0), Just(3.0)],
    ) {
        let found = h_maxima(&volume, height, connectivity);
        prop_assert_eq!(found, naive(&volume, height, connectivity));
    }

    #[test]
    fn fractions_follow_the_definition(
        volume in volumes(-1.0..1.0_f32),
        connectivity in connectivities(),
        height in 0.0..2.1,
    ) {
        let found = h_maxima(&volume, height, connectivity);
        prop_assert_eq!(found, naive(&volume, height, connectivity));
    }

    /// The rise of a maximum is a difference of two voxels: at each the strictness shows.
    #[test]
    fn a_height_between_two_voxels_is_reached_exactly(
        volume in volumes(0.0..1.0_f32),
        connectivity in connectivities(),
        pair in [0..1000_usize, 0..1000_usize],
    ) {
        let [a, b] = pair.map(|i| f64::from(volume.voxels[i % volume.voxels.len()]));
        for height in [(a - b).abs(), (a - b).abs().next_up()] {
            let found = h_maxima(&volume, height, connectivity);
            prop_assert_eq!(found, naive(&volume, height, connectivity));
        }
    }

    /// The islands of all maxima have one plateau each, and it is one of theirs.
    #[test]
    fn distinct_maxima_are_one_for_each_island(
        volume in plateaus(),
        connectivity in connectivities(),
        height in prop_oneof![Just(0.0), Just(0.5), Just(1.0), Just(1.5), Just(2.0), Just(3.0)],
    ) {
        let all = h_maxima(&volume, height, connectivity);
        let numbers = volume.map(|v| if v.is_nan() { f32::NEG_INFINITY } else { *v });
        let distinct = distinct_h_maxima(&volume, height, connectivity);
        let plateaus = components(&distinct, connectivity);
        for place in Volume::from_fn(volume.shape, |place| place).voxels {
            prop_assert!(all.at(place) || !distinct.at(place));
            if all.at(place) {
                let island = island(&numbers, place, height, connectivity);
                let whole = |label: u32| plateaus.voxels.iter().filter(|l| **l == label).count();
                let mut labels: Vec<u32> =
                    island.iter().map(|voxel| plateaus.voxels[*voxel]).filter(|l| *l > 0).collect();
                let count = labels.len();
                labels.sort_unstable();
                labels.dedup();
                prop_assert_eq!(labels.len(), 1);
                prop_assert_eq!(count, whole(labels[0]));
                let plateau = components(&all, connectivity);
                let first = island.iter().find(|voxel| distinct.voxels[**voxel]).unwrap();
                let size = |of: &Volume<u32>| {
                    of.voxels.iter().filter(|l| **l == of.voxels[*first]).count()
                };
                prop_assert_eq!(size(&plateau), size(&plateaus));
            }
        }
    }

    #[test]
    fn higher_maxima_are_among_the_lower(volume in plateaus(), connectivity in connectivities()) {
        let maxima = [0.0, 1.0, 2.0, 4.0].map(|height| h_maxima(&volume, height, connectivity));
        for pair in maxima.windows(2) {
            let mut both = pair[0].voxels.iter().zip(&pair[1].voxels);
            prop_assert!(both.all(|(lower, higher)| *lower || !higher));
        }
    }
}

#[test]
fn any_number_of_threads_finds_the_same() {
    let volume = Volume::from_fn([20, 40, 50], |[z, y, x]| {
        let noise = (z * 7919 + y * 104_729 + x * 1_299_709) % 1009;
        (noise % 17) as f32
    });
    let find = || h_maxima(&volume, 3.0, Connectivity::Edges);
    let on_threads = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(find)
    };
    assert_eq!(on_threads(1), on_threads(3));
    assert!(on_threads(1).voxels.contains(&true));
}

/// Balls in a volume, each by its centre and radius.
fn balls(shape: Shape, balls: &[([usize; 3], usize)]) -> Volume<bool> {
    Volume::from_fn(shape, |place| {
        balls.iter().any(|(centre, radius)| {
            let squares = (0..3).map(|axis| place[axis].abs_diff(centre[axis]).pow(2));
            squares.sum::<usize>() <= radius * radius
        })
    })
}

fn count(mask: &Volume<bool>, options: &Watershed) -> u32 {
    let labels = split(mask, options);
    assert!(mask.voxels.iter().zip(&labels.voxels).all(|(inside, label)| *inside || *label == 0));
    *labels.voxels.iter().max().unwrap()
}

fn height(seed_height: f64) -> Watershed {
    Watershed { seed_height, ..Watershed::default() }
}

#[test]
fn a_neck_parts_nuclei_by_its_depth_and_not_by_their_size() {
    // The neck is 5 wide, the balls reach 9 from the background: it is about 4 deep.
    let pair = balls([20, 20, 40], &[([10, 10, 10], 8), ([10, 10, 25], 8)]);
    let bumpy = balls([20, 20, 40], &[([10, 10, 10], 8), ([10, 10, 14], 8)]);
    for (mask, depth, expected) in
        [(&pair, 1.0, 2), (&pair, 3.0, 2), (&pair, 7.0, 1), (&bumpy, 1.0, 1)]
    {
        assert_eq!(count(mask, &height(depth)), expected, "height {depth}");
    }
    // Small ones beside large ones: no ball fits both, the height does.
    let mixed = balls([20, 20, 50], &[([10, 10, 10], 8), ([10, 10, 21], 3), ([10, 10, 38], 8)]);
    assert_eq!(count(&mixed, &height(1.0)), 3);
    assert_eq!(count(&mixed, &Watershed::default()), 2);
}

#[test]
fn the_margin_has_no_seeds_but_nuclei_that_reach_into_it_have() {
    let cut = balls([20, 20, 30], &[([10, 10, 0], 6), ([10, 10, 20], 6)]);
    assert_eq!(count(&cut, &height(1.0)), 2);
    let outermost = Volume::from_fn([9, 9, 9], |[_, _, x]| x == 0);
    assert_eq!(count(&outermost, &height(0.5)), 0);
    assert_eq!(count(&outermost, &Watershed { seed_margin: 0, ..height(0.5) }), 1);
}

#[test]
fn masks_without_hills_have_no_seeds() {
    for shape in [[0, 3, 3], [1, 1, 1], [2, 2, 2], [1, 8, 8], [6, 7, 8]] {
        for inside in [false, true] {
            for seed_margin in [0, 1, 5] {
                let options = Watershed { seed_margin, ..height(0.5) };
                let labels = split(&Volume::filled(shape, inside), &options);
                assert!(labels.voxels.iter().all(|label| *label == 0), "{shape:?} {inside}");
            }
        }
    }
    // Too flat for the height.
    let flat = Volume::from_fn([9, 9, 9], |[z, y, x]| z == 4 && y > 1 && x > 1);
    assert_eq!(count(&flat, &height(1.5)), 0);
    assert_eq!(count(&flat, &height(1.0)), 1);
}

#[test]
fn a_plane_is_split_like_an_image() {
    let shape = [1, 30, 40];
    let disks = Volume::from_fn(shape, |[_, y, x]| {
        [12, 25].iter().any(|c| y.abs_diff(15).pow(2) + x.abs_diff(*c).pow(2) <= 64)
    });
    assert_eq!(count(&disks, &height(1.0)), 2);
    assert_eq!(count(&disks, &height(6.0)), 1);
}
