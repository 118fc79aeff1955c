//! The runs of an ablation: each recipe at each value with each seed.

use super::Arguments;
use super::result::Figures;
use crate::session::flags::Flags as _;
use crate::session::training::check_family;
use jem::data::Dataset;
use jem::data::training::DataSource;
use jem::ebm::{Family, Overrides, Recipe, RunDirectory, recipe_for};
use jem::{Error, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A setting and the values that it takes.
pub struct Vary {
    /// The key of the setting, as in a TOML file.
    pub key: String,
    values: Vec<(String, Overrides)>,
}

/// A row of the table: a recipe at a value of the setting that varies.
pub struct Setup {
    /// The recipe and the value, for people.
    pub label: String,
    /// The recipe.
    pub family: Family,
    /// The value of the setting that varies, as the user wrote it.
    pub value: Option<String>,
    /// One run for each seed.
    pub runs: Vec<Run>,
}

/// One training run.
pub struct Run {
    /// All settings.
    pub recipe: Recipe,
    /// The run directory.
    pub directory: PathBuf,
    /// The results, once the run has ended.
    pub figures: Option<Figures>,
}

impl Vary {
    /// Reads `KEY=VALUE,VALUE`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |message: String| Error::setting("--vary", message);
        let Some((key, values)) = text.split_once('=') else {
            return Err(wrong(format!("expected KEY=VALUE,VALUE such as steps=5,10, got {text:?}")));
        };
        let key = key.trim().replace('-', "_");
        if let Some(flag) = match key.as_str() {
            "recipe" => Some("--recipes"),
            "seed" => Some("--seeds"),
            _ => None,
        } {
            return Err(wrong(format!("{key} is compared by {flag}")));
        }
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        let overrides = |value: String| {
            // A name needs quotes to be a TOML string.
            let parsed = Overrides::parse(&format!("{key} = {value}"))
                .or_else(|_| Overrides::parse(&format!("{key} = {value:?}")));
            let reason = |message: String| {
                // Drop the location: it is in a text that the user has not written.
                let reason = message.split_once(": ").map_or(message.as_str(), |(_, reason)| reason);
                wrong(format!("{key} = {value}: {reason}"))
            };
            let overrides = parsed.map_err(reason)?;
            Ok((value, overrides))
        };
        let values = values.into_iter().map(overrides).collect::<Result<Vec<_>>>()?;
        unique("--vary", values.iter().map(|(value, _)| value))?;
        Ok(Self { key, values })
    }
}

impl Run {
    /// Refuses to reuse a run with other settings or data.
    pub fn check_taken_over(&self, source: &DataSource, train: &Dataset) -> Result<()> {
        let Ok(config) = RunDirectory::config(&self.directory) else { return Ok(()) };
        let text = std::fs::read_to_string(&config).map_err(Error::io(&config))?;
        let found = Recipe::parse(&text).map_err(|message| Error::file(&config, message))?;
        let settings =
            |recipe: &Recipe| recipe.to_toml().parse::<toml::Table>().expect("what was written can be read");
        let asked = settings(&self.recipe);
        let different = |(key, value): (String, toml::Value)| {
            let wanted = asked.get(&key).filter(|wanted| **wanted != value)?;
            Some(format!("{key} = {value}, not {wanted}"))
        };
        let mut differ: Vec<String> = settings(&found).into_iter().filter_map(different).collect();
        if let Some(found) = RunDirectory::source(&self.directory)? {
            if found.data != source.data {
                differ.push(format!("data = {}, not {}", found.data, source.data));
            }
            let text = |size: Option<usize>| size.map_or("as it is".into(), |size| size.to_string());
            if found.read.size != source.read.size {
                differ.push(format!("size = {}, not {}", text(found.read.size), text(source.read.size)));
            }
            // Both orders are the same unless numbers in names have several lengths.
            if found.read.class_order != source.read.class_order && !train.class_names.is_sorted() {
                differ.push("another order of the classes".into());
            }
        }
        if differ.is_empty() {
            return Ok(());
        }
        let message = format!(
            "is a run with other settings ({}); choose another --out, or remove it",
            differ.join("; ")
        );
        Err(Error::file(&self.directory, message))
    }
}

