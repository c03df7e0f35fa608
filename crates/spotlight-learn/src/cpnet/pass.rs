//! All planes of one orientation through the network, in batches of tiles.
//!
//! ```text
//! for each batch of tiles, counted over all planes:
//!   frame the planes that it reaches first;  cut out its tiles;  network
//!   add what it says to the means of its planes;  hand on the planes that are complete
//! ```

use std::ops::Range;

use rayon::prelude::*;
use spotlight_engine::{Engine, Tensor};
use spotlight_image::cellpose::{PlaneTile, TileMean, extract, frame, tiles};
use spotlight_image::tile::{Padding, pad};
use spotlight_image::{Border, Volume};

use super::{Cpnet, Orientation, RunOptions, forward::unit_length};

/// One orientation of a stack on its way through the network.
pub(super) struct Pass<'a> {
    network: &'a Cpnet,
    engine: &'a Engine,
    channels: &'a [&'a Volume<f32>],
    pub(super) orientation: Orientation,
    padding: Padding,
    /// The tiles of every framed plane.
    tiles: Vec<PlaneTile>,
    batch: usize,
}

/// A plane of which not all tiles are through.
struct Open {
    framed: Volume<f32>,
    mean: TileMean,
    style: Vec<f32>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        network: &'a Cpnet,
        engine: &'a Engine,
        channels: &'a [&'a Volume<f32>],
        orientation: Orientation,
        options: &RunOptions,
        batch: usize,
    ) -> Self {
        assert!(!channels.is_empty(), "an image has a channel");
        assert!(channels.len() <= network.widths[0], "channels of the network");
        assert_eq!(network.outputs, 3, "a network that segments has two flows and a logit");
        let shape = channels[0].shape;
        assert!(channels.iter().all(|channel| channel.shape == shape), "channels of one shape");
        let [_, height, width] = orientation.planes(shape);
        let padding = frame([network.widths[0], height, width]);
        let tiles = tiles([padding.shape[1], padding.shape[2]], &options.tiling());
        Self { network, engine, channels, orientation, padding, tiles, batch }
    }

    fn planes(&self) -> usize {
        self.orientation.planes(self.channels[0].shape)[0]
    }

    /// Tiles of all planes.
    pub(super) fn tiles(&self) -> usize {
        self.planes() * self.tiles.len()
    }

    /// Calls `put` with the outputs (channel, first axis, second axis) of every plane, some planes
    /// at a time with the number of the first; returns the styles of all planes.
    pub(super) fn run(
        &self,
        progress: &mut dyn FnMut(usize),
        put: &mut (dyn FnMut(usize, &[Volume<f32>]) + Send),
    ) -> Vec<f32> {
        let (total, of_plane) = (self.tiles(), self.tiles.len());
        let mut styles = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        let mut first = 0; // the first open plane
        for start in (0..total).step_by(self.batch) {
            let end = (start + self.batch).min(total);
            let known = first + open.len();
            let fresh = known..end.div_ceil(of_plane);
            let fresh: Vec<Open> = self
                .engine
                .install(|| fresh.into_par_iter().map(|plane| self.open(plane)).collect());
            open.extend(fresh);
            self.batch(&mut open, first, start..end);
            let finished = end / of_plane - first;
            let outputs: Vec<(Volume<f32>, Vec<f32>)> = self.engine.install(|| {
                let open: Vec<Open> = open.drain(..finished).collect();
                open.into_par_iter().map(|open| self.close(open)).collect()
            });
            let (outputs, of_planes): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
            put(first, &outputs);
            styles.extend(of_planes.into_iter().flatten());
            first += finished;
            progress(end);
        }
        styles
    }

    /// Sends some tiles, counted over all planes, through the network and adds what it says to
    /// their planes, of which the first that is open is number `first`.
    fn batch(&self, open: &mut [Open], first: usize, tiles: Range<usize>) {
        let (of_plane, inputs, outputs) =
            (self.tiles.len(), self.network.widths[0], self.network.outputs);
        let [height, width] = self.tiles[0].shape;
        let planar: Vec<f32> = self.engine.install(|| {
            let parts: Vec<Volume<f32>> = tiles
                .clone()
                .into_par_iter()
                .map(|tile| {
                    extract(&open[tile / of_plane - first].framed, &self.tiles[tile % of_plane])
                })
                .collect();
            parts.into_iter().flat_map(|part| part.voxels).collect()
        });
        let input = Tensor::from_planar(tiles.len(), inputs, [1, height, width], &planar);
        drop(planar);
        let (output, styles) = self.network.forward(self.engine, input);
        let planar = output.to_planar();
        drop(output);
        let (len, style_len) = (outputs * height * width, self.network.style_len());
        self.engine.install(|| {
            open.par_iter_mut().enumerate().for_each(|(index, open)| {
                let own = (first + index) * of_plane..(first + index + 1) * of_plane;
                for tile in own.start.max(tiles.start)..own.end.min(tiles.end) {
                    let at = tile - tiles.start;
                    let voxels = planar[at * len..][..len].to_vec();
                    let part = Volume { shape: [outputs, height, width], voxels };
                    open.mean.add(&self.tiles[tile % of_plane], &part);
                    let style = &styles[at * style_len..][..style_len];
                    open.style.iter_mut().zip(style).for_each(|(sum, value)| *sum += value);
                }
            });
        });
    }

    /// The framed channels of a plane.
    fn open(&self, plane: usize) -> Open {
        let shape = self.channels[0].shape;
        let [_, height, width] = self.orientation.planes(shape);
        let at = |[channel, first, second]: [usize; 3]| {
            let Some(volume) = self.channels.get(channel) else { return 0.0 };
            let mut at = [0; 3];
            for (axis, index) in self.orientation.axes().into_iter().zip([plane, first, second]) {
                at[axis] = index;
            }
            volume.at(at)
        };
        let image = Volume::from_fn([self.network.widths[0], height, width], at);
        let framed = pad(&image, &self.padding, Border::Constant(0.0));
        let [_, height, width] = framed.shape;
        let mean = TileMean::new([self.network.outputs, height, width]);
        Open { framed, mean, style: vec![0.0; self.network.style_len()] }
    }

    /// The output of a plane without its frame, and its style: those of its tiles, added and
    /// brought to unit length.
    fn close(&self, open: Open) -> (Volume<f32>, Vec<f32>) {
        let Open { framed, mean, style } = open;
        drop(framed);
        let mut inner = self.padding.inner;
        inner.shape[0] = self.network.outputs;
        let output = mean.finish().crop(inner);
        let style: Vec<f64> = style.into_iter().map(f64::from).collect();
        (output, unit_length(&style, style.len()))
    }
}
