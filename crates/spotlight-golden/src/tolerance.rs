//! The tolerance kinds of `case.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A JSON number; the strings "NaN", "Infinity" and "-Infinity" and booleans count.
///
/// # Panics
///
/// If the value is none of these.
#[must_use]
pub fn number(value: &Value) -> f64 {
    match value {
        Value::Number(n) => n.as_f64().unwrap(),
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::String(s) if s == "NaN" => f64::NAN,
        Value::String(s) if s == "Infinity" => f64::INFINITY,
        Value::String(s) if s == "-Infinity" => f64::NEG_INFINITY,
        other => panic!("not a number: {other}"),
    }
}

/// The entry of a name, or the longest pattern such as `col.*` that fits it.
pub(crate) fn entry<'a>(tolerances: &'a Value, name: &str) -> Option<&'a Value> {
    let map = tolerances.as_object()?;
    map.get(name).or_else(|| {
        let fits = |pattern: &&String| matches_pattern(pattern, name);
        let best = map.keys().filter(fits).max_by_key(|pattern| pattern.len())?;
        map.get(best)
    })
}

fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        }
    }
}

/// Compares values; the message says where they differ most.
pub(crate) fn check(tolerance: &Value, found: &[f64], expected: &[f64]) -> Result<(), String> {
    let field = |name: &str| tolerance.get(name).map(number);
    if found.len() != expected.len() {
        return Err(format!("{} values, expected {}", found.len(), expected.len()));
    }
    match tolerance["kind"].as_str().unwrap() {
        "exact" => all_within(found, expected, |_| 0.0),
        "abs_rel" => {
            let (abs, rel) = (field("abs").unwrap_or(0.0), field("rel").unwrap_or(0.0));
            all_within(found, expected, |e| abs + rel * e.abs())
        }
        "abs" => {
            all_within(found, expected, |_| field("abs").unwrap())?;
            let allowed = field("max_fraction_differing").unwrap_or(1.0);
            let differ = found.iter().zip(expected).filter(|(f, e)| !same(**f, **e)).count();
            share("differ", differ, found.len(), allowed)
        }
        "range" => {
            let abs = field("abs").unwrap_or(0.0);
            let (low, high) = (field("low").unwrap() - abs, field("high").unwrap() + abs);
            let outside = found.iter().find(|f| !(**f >= low && **f <= high));
            outside.map_or(Ok(()), |f| Err(format!("{f} is not in [{low}, {high}]")))
        }
        "fraction_equal" => {
            let differ = found.iter().zip(expected).filter(|(f, e)| !same(**f, **e)).count();
            share("differ", differ, found.len(), 1.0 - field("min_fraction_equal").unwrap())
        }
        "relative_to_tensor_max" => {
            let largest = expected.iter().fold(0.0_f64, |m, e| m.max(e.abs()));
            all_within(found, expected, |_| field("rel").unwrap() * largest)
        }
        "quantile" => quantile(tolerance, found, expected),
        "label_agreement" => label_agreement(tolerance, found, expected),
        other => Err(format!("unknown tolerance kind {other}")),
    }
}

fn quantile(tolerance: &Value, found: &[f64], expected: &[f64]) -> Result<(), String> {
    let map = tolerance.as_object().unwrap();
    if let Some(max) = map.get("max_abs") {
        all_within(found, expected, |_| number(max))?;
    }
    let above = |limit: f64| {
        let off = found.iter().zip(expected).filter(|(f, e)| distance(**f, **e) > limit);
        off.count()
    };
    if let (Some(abs), Some(fraction)) = (map.get("abs"), map.get("fraction")) {
        share("are further off", above(number(abs)), found.len(), 1.0 - number(fraction))?;
    }
    for (name, allowed) in map {
        let Some(limit) = name.strip_prefix("fraction_above_") else { continue };
        let limit = limit.strip_suffix("_at_most").unwrap().replace("e_", "e-");
        let limit = limit.replace('_', "");
        share("are further off", above(limit.parse().unwrap()), found.len(), number(allowed))?;
    }
    Ok(())
}

