//! Every layer of planes on every instruction set of this machine against its definition.
//!
//! As in the tests of the volumes' layers, direct sums of small numbers are exact and must be
//! equal; Winograd's transforms round.

use proptest::prelude::*;

use super::{
    conv::Ends,
    oracle_tests::check_padding,
    tests::{numbers, tensor},
};
use crate::{
    Activation, Engine, EngineOptions, InstructionSet, PlaneConvolution, Planes, Precision,
    ScaleShift, Tensor,
    kernel::{
        naive::Planar,
        pack::{Order, Weights},
        source::Source,
    },
    plan::Algorithm,
};

fn engines(precision: Precision, threads: &[usize]) -> Vec<Engine> {
    let engine = |(set, &threads)| {
        let (threads, instruction_set, precision) = (Some(threads), Some(set), Some(precision));
        Engine::new(&EngineOptions { threads, instruction_set, precision }).unwrap()
    };
    let sets = InstructionSet::available().into_iter();
    sets.flat_map(|set| threads.iter().map(move |threads| (set, threads))).map(engine).collect()
}

fn exact_engine() -> Engine {
    let instruction_set = Some(InstructionSet::Exact);
    Engine::new(&EngineOptions { instruction_set, ..EngineOptions::default() }).unwrap()
}

/// A batch of planes and what is done to them on load.
struct Case {
    planes: Tensor,
    law: Option<ScaleShift>,
    doubled: bool,
    layer: PlaneConvolution,
    seed: u64,
}

/// How planes are normalised.
#[derive(Clone, Copy, Debug)]
enum Law {
    None,
    Shared,
    OfSamples,
}

impl Case {
    fn new(
        side: usize,
        [batch, channels, out, height, width]: [usize; 5],
        (law, doubled): (Law, bool),
        seed: u64,
    ) -> Self {
        let planes = tensor(batch, channels, [1, height, width], seed);
        let scale = || numbers(channels, seed + 1).iter().map(|x| x * 0.5).collect();
        let law = match law {
            Law::None => None,
            Law::Shared => Some(ScaleShift { scale: scale(), shift: numbers(channels, seed + 2) }),
            Law::OfSamples => {
                Some(ScaleShift { scale: scale(), shift: numbers(batch * channels, seed + 2) })
            }
        };
        let weights = numbers(out * channels * side * side, seed + 3);
        let layer = PlaneConvolution::new(side, weights, numbers(out, seed + 4));
        Self { planes, law, doubled, layer, seed }
    }

