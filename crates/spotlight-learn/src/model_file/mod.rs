//! The model file: the weights of a network and all that is needed to use it.
//!
//! It is a `.safetensors` file with the weights under PyTorch's names, so that other
//! programs can load them into pytorch_fnet's network. The metadata hold two strings:
//!
//! - `spotlight`: the [`ModelManifest`] as JSON, with the number of the format, the axes
//!   of all lists and the laws of standardisation in words;
//! - `spotlight_sha256`: SHA-256 of that JSON followed by all weights.
//!
//! The same model gives the same bytes.
//!
//! Reference: the safetensors format, <https://github.com/huggingface/safetensors>.

mod container;
mod import;
mod read;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Error;
use crate::fnet::{Fnet, FnetOptions};
use crate::loss::Loss;
use crate::prepare::{PrepareOptions, TargetCentre};

pub(crate) use container::write_whole;
pub use import::{ImportedFnet, import_fnet};

/// Number of the format that is written, and the latest that is read.
pub const FORMAT: u64 = 1;

/// Name of the manifest in the metadata.
const MANIFEST_KEY: &str = "spotlight";

/// Name of the checksum in the metadata.
const CHECKSUM_KEY: &str = "spotlight_sha256";

/// Fields that are written for other readers and are not part of [`ModelManifest`].
const WRITTEN_ONLY: [&str; 3] = ["format", "axes", "laws"];

/// A network and what was written beside it.
///
/// # Examples
///
/// ```
/// use spotlight_learn::fnet::{Fnet, FnetOptions};
/// use spotlight_learn::model_file::{Model, ModelManifest};
///
/// let network = Fnet::new(&FnetOptions { width: 2, depth: 1, ..FnetOptions::default() }, 0);
/// let manifest = ModelManifest { network: network.options, ..ModelManifest::default() };
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.safetensors");
/// Model { manifest, network }.write(&path)?;
/// assert_eq!(Model::read(&path)?.manifest.network.width, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    /// How the network was made and how it is used.
    pub manifest: ModelManifest,
    /// The network.
    pub network: Fnet,
}

/// How a network was made and how it is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// The program that made the model, with its version.
    pub program: String,
    /// Size of the network.
    pub network: FnetOptions,
    /// From raw stacks to those that the network reads and writes.
    pub prepare: PrepareOptions,
    /// What was minimised.
    pub loss: Loss,
    /// Predictions below this are raised to it; none for a model that may go lower.
    pub output_clip_min: Option<f64>,
    /// Intensities of the training targets; none for a model of another program whose
    /// targets are not known.
    pub ranges: Option<Ranges>,
    /// Name of the channel of the signals, where known.
    pub signal_channel: Option<String>,
    /// Name of the channel of the targets, where known: the stain.
    pub target_channel: Option<String>,
    /// Seed of the first weights and of the patches, where known.
    pub seed: Option<u64>,
    /// Iterations of training behind these weights, where known.
    pub iteration: Option<u64>,
    /// SHA-256 of the files that were trained on, in hexadecimal digits.
    pub inputs_sha256: Vec<String>,
    /// The whole recipe of the run; a record that nothing is read from.
    pub recipe: Value,
}

impl Default for ModelManifest {
    fn default() -> Self {
        Self {
            program: concat!("spotlight ", env!("CARGO_PKG_VERSION")).to_owned(),
            network: FnetOptions::default(),
            prepare: PrepareOptions::default(),
            loss: Loss::default(),
            output_clip_min: Some(0.0),
            ranges: None,
            signal_channel: None,
            target_channel: None,
            seed: None,
            iteration: None,
            inputs_sha256: Vec::new(),
            recipe: Value::Null,
        }
    }
}

/// Least and greatest intensity of all training targets, raw and standardised.
///
/// They map what the network writes to intensities as the camera gave them:
/// `(v - standardised_min) / (standardised_max - standardised_min)` of the raw span.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// Least intensity of a file.
    pub raw_min: f64,
    /// Greatest intensity of a file.
    pub raw_max: f64,
    /// Least intensity after standardisation.
    pub standardised_min: f64,
    /// Greatest intensity after standardisation.
    pub standardised_max: f64,
}

impl Ranges {
    /// A standardised intensity in the raw range.
    ///
    /// ```
    /// use spotlight_learn::model_file::Ranges;
    ///
    /// let ranges =
    ///     Ranges { raw_min: 100.0, raw_max: 300.0, standardised_min: -1.0, standardised_max: 3.0 };
    /// assert_eq!(ranges.to_raw(0.0), 150.0);
    /// ```
    #[must_use]
    pub fn to_raw(&self, standardised: f64) -> f64 {
        let span = self.standardised_max - self.standardised_min;
        (standardised - self.standardised_min) / span * self.raw_span() + self.raw_min
    }

    /// The data range of scores: greatest less least raw intensity.
    #[must_use]
    pub fn raw_span(&self) -> f64 {
        self.raw_max - self.raw_min
    }
}

impl Model {
    /// Writes the file under a temporary name beside `path`, then renames it; an older
    /// file of that name is replaced.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    ///
    /// # Panics
    ///
    /// If the manifest describes a network of another size.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        assert_eq!(self.manifest.network, self.network.options, "size of the network");
        let manifest = self.manifest.to_json().to_string();
        container::write(path, &manifest, &self.network)
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If there is none, it is something else, truncated, damaged or of a later format.
    pub fn read(path: &Path) -> Result<Self, Error> {
        read::read(path)
    }
}

impl ModelManifest {
    /// The manifest with what makes it readable by others.
    fn to_json(&self) -> Value {
        let mut json = serde_json::to_value(self).expect("plain structs of numbers and names");
        let fields = json.as_object_mut().expect("a struct is an object");
        let values = [json!(FORMAT), json!("zyx"), self.laws()];
        fields.extend(WRITTEN_ONLY.map(str::to_owned).into_iter().zip(values));
        json
    }

    /// The laws in words: the settings are in the other fields, and only those are read.
    fn laws(&self) -> Value {
        let spotlight = matches!(self.loss, Loss::Spotlight(_));
        let is_mean = match self.prepare.target_centre {
            Some(centre) => centre == TargetCentre::Mean,
            None => !spotlight,
        };
        let target = if is_mean { "(y - mean(y)) / std(y)" } else { "(y - T) / std(y)" };
        json!({
            "signal": "(x - mean(x)) / std(x)",
            "target": target,
            "T": "Otsu's threshold of the raw target stack y",
            "foreground": "y >= T",
            "statistics": "of each whole raw stack by itself, std with ddof 0",
        })
    }
}
