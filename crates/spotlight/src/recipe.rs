//! The recipe: one TOML file holds every setting of a run, and flags override it.
//!
//! The sections `network`, `prepare`, `sample`, `loss` and `train` are the option structs of
//! `spotlight-learn`; `data` and `split` are the program's own. A setting is known by its
//! section and key, such as `train.batch`, wherever it comes from, and is checked in the same
//! way: it must exist, have the right type and make sense.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spotlight_learn::train::Recipe;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::cli::wrong_use;

/// Every setting of a training run. The default is the paper's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunRecipe {
    /// How the files are read.
    pub data: DataOptions,
    /// Which pairs are learnt from, validated on and kept for the test.
    pub split: SplitOptions,
    /// The settings of the method.
    pub method: Recipe,
}

/// How the files of a data set are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataOptions {
    /// Voxel size in µm along (z, y, x) of files that do not tell theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spacing_um: Option<[f64; 3]>,
}

/// How pairs are divided where the manifest does not say it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum SplitOptions {
    /// By a seeded shuffle, with at least one pair of each kind where there are three.
    Seeded(SeededSplit),
    /// As the paper divides its data: 75 % to train, the rest to test, nothing to validate.
    Paper,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self::Seeded(SeededSplit::default())
    }
}

/// A split by a seeded shuffle. What is neither learnt from nor validated on is the test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeededSplit {
    /// Seed of the shuffle; not that of the training, so that other runs have the same test.
    pub seed: u32,
    /// Fraction of the pairs to learn from.
    pub train: f64,
    /// Fraction of the pairs to validate on.
    pub validate: f64,
}

impl Default for SeededSplit {
    fn default() -> Self {
        Self { seed: 0, train: 0.7, validate: 0.1 }
    }
}

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

const CHOICES: [Choice; 2] = [
    Choice { path: "loss.kind", default: "spotlight" },
    Choice { path: "split.rule", default: "seeded" },
];

impl RunRecipe {
    /// The recipe with these settings, later ones overriding earlier, all else the default.
    ///
    /// # Errors
    ///
    /// At the first setting that is unknown, of the wrong type or out of its range, and at one
    /// that has no meaning beside the others.
    pub fn new(settings: &[Setting]) -> Result<Self> {
        let known = flatten(&Self::example()?.to_table()?);
        let mut table = Table::new();
        for setting in settings {
            check(setting, &known)?;
            insert(&mut table, setting);
            Self::from_table(&table).map_err(|problem| {
                let Setting { origin, path, value } = setting;
                wrong_use(format!("{origin}: {path} is {value}: {}", problem.message()), "")
            })?;
        }
        let mut recipe = Self::from_table(&table)?;
        recipe.method = recipe.method.resolve().map_err(|e| wrong_use(e.to_string(), ""))?;
        recipe.split.check()?;
        let meant = flatten(&recipe.to_table()?);
        for (path, _) in flatten(&table) {
            if !meant.iter().any(|(other, _)| *other == path) {
                return Err(meaningless(&path, settings, &table));
            }
        }
        Ok(recipe)
    }

    /// The recipe as the text of a file that gives the same recipe again.
    ///
    /// # Errors
    ///
    /// If a number is too large for TOML, such as a seed of 2^63.
    pub fn to_toml(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Own<'a> {
            data: &'a DataOptions,
            split: &'a SplitOptions,
        }
        let own = toml::to_string(&Own { data: &self.data, split: &self.split })?;
        Ok(format!("{own}\n{}", toml::to_string(&self.method)?))
    }

    /// A recipe in which every setting is present, with a value of the right type.
    fn example() -> Result<Self> {
        let data = DataOptions { spacing_um: Some([1.0; 3]) };
        Ok(Self { data, split: SplitOptions::default(), method: Recipe::default().resolve()? })
    }

    fn to_table(&self) -> Result<Table> {
        let mut table = Table::try_from(&self.method)?;
        table.insert("data".to_owned(), Value::try_from(&self.data)?);
        table.insert("split".to_owned(), Value::try_from(&self.split)?);
        Ok(table)
    }

    fn from_table(table: &Table) -> Result<Self, toml::de::Error> {
        let mut method = table.clone();
        let mut own = |section: &str| method.remove(section);
        let data = own("data").map_or_else(|| Ok(DataOptions::default()), Value::try_into)?;
        let split = own("split").map_or_else(|| Ok(SplitOptions::default()), Value::try_into)?;
        Ok(Self { data, split, method: method.try_into()? })
    }
}

