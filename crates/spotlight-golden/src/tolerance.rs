//! The tolerance kinds of `case.json`.

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
