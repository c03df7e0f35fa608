//! The method: the F-net, the Spotlight loss, and the files that hold a trained model.
//!
//! Data come in as volumes in memory; nothing here knows an image format. A module
//! uses only those named before it.
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | [`Error`], whose fault it was |
//! | [`fnet`] | the network, forwards and backwards |
//! | [`loss`] | mean squared error and the Spotlight loss, with gradients |

pub mod error;
pub mod fnet;
pub mod loss;

pub use error::Error;
