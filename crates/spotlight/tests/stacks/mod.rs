//! Pairs of small stacks in a temporary folder, with a manifest.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use spotlight::image::Volume;
use spotlight::image::simulate::{Simulation, simulate};
use spotlight::io::{OutputChannel, Voxels, WriteOptions, write_ome_tiff};
use spotlight::learn::fnet::{Fnet, FnetOptions};
use spotlight::learn::model_file::{Model, ModelManifest};

/// Voxel size of the stacks in µm.
pub(crate) const SPACING: Option<[f64; 3]> = Some([0.29; 3]);

/// A folder with stacks; it vanishes with this.
pub(crate) struct Stacks {
    folder: tempfile::TempDir,
    pub(crate) manifest: PathBuf,
}

impl Stacks {
    /// This many simulated pairs of 16 × 32 × 32 voxels.
    pub(crate) fn simulated(pairs: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("manifest.csv");
        let stacks = Self { folder, manifest };
        let mut table = "path_signal,path_target\n".to_owned();
        for seed in 0..pairs {
            let (signal, target) = pair(seed as u64);
            let names = [format!("{seed}_bf.ome.tif"), format!("{seed}_dna.ome.tif")];
            stacks.write(&names[0], &signal.into(), SPACING);
            stacks.write(&names[1], &target.into(), SPACING);
            table.push_str(&format!("{},{}\n", names[0], names[1]));
        }
        fs::write(&stacks.manifest, table).unwrap();
        stacks
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a stack, replacing one that is there.
    pub(crate) fn write(&self, name: &str, voxels: &Voxels, spacing_um: Option<[f64; 3]>) {
        let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
        let channels = [OutputChannel { name: "only", voxels }];
        write_ome_tiff(&self.path(name), &channels, spacing_um, &options).unwrap();
    }
}

/// Writes a small model with the weights before training, but larger, that clips nothing.
pub(crate) fn write_model(path: &Path) {
    let network = FnetOptions { width: 2, depth: 1, ..FnetOptions::default() };
    let mut network = Fnet::new(&network, 3);
    network.parameters.iter_mut().for_each(|value| *value *= 5.0);
    let manifest = ModelManifest {
        network: network.options,
        output_clip_min: None,
        ..ModelManifest::default()
    };
    Model { manifest, network }.write(path).unwrap();
}

/// A pair of 16 × 32 × 32 voxels with a nucleus; each seed is simulated once.
pub(crate) fn pair(seed: u64) -> (Volume<u16>, Volume<u16>) {
    type Pair = (Volume<u16>, Volume<u16>);
    static PAIRS: Mutex<BTreeMap<u64, Pair>> = Mutex::new(BTreeMap::new());
    let simulated = || {
        let pair = simulate(&Simulation {
            shape: [16, 32, 32],
            seed,
            nucleus_diameter_um: 5.0,
            nucleus_height_um: 3.0,
            ..Simulation::default()
        });
        (pair.transmitted, pair.fluorescence)
    };
    PAIRS.lock().unwrap().entry(seed).or_insert_with(simulated).clone()
}

/// Names of the files in a folder, sorted.
pub(crate) fn folder_of(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
