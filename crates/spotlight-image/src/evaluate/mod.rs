//! Scores of a prediction against its target.
//!
//! All are computed in f64 over (z, y, x) volumes of one shape. "Foreground" scores exist
//! twice: over the voxels of the mask only, and over the whole of both images with
//! everything outside the mask set to 0 ([`masked_product`]), which is how the paper's
//! foreground PSNR can be higher than its whole-image PSNR.
//!
//! What is not defined is NaN, never a guess: the correlation with a constant image, the
//! resolution where a curve meets no threshold, a score over an empty mask.
//!
//! Of images larger than memory [`PairSums`], [`ssim_of_planes`], [`OverlapCounts`] and
//! [`micro_fit_of_each`] take one part after the other and give the same numbers.
//!
//! | question | functions |
//! |---|---|
//! | how far off are voxels | [`mse`], [`nrmse`], [`psnr`], [`pearson`] |
//! | does it look alike | [`ssim`], [`ms_ssim`], [`micro_fit`], [`micro_ms3im`] |
//! | what is resolved | [`ring_correlation`], [`shell_correlation`] |
//! | which objects were found | [`overlap`], [`average_precision`], [`object_errors`] |
//! | do objects look alike | [`feature_distance`], [`object_scores`] |
//! | would a threshold help | [`threshold_series`] |
//! | what do several images say | [`bootstrap_mean`], [`wilcoxon`], [`percentile_of_numbers`] |

mod features;
mod fourier;
mod intensity;
mod micro_fit;
mod microssim;
mod ms_ssim;
mod objects;
mod percentile;
mod running;
mod ssim;
mod statistics;
mod threshold_series;
mod window;

pub use features::{cosine_distance, feature_distance, feature_ranges};
pub use fourier::{
    CurveFit, FourierCurve, FourierRecipe, Resolution, RingCorrelation, SectorResolution,
    ShellCorrelation, lateral_and_axial, ring_correlation, ring_correlation_of_pair,
    shell_correlation, shell_correlation_bytes, shell_correlation_of_pair,
};
pub use intensity::{
    dice, masked_product, mse, mse_in_mask, nrmse, nrmse_in_mask, pearson, pearson_in_mask, psnr,
    psnr_in_mask, psnr_masked_product, psnr_scale_invariant,
};
pub use micro_fit::{MicroFit, SeePair, micro_fit, micro_fit_of_each};
pub use microssim::{MicroComponents, mean_of_defined, micro_components, micro_ms3im, micro_ssim};
pub use ms_ssim::{MsSsim, ms_ssim};
pub use objects::{
    IOU_THRESHOLDS, ObjectErrors, ObjectMatch, ObjectScore, Overlap, OverlapCounts, OverlapPair,
    Precision, average_precision, match_objects, object_errors, object_scores, overlap,
};
pub use percentile::percentile_of_numbers;
pub use running::{PairProducts, PairSums};
pub use ssim::{
    MaskedMean, Ssim, ssim, ssim_in_mask, ssim_in_mask_of_planes, ssim_map, ssim_of_planes,
};
pub use statistics::{
    Bootstrap, BootstrapInterval, Interval, SignedRank, bootstrap, bootstrap_mean, wilcoxon,
};
pub use threshold_series::{Fill, SERIES_THRESHOLDS, fill_below, threshold_series};
pub use window::Window;
