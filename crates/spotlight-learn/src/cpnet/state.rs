//! The network from its tensors under PyTorch's names.
//!
//! Sizes are read off the shapes. `diam_mean` and `diam_labels` may be missing and tensors of other
//! names may be there, as in the package's own, lenient loading; a tensor that the network needs
//! must be there with the right shape.

use std::collections::HashMap;
use std::path::Path;

use spotlight_engine::{PlaneConvolution, ScaleShift, Statistics};

use super::{Cpnet, Down, StyledUnit, Unit, Up};
use crate::error::Error;
use crate::torch_file::{self, NamedTensor};

/// What every checkpoint of pytorch_fnet has, beside its weights.
const FNET_CLASS: &str = "fnet_model_class";

/// Deeper networks could not halve tiles whose sides are multiples of 16.
const MAX_LEVELS: usize = 5;

/// Added to variances before their root is taken.
const EPSILON: f64 = 1e-5;

impl Cpnet {
    /// Reads the weights that the package saved with `torch.save`, such as `nucleitorch_0`.
    ///
    /// # Errors
    ///
    /// Those of [`torch_file::read`]; or if a tensor of the network is missing or has another shape
    /// than its neighbours ask for: one sentence that says what the file seems to be instead, where
    /// that can be told.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = torch_file::read(path)?;
        let state = file.state_dict(&[]).map_err(|error| match error {
            Error::NotTorch { path, reason } if file.value.get(FNET_CLASS).is_some() => {
                let what = "a checkpoint of another network, the F-net of pytorch_fnet";
                Error::NotTorch { path, reason: format!("{reason}: {what}") }
            }
            other => other,
        });
        Self::from_state(path, &state?)
    }

    /// The network of a state dictionary; `path` is how errors name it.
    pub(super) fn from_state(path: &Path, state: &[NamedTensor]) -> Result<Self, Error> {
        let first = state.first();
        let state = state.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let reader = Reader { path, first, state };
        let widths = reader.widths()?;
        let levels = widths.len() - 1;
        let style = widths[levels];
        let down = (0..levels).map(|n| reader.down(n, [widths[n], widths[n + 1]]));
        let down = down.collect::<Result<_, _>>()?;
        let up = (0..levels).map(|n| {
            let from = widths[(n + 2).min(levels)];
            reader.up(n, [from, widths[n + 1]], style)
        });
        let up = up.collect::<Result<_, _>>()?;
        let outputs = reader.shape("output.2.weight")?[0];
        let output = reader.unit("output", [widths[1], outputs], 1)?;
        let number = |name: &str| {
            let value = reader.state.get(name).and_then(|tensor| tensor.values.first());
            value.map(|value| f64::from(*value)).filter(|value| *value > 0.0 && value.is_finite())
        };
        let (diameter, label_diameter) = (number("diam_mean"), number("diam_labels"));
        Ok(Self { widths, outputs, diameter, label_diameter, down, up, output })
    }

    /// A network of the given sizes with small random weights and the statistics of standardised
    /// features, for tests and benchmarks: it knows nothing about cells.
    ///
    /// # Panics
    ///
    /// If there are fewer than two widths or a number of channels is 0.
    #[must_use]
    pub fn seeded(widths: &[usize], outputs: usize, seed: u64) -> Self {
        assert!(widths.len() > 1 && outputs > 0 && !widths.contains(&0), "a network has channels");
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        let mut draw = |count: usize, bound: f32| -> Vec<f32> {
            (0..count).map(|_| bound * uniform()).collect()
        };
        let mut unit = |from: usize, to: usize, side: usize| {
            let inputs = from * side * side;
            let weights = draw(to * inputs, (3.0 / inputs as f32).sqrt());
            let law = ScaleShift { scale: vec![1.0; from], shift: draw(from, 0.1) };
            let convolution = PlaneConvolution::new(side, weights, draw(to, 0.1));
            Unit { law, convolution }
        };
        let (levels, style) = (widths.len() - 1, widths[widths.len() - 1]);
        let down = (0..levels).map(|n| {
            let (from, to) = (widths[n], widths[n + 1]);
            let units = [from, to, to, to].map(|from| unit(from, to, 3));
            Down { project: unit(from, to, 1).convolution, units }
        });
        let down = down.collect();
        let up = (0..levels).map(|n| {
            let (from, to) = (widths[(n + 2).min(levels)], widths[n + 1]);
            let styled = [(); 3].map(|()| {
                let (weights, bias) = (vec![0.1; to * style], vec![0.0; to]);
                StyledUnit { unit: unit(to, to, 3), weights, bias }
            });
            Up { project: unit(from, to, 1).convolution, first: unit(from, to, 3), styled }
        });
        let up = up.collect();
        let output = unit(widths[1], outputs, 1);
        let (widths, diameter, label_diameter) = (widths.to_vec(), None, None);
        Self { widths, outputs, diameter, label_diameter, down, up, output }
    }
}

