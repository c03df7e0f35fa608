//! Settings of a recipe: read from TOML with their lines, checked one by one, put together.
//!
//! A setting is known by its section and key, such as `train.batch`, wherever it comes from,
//! and is checked in the same way: it must exist, have the right type and make sense.

use std::path::Path;

use anyhow::Result;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::cli::wrong_use;

/// One setting, and where it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Section and key, such as `train.batch`.
    pub path: String,
    /// Its value.
    pub value: Value,
    /// "recipe.toml, line 3" or "--batch".
    pub origin: String,
}

/// A setting that decides which others its section has.
struct Choice {
    path: &'static str,
    default: &'static str,
}

impl Choice {
    fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    fn key(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, key)| key)
    }
}

const CHOICES: [Choice; 3] = [
    Choice { path: "grid.rule", default: "spacing" },
    Choice { path: "loss.kind", default: "spotlight" },
    Choice { path: "split.rule", default: "seeded" },
];

/// A recipe made of sections of settings.
pub(super) trait Sections: Sized {
    /// A table in which every setting is present, with a value of the right type.
    fn known() -> Result<Table>;
    /// The sections of this recipe.
    fn to_table(&self) -> Result<Table>;
    /// The recipe of some settings, all else the default.
    fn from_table(table: &Table) -> Result<Self, toml::de::Error>;
    /// The recipe with what depends on other settings filled in, if all of it makes sense.
    fn finish(self) -> Result<Self>;

    /// The recipe with these settings, later ones overriding earlier, all else the default.
    fn of(settings: &[Setting]) -> Result<Self> {
        let known = flatten(&Self::known()?);
        let mut table = Table::new();
        for setting in settings {
            check(setting, &known)?;
            insert(&mut table, setting);
            Self::from_table(&table).map_err(|problem| {
                let Setting { origin, path, value } = setting;
                wrong_use(format!("{origin}: {path} is {value}: {}", problem.message()), "")
            })?;
        }
        let recipe = Self::from_table(&table)?.finish()?;
        let meant = flatten(&recipe.to_table()?);
        for (path, _) in flatten(&table) {
            if !meant.iter().any(|(other, _)| *other == path) {
                return Err(meaningless(&path, settings, &table));
            }
        }
        Ok(recipe)
    }
}

/// Takes a section out of a table; the default where there is none.
pub(super) fn section<T: Default + DeserializeOwned>(
    table: &mut Table,
    name: &str,
) -> Result<T, toml::de::Error> {
    table.remove(name).map_or_else(|| Ok(T::default()), Value::try_into)
}

/// A setting written as `section.key=value`, the value as in TOML or a bare word.
///
/// # Errors
///
/// If there is no `=`.
pub fn assignment(text: &str) -> Result<Setting> {
    let hint = "write it as --set section.key=value";
    let wrong = || wrong_use(format!("--set {text}: there is no = in it"), hint);
    let (path, value) = text.split_once('=').ok_or_else(wrong)?;
    let parsed = value.trim().parse::<Value>();
    let value = parsed.unwrap_or_else(|_| Value::from(value.trim()));
    Ok(Setting { path: path.trim().to_owned(), value, origin: "--set".to_owned() })
}

/// The settings of a recipe file, in the order of their lines.
///
/// # Errors
///
/// If the file cannot be read or is not TOML.
pub fn read_settings(path: &Path) -> Result<Vec<Setting>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        wrong_use(format!("cannot read the recipe {}: {error}", path.display()), "")
    })?;
    parse_settings(&text, &path.display().to_string())
}

pub(super) fn parse_settings(text: &str, file: &str) -> Result<Vec<Setting>> {
    let line =
        |offset: usize| 1 + text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count();
    let wrong = |error: &toml::de::Error| {
        let place = error.span().map(|span| format!(", line {}", line(span.start)));
        let message = error.message().trim_end();
        wrong_use(format!("{file}{}: {message}", place.unwrap_or_default()), "")
    };
    let values: Table = toml::from_str(text).map_err(|error| wrong(&error))?;
    let keys = DeTable::parse(text).map_err(|error| wrong(&error))?;
    let mut offsets = Vec::new();
    collect_offsets(keys.get_ref(), "", &mut offsets);
    let mut settings: Vec<(usize, Setting)> = Vec::new();
    for (path, value) in flatten(&values) {
        let offset = offsets.iter().find(|(other, _)| *other == path).map_or(0, |(_, at)| *at);
        let origin = format!("{file}, line {}", line(offset));
        settings.push((offset, Setting { path, value, origin }));
    }
    // What decides the meaning of others goes first, wherever it stands in the file.
    let decides = |path: &str| CHOICES.iter().any(|choice| choice.path == path);
    settings.sort_by_key(|(offset, setting)| (!decides(&setting.path), *offset));
    Ok(settings.into_iter().map(|(_, setting)| setting).collect())
}

/// Where each key stands in the text.
fn collect_offsets(table: &DeTable<'_>, within: &str, offsets: &mut Vec<(String, usize)>) {
    for (key, value) in table {
        let path = join(within, key.get_ref());
        offsets.push((path.clone(), key.span().start));
        if let DeValue::Table(inner) = value.get_ref() {
            collect_offsets(inner, &path, offsets);
        }
    }
}

