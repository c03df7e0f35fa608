//! The method: the F-net, the Spotlight loss, and the files that hold a trained model.
//!
//! Data come in as volumes in memory; nothing here knows an image format. A module
//! uses only those named before it.
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | [`Error`], whose fault it was |
//! | `footprint` | what the run of any network takes of memory |
//! | [`torch_file`] | PyTorch's weight files, read without running anything |
//! | [`prepare`] | from raw stacks to standardised ones |
//! | [`fnet`] | the network, forwards and backwards |
//! | [`cpnet`] | Cellpose's network, forwards |
//! | [`loss`] | mean squared error and the Spotlight loss, with gradients |
//! | [`sample`] | which patches the network sees |
//! | [`model_file`] | a trained model with all that is needed to use it |
//! | [`train`] | the loop, its recipe and its checkpoint |
//! | [`predict`] | from a stack to its virtual stain |

pub mod cpnet;
pub mod error;
pub mod fnet;
mod footprint;
pub mod loss;
pub mod model_file;
pub mod predict;
pub mod prepare;
pub mod sample;
pub mod torch_file;
pub mod train;

pub use error::Error;