/// The setups that `arguments` ask for, with settings from `file` under the flags.
pub fn setups(
    arguments: &Arguments,
    vary: Option<&Vary>,
    file: &Overrides,
    train: &Dataset,
) -> Result<Vec<Setup>> {
    let flags = &arguments.overrides;
    for (set, flag, plural) in
        [(flags.family.is_some(), "--recipe", "--recipes"), (flags.seed.is_some(), "--seed", "--seeds")]
    {
        if set {
            return Err(Error::setting(flag, format!("is set by the comparison: use {plural}")));
        }
    }
    let families = match arguments.recipes.as_slice() {
        [] => match (file.family, vary) {
            (Some(family), _) => vec![family],
            (None, Some(_)) => vec![Family::Jem],
            (None, None) => vec![Family::Classifier, Family::Jem],
        },
        asked => asked.to_vec(),
    };
    unique("--recipes", families.iter())?;
    for &family in &families {
        check_family(file, Some(family)).flag("--recipe", "--recipes")?;
    }
    unique("--seeds", arguments.seeds.iter())?;
    let mut setups = Vec::new();
    for family in families {
        for value in vary.map_or(vec![None], |vary| vary.values.iter().map(Some).collect()) {
            let text = value.map(|(text, _)| text.clone());
            let (label, name) = match (vary, &text) {
                (Some(Vary { key, .. }), Some(text)) => {
                    (format!("{family}, {key} = {text}"), format!("{family}-{key}-{}", file_name(text)))
                }
                _ => (family.to_string(), family.to_string()),
            };
            let run = |&seed: &u32| {
                let last = Overrides { family: Some(family), seed: Some(seed), ..Overrides::default() };
                let varied = value.map(|(_, overrides)| overrides);
                let all: Vec<_> = [file, flags].into_iter().chain(varied).chain([&last]).collect();
                let recipe = recipe_for(arguments.preset, &all, train);
                let directory = arguments.out.join(format!("{name}-seed{seed}"));
                Run { recipe, directory, figures: None }
            };
            let runs = arguments.seeds.iter().map(run).collect();
            setups.push(Setup { label, family, value: text, runs });
        }
    }
    check_different(&setups)?;
    Ok(setups)
}

/// The order of the runs, as indices of setups and of their runs: all runs of the first seed come first, so that
/// recipes can be compared early.
pub fn order(setups: &[Setup]) -> Vec<(usize, usize)> {
    let seeds = setups.first().map_or(0, |setup| setup.runs.len());
    (0..seeds).flat_map(|seed| (0..setups.len()).map(move |setup| (setup, seed))).collect()
}

/// Refuses setups with equal settings, such as when a whole file of settings overrides every recipe.
fn check_different(setups: &[Setup]) -> Result<()> {
    for (index, setup) in setups.iter().enumerate() {
        let settings = |setup: &Setup| {
            setup.runs.first().map(|run| Recipe { family: Family::default(), ..run.recipe.clone() })
        };
        if let Some(same) = setups[..index].iter().find(|other| settings(other) == settings(setup)) {
            let message = format!(
                "{} and {} have the same settings; remove those that distinguish them from --config and the flags",
                same.label, setup.label
            );
            return Err(Error::setting("--recipes", message));
        }
    }
    Ok(())
}

/// Refuses duplicates.
fn unique<T: std::fmt::Display>(flag: &str, all: impl Iterator<Item = T>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for text in all.map(|item| item.to_string()) {
        if seen.contains(&text) {
            return Err(Error::setting(flag, format!("{text} is named twice")));
        }
        seen.insert(text);
    }
    Ok(())
}

/// A value as part of a file name.
fn file_name(value: &str) -> String {
    value.replace(|c: char| !(c.is_ascii_alphanumeric() || "-+.".contains(c)), "_")
}
