//! What the compute engine does on this machine, and with the layers of a network.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use spotlight_engine::{Engine, Kind};
use spotlight_image::Shape;
use spotlight_learn::fnet::{FnetOptions, LayerShape, layer_shapes};
use spotlight_learn::model_file::Model;

use super::{Description, describe_lines};
use crate::cli::{Context, values, wrong_use};
use crate::table::Table;

/// Multiply-adds to measure the speed with: a tenth of a second or less.
const ROUNDS: usize = 10_000_000;

/// The engine, and for each model, or for F-net as published, how its layers are computed.
///
/// # Errors
///
/// When the engine cannot start, a model cannot be read, or the network cannot halve the patch.
pub(super) fn describe(
    models: &[PathBuf],
    patch: Shape,
    batch: usize,
    context: &Context,
) -> Result<(String, Vec<Value>)> {
    let engine = context.engine()?;
    let Description { lines, object } = describe_machine(&engine);
    let mut text = describe_lines("engine", &lines);
    let mut objects = vec![object];
    let networks: Vec<(String, FnetOptions)> = if models.is_empty() {
        vec![("F-net as published".to_owned(), FnetOptions::default())]
    } else {
        let read = |path: &PathBuf| {
            let options = Model::read(&values::model_path(path))?.network.options;
            Ok((path.display().to_string(), options))
        };
        models.iter().map(read).collect::<Result<_>>()?
    };
    for (name, options) in networks {
        let divisor = options.divisor();
        if patch.iter().any(|side| side % divisor != 0) {
            return Err(wrong_use(
                format!(
                    "{name} halves an image {} times, which {patch:?} does not allow",
                    options.depth
                ),
                format!("give --patch in multiples of {divisor}"),
            ));
        }
        let layers = layer_shapes(&options, patch);
        let (width, depth) = (options.width, options.depth);
        text.push_str(&format!("\n{name}, width {width}, depth {depth}, batch {batch}\n"));
        text.push_str(&table(&engine, &layers, batch).text());
        objects.push(json!({
            "kind": "layers",
            "network": options,
            "name": name,
            "batch": batch,
            "layers": layers.iter().map(|layer| object_of(&engine, layer, batch)).collect::<Vec<_>>(),
        }));
    }
    Ok((text, objects))
}

fn describe_machine(engine: &Engine) -> Description {
    let start = Instant::now();
    let operations = engine.multiply_adds(ROUNDS);
    let speed = operations / start.elapsed().as_secs_f64();
    let (set, precision, threads) =
        (engine.instruction_set(), engine.precision(), engine.threads());
    let lines = vec![
        ("instructions", set.to_string()),
        ("threads", threads.to_string()),
        ("precision", precision.to_string()),
        ("multiply-adds", format!("{:.0} GFLOP/s in registers, measured now", speed / 1e9)),
    ];
    let object = json!({
        "kind": "engine",
        "instruction_set": set.to_string(),
        "threads": threads,
        "precision": precision.to_string(),
        "peak_flop_per_s": speed,
    });
    Description { lines, object }
}

/// How the engine computes a layer.
fn algorithm(engine: &Engine, layer: &LayerShape, batch: usize) -> String {
    let LayerShape { kind, shape, in_channels, out_channels, .. } = layer;
    match kind {
        Kind::Same => {
            engine.conv3_algorithm(batch, *shape, *in_channels, *out_channels).to_string()
        }
        Kind::Down | Kind::Up => "direct".to_owned(),
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Same => "3×3×3",
        Kind::Down => "2×2×2 down",
        Kind::Up => "2×2×2 up",
    }
}

fn table(engine: &Engine, layers: &[LayerShape], batch: usize) -> Table {
    let header = ["layer", "convolution", "channels", "input (z, y, x)", "algorithm", "share %"];
    let mut table = Table::new(&header);
    let total: f64 = layers.iter().map(|layer| layer.multiplications).sum();
    for layer in layers {
        let [z, y, x] = layer.shape;
        table.rows.push(vec![
            layer.name.clone(),
            kind_name(layer.kind).to_owned(),
            format!("{} → {}", layer.in_channels, layer.out_channels),
            format!("{z} × {y} × {x}"),
            algorithm(engine, layer, batch),
            format!("{:.1}", 100.0 * layer.multiplications / total),
        ]);
    }
    table
}

fn object_of(engine: &Engine, layer: &LayerShape, batch: usize) -> Value {
    json!({
        "name": layer.name,
        "convolution": kind_name(layer.kind),
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        "shape": layer.shape,
        "algorithm": algorithm(engine, layer, batch),
        "multiplications": layer.multiplications,
    })
}