    fn input(&self) -> Planes<'_> {
        let activation = Activation { tensor: &self.planes, normalise: self.law.as_ref() };
        Planes { activation, doubled: self.doubled }
    }

    /// The convolution by its definition, written out without the engine.
    fn wanted(&self) -> Tensor {
        let mut x = Planar::of(&[self.input().activation]);
        if self.doubled {
            x = x.doubled();
        }
        let [_, height, width] = x.shape;
        let (side, out) = (self.layer.side, self.layer.bias.len());
        let border = side / 2;
        let mut y = Vec::new();
        for (sample, o) in (0..x.batch).flat_map(|sample| (0..out).map(move |o| (sample, o))) {
            for (row, column) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))) {
                let mut sum = f64::from(self.layer.bias[o]);
                for i in 0..x.channels {
                    for (ky, kx) in (0..side).flat_map(|ky| (0..side).map(move |kx| (ky, kx))) {
                        let (r, c) = (row + ky, column + kx);
                        let inside = (border..height + border).contains(&r)
                            && (border..width + border).contains(&c);
                        if inside {
                            let at = ((sample * x.channels + i) * height + r - border) * width + c
                                - border;
                            let w = ((o * x.channels + i) * side + ky) * side + kx;
                            sum += f64::from(self.layer.weights[w]) * x.values[at];
                        }
                    }
                }
                y.push(sum as f32);
            }
        }
        Tensor::from_planar(x.batch, out, [1, height, width], &y)
    }

    /// Both functions on an engine, the second on top of other values.
    fn check(&self, engine: &Engine, wanted: &Tensor, close: impl Fn(&[f32], &[f32])) {
        for _ in 0..2 {
            let found = engine.convolve_planes(&self.input(), &self.layer);
            assert_eq!(found.shape(), wanted.shape());
            close(&found.to_planar(), &wanted.to_planar());
            check_padding(&found);
        }
        let before = tensor(wanted.batch(), wanted.channels(), wanted.shape(), self.seed + 5);
        let mut sum = before.clone();
        engine.add_convolved_planes(&self.input(), &self.layer, &mut sum);
        let pairs = before.to_planar().into_iter().zip(wanted.to_planar());
        close(&sum.to_planar(), &pairs.map(|(a, b)| a + b).collect::<Vec<_>>());
        check_padding(&sum);
    }

    fn check_direct(&self) {
        let wanted = self.wanted();
        let mut engines = engines(Precision::Precise, &[2]);
        engines.push(exact_engine());
        for engine in engines {
            let set = engine.instruction_set();
            self.check(&engine, &wanted, |found, wanted| {
                assert!(found == wanted, "{set}: values differ");
            });
        }
    }

    /// With what the plan chooses, and with Winograd's algorithm whatever the plan would choose.
    fn check_winograd(&self) {
        let wanted = self.wanted();
        let largest =
            wanted.to_planar().iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        for engine in engines(Precision::Fast, &[1, 11]) {
            let set = engine.instruction_set();
            let close = |found: &[f32], wanted: &[f32]| {
                for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                    let off = (found - wanted).abs() / largest;
                    assert!(off < 2e-5, "{set}: {found} instead of {wanted} at {index}");
                }
            };
            self.check(&engine, &wanted, close);
            let mut found = wanted.clone();
            found.values_mut().as_flattened_mut().fill(f32::NAN);
            let activations = [self.input().activation];
            let outputs = std::slice::from_mut(&mut found);
            let mut ends = Ends::new(&activations, Some(&self.layer.bias), false, outputs);
            ends.reach = 0;
            ends.shape = wanted.shape();
            if self.doubled {
                ends.sources = ends.sources.into_iter().map(Source::doubled).collect();
            }
            let channels = self.layer.in_channels();
            let order = Order { out: channels * 9, input: 9, flipped: false };
            let weights = Weights { values: &self.layer.weights, order, scale: None };
            engine.install(|| {
                let packed = engine.pack3(Algorithm::Winograd, weights, &ends);
                engine.convolve_packed(&ends, &packed, false);
            });
            close(&found.to_planar(), &wanted.to_planar());
            check_padding(&found);
        }
    }
}

fn law() -> impl Strategy<Value = Law> {
    prop_oneof![Just(Law::None), Just(Law::Shared), Just(Law::OfSamples)]
}

fn sizes() -> impl Strategy<Value = [usize; 5]> {
    (1_usize..=3, 1_usize..=40, 1_usize..=40, 1_usize..=11, 1_usize..=11)
        .prop_map(|(batch, channels, out, height, width)| [batch, channels, out, height, width])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn planes_are_convolved_by_the_definition(
        sizes in sizes(), law in law(), doubled: bool, seed in 0_u64..1000,
    ) {
        Case::new(3, sizes, (law, doubled), seed).check_direct();
    }

    #[test]
    fn winograd_of_planes_is_the_definition(
        sizes in sizes(), law in law(), doubled: bool, seed in 0_u64..1000,
    ) {
        Case::new(3, sizes, (law, doubled), seed).check_winograd();
    }

    #[test]
    fn points_are_convolved_by_the_definition(
        sizes in sizes(), law in law(), doubled: bool, seed in 0_u64..1000,
    ) {
        Case::new(1, sizes, (law, doubled), seed).check_direct();
    }

    #[test]
    fn maxima_and_means_are_their_definition(
        batch in 1_usize..=3,
        channels in 1_usize..=40,
        height in 1_usize..=6,
        width in 1_usize..=6,
        seed in 0_u64..1000,
    ) {
        check_maximum_and_mean(batch, channels, [2 * height, 2 * width], seed);
    }
}

