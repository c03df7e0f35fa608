//! Boxes equal the whole, whatever the memory, and are written once.

use spotlight_engine::EngineOptions;
use spotlight_image::grid::voxel_count;

use super::*;
use crate::fnet::{Fnet, FnetOptions};
use crate::model_file::{Model, ModelManifest};

/// Stacks in memory that are read as if they were not.
struct Stacks(Vec<Volume<f32>>, Option<[f64; 3]>);

impl SignalSource for Stacks {
    fn name(&self) -> &str {
        "a.tif"
    }

    fn spacing_um(&self) -> Option<[f64; 3]> {
        self.1
    }

    fn shape(&self) -> Shape {
        self.0[0].shape
    }

    fn block(&self) -> Shape {
        [2, 8, 8]
    }

    fn read(&self, region: Region) -> Result<Vec<Volume<f32>>, Error> {
        Ok(self.0.iter().map(|stack| stack.crop(region)).collect())
    }
}

/// A stain in memory that is written as if it were not; stops after some units.
struct Parts {
    unit: Shape,
    stain: Vec<Volume<f32>>,
    done: Vec<Region>,
    left: usize,
}

impl StainSink for Parts {
    fn unit(&self) -> Shape {
        self.unit
    }

    fn is_done(&self, unit: Region) -> bool {
        self.done.contains(&unit)
    }

    fn write(&mut self, unit: Region, stain: Vec<Volume<f32>>) -> Result<(), Error> {
        if self.left == 0 {
            return Err(Error::Data("the disk is full".into()));
        }
        self.left -= 1;
        assert!(!self.done.contains(&unit), "{unit:?} comes twice");
        self.done.push(unit);
        for (all, part) in self.stain.iter_mut().zip(&stain) {
            assert_eq!(part.shape, unit.shape);
            all.paste(unit.start, part);
        }
        Ok(())
    }
}

fn predictor(channels: [usize; 2], resample: bool) -> Predictor {
    let [in_channels, out_channels] = channels;
    let options = FnetOptions { width: 2, depth: 2, in_channels, out_channels };
    let mut network = Fnet::new(&options, 3);
    for (i, value) in network.parameters.iter_mut().enumerate() {
        *value += ((i * 7919) % 101) as f32 / 600.0;
    }
    let mut manifest = ModelManifest { network: options, ..ModelManifest::default() };
    manifest.prepare.resample = resample;
    manifest.output_clip_min = None;
    Predictor { model: Model { manifest, network } }
}

fn stacks(shape: Shape, channels: usize) -> Stacks {
    let voxel =
        |c: usize| move |[z, y, x]: [usize; 3]| ((z * 31 + y * (17 + c) + x * 7) % 23) as f32;
    Stacks((0..channels).map(|c| Volume::from_fn(shape, voxel(c))).collect(), None)
}

fn sink(shape: Shape, channels: usize, unit: Shape, left: usize) -> Parts {
    Parts { unit, stain: vec![Volume::filled(shape, f32::NAN); channels], done: vec![], left }
}

fn least_memory(predictor: &Predictor, source: &Stacks, unit: Shape) -> u64 {
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let options = PredictOptions { memory_bytes: 0, ..PredictOptions::default() };
    let mut sink = sink(source.shape(), 2, unit, 0);
    let refused = predictor.predict_boxes(&engine, source, &mut sink, &options, &mut |_, _| {});
    match refused {
        Err(Error::Memory { needed, .. }) => needed,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(channels: [usize; 2], shape: Shape, spacing_um: Option<[f64; 3]>, grid: OutputGrid) {
    let predictor = predictor(channels, spacing_um.is_some());
    let source = Stacks(stacks(shape, channels[0]).0, spacing_um);
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let mut options = PredictOptions { grid, ..PredictOptions::default() };
    let whole = predictor
        .predict(&engine, source.0.clone(), spacing_um, "a", &options, &mut |_, _| {})
        .unwrap();
    let found = predictor.stain_grid(shape, spacing_um, "a", &options).unwrap();
    assert_eq!((found.shape, found.spacing_um), (whole.channels[0].shape, whole.spacing_um));
    let least = least_memory(&predictor, &source, [4, 16, 8]);
    for memory_bytes in [least, least + least / 50, 4 << 30] {
        options.memory_bytes = memory_bytes;
        let mut sink = sink(found.shape, channels[1], [4, 16, 8], usize::MAX);
        let mut told = (0, 0);
        predictor
            .predict_boxes(&engine, &source, &mut sink, &options, &mut |done, of| {
                assert!(done >= told.0 && done <= of);
                told = (done, of);
            })
            .unwrap();
        for (stain, whole) in sink.stain.iter().zip(&whole.channels) {
            let extremes = whole
                .voxels
                .iter()
                .fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], v| [a.min(*v), b.max(*v)]);
            let differences = stain.voxels.iter().zip(&whole.voxels).map(|(a, b)| (a - b).abs());
            let largest = differences.fold(0.0, |a: f32, b| if b.is_nan() { b } else { a.max(b) });
            let range = extremes[1] - extremes[0];
            assert!(
                range > 0.0 && largest < 2e-5 * range,
                "{largest} of {range} at {memory_bytes}"
            );
        }
    }
}

