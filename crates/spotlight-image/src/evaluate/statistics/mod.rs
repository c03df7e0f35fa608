//! What scores of several images say together: intervals and tests.

mod bootstrap;
mod normal;
mod wilcoxon;

pub use bootstrap::{Bootstrap, BootstrapInterval, Interval, bootstrap, bootstrap_mean};
pub use wilcoxon::{SignedRank, wilcoxon};
