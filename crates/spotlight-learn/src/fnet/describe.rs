//! The layers of a network as a table.

use spotlight_engine::Kind;

use super::FnetOptions;
use super::parameters::{Convolution, Entry, EntryKind, Layer, Layout, Level};

/// A convolution of the network and what it is used on.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerShape {
    /// Its name, as in the state of the network.
    pub name: String,
    /// Which of the three convolutions.
    pub kind: Kind,
    /// Channels of its input, and of its output.
    pub in_channels: usize,
    /// Channels of its output.
    pub out_channels: usize,
    /// Sides of its input along (z, y, x).
    pub shape: [usize; 3],
    /// Multiplications by the definition, for one image.
    pub multiplications: f64,
}

/// All convolutions of a network for an image of `shape` (z, y, x), in the order of the forward
/// pass.
///
/// ```
/// use spotlight_learn::fnet::{FnetOptions, layer_shapes};
///
/// let layers = layer_shapes(&FnetOptions::default(), [32, 64, 64]);
/// assert_eq!(layers.len(), 27);
/// assert_eq!(layers[26].name, "conv_out");
/// assert_eq!((layers[26].in_channels, layers[26].out_channels), (32, 1));
/// ```
#[must_use]
pub fn layer_shapes(options: &FnetOptions, shape: [usize; 3]) -> Vec<LayerShape> {
    let layout = Layout::new(options);
    let mut list = List { layout: &layout, layers: Vec::new() };
    list.level(&layout.top, shape);
    list.convolution(Kind::Same, &layout.output, shape);
    list.layers
}

struct List<'a> {
    layout: &'a Layout,
    layers: Vec<LayerShape>,
}

impl List<'_> {
    fn level(&mut self, level: &Level, shape: [usize; 3]) {
        self.pair(&level.more, shape);
        if let Some(lower) = &level.lower {
            let coarse = shape.map(|side| side / 2);
            self.convolution(Kind::Down, &lower.down.convolution, shape);
            self.level(&lower.level, coarse);
            self.convolution(Kind::Up, &lower.up.convolution, coarse);
            self.pair(&lower.less, shape);
        }
    }

    fn pair(&mut self, layers: &[Layer; 2], shape: [usize; 3]) {
        for layer in layers {
            self.convolution(Kind::Same, &layer.convolution, shape);
        }
    }

    fn convolution(&mut self, kind: Kind, convolution: &Convolution, shape: [usize; 3]) {
        let is_own = |entry: &&Entry| {
            entry.kind == EntryKind::Trainable && entry.range == convolution.weights
        };
        let entry = self.layout.entries.iter().find(is_own);
        let name = entry.map_or_else(String::new, |entry| {
            entry.name.trim_start_matches("net_recurse.").trim_end_matches(".weight").to_owned()
        });
        let taps = if kind == Kind::Same { 27 } else { 8 };
        let out_channels = convolution.out_channels;
        let in_channels = convolution.weights.len() / (taps * out_channels);
        // Going down, every input voxel is multiplied once; otherwise by each tap.
        let per_voxel = if kind == Kind::Down { 1 } else { taps };
        let voxels: usize = shape.iter().product();
        let multiplications = (per_voxel * in_channels * out_channels) as f64 * voxels as f64;
        let layer = LayerShape { name, kind, in_channels, out_channels, shape, multiplications };
        self.layers.push(layer);
    }
}