#[test]
fn boxes_are_those_of_the_whole() {
    check([1, 1], [8, 56, 72], None, OutputGrid::Input);
    check([1, 1], [5, 53, 71], None, OutputGrid::Input);
    check([2, 2], [5, 53, 38], None, OutputGrid::Input);
}

#[test]
fn boxes_are_zoomed_as_the_whole() {
    let spacing_um = Some([0.29, 0.2, 0.45]);
    check([1, 1], [6, 100, 60], spacing_um, OutputGrid::Input);
    check([2, 1], [6, 100, 60], spacing_um, OutputGrid::Model);
}

#[test]
fn what_is_done_is_not_done_again_and_comes_out_the_same() {
    let predictor = predictor([1, 1], false);
    let source = stacks([9, 40, 40], 1);
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let memory_bytes = least_memory(&predictor, &source, [4, 8, 16]);
    let options = PredictOptions { memory_bytes, ..PredictOptions::default() };
    let run = |sink: &mut Parts| {
        predictor.predict_boxes(&engine, &source, sink, &options, &mut |_, _| {})
    };
    let mut whole = sink([9, 40, 40], 1, [4, 8, 16], usize::MAX);
    run(&mut whole).unwrap();
    let mut parts = sink([9, 40, 40], 1, [4, 8, 16], 0);
    while run(&mut parts).is_err() {
        parts.left = 7;
    }
    assert_eq!(parts.done.len(), 3 * 5 * 3);
    assert!(parts.stain == whole.stain);
}

#[test]
fn empty_places_are_computed_once_and_as_any_other() {
    let predictor = predictor([1, 1], false);
    let shape = [8, 96, 96];
    let mut stack = Volume::filled(shape, 7.0_f32);
    for x in 0..20 {
        let offset = stack.offset([3, 50, 40 + x]);
        stack.voxels[offset] = 100.0 + x as f32;
    }
    let source = Stacks(vec![stack.clone()], None);
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let memory_bytes = least_memory(&predictor, &source, [8, 8, 8]);
    let options = PredictOptions { memory_bytes, ..PredictOptions::default() };
    let mut sink = sink(shape, 1, [8, 8, 8], usize::MAX);
    predictor.predict_boxes(&engine, &source, &mut sink, &options, &mut |_, _| {}).unwrap();
    let whole = predictor.predict(
        &engine,
        vec![stack],
        None,
        "a",
        &PredictOptions::default(),
        &mut |_, _| {},
    );
    let whole = whole.unwrap().channels.remove(0);
    let largest = sink.stain[0].voxels.iter().zip(&whole.voxels).map(|(a, b)| (a - b).abs());
    let extremes = whole.voxels.iter().map(|voxel| voxel.abs()).fold(0.0, f32::max);
    assert!(largest.fold(0.0, f32::max) < 2e-5 * extremes);
    assert_eq!(sink.done.len(), voxel_count(shape) / 512);
}

#[test]
fn unfit_stacks_are_refused_as_in_memory() {
    let predictor = predictor([1, 1], false);
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let refusal = |stack: Volume<f32>| {
        let (shape, options) = (stack.shape, PredictOptions::default());
        let mut sink = sink(shape, 1, [4, 8, 8], usize::MAX);
        let source = Stacks(vec![stack], None);
        let refused =
            predictor.predict_boxes(&engine, &source, &mut sink, &options, &mut |_, _| {});
        refused.unwrap_err().to_string()
    };
    assert!(refusal(Volume::filled([3, 4, 5], 2.0)).contains("every voxel of the signal is 2"));
    let mut stack = Volume::from_fn([3, 4, 5], |[z, y, x]| (z + y + x) as f32);
    stack.voxels[27] = f32::NAN;
    assert!(refusal(stack).contains("voxel [1, 1, 2] (z, y, x) of the signal is NaN"));
}
