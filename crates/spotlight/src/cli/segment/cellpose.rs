//! Nuclei by Cellpose: its weights, and what is done before and after its network.
//!
//! ```text
//! stack ─prepare─► stretched, equalised, on the grid ─median─► ─Cellpose─► objects ─cleanup─► nuclei
//! ```
//! Preparation and cleanup are those of the watershed. The helper of the paper's library smooths by
//! a median of 3 voxels in place of the equalisation; the configuration that its author quotes for
//! the paper's nuclei has none, and so has the default here.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spotlight_engine::Engine;
use spotlight_image::Volume;
use spotlight_image::filter::median_cube;
use spotlight_image::segment::{Watershed, cleanup};
use spotlight_learn::Error;
use spotlight_learn::cpnet::{self, CellposeOptions, Cpnet};

use crate::cli::{failure, weights};

/// The weights that are used where none are given.
const NUCLEI: &str = "cellpose-nuclei";

/// Flow along two axes and a logit.
const OUTPUTS: usize = 3;

/// Cellpose's network and its file.
pub(super) struct Cellpose {
    pub(super) weights: PathBuf,
    pub(super) network: Cpnet,
}

/// How a stack is segmented.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Preparation and cleanup.
    pub(super) chain: Watershed,
    /// Voxels along each side of the median's cube, 1 for none.
    pub(super) median_size: usize,
    pub(super) options: CellposeOptions,
}

impl Cellpose {
    /// Reads the network of a file or of fetched weights; without either, that for nuclei.
    ///
    /// # Errors
    ///
    /// If the weights have not been fetched, or the file holds no such network.
    pub(super) fn read(weights: Option<&Path>) -> Result<Self> {
        let weights = match weights {
            Some(file) if file.is_file() || file.as_os_str() != NUCLEI => file.to_owned(),
            _ => weights::cached(NUCLEI).map_err(|error| {
                let hint = format!(
                    "get them with spotlight weights fetch {NUCLEI}, or give a file with \
                     --weights FILE"
                );
                failure(error.to_string(), hint)
            })?,
        };
        let network = Cpnet::read(&weights).map_err(|error| match error {
            Error::NotTorch { .. } => failure(
                error.to_string(),
                format!("give the weights of a Cellpose 1 to 3 network, such as {NUCLEI}"),
            ),
            other => other.into(),
        })?;
        check_outputs(&weights, network.outputs)?;
        Ok(Self { weights, network })
    }

    /// The nuclei of a prepared stack, numbered 1, 2, 3 ... on its grid. `tell` learns which part of
    /// the network's work is done.
    ///
    /// # Errors
    ///
    /// If nothing is left of the stack at the size that the network needs, or memory does not
    /// suffice.
    pub(super) fn segment(
        &self,
        engine: &Engine,
        mut prepared: Volume<f32>,
        name: &str,
        plan: &Plan,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Volume<u32>> {
        if plan.median_size > 1 {
            prepared = median_cube(&prepared, plan.median_size);
        }
        let first = prepared.voxels.first().copied();
        if prepared.voxels.iter().all(|voxel| Some(*voxel) == first) {
            return Ok(prepared.map(|_| 0));
        }
        // A plane has no neighbours to be seen in three orientations.
        let do_3d = plan.options.do_3d && prepared.shape[0] > 1;
        let options = CellposeOptions { do_3d, ..plan.options.clone() };
        let mut tell = |done: usize, of: usize| tell(done as f64 / of.max(1) as f64);
        let mut found = cpnet::segment(&self.network, engine, prepared, name, &options, &mut tell)?;
        if !do_3d && options.stitch_threshold <= 0.0 {
            number_apart(&mut found);
        }
        Ok(cleanup(&found, &plan.chain.cleanup))
    }
}

/// Refuses a network for something else, such as the package's ones that restore images.
fn check_outputs(path: &Path, outputs: usize) -> Result<()> {
    if outputs == OUTPUTS {
        return Ok(());
    }
    Err(failure(
        format!(
            "{} is a Cellpose network with {outputs} outputs, expected {OUTPUTS}, two flows and a \
             logit",
            path.display()
        ),
        format!("use the weights of a network that segments, such as {NUCLEI}"),
    ))
}

/// Gives objects of different planes different numbers, where every plane counts from 1.
fn number_apart(labels: &mut Volume<u32>) {
    let [_, height, width] = labels.shape;
    let mut before = 0;
    for plane in labels.voxels.chunks_exact_mut((height * width).max(1)) {
        let most = plane.iter().copied().max().unwrap_or(0);
        plane.iter_mut().filter(|label| **label > 0).for_each(|label| *label += before);
        before += most;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_share_no_number() {
        let mut labels = Volume::new([3, 1, 3], vec![1, 0, 2, 0, 0, 0, 1, 1, 0]);
        number_apart(&mut labels);
        assert_eq!(labels.voxels, [1, 0, 2, 0, 0, 0, 3, 3, 0]);
    }

    #[test]
    fn a_network_that_restores_images_is_refused() {
        let path = Path::new("denoise_nuclei");
        assert!(check_outputs(path, 3).is_ok());
        let message = check_outputs(path, 1).unwrap_err().to_string();
        assert!(message.contains("denoise_nuclei is a Cellpose network with 1 outputs"));
    }
}
