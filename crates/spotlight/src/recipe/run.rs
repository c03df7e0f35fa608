//! The recipe of a training run: the sections of `spotlight train`.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spotlight_learn::train::Recipe;
use toml::{Table, Value};

use super::settings::{Sections, Setting, section};
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

impl RunRecipe {
    /// The recipe with these settings, later ones overriding earlier, all else the default.
    ///
    /// # Errors
    ///
    /// At the first setting that is unknown, of the wrong type or out of its range, and at one
    /// that has no meaning beside the others.
    pub fn new(settings: &[Setting]) -> Result<Self> {
        Self::of(settings)
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
}

impl Sections for RunRecipe {
    fn known() -> Result<Table> {
        let data = DataOptions { spacing_um: Some([1.0; 3]) };
        let method = Recipe::default().resolve()?;
        Self { data, split: SplitOptions::default(), method }.to_table()
    }

    fn to_table(&self) -> Result<Table> {
        let mut table = Table::try_from(&self.method)?;
        table.insert("data".to_owned(), Value::try_from(&self.data)?);
        table.insert("split".to_owned(), Value::try_from(&self.split)?);
        Ok(table)
    }

    fn from_table(table: &Table) -> Result<Self, toml::de::Error> {
        let mut method = table.clone();
        let data = section(&mut method, "data")?;
        let split = section(&mut method, "split")?;
        Ok(Self { data, split, method: method.try_into()? })
    }

    fn finish(mut self) -> Result<Self> {
        self.method = self.method.resolve().map_err(|e| wrong_use(e.to_string(), ""))?;
        self.split.check()?;
        Ok(self)
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

#[cfg(test)]
mod tests {
    use super::super::settings::parse_settings;
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