/// Voxels agree where the label is that of the reference which it overlaps most.
fn label_agreement(tolerance: &Value, found: &[f64], expected: &[f64]) -> Result<(), String> {
    let mut overlaps: BTreeMap<u32, BTreeMap<u32, usize>> = BTreeMap::new();
    for (found, expected) in found.iter().zip(expected) {
        let partners = overlaps.entry(*found as u32).or_default();
        *partners.entry(*expected as u32).or_insert(0) += 1;
    }
    let best = |partners: &BTreeMap<u32, usize>| {
        let (partner, voxels) = partners.iter().max_by_key(|(_, voxels)| **voxels).unwrap();
        (*partner, *voxels)
    };
    // Two labels of ours must not share one of the reference.
    let mut taken = BTreeSet::new();
    let mut agree = 0;
    for (partner, voxels) in overlaps.values().map(best) {
        agree += if taken.insert(partner) { voxels } else { 0 };
    }
    let least = number(&tolerance["min_fraction_equal"]);
    share("have another label", found.len() - agree, found.len(), 1.0 - least)?;
    let Some(precision) = tolerance.get("min_ap_iou_0_75") else { return Ok(()) };
    assert_eq!(number(precision), 1.0, "the only precision that is checked");
    let count = |labels: &[f64], label: u32| {
        labels.iter().filter(|other| **other == f64::from(label)).count()
    };
    for (label, partners) in overlaps.iter().filter(|(label, _)| **label != 0) {
        let (partner, both) = best(partners);
        let union = count(found, *label) + count(expected, partner) - both;
        let iou = both as f64 / union as f64;
        if partner == 0 || iou < 0.75 {
            return Err(format!("label {label} has an IoU of {iou} with {partner}"));
        }
    }
    let objects =
        |labels: &[f64]| labels.iter().map(|label| *label as u32).collect::<BTreeSet<u32>>().len();
    match [found, expected].map(objects) {
        [ours, theirs] if ours != theirs => Err(format!("{ours} labels, expected {theirs}")),
        _ => Ok(()),
    }
}

fn all_within(found: &[f64], expected: &[f64], allowed: impl Fn(f64) -> f64) -> Result<(), String> {
    let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
    let excess = |i: &usize| distance(found[*i], expected[*i]) - finite(allowed(expected[*i]));
    let worst = (0..found.len()).max_by(|a, b| excess(a).total_cmp(&excess(b)));
    match worst {
        Some(i) if excess(&i) > 0.0 => Err(format!(
            "element {i} is {}, expected {} within {:e}",
            found[i],
            expected[i],
            allowed(expected[i])
        )),
        _ => Ok(()),
    }
}

fn share(what: &str, count: usize, of: usize, allowed: f64) -> Result<(), String> {
    if count as f64 <= allowed * of as f64 + 1e-9 {
        return Ok(());
    }
    Err(format!("{count} of {of} {what}, allowed is a share of {allowed}"))
}

fn same(a: f64, b: f64) -> bool {
    distance(a, b) == 0.0
}

/// NaN equals NaN and an infinity equals itself; NaN and a number are infinitely far apart.
fn distance(a: f64, b: f64) -> f64 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    let d = (a - b).abs();
    if d.is_nan() { f64::INFINITY } else { d }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_labels(found: &[f64], expected: &[f64], least: f64, message: Option<&str>) {
        let tolerance = serde_json::json!({
            "kind": "label_agreement",
            "min_fraction_equal": least,
            "min_ap_iou_0_75": 1.0,
        });
        let error = check(&tolerance, found, expected).err();
        assert_eq!(error.as_deref(), message);
    }

    #[test]
    fn labels_agree_whatever_their_numbers() {
        let expected = [0.0, 1.0, 1.0, 1.0, 1.0, 2.0];
        check_labels(&[0.0, 7.0, 7.0, 7.0, 7.0, 3.0], &expected, 1.0, None);
        // Two of ours must not share one, and nor may one of ours be two.
        let split = [0.0, 1.0, 1.0, 1.0, 3.0, 2.0];
        let message = "1 of 6 have another label, allowed is a share of 0";
        check_labels(&split, &expected, 1.0, Some(message));
        check_labels(&split, &expected, 0.5, Some("label 3 has an IoU of 0.25 with 1"));
        let missing = [0.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        check_labels(&missing, &expected, 0.5, Some("2 labels, expected 3"));
    }
}
