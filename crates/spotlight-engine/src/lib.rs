//! Blocked tensors and the layers of 3D networks on the CPU, forward and backward.
//!
//! An [`Engine`] owns the threads and the choice of instruction set; its methods are the layers:
//! 3×3×3 convolution, 2×2×2 down and up convolution, batch statistics, the backward pass of
//! batch normalisation with ReLU, and Adam. Each convolution has a forward and two backward
//! functions (for the data and for the weights). There is no graph: the network calls the layers
//! in its own order.
//!
//! Batches of planes, for 2D networks, are tensors of depth 1: [`PlaneConvolution`], maximum and
//! mean, forward only.
//!
//! Weights are plain `f32` slices in PyTorch's order. Activations are [`Tensor`]s, whose memory
//! layout is the engine's own affair. Convolutions store their raw result; normalisation and ReLU
//! happen while the next layer reads it (see [`Activation`]), so that no normalised copy exists.
//!
//! Results do not depend on the number of threads.

pub mod adam;
mod engine;
mod instruction_set;
mod kernel;
mod layer;
mod memory;
mod plan;
mod precision;
pub mod tensor;

pub use adam::Adam;
pub use engine::{Engine, EngineError, EngineOptions};
pub use instruction_set::{InstructionSet, UnknownInstructionSet};
pub use layer::{FixedConvolution, Kind, PlaneConvolution, Planes, Statistics};
pub use memory::{HeapUse, heap_use};
pub use plan::Algorithm;
pub use precision::{Precision, UnknownPrecision};
pub use tensor::{Activation, ScaleShift, Tensor};
