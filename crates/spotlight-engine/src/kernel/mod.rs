//! The loops that do the work, without threads.

pub(crate) mod naive;
