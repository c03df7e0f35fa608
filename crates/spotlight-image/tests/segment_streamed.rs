//! A stack that is segmented box by box has the labels that it has in memory, number by number.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::cell::Cell;
use std::convert::Infallible;

use proptest::prelude::*;

use spotlight_image::label::{Connectivity, voxel_counts};
use spotlight_image::segment::streamed::{self, Boxes, Fault, Room, Scratch};
use spotlight_image::segment::{Cleanup, Watershed, prepare, segment};
use spotlight_image::{Region, Shape, Volume};

/// A stack with blocks of its own.
struct Blocks<'a> {
    volume: &'a Volume<f32>,
    block: Shape,
    reads: Cell<usize>,
}

impl Boxes<Infallible> for Blocks<'_> {
    fn shape(&self) -> Shape {
        self.volume.shape
    }

    fn block(&self) -> Shape {
        self.block
    }

    fn read(&self, region: Region) -> Result<Volume<f32>, Infallible> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.volume.crop(region))
    }
}

/// Scratch room that is not counted.
struct Bytes(Vec<u8>);

impl Scratch<Infallible> for Bytes {
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Infallible> {
        self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0[at as usize..][..bytes.len()]);
        Ok(())
    }
}

fn open(bytes: u64) -> Result<Box<dyn Scratch<Infallible>>, Infallible> {
    Ok(Box::new(Bytes(vec![0; bytes as usize])))
}

/// Labels of all planes, and how often the stack was read.
fn streamed_labels(
    volume: &Volume<f32>,
    block: Shape,
    options: &Watershed,
    memory_bytes: u64,
) -> Result<(Volume<u32>, usize), Fault<Infallible>> {
    let stack = Blocks { volume, block, reads: Cell::new(0) };
    let mut parts = Vec::new();
    let mut tell = |part: f64| parts.push(part);
    let runs = streamed::segment(&stack, options, &Room::new(memory_bytes, &open), &mut tell)?;
    assert!(parts.is_sorted() && parts.iter().all(|part| (0.0..=1.0).contains(part)));
    let voxels: Vec<u32> = (0..runs.shape()[0]).flat_map(|z| runs.plane(z)).collect();
    let labels = Volume::new(runs.shape(), voxels);
    assert_eq!(labels.voxels.iter().copied().max().unwrap_or(0), runs.count());
    Ok((labels, stack.reads.get()))
}

fn shapes(largest: usize) -> impl Strategy<Value = Shape> {
    let length = || prop_oneof![1 => Just(1), 9 => 2..=largest];
    [length(), length(), length()]
}

/// Bright balls with noise, or noise alone.
fn stacks(largest: usize) -> impl Strategy<Value = Volume<f32>> {
    let ball = (0.0..1.0_f32, 0.0..1.0_f32, 0.0..1.0_f32, 1.0..6.0_f32);
    let balls = proptest::collection::vec(ball, 0..12);
    (shapes(largest), balls, 0.0..1.5_f32, any::<u32>(), any::<bool>()).prop_map(
        |(shape, balls, noise, seed, is_whole)| {
            let mut state = seed | 1;
            Volume::from_fn(shape, |place| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let random = (state >> 8) as f32 / (1 << 24) as f32;
                let inside = balls.iter().any(|(z, y, x, radius)| {
                    let square = |at: usize, part: &f32, length: usize| {
                        (at as f32 - part * length as f32).powi(2)
                    };
                    let distance = square(place[0], z, shape[0])
                        + square(place[1], y, shape[1])
                        + square(place[2], x, shape[2]);
                    distance <= radius * radius
                });
                let value = 200.0 * (f32::from(u8::from(inside)) + noise * random) - 30.0;
                if is_whole { value.round() } else { value }
            })
        },
    )
}

fn connectivities() -> impl Strategy<Value = Connectivity> {
    prop_oneof![Just(Connectivity::Faces), Just(Connectivity::Edges), Just(Connectivity::Corners)]
}

