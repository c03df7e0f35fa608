//! The F-net of a checkpoint that pytorch_fnet has saved.
//!
//! Such a file, `model.p`, is a dictionary of `torch.save` with the weights under `nn_state`; a
//! state dictionary alone is taken, too. The size of the network follows from its tensors:
//!
//! ```text
//! width         columns of conv_out.weight
//! depth         how often .sub_u occurs at most in a name
//! in_channels   columns of net_recurse.sub_2conv_more.conv1.weight
//! out_channels  rows of conv_out.weight
//! ```
//!
//! Then every tensor that a network of this size has must be there, and no other.
//!
//! Reference: pytorch_fnet, `fnet/fnet_model.py`, of the branch release_1 and of master.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, json};

use super::read::is_network;
use crate::error::Error;
use crate::fnet::{Fnet, FnetOptions};
use crate::torch_file::{NamedTensor, TorchFile, Value, quoted, read};

/// Where pytorch_fnet keeps the weights.
const STATE: &str = "nn_state";

/// A tensor that only PyTorch's training reads.
const COUNTER: &str = "num_batches_tracked";

/// What a checkpoint of pytorch_fnet tells.
#[derive(Clone, Debug)]
pub struct ImportedFnet {
    /// The network.
    pub network: Fnet,
    /// Iterations of training, where the checkpoint tells them.
    pub iteration: Option<u64>,
    /// All else in it but the state of the optimiser, as JSON: names and settings.
    pub settings: serde_json::Value,
}

/// Reads the network of a checkpoint.
///
/// # Errors
///
/// If the file cannot be read as one of PyTorch, or its weights are not those of an F-net with
/// one input and one output channel.
pub fn import_fnet(path: &Path) -> Result<ImportedFnet, Error> {
    let file = read(path)?;
    let wrong = |reason: String| Error::NotAnFnet { path: path.to_owned(), reason };
    let nested: &[&str] = if file.value.get(STATE).is_some() { &[STATE] } else { &[] };
    check_names(&file).map_err(wrong)?;
    let mut state = file.state_dict(nested)?;
    state.retain(|tensor| tensor.name.rsplit('.').next() != Some(COUNTER));
    let network = network_of(state).map_err(wrong)?;
    let settings = settings(&file.value);
    if let Some(criterion) = criterion(&file.value).filter(|name| !name.contains("MSE")) {
        return Err(wrong(format!(
            "it was trained with {criterion}, and only the mean squared error is F-net's"
        )));
    }
    let iteration = file.value.get("count_iter").and_then(Value::as_count);
    Ok(ImportedFnet { network, iteration, settings })
}

/// Tells files of other programs apart before their tensors are looked at.
fn check_names(file: &TorchFile) -> Result<(), String> {
    let Value::Dict(items) = &file.value else {
        return Err("it holds no dictionary".to_owned());
    };
    let names: Vec<&str> = items.iter().filter_map(|(name, _)| name.as_text()).collect();
    if names.iter().any(|name| name.contains("downsample.down.res_down_")) {
        return Err("it holds the weights of a Cellpose network".to_owned());
    }
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    if has(STATE) || has("conv_out.weight") || has("net_recurse.") {
        return Ok(());
    }
    let shown: Vec<String> = names.iter().take(3).map(|name| quoted(name)).collect();
    Err(match shown.is_empty() {
        true => "it holds nothing by name".to_owned(),
        false => format!("it has no {STATE}, but {} ...", shown.join(", ")),
    })
}

/// The network that these tensors are, each of them used once.
fn network_of(state: Vec<NamedTensor>) -> Result<Fnet, String> {
    let options = options_of(&state)?;
    let FnetOptions { width, depth, in_channels, out_channels } = options;
    if !is_network(&options) {
        return Err(format!("no network has the width {width} and the depth {depth}"));
    }
    if [in_channels, out_channels] != [1, 1] {
        return Err(format!(
            "it makes {out_channels} channels of {in_channels}, and this program one of one"
        ));
    }
    let what = format!("an F-net of width {width} and depth {depth}");
    let mut tensors: HashMap<String, NamedTensor> =
        state.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    // Shapes are compared before the network is allocated.
    let entries = Fnet::entries_of(&options);
    for entry in &entries {
        let name = &entry.name;
        let tensor = tensors.get(name).ok_or_else(|| format!("{what} needs the tensor {name}"))?;
        if tensor.shape != entry.shape {
            let (found, expected) = (&tensor.shape, &entry.shape);
            return Err(format!("{name} has the shape {found:?}, {what} needs {expected:?}"));
        }
        if tensor.values.iter().any(|value| !value.is_finite()) {
            return Err(format!("{name} has numbers that are not finite"));
        }
    }
    let mut network = Fnet::zeroed(&options);
    for entry in &entries {
        if let Some(tensor) = tensors.remove(&entry.name) {
            network.values_mut(entry).copy_from_slice(&tensor.values);
        }
    }
    match tensors.keys().min() {
        None => Ok(network),
        Some(name) => Err(format!("{what} has no tensor {}", quoted(name))),
    }
}