/// Takes tensors out of a state dictionary.
struct Reader<'a> {
    path: &'a Path,
    first: Option<&'a NamedTensor>,
    state: HashMap<&'a str, &'a NamedTensor>,
}

impl Reader<'_> {
    fn error(&self, reason: String) -> Error {
        Error::NotCellpose { path: self.path.to_owned(), reason }
    }

    /// Channels of the input and of every level.
    fn widths(&self) -> Result<Vec<usize>, Error> {
        let name = |n: usize| format!("downsample.down.res_down_{n}.conv.conv_0.2.weight");
        if !self.state.contains_key(name(0).as_str()) {
            return Err(self.error(self.guess()));
        }
        let mut widths = Vec::new();
        for n in (0..).take_while(|n| self.state.contains_key(name(*n).as_str())) {
            let name = name(n);
            let [out, input, ..] = self.shape(&name)? else {
                return Err(self.error(format!("tensor {name} has fewer than two axes")));
            };
            if *out == 0 || *input == 0 {
                return Err(self.error(format!("tensor {name} is empty")));
            }
            if n == 0 {
                widths.push(*input);
            }
            widths.push(*out);
        }
        let levels = widths.len() - 1;
        if levels > MAX_LEVELS {
            let reason = format!("it has {levels} levels, expected at most {MAX_LEVELS}");
            return Err(self.error(reason));
        }
        Ok(widths)
    }

    /// What a dictionary without an encoder of this network seems to be.
    fn guess(&self) -> String {
        let expected = "expected the convolutions of a Cellpose 1 to 3 network \
                        (downsample.down.res_down_0...)";
        let has = |part: &str| self.state.keys().any(|key| key.contains(part));
        if has("patch_embed") || has("pos_embed") {
            return format!(
                "{expected}, found the tensors of a transformer such as Cellpose-SAM: \
                 use the weights of a convolutional model, for example nucleitorch_0"
            );
        }
        match self.first {
            Some(first) => format!(
                "{expected}, found {} tensors such as {}: \
                 use the weights of a convolutional model, for example nucleitorch_0",
                self.state.len(),
                first.name
            ),
            None => format!("{expected}, found no tensor"),
        }
    }

    fn tensor(&self, name: &str) -> Result<&NamedTensor, Error> {
        let tensor = self.state.get(name).copied();
        tensor.ok_or_else(|| {
            self.error(format!("tensor {name} is missing: use the file as the package saved it"))
        })
    }

    fn shape(&self, name: &str) -> Result<&[usize], Error> {
        match self.tensor(name)?.shape.as_slice() {
            [] => Err(self.error(format!("tensor {name} has no axes"))),
            shape => Ok(shape),
        }
    }

    /// The values of a tensor, which must have this shape.
    fn values(&self, name: &str, shape: &[usize]) -> Result<&[f32], Error> {
        let tensor = self.tensor(name)?;
        if tensor.shape != shape || tensor.values.len() != shape.iter().product::<usize>() {
            let found = &tensor.shape;
            return Err(
                self.error(format!("tensor {name} has shape {found:?}, expected {shape:?}"))
            );
        }
        Ok(&tensor.values)
    }

    fn down(&self, n: usize, [from, to]: [usize; 2]) -> Result<Down, Error> {
        let name = format!("downsample.down.res_down_{n}");
        let unit = |t: usize| {
            let from = if t == 0 { from } else { to };
            self.unit(&format!("{name}.conv.conv_{t}"), [from, to], 3)
        };
        let units = [unit(0)?, unit(1)?, unit(2)?, unit(3)?];
        Ok(Down { project: self.project(&name, [from, to])?, units })
    }

    fn up(&self, n: usize, [from, to]: [usize; 2], style: usize) -> Result<Up, Error> {
        let name = format!("upsample.up.res_up_{n}");
        let styled = |t: usize| -> Result<StyledUnit, Error> {
            let name = format!("{name}.conv.conv_{t}");
            let weights = self.values(&format!("{name}.full.weight"), &[to, style])?.to_vec();
            let bias = self.values(&format!("{name}.full.bias"), &[to])?.to_vec();
            Ok(StyledUnit { unit: self.unit(&format!("{name}.conv"), [to, to], 3)?, weights, bias })
        };
        let first = self.unit(&format!("{name}.conv.conv_0"), [from, to], 3)?;
        let styled = [styled(1)?, styled(2)?, styled(3)?];
        Ok(Up { project: self.project(&name, [from, to])?, first, styled })
    }

    /// Normalisation at index 0, convolution at index 2; ReLU has no tensors.
    fn unit(&self, name: &str, [from, to]: [usize; 2], side: usize) -> Result<Unit, Error> {
        let law = self.law(&format!("{name}.0"), from)?;
        let (weights, bias) = self.convolution(&format!("{name}.2"), [from, to], side)?;
        let convolution = PlaneConvolution::new(side, weights.to_vec(), bias.to_vec());
        Ok(Unit { law, convolution })
    }

    /// Normalisation at index 0, 1x1 convolution at index 1. Nothing is between them, so the one
    /// goes into the other: `w (s x + t) + b = (w s) x + (b + w t)`.
    fn project(&self, name: &str, [from, to]: [usize; 2]) -> Result<PlaneConvolution, Error> {
        let law = self.law(&format!("{name}.proj.0"), from)?;
        let (weights, bias) = self.convolution(&format!("{name}.proj.1"), [from, to], 1)?;
        let mut folded = Vec::with_capacity(weights.len());
        let mut shifted = Vec::with_capacity(to);
        for (weights, bias) in weights.chunks_exact(from).zip(bias) {
            let mut sum = f64::from(*bias);
            for (weight, (scale, shift)) in weights.iter().zip(law.scale.iter().zip(&law.shift)) {
                sum += f64::from(*weight) * f64::from(*shift);
                folded.push((f64::from(*weight) * f64::from(*scale)) as f32);
            }
            shifted.push(sum as f32);
        }
        Ok(PlaneConvolution::new(1, folded, shifted))
    }

    fn convolution(
        &self,
        name: &str,
        [from, to]: [usize; 2],
        side: usize,
    ) -> Result<(&[f32], &[f32]), Error> {
        let weights = self.values(&format!("{name}.weight"), &[to, from, side, side])?;
        Ok((weights, self.values(&format!("{name}.bias"), &[to])?))
    }

    fn law(&self, name: &str, channels: usize) -> Result<ScaleShift, Error> {
        let part = |part: &str| self.values(&format!("{name}.{part}"), &[channels]);
        let widen = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
        let (mean, variance) = (widen(part("running_mean")?), widen(part("running_var")?));
        let statistics = Statistics { mean, variance, count: 0 };
        Ok(statistics.scale_shift(part("weight")?, part("bias")?, EPSILON))
    }
}
