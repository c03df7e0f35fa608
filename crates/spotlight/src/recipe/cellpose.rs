//! The section `[cellpose]` of a segmentation: Cellpose's network and what follows it.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spotlight_learn::cpnet::{CellposeOptions, NUCLEI_DIAMETER, RunOptions};

use crate::cli::wrong_use;

/// A larger tile is a slip of the pen: no image has such planes.
const LARGEST_TILE: usize = 65_536;

/// How Cellpose finds nuclei; lengths and sizes are in voxels of the grid. The default is the
/// package's, in 3D, for nuclei as large as those that its model for nuclei was trained with.
///
/// How much longer a voxel is along z is not a setting: it follows from the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellposeSettings {
    /// Diameter of the nuclei; 0: that of the labels which the model was trained with.
    pub diameter: f64,
    /// Whether nuclei are found in 3D; without, in every plane by itself.
    pub do_3d: bool,
    /// Voxels along each side of a median's cube before the network; odd, 1 for no median.
    pub median_size: usize,
    /// See [`CellposeOptions::normalise`].
    pub normalise: bool,
    /// See [`CellposeOptions::percentiles`].
    pub percentiles: [f64; 2],
    /// See [`CellposeOptions::cellprob_threshold`].
    pub cellprob_threshold: f64,
    /// See [`CellposeOptions::flow_threshold`].
    pub flow_threshold: f64,
    /// See [`CellposeOptions::stitch_threshold`].
    pub stitch_threshold: f64,
    /// See [`CellposeOptions::min_size`].
    pub min_size: usize,
    /// See [`CellposeOptions::max_size_fraction`].
    pub max_size_fraction: f64,
    /// Steps along the flows; 0: 200, or more for nuclei that are shrunk for the network.
    pub steps: usize,
    /// See [`RunOptions::tile_size`].
    pub tile_size: usize,
    /// See [`RunOptions::tile_overlap`].
    pub tile_overlap: f64,
    /// See [`RunOptions::augment`].
    pub augment: bool,
    /// See [`RunOptions::batch_size`].
    pub batch_size: usize,
}

impl Default for CellposeSettings {
    fn default() -> Self {
        let CellposeOptions {
            do_3d,
            normalise,
            percentiles,
            cellprob_threshold,
            flow_threshold,
            min_size,
            max_size_fraction,
            stitch_threshold,
            run: RunOptions { tile_size, tile_overlap, augment, batch_size, .. },
            ..
        } = CellposeOptions::default();
        Self {
            diameter: NUCLEI_DIAMETER,
            do_3d,
            median_size: 1,
            normalise,
            percentiles,
            cellprob_threshold,
            flow_threshold,
            stitch_threshold,
            min_size,
            max_size_fraction,
            steps: 0,
            tile_size,
            tile_overlap,
            augment,
            batch_size,
        }
    }
}

impl CellposeSettings {
    /// The library's options for voxels that are so many times longer along z than along y and x,
    /// and for a network that may take so much memory.
    #[must_use]
    pub fn options(&self, anisotropy: f64, memory_bytes: u64) -> CellposeOptions {
        CellposeOptions {
            diameter: (self.diameter > 0.0).then_some(self.diameter),
            model_diameter: None,
            do_3d: self.do_3d,
            anisotropy,
            normalise: self.normalise,
            percentiles: self.percentiles,
            cellprob_threshold: self.cellprob_threshold,
            flow_threshold: self.flow_threshold,
            min_size: self.min_size,
            max_size_fraction: self.max_size_fraction,
            stitch_threshold: self.stitch_threshold,
            steps: (self.steps > 0).then_some(self.steps),
            run: RunOptions {
                tile_size: self.tile_size,
                tile_overlap: self.tile_overlap,
                augment: self.augment,
                batch_size: self.batch_size,
                memory_bytes,
            },
        }
    }

    /// Whether every setting makes sense.
    pub(super) fn check(&self) -> Result<()> {
        if !self.diameter.is_finite() || self.diameter < 0.0 {
            let rule = "must be a number above 0; 0 is that of the model";
            return Err(wrong_use(format!("cellpose.diameter {rule}"), ""));
        }
        if self.median_size.is_multiple_of(2) {
            return Err(wrong_use("cellpose.median_size must be odd; 1 is no median", ""));
        }
        if self.tile_size > LARGEST_TILE {
            return Err(wrong_use(
                format!("cellpose.tile_size must be at most {LARGEST_TILE}"),
                "",
            ));
        }
        let options = self.options(1.0, RunOptions::default().memory_bytes);
        // Options have the same names in the recipe.
        options.check().map_err(|problem| wrong_use(format!("cellpose.{problem}"), ""))
    }
}
