//! The loops that do the work, without threads.

pub(crate) mod adam;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod channel;
pub(crate) mod conv3;
pub(crate) mod conv3_weights;
pub(crate) mod half;
pub(crate) mod naive;
pub(crate) mod pack;
mod padded;
pub(crate) mod peak;
pub(crate) mod point;
pub(crate) mod pool;
mod portable;
mod product;
pub(crate) mod source;
pub(crate) mod vector;
pub(crate) mod winograd;
