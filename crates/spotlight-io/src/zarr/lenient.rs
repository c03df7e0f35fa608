//! [`fill_in`]: what writers leave out of the metadata of an array, or write in another form.

use serde_json::{Map, Number, Value, json};

/// Completes the metadata of an array for a strict reader.
///
/// Fill values of Zarr 2 may be numbers written as text, such as `"0"`. Parameters of codecs that
/// matter only for writing (levels, checksums of zstd) may be absent.
pub(super) fn fill_in(metadata: &mut Map<String, Value>) {
    let text = metadata.get("fill_value").and_then(Value::as_str);
    if let Some(number) = text.and_then(|text| text.parse::<Number>().ok()) {
        metadata.insert("fill_value".to_owned(), Value::Number(number));
    }
    if let Some(codecs) = metadata.get_mut("codecs") {
        fill_in_codecs(codecs);
    }
}

fn fill_in_codecs(codecs: &mut Value) {
    for codec in codecs.as_array_mut().into_iter().flatten() {
        let name = codec.as_str().or_else(|| codec.get("name").and_then(Value::as_str));
        let defaults = match name.map(str::to_owned).as_deref() {
            Some("zstd") => json!({"level": 0, "checksum": false}),
            Some("gzip") => json!({"level": 5}),
            Some("sharding_indexed") => {
                for list in ["codecs", "index_codecs"] {
                    if let Some(inner) = codec.pointer_mut(&format!("/configuration/{list}")) {
                        fill_in_codecs(inner);
                    }
                }
                continue;
            }
            _ => continue,
        };
        if codec.is_string() {
            *codec = json!({"name": codec});
        }
        let defaults = defaults.as_object().into_iter().flatten();
        let Some(codec) = codec.as_object_mut() else { continue };
        let configuration = codec.entry("configuration").or_insert_with(|| json!({}));
        let Some(configuration) = configuration.as_object_mut() else { continue };
        for (key, value) in defaults {
            configuration.entry(key).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_for_writing_are_filled_in() {
        let mut metadata = json!({
            "fill_value": "0",
            "codecs": [{"name": "sharding_indexed", "configuration": {
                "codecs": [{"name": "bytes"}, "gzip"],
                "index_codecs": [{"name": "zstd", "configuration": {"level": 3}}]
            }}]
        });
        fill_in(metadata.as_object_mut().unwrap());
        assert_eq!(
            metadata,
            json!({
                "fill_value": 0,
                "codecs": [{"name": "sharding_indexed", "configuration": {
                    "codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 5}}],
                    "index_codecs": [
                        {"name": "zstd", "configuration": {"level": 3, "checksum": false}}
                    ]
                }}]
            })
        );
        let mut not_a_number = json!({"fill_value": "NaN"});
        fill_in(not_a_number.as_object_mut().unwrap());
        assert_eq!(not_a_number, json!({"fill_value": "NaN"}));
    }
}