fn options() -> impl Strategy<Value = Watershed> {
    let scale = prop_oneof![Just(0.5), Just(1.0), 0.3..1.6_f64];
    let prepare = (
        [prop_oneof![Just(0.1), 0.0..40.0], prop_oneof![Just(99.9), 60.0..100.0]],
        [1..5_usize, 1..5_usize, 1..5_usize],
        prop_oneof![Just(0.0), 0.001..0.2],
        2..60_usize,
        [scale.clone(), scale.clone(), scale],
    );
    let split = (
        prop_oneof![Just(1_usize), Just(3), Just(5)],
        2..300_usize,
        0..40_usize,
        0..5_usize,
        prop_oneof![2 => Just(0.0), 1 => 0.2..2.0],
        (0..3_usize, 0..4_usize),
    );
    let cleanup = (
        0..12_usize,
        prop_oneof![Just(0_usize), 20..400_usize],
        any::<bool>(),
        0..3_usize,
        0..20_usize,
    );
    (prepare, split, connectivities(), cleanup).prop_map(
        |(prepare, split, connectivity, cleanup)| {
            let (
                min_object_voxels,
                max_object_voxels,
                clear_border,
                border_buffer_voxels,
                hole_voxels,
            ) = cleanup;
            Watershed {
                stretch_percent: prepare.0,
                clahe_divisors: prepare.1,
                clahe_clip_limit: prepare.2,
                clahe_bins: prepare.3,
                scale: prepare.4,
                median_size: split.0,
                threshold_bins: split.1,
                hole_voxels: split.2,
                ball_radius: split.3,
                seed_height: split.4,
                seed_dilation: split.5.0,
                seed_margin: split.5.1,
                connectivity,
                cleanup: Cleanup {
                    min_object_voxels,
                    max_object_voxels,
                    clear_border,
                    border_buffer_voxels,
                    hole_voxels,
                },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn labels_are_those_in_memory(
        stack in stacks(23),
        options in options(),
        block in [1..9_usize, 1..9_usize, 1..9_usize],
        memory_bytes in prop_oneof![Just(1_u64 << 20), 300_000..400_000_u64, 40_000..100_000_u64],
    ) {
        match streamed_labels(&stack, block, &options, memory_bytes) {
            Ok((found, _)) => prop_assert_eq!(found, segment(&stack, &options)),
            // So little memory may be too little, but never another result.
            Err(Fault::TooLarge { .. }) => prop_assert!(memory_bytes < 100_000),
            Err(Fault::Outside(never)) => match never {},
        }
    }

    #[test]
    fn prepared_stacks_are_those_in_memory(
        stack in stacks(17),
        options in options(),
        block in [1..9_usize, 1..9_usize, 1..9_usize],
    ) {
        let source = Blocks { volume: &stack, block, reads: Cell::new(0) };
        let room = Room::new(300_000, &open);
        let found = streamed::prepare(&source, &options, &room, &mut |_| ()).unwrap();
        let expected = prepare(&stack, &options);
        prop_assert_eq!(found.shape, expected.shape);
        let bits = |volume: &Volume<f32>| volume.voxels.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&found), bits(&expected));
    }
}

/// Many nuclei in a stack of this shape, some of which touch.
fn nuclei(shape: Shape) -> Volume<f32> {
    let square = |a: usize, b: usize| (a % b).abs_diff(b / 2).pow(2);
    Volume::from_fn(shape, |[z, y, x]| {
        let shift = (y / 20 * 7 + x / 18 * 3) % 5;
        let noise = (z * 7919 + y * 104_729 + x * 1_299_709) % 97;
        let inside = square(z + shift, 22) + square(y, 20) + square(x, 18) <= 81;
        noise as f32 + if inside { 700.0 } else { 100.0 }
    })
}

fn small_objects() -> Watershed {
    let cleanup = Cleanup { min_object_voxels: 20, ..Cleanup::default() };
    Watershed { ball_radius: 3, hole_voxels: 100, cleanup, ..Watershed::default() }
}

#[test]
fn many_boxes_and_few_give_the_same() {
    let stack = nuclei([61, 90, 83]);
    for options in
        [small_objects(), Watershed { scale: [1.0, 0.4, 0.7], seed_height: 0.5, ..small_objects() }]
    {
        let expected = segment(&stack, &options);
        assert!(voxel_counts(&expected).len() > 10);
        let mut reads = Vec::new();
        for memory_bytes in [4_u64 << 20, 12 << 20, 1 << 30] {
            let (found, count) =
                streamed_labels(&stack, [4, 16, 16], &options, memory_bytes).unwrap();
            assert_eq!(found, expected);
            reads.push(count);
        }
        assert!(reads[0] > 2 * reads[2], "{reads:?}");
    }
}

#[test]
fn masks_of_nothing_but_maxima_have_the_seeds_that_no_neighbourhood_fits_around() {
    // Thin plates, and single voxels.
    let stack = Volume::from_fn([12, 14, 30], |[z, y, x]| {
        let plate = z == 5 && (2..12).contains(&y) && x % 10 == 3;
        let point = z == 8 && y == 7 && x % 10 == 7;
        f32::from(u8::from(plate || point))
    });
    let options = Watershed {
        scale: [1.0; 3],
        median_size: 1,
        stretch_percent: [0.0, 100.0],
        clahe_divisors: [1; 3],
        clahe_clip_limit: 0.0,
        ball_radius: 4,
        cleanup: Cleanup { min_object_voxels: 0, hole_voxels: 0, ..Cleanup::default() },
        ..Watershed::default()
    };
    let expected = segment(&stack, &options);
    assert_eq!(voxel_counts(&expected).len(), 6);
    let (found, _) = streamed_labels(&stack, [3, 5, 7], &options, 200_000).unwrap();
    assert_eq!(found, expected);
}

#[test]
fn stacks_of_one_value_and_of_none_have_no_nuclei() {
    for shape in [[5, 6, 7], [0, 6, 7], [5, 0, 7], [1, 1, 1]] {
        let stack = Volume::filled(shape, 3.0);
        let options = Watershed::default();
        let expected = segment(&stack, &options);
        let (found, _) = streamed_labels(&stack, [2, 2, 2], &options, 1 << 20).unwrap();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let stack = nuclei([61, 90, 83]);
    let fault = streamed_labels(&stack, [8, 90, 83], &small_objects(), 200_000).unwrap_err();
    assert!(matches!(&fault, Fault::TooLarge { needed_bytes: 200_001.., .. }), "{fault}");
    let message = fault.to_string();
    assert!(message.contains("MiB of memory at once"), "{message}");
    let options = Watershed { clahe_divisors: [60, 90, 80], ..small_objects() };
    let message = streamed_labels(&stack, [8, 90, 83], &options, 200_000).unwrap_err().to_string();
    assert!(message.contains("prepare.clahe_divisors"), "{message}");
}