/// The size of the network by its outermost tensors.
fn options_of(state: &[NamedTensor]) -> Result<FnetOptions, String> {
    let shape = |name: &str| -> Result<[usize; 5], String> {
        let tensor = state.iter().find(|tensor| tensor.name == name);
        let shape = &tensor.ok_or_else(|| format!("it has no tensor {name}"))?.shape;
        shape.as_slice().try_into().map_err(|_| {
            format!("{name} has the shape {shape:?}, that of a network of other dimensions than 3")
        })
    };
    let [_, in_channels, ..] = shape("net_recurse.sub_2conv_more.conv1.weight")?;
    let [out_channels, width, ..] = shape("conv_out.weight")?;
    let levels =
        |tensor: &NamedTensor| tensor.name.split('.').filter(|part| *part == "sub_u").count();
    let depth = state.iter().map(levels).max().unwrap_or(0);
    Ok(FnetOptions { width, depth, in_channels, out_channels })
}

/// What was minimised, where the checkpoint tells it.
fn criterion(value: &Value) -> Option<&str> {
    value.get("fnet_model_kwargs")?.get("criterion_class")?.as_text()
}

fn settings(value: &Value) -> serde_json::Value {
    let Value::Dict(items) = value else { return serde_json::Value::Null };
    let told = items.iter().filter_map(|(name, value)| {
        let name = name.as_text().filter(|name| ![STATE, "optimizer_state"].contains(name))?;
        Some((name.to_owned(), to_json(value)?))
    });
    serde_json::Value::Object(told.collect())
}

/// The value as JSON; none for tensors and bytes.
fn to_json(value: &Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::None => serde_json::Value::Null,
        Value::Bool(value) => json!(value),
        Value::Integer(value) => {
            i64::try_from(*value).map_or(json!(value.to_string()), |v| json!(v))
        }
        Value::Float(value) => json!(value),
        Value::Text(text) => json!(&**text),
        Value::List(items) | Value::Tuple(items) => items.iter().filter_map(to_json).collect(),
        Value::Dict(items) => {
            let pair = |(name, value): &(Value, Value)| {
                Some((name.as_text()?.to_owned(), to_json(value)?))
            };
            serde_json::Value::Object(items.iter().filter_map(pair).collect::<Map<_, _>>())
        }
        Value::Bytes(_) | Value::Tensor(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state of a small network, to be spoilt.
    fn state() -> Vec<NamedTensor> {
        let options = FnetOptions { width: 2, depth: 2, ..FnetOptions::default() };
        let network = Fnet::new(&options, 1);
        let named = network.entries().iter().map(|entry| NamedTensor {
            name: entry.name.clone(),
            shape: entry.shape.clone(),
            values: network.values(entry).to_vec(),
        });
        named.collect()
    }

    #[track_caller]
    fn fails(spoil: impl FnOnce(&mut Vec<NamedTensor>), words: &str) {
        let mut state = state();
        spoil(&mut state);
        let reason = network_of(state).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    }

    #[test]
    fn the_size_follows_from_the_tensors() {
        let network = network_of(state()).unwrap();
        assert_eq!((network.options.width, network.options.depth), (2, 2));
        let mut reversed = state();
        reversed.reverse();
        let same = network_of(reversed).unwrap();
        assert_eq!((same.parameters, same.buffers), (network.parameters, network.buffers));
    }

    fn find<'a>(state: &'a mut [NamedTensor], name: &str) -> &'a mut NamedTensor {
        state.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }

    #[test]
    fn other_networks_are_told_in_a_sentence() {
        let missing = "net_recurse.sub_u.convt.bias";
        fails(
            |state| state.retain(|t| t.name != missing),
            "needs the tensor net_recurse.sub_u.convt.bias",
        );
        fails(|state| state.retain(|t| !t.name.contains("conv_out")), "no tensor conv_out.weight");
        fails(|state| state.retain(|t| !t.name.contains(".sub_u.")), "depth 0 has no tensor");
        let deeper = |state: &mut Vec<NamedTensor>| {
            let mut extra = state[0].clone();
            extra.name = "net_recurse.sub_u.sub_u.sub_u.sub_2conv_more.conv1.weight".to_owned();
            state.push(extra);
        };
        fails(deeper, "depth 3 needs the tensor");
        let extra = |state: &mut Vec<NamedTensor>| {
            let mut extra = state[0].clone();
            extra.name = "net_recurse.attention.weight".to_owned();
            state.push(extra);
        };
        fails(extra, "has no tensor \"net_recurse.attention.weight\"");
        fails(|state| find(state, "conv_out.bias").shape = vec![2], "needs [1]");
        fails(|state| find(state, "conv_out.weight").shape = vec![1, 2, 3, 3], "dimensions");
        fails(|state| find(state, "conv_out.bias").values[0] = f32::NAN, "not finite");
        let wide = |state: &mut Vec<NamedTensor>| {
            find(state, "conv_out.weight").shape = vec![1, 1 << 40, 3, 3, 3];
        };
        fails(wide, "no network has the width");
        let channels = |state: &mut Vec<NamedTensor>| {
            find(state, "net_recurse.sub_2conv_more.conv1.weight").shape = vec![2, 3, 3, 3, 3];
        };
        fails(channels, "1 channels of 3");
    }
}