// Planes that are cut into several regions along both axes, several samples in a region, very few
// and very many channels, and more pixels than a task takes.
#[test]
fn planes_are_cut_and_joined() {
    Case::new(3, [1, 17, 33, 90, 70], (Law::Shared, false), 1).check_winograd();
    Case::new(3, [1, 20, 18, 9, 300], (Law::OfSamples, false), 2).check_winograd();
    Case::new(3, [2, 33, 16, 35, 41], (Law::OfSamples, true), 3).check_winograd();
    Case::new(3, [5, 64, 48, 6, 10], (Law::OfSamples, false), 4).check_winograd();
    Case::new(3, [1, 2, 32, 61, 90], (Law::Shared, false), 5).check_direct();
    Case::new(3, [2, 33, 3, 40, 52], (Law::OfSamples, true), 6).check_direct();
    Case::new(1, [2, 32, 3, 61, 90], (Law::Shared, false), 7).check_direct();
    Case::new(1, [1, 40, 33, 41, 77], (Law::None, true), 8).check_direct();
}

#[track_caller]
fn check_maximum_and_mean(batch: usize, channels: usize, sides: [usize; 2], seed: u64) {
    let [height, width] = sides;
    let planes = tensor(batch, channels, [1, height, width], seed);
    let planar = planes.to_planar();
    let (mut maxima, mut means) = (Vec::new(), Vec::new());
    for plane in planar.chunks_exact(height * width) {
        let at = |y: usize, x: usize| plane[y * width + x];
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                let square = [at(y, x), at(y, x + 1), at(y + 1, x), at(y + 1, x + 1)];
                maxima.push(square.into_iter().fold(f32::MIN, f32::max));
            }
        }
        let sum: f64 = plane.iter().map(|&value| f64::from(value)).sum();
        means.push(sum / (height * width) as f64);
    }
    let mut engines = engines(Precision::Fast, &[2]);
    engines.push(exact_engine());
    for engine in engines {
        let found = engine.max_pool_planes(&planes);
        assert_eq!(found.shape(), [1, height / 2, width / 2]);
        assert_eq!(found.to_planar(), maxima);
        check_padding(&found);
        assert_eq!(engine.sample_means(&planes), means);
    }
}

#[test]
fn large_planes_have_their_maxima_and_means() {
    check_maximum_and_mean(2, 19, [62, 90], 1);
    check_maximum_and_mean(1, 3, [2, 5000], 2);
}

// A pixel that is not a number is not hidden by its neighbours.
#[test]
fn the_maximum_of_nan_is_nan() {
    let engine = &engines(Precision::Fast, &[1])[0];
    for place in 0..4 {
        let mut values = [1.0, 2.0, 3.0, 4.0];
        values[place] = f32::NAN;
        let planes = Tensor::from_planar(1, 1, [1, 2, 2], &values);
        assert!(engine.max_pool_planes(&planes).to_planar()[0].is_nan());
    }
}

// Layers of the size of the network's, whose parts are dealt to the threads.
#[test]
fn threads_do_not_change_a_bit_of_planes() {
    let of = |threads: usize| {
        let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
        let engine = Engine::new(&options).unwrap();
        let mut bits = Vec::new();
        for (side, sizes) in
            [(3, [3, 80, 96, 16, 12]), (3, [1, 32, 32, 65, 70]), (1, [2, 33, 20, 50, 51])]
        {
            let case = Case::new(side, sizes, (Law::OfSamples, true), 1);
            let found = engine.convolve_planes(&case.input(), &case.layer);
            bits.extend(found.to_planar().iter().map(|value| value.to_bits()));
            let means = engine.sample_means(&found);
            bits.extend(means.iter().map(|mean| mean.to_bits() as u32));
        }
        bits
    };
    let alone = of(1);
    for threads in [2, 3, 64] {
        assert!(of(threads) == alone, "{threads} threads differ from one");
    }
}