impl SplitOptions {
    fn check(&self) -> Result<()> {
        let Self::Seeded(SeededSplit { train, validate, .. }) = *self else { return Ok(()) };
        // The sum may be 1 but for rounding.
        if train > 0.0 && validate >= 0.0 && train + validate <= 1.0 + 1e-9 {
            return Ok(());
        }
        let text = format!("split.train is {train} and split.validate {validate}");
        Err(wrong_use(format!("{text}, they must be fractions with a sum of at most 1"), ""))
    }
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

fn parse_settings(text: &str, file: &str) -> Result<Vec<Setting>> {
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
            format!("a list of {} for z, y, x, each {each}", values.len())
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
    use crate::cli::Outcome;
    use spotlight_learn::loss::{Loss, SpotlightOptions};

    fn read(text: &str) -> Result<RunRecipe> {
        RunRecipe::new(&parse_settings(text, "r.toml")?)
    }

    #[track_caller]
    fn check_error(text: &str, message: &str, hint: Option<&str>) {
        let outcome = Outcome::of(&read(text).unwrap_err());
        assert_eq!(outcome.message.as_deref(), Some(message));
        assert_eq!(outcome.hint.as_deref(), hint);
        assert_eq!(outcome.status, 2);
    }

    fn flag(path: &str, value: impl Into<Value>) -> Setting {
        Setting { path: path.to_owned(), value: value.into(), origin: "--flag".to_owned() }
    }

    #[test]
    fn nothing_given_is_the_paper() {
        let recipe = read("").unwrap();
        assert_eq!(recipe.method.train.batch, 24);
        assert_eq!(recipe.method.sample.patch, [32, 64, 64]);
        assert_eq!(recipe.method.sample.min_foreground, Some(0.001));
        assert_eq!(recipe.method.loss, Loss::Spotlight(SpotlightOptions::default()));
    }

    #[test]
    fn a_written_recipe_reads_back_the_same() {
        let text = "[loss]\nlambda_mse = 0.25\n[data]\nspacing_um = [1, 0.5, 0.5]\n";
        for text in ["", text, "[loss]\nkind = \"mse\"", "[split]\nrule = \"paper\""] {
            let recipe = read(text).unwrap();
            assert_eq!(read(&recipe.to_toml().unwrap()).unwrap(), recipe);
        }
    }

    #[test]
    fn unknown_settings_name_the_nearest() {
        let text = "# mine\n[train]\nbatch = 2\nitertions = 7\n";
        let hint = Some("did you mean train.iterations?");
        check_error(text, "r.toml, line 4: there is no setting train.itertions", hint);
        let hint = Some("did you mean train.batch?");
        check_error("batch = 3", "r.toml, line 1: there is no setting batch", hint);
        let text = "[trian]\nbatch = 3";
        check_error(text, "r.toml, line 2: there is no setting trian.batch", hint);
    }

    #[test]
    fn types_are_checked() {
        let text = "[train]\nbatch = \"24\"";
        let message = "train.batch is \"24\", it must be a whole number, not below 0";
        check_error(text, &format!("r.toml, line 2: {message}"), None);
        let message = "r.toml, line 1: sample.patch is [8, 8], it must be a list of 3 for z, y, x, \
                       each a whole number, not below 0";
        check_error("sample.patch = [8, 8]", message, None);
        let message = "r.toml, line 1: train is a section, write [train] and its settings";
        check_error("train = 3", message, None);
    }

    #[test]
    fn names_out_of_a_list_are_checked() {
        let outcome = Outcome::of(&read("\n[loss]\nkind = \"dice\"").unwrap_err());
        let message = outcome.message.unwrap();
        assert!(message.starts_with("r.toml, line 3: loss.kind is \"dice\": "), "{message}");
        assert!(message.contains("spotlight"), "{message}");
    }

    #[test]
    fn text_that_is_not_toml_names_its_line() {
        let outcome = Outcome::of(&read("[train]\nbatch 24").unwrap_err());
        let message = outcome.message.unwrap();
        assert!(message.starts_with("r.toml, line 2: "), "{message}");
    }

    #[test]
    fn settings_of_another_loss_have_no_meaning() {
        let text = "[loss]\nlambda_mse = 0.3\nkind = \"mse\"";
        let message = "r.toml, line 2: loss.lambda_mse has no meaning where loss.kind is \"mse\"; \
                       leave it out";
        check_error(text, message, None);
    }

    #[test]
    fn flags_override_the_file() {
        let mut settings =
            parse_settings("[loss]\nlambda_mse = 0.3\n[train]\nbatch = 3", "r.toml").unwrap();
        settings.push(flag("train.batch", 5));
        assert_eq!(RunRecipe::new(&settings).unwrap().method.train.batch, 5);
        settings.push(flag("loss.kind", "mse"));
        assert_eq!(RunRecipe::new(&settings).unwrap().method.loss, Loss::Mse);
        settings.push(flag("loss.kind", "spotlight"));
        let recipe = RunRecipe::new(&settings).unwrap();
        assert_eq!(recipe.method.loss, Loss::Spotlight(SpotlightOptions::default()));
    }

    #[test]
    fn impossible_splits_are_refused() {
        let text = "[split]\ntrain = 0.9\nvalidate = 0.2";
        let message = "split.train is 0.9 and split.validate 0.2, they must be fractions with a \
                       sum of at most 1";
        check_error(text, message, None);
    }
}
