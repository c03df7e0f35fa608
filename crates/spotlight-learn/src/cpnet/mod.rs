//! Cellpose's network, CPnet, for inference: flows and cell logits of planes.
//!
//! A residual U-Net of 2D convolutions whose decoder is told the style of the image, the average of
//! the deepest features at unit length. `unit(x)` is batch normalisation, ReLU, 3x3 convolution;
//! `project(x)` batch normalisation and 1x1 convolution:
//!
//! ```text
//! down(x)        r = project(x) + unit(unit(x));               r + unit(unit(r))
//! up(x, y, s)    r = project(x) + unit(unit(x) + y + L1 s);    r + unit(unit(r + L2 s) + L3 s)
//!
//! d0 = down(x);  dn = down(maximum of 2x2 pixels of d(n-1));   s = mean(d3) / |mean(d3)|
//! u3 = up(d3, d3, s);  un = up(u(n+1) at twice the size, dn, s);  output = 1x1 unit(u0)
//! ```
//! Everything between two convolutions happens where they load and store: the normalisation with
//! ReLU, the style (a summand of its shift), the doubling, and both sums.
//!
//! References:
//! - C. Stringer et al. (2021), "Cellpose: a generalist algorithm for cellular segmentation".
//! - The Python package `cellpose` 3.1.1.1: `resnet_torch.py`, `core.py`.

mod forward;
mod memory;
mod pass;
mod run;
mod segment;
mod state;

#[cfg(test)]
mod tests;

use spotlight_engine::{PlaneConvolution, ScaleShift};

pub use run::{Orientation, PlaneOutputs, RunOptions, StackOutputs, run_3d, run_planes};
pub use segment::{CellposeOptions, StackFlows, segment, stack_flows};

/// Diameter in pixels that the objects of the package's "nuclei" model had in training.
pub const NUCLEI_DIAMETER: f64 = 17.0;

/// A network with its weights.
///
/// # Examples
///
/// ```
/// use spotlight_engine::{Engine, EngineOptions, Tensor};
/// use spotlight_learn::cpnet::Cpnet;
///
/// let network = Cpnet::seeded(&[2, 4, 6, 8], 3, 0);
/// let engine = Engine::new(&EngineOptions::default())?;
/// let tiles = Tensor::zeros(5, 2, [1, 16, 24]);
/// let (outputs, styles) = network.forward(&engine, tiles);
/// assert_eq!((outputs.batch(), outputs.channels(), outputs.shape()), (5, 3, [1, 16, 24]));
/// assert_eq!(styles.len(), 5 * 8);
/// # Ok::<(), spotlight_engine::EngineError>(())
/// ```
pub struct Cpnet {
    /// Channels of the input, then of each level from the top down; `[2, 32, 64, 128, 256]` in
    /// published models.
    pub widths: Vec<usize>,
    /// Channels of the output: flow along y, flow along x, cell logit.
    pub outputs: usize,
    /// Diameter in pixels of the objects in training (`diam_mean`), where the file knows it.
    pub diameter: Option<f64>,
    /// Mean diameter of its labels before they were brought to that (`diam_labels`).
    pub label_diameter: Option<f64>,
    down: Vec<Down>,
    up: Vec<Up>,
    output: Unit,
}

/// Normalisation, ReLU and convolution.
struct Unit {
    law: ScaleShift,
    convolution: PlaneConvolution,
}

/// A unit whose input is told the style.
struct StyledUnit {
    unit: Unit,
    /// (out, style).
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// One level of the encoder.
struct Down {
    project: PlaneConvolution,
    units: [Unit; 4],
}

/// One level of the decoder.
struct Up {
    project: PlaneConvolution,
    first: Unit,
    styled: [StyledUnit; 3],
}

impl Cpnet {
    /// Every side of a tile is a multiple of this.
    #[must_use]
    pub fn divisor(&self) -> usize {
        1 << (self.down.len() - 1)
    }

    /// Length of a style: channels of the deepest level.
    #[must_use]
    pub fn style_len(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }
}