/// All values of nested tables with their paths; an empty table stands for itself.
fn flatten(table: &Table) -> Vec<(String, Value)> {
    fn visit(table: &Table, within: &str, leaves: &mut Vec<(String, Value)>) {
        for (key, value) in table {
            let path = join(within, key);
            match value {
                Value::Table(inner) if !inner.is_empty() => visit(inner, &path, leaves),
                _ => leaves.push((path, value.clone())),
            }
        }
    }
    let mut leaves = Vec::new();
    visit(table, "", &mut leaves);
    leaves
}

fn join(within: &str, key: &str) -> String {
    if within.is_empty() { key.to_owned() } else { format!("{within}.{key}") }
}

/// Checks that a setting exists and has the type of its example.
fn check(setting: &Setting, known: &[(String, Value)]) -> Result<()> {
    let Setting { path, value, origin } = setting;
    if let Some((_, example)) = known.iter().find(|(other, _)| other == path) {
        if fits(value, example) {
            return Ok(());
        }
        let expected = type_of(example);
        return Err(wrong_use(format!("{origin}: {path} is {value}, it must be {expected}"), ""));
    }
    let is_section = known.iter().any(|(other, _)| other.starts_with(&format!("{path}.")));
    match value {
        Value::Table(inner) if is_section && inner.is_empty() => Ok(()),
        _ if is_section => {
            let text = format!("{origin}: {path} is a section, write [{path}] and its settings");
            Err(wrong_use(text, ""))
        }
        _ => {
            let hint = format!("did you mean {}?", nearest(path, known));
            Err(wrong_use(format!("{origin}: there is no setting {path}"), hint))
        }
    }
}

/// The known setting whose name is most like this one; the section counts less than the key.
fn nearest<'a>(path: &str, known: &'a [(String, Value)]) -> &'a str {
    let key = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |other: &str| {
        strsim::normalized_damerau_levenshtein(&key(path), &key(other))
            + 0.5 * strsim::normalized_damerau_levenshtein(path, other)
    };
    let best = known.iter().max_by(|(a, _), (b, _)| likeness(a).total_cmp(&likeness(b)));
    best.map_or("", |(path, _)| path)
}

/// Whether a value can take the place of an example; whole numbers are counts, never below 0.
fn fits(value: &Value, example: &Value) -> bool {
    match (value, example) {
        (Value::Integer(number), Value::Integer(_)) => *number >= 0,
        (Value::Integer(_), Value::Float(_)) => true,
        (Value::Array(values), Value::Array(examples)) => {
            let pairs = values.iter().zip(examples);
            values.len() == examples.len() && pairs.into_iter().all(|(v, e)| fits(v, e))
        }
        _ => value.same_type(example),
    }
}

fn type_of(example: &Value) -> String {
    match example {
        Value::Integer(_) => "a whole number, not below 0".to_owned(),
        Value::Float(_) => "a number".to_owned(),
        Value::Boolean(_) => "true or false".to_owned(),
        Value::Array(values) => {
            let each = values.first().map(type_of).unwrap_or_default();
            let axes = if values.len() == 3 { " for z, y, x" } else { "" };
            format!("a list of {}{axes}, each {each}", values.len())
        }
        _ => "a word in quotation marks".to_owned(),
    }
}

/// Puts a checked setting into the table. A new choice makes an end of its section's others.
fn insert(table: &mut Table, setting: &Setting) {
    let Some((section, key)) = setting.path.split_once('.') else { return };
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(inner) = entry else { return };
    if let Some(choice) = CHOICES.iter().find(|choice| choice.section() == section) {
        let default = Value::String(choice.default.to_owned());
        let chosen = inner.entry(choice.key()).or_insert(default).clone();
        if key == choice.key() && chosen != setting.value {
            inner.clear();
        }
    }
    inner.insert(key.to_owned(), setting.value.clone());
}

/// The error of a setting that another one makes meaningless.
fn meaningless(path: &str, settings: &[Setting], table: &Table) -> anyhow::Error {
    let given = settings.iter().rfind(|setting| setting.path == path);
    let origin = given.map_or("recipe", |setting| setting.origin.as_str());
    let beside = CHOICES.iter().find(|choice| path.starts_with(choice.section()));
    let beside = beside.and_then(|choice| Some((choice, table.get(choice.section())?)));
    let beside = beside.and_then(|(choice, section)| Some((choice, section.get(choice.key())?)));
    let reason = beside.map(|(choice, value)| format!(" where {} is {value}", choice.path));
    let reason = reason.unwrap_or_default();
    wrong_use(format!("{origin}: {path} has no meaning{reason}; leave it out"), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_toml_or_a_word() {
        let value = |text| assignment(text).unwrap().value;
        assert_eq!(value("train.batch=8"), Value::from(8));
        assert_eq!(value("train.beta1 = 0.9"), Value::from(0.9));
        assert_eq!(value("loss.kind=mse"), Value::from("mse"));
        assert!(assignment("train.batch").is_err());
    }
}
