//! Where each parameter of the network lies in its two flat vectors, and PyTorch's
//! name for it.
//!
//! The order of the trainable values is that in which PyTorch's module lists them, so
//! that the state of an optimiser can be matched by position.

use std::ops::Range;

use super::FnetOptions;

/// One tensor of the network's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name in PyTorch's state dictionary, such as `net_recurse.conv_down.weight`.
    pub name: String,
    /// Lengths of the axes, as in PyTorch.
    pub shape: Vec<usize>,
    /// Which of the two vectors holds it.
    pub kind: EntryKind,
    /// Where in that vector.
    pub range: Range<usize>,
}

/// Which vector of [`Fnet`](super::Fnet) holds a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// `parameters`: changed by the optimiser.
    Trainable,
    /// `buffers`: running mean and variance of batch normalisation.
    Buffer,
}

/// The network as a tree of layers, and the table of its tensors.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) entries: Vec<Entry>,
    pub(super) top: Level,
    pub(super) output: Convolution,
}

/// One resolution of the U, with everything below it.
#[derive(Clone, Debug)]
pub(super) struct Level {
    /// Two convolutions 3x3x3: `sub_2conv_more`.
    pub(super) more: [Layer; 2],
    /// None at the bottom.
    pub(super) lower: Option<Box<Lower>>,
}

/// The way down from a level and back up to it.
#[derive(Clone, Debug)]
pub(super) struct Lower {
    /// Convolution 2x2x2 with stride 2.
    pub(super) down: Layer,
    pub(super) level: Level,
    /// Transposed convolution 2x2x2 with stride 2.
    pub(super) up: Layer,
    /// Two convolutions 3x3x3 of skip and up: `sub_2conv_less`.
    pub(super) less: [Layer; 2],
}

/// A convolution whose output is batch-normalised and rectified.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) convolution: Convolution,
    pub(super) norm: Norm,
}

/// Places of a convolution's values in the trainable vector.
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    pub(super) weights: Range<usize>,
    pub(super) bias: Range<usize>,
    pub(super) out_channels: usize,
}

/// Places of a normalisation's values.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    /// In the trainable vector.
    pub(super) gamma: Range<usize>,
    /// In the trainable vector.
    pub(super) beta: Range<usize>,
    /// In the buffers.
    pub(super) mean: Range<usize>,
    /// In the buffers.
    pub(super) variance: Range<usize>,
}

impl Layout {
    pub(super) fn new(options: &FnetOptions) -> Self {
        let mut table = Table::default();
        let top = table.level("net_recurse", options.in_channels, options.width, options.depth);
        let shape = [options.out_channels, options.width, 3, 3, 3];
        let output = table.convolution("conv_out", &shape, options.out_channels);
        Self { entries: table.entries, top, output }
    }

    /// Length of the vector of this kind.
    pub(super) fn len(&self, kind: EntryKind) -> usize {
        let last = self.entries.iter().rev().find(|entry| entry.kind == kind);
        last.map_or(0, |entry| entry.range.end)
    }
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    trainable: usize,
    buffers: usize,
}

impl Table {
    fn level(&mut self, name: &str, from: usize, width: usize, depth: usize) -> Level {
        let more = self.pair(&format!("{name}.sub_2conv_more"), from, width);
        if depth == 0 {
            return Level { more, lower: None };
        }
        let less = self.pair(&format!("{name}.sub_2conv_less"), 2 * width, width);
        let down = [width, width, 2, 2, 2];
        let down = self.layer(name, ["conv_down", "bn0"], &down, width);
        let up = [2 * width, width, 2, 2, 2];
        let up = self.layer(name, ["convt", "bn1"], &up, width);
        let level = self.level(&format!("{name}.sub_u"), width, 2 * width, depth - 1);
        Level { more, lower: Some(Box::new(Lower { down, level, up, less })) }
    }

    fn pair(&mut self, name: &str, from: usize, to: usize) -> [Layer; 2] {
        [
            self.layer(name, ["conv1", "bn1"], &[to, from, 3, 3, 3], to),
            self.layer(name, ["conv2", "bn2"], &[to, to, 3, 3, 3], to),
        ]
    }

    fn layer(&mut self, name: &str, parts: [&str; 2], shape: &[usize; 5], to: usize) -> Layer {
        let convolution = self.convolution(&format!("{name}.{}", parts[0]), shape, to);
        let mut entry =
            |part: &str, kind| self.entry(format!("{name}.{}.{part}", parts[1]), vec![to], kind);
        let norm = Norm {
            gamma: entry("weight", EntryKind::Trainable),
            beta: entry("bias", EntryKind::Trainable),
            mean: entry("running_mean", EntryKind::Buffer),
            variance: entry("running_var", EntryKind::Buffer),
        };
        Layer { convolution, norm }
    }

    fn convolution(&mut self, name: &str, shape: &[usize; 5], to: usize) -> Convolution {
        let kind = EntryKind::Trainable;
        let weights = self.entry(format!("{name}.weight"), shape.to_vec(), kind);
        let bias = self.entry(format!("{name}.bias"), vec![to], kind);
        Convolution { weights, bias, out_channels: to }
    }

    fn entry(&mut self, name: String, shape: Vec<usize>, kind: EntryKind) -> Range<usize> {
        let used = match kind {
            EntryKind::Trainable => &mut self.trainable,
            EntryKind::Buffer => &mut self.buffers,
        };
        let range = *used..*used + shape.iter().product::<usize>();
        *used = range.end;
        self.entries.push(Entry { name, shape, kind, range: range.clone() });
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: FnetOptions, parameters: usize) {
        assert_eq!(Layout::new(&options).len(EntryKind::Trainable), parameters);
    }

    /// The counts of pytorch_fnet's network.
    #[test]
    fn parameter_counts() {
        check(FnetOptions::default(), 23_280_769);
        check(FnetOptions { depth: 1, width: 3, ..FnetOptions::default() }, 2_899);
        check(FnetOptions { depth: 4, width: 2, ..FnetOptions::default() }, 91_729);
    }

    #[test]
    fn names_and_shapes_are_those_of_pytorch() {
        let options = FnetOptions { width: 4, depth: 2, in_channels: 3, out_channels: 2 };
        let layout = Layout::new(&options);
        let shape = |name: &str| {
            let entry = layout.entries.iter().find(|entry| entry.name == name);
            entry.unwrap_or_else(|| panic!("no {name}")).shape.clone()
        };
        assert_eq!(shape("net_recurse.sub_2conv_more.conv1.weight"), [4, 3, 3, 3, 3]);
        assert_eq!(shape("net_recurse.sub_u.sub_2conv_less.conv1.weight"), [8, 16, 3, 3, 3]);
        assert_eq!(shape("net_recurse.sub_u.convt.weight"), [16, 8, 2, 2, 2]);
        assert_eq!(shape("net_recurse.sub_u.sub_u.sub_2conv_more.bn2.running_var"), [16]);
        assert_eq!(shape("conv_out.weight"), [2, 4, 3, 3, 3]);
    }
}
