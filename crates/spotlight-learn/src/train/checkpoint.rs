//! The checkpoint: one safetensors file with all that a run needs to go on.
//!
//! Tensors `parameters`, `buffers` (the network), `adam_mean`, `adam_square` (the optimiser)
//! and, once validated, `best_parameters`, `best_buffers`; the rest as JSON in the metadata.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::recipe::{Recipe, first_difference};
use super::{Best, State, TrainingData};
use crate::error::Error;
use crate::fnet::Fnet;
use crate::model_file::write_whole;

/// Key of the JSON in the metadata of the file.
const KEY: &str = "spotlight_checkpoint";

/// Counts changes of the format.
const FORMAT: u64 = 1;

/// What a checkpoint belongs to.
pub(super) struct Identity {
    recipe: Value,
    data: String,
}

impl Identity {
    /// The recipe, and a digest of what was measured on every pair.
    pub(super) fn new(recipe: &Recipe, data: &TrainingData) -> Self {
        let mut digest = Sha256::new();
        for (role, pairs) in [("train", &data.train), ("validate", &data.validate)] {
            for pair in pairs {
                let facts = (role, pair.signal.shape, &pair.facts);
                digest.update(to_json(&facts).to_string());
            }
        }
        let data = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        // Through text and back, as the recipe in the file was.
        let recipe = to_json(recipe).to_string();
        let recipe = serde_json::from_str(&recipe).expect("it was JSON a moment ago");
        Self { recipe, data }
    }
}

/// What the metadata hold.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u64,
    iteration: u64,
    recipe: Value,
    data: String,
    best: Option<BestHeader>,
}

#[derive(Serialize, Deserialize)]
struct BestHeader {
    iteration: u64,
    /// The bits of the loss: decimal digits could come back as its neighbour.
    validation_bits: u64,
}

/// Writes the state of a run; the file is replaced once the new one is whole.
pub(super) fn write(path: &Path, state: &State, identity: &Identity) -> Result<(), Error> {
    let best = state.best.as_ref();
    let header = Header {
        format: FORMAT,
        iteration: state.iteration,
        recipe: identity.recipe.clone(),
        data: identity.data.clone(),
        best: best.map(|best| BestHeader {
            iteration: best.iteration,
            validation_bits: best.validation.to_bits(),
        }),
    };
    let mut tensors = vec![
        ("parameters", &state.network.parameters),
        ("buffers", &state.network.buffers),
        ("adam_mean", &state.moments[0]),
        ("adam_square", &state.moments[1]),
    ];
    if let Some(best) = best {
        tensors.push(("best_parameters", &best.network.parameters));
        tensors.push(("best_buffers", &best.network.buffers));
    }
    let bytes: Vec<(&str, Vec<u8>)> =
        tensors.into_iter().map(|(name, values)| (name, to_bytes(values))).collect();
    let views = bytes.iter().map(|(name, bytes)| {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
        (*name, view.expect("the shape is that of the bytes"))
    });
    let metadata = HashMap::from([(KEY.to_owned(), to_json(&header).to_string())]);
    let file = safetensors::serialize(views, Some(metadata)).expect("the views are whole");
    write_whole(path, &[&file])
}

/// Reads the state of a run of this recipe on this data.
pub(super) fn read(path: &Path, identity: &Identity, recipe: &Recipe) -> Result<State, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let wrong = |reason: String| Error::NotACheckpoint { path: path.to_owned(), reason };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| wrong(e.to_string()))?;
    let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let header = header.ok_or_else(|| wrong(format!("its metadata have no {KEY}")))?;
    let header: Header = serde_json::from_str(header).map_err(|e| wrong(e.to_string()))?;
    if header.format != FORMAT {
        return Err(wrong(format!("its format is {}, this program's {FORMAT}", header.format)));
    }
    if let Some((field, before, now)) = first_difference(&header.recipe, &identity.recipe) {
        let path = path.to_owned();
        return Err(Error::OtherRecipe { path, field, before, now });
    }
    if header.data != identity.data {
        return Err(Error::OtherData { path: path.to_owned() });
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| wrong(e.to_string()))?;
    let fill = |name: &str, to: &mut Vec<f32>| {
        let view = tensors.tensor(name).map_err(|e| wrong(e.to_string()))?;
        if view.dtype() != Dtype::F32 || view.data().len() != 4 * to.len() {
            return Err(wrong(format!("{name} does not hold {} numbers", to.len())));
        }
        let words = view.data().chunks_exact(4);
        let words = words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        to.iter_mut().zip(words).for_each(|(to, value)| *to = value);
        Ok(())
    };
    let mut state = State::new(recipe);
    state.iteration = header.iteration;
    fill("parameters", &mut state.network.parameters)?;
    fill("buffers", &mut state.network.buffers)?;
    fill("adam_mean", &mut state.moments[0])?;
    fill("adam_square", &mut state.moments[1])?;
    if let Some(best) = header.best {
        let mut network: Fnet = state.network.clone();
        fill("best_parameters", &mut network.parameters)?;
        fill("best_buffers", &mut network.buffers)?;
        let validation = f64::from_bits(best.validation_bits);
        state.best = Some(Best { network, validation, iteration: best.iteration });
    }
    Ok(state)
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("plain structs of numbers and names")
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
