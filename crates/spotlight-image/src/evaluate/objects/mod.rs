//! Scores of label images: which objects were found, and how well.
//!
//! ```text
//! IoU(t, p) = |t ∩ p| / |t ∪ p|    for every true object t and predicted object p
//! at a threshold: assign objects one to one so that as many pairs as possible reach it,
//!     and among these choices the sum of all IoU is largest; pairs that reach it are matches
//! AP = matches / (true + predicted − matches)
//! ```
//!
//! Labels may have gaps and any value; 0 is background. [`overlap`] reads both images once,
//! all else is computed from its counts.
//!
//! References:
//! - M. Weigert et al. (2020), "Star-convex polyhedra for 3D object detection and
//!   segmentation in microscopy"; C. Stringer et al. (2021), "Cellpose".
//! - cubic 0.8 and cellpose 3.1, `average_precision`.

mod assignment;
mod errors;
mod overlap;
mod precision;

pub use errors::{ObjectErrors, ObjectScore, object_errors, object_scores};
pub use overlap::{Overlap, OverlapCounts, OverlapPair, overlap};
pub use precision::{IOU_THRESHOLDS, ObjectMatch, Precision, average_precision, match_objects};
