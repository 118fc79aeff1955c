//! The images of an evaluation, and the models' classes of them.

use super::Arguments;
use crate::class_names::Map;
use crate::labels;
use jem::data::held_out;
use jem::data::images::Images;
use jem::data::named::Collection;
use jem::data::training::DataSource;
use jem::ebm::Model;
use jem::evaluation::sets::MadeSet;
use jem::evaluation::{EvaluationData, ImageSet, Labels, Part};
use jem::words::counted;
use jem::{Error, Result};
use std::path::{Path, PathBuf};

/// The sets that are told from the test images by default.
const OUTSIDE: [&str; 6] =
    ["cifar100:test", "svhn:test", "fashion-mnist:test", "noise", "interpolated", "constant"];
/// The default number of images of each of them.
const OUTSIDE_IMAGES: usize = 2000;
/// The default number of training images that a temperature is fitted to, for a model whose training held none out.
const HELD_OUT: usize = 5000;
/// The number of training images that class means are fitted to.
const FIT: usize = 10_000;
/// The numbers of test images and of each other set with --quick.
const QUICK: [usize; 2] = [1000, 500];
/// Sets the choice of training images apart from the run's own.
const SEED: u64 = 0xf17;

/// The flags that say what to read.
pub struct Asked<'a> {
    pub arguments: &'a Arguments,
    pub parts: &'a [Part],
    /// The names of the classes of models without them.
    pub names: Option<&'a [String]>,
}

/// The images, with the models' classes of them.
pub struct Loaded {
    pub data: EvaluationData,
    /// Each model's classes of the images; `None` for a scalar energy.
    pub labels: Vec<Option<Labels>>,
    /// Omissions that the user may not expect, a line each.
    pub notes: Vec<String>,
}

/// Images with the classes that each model has for them.
type Labelled = (Images, Vec<Option<Vec<u32>>>);

impl Asked<'_> {
    /// Reads all images.
    pub fn load(&self, models: &[(PathBuf, Model)]) -> Result<Loaded> {
        let mut notes = Vec::new();
        let Arguments { data, source, only: _, .. } = self.arguments;
        let source = DataSource::new(data, source.data_dir.as_deref()).ok();
        let text = source.as_ref().map_or_else(|| data.clone(), DataSource::test_images);
        let (test, test_labels) = self.labelled("--data", &text, models)?;
        let count = self.arguments.images.or(self.arguments.quick.then(|| QUICK[0].min(test.count)));
        let chosen = first("--images", &test, count)?;
        let (test, taken, note) = self.taken(select((test, test_labels), &chosen))?;
        let (test, test_labels) = test;
        let wanted = self.parts.iter().any(|part| *part != Part::Robustness);
        let train = match source.as_ref().filter(|_| wanted) {
            Some(source) => self.training(&source.training_images(), models, &mut notes)?,
            None => None,
        };
        let Fitted { train, held_out, held_out_note } =
            self.fitted(train, taken.map(|taken| (taken, note)), models, wanted)?;
        let outside = if self.parts.contains(&Part::Ood) {
            self.outside(&test, models, &mut notes)?
        } else {
            Vec::new()
        };
        let labels = test_labels.into_iter().enumerate().map(|(model, test)| {
            let of = |set: &Option<Labelled>| {
                set.as_ref().and_then(|set| set.1[model].clone()).unwrap_or_default()
            };
            Some(Labels { test: test?, train: of(&train), held_out: of(&held_out) })
        });
        let labels = labels.collect();
        let set = |name: &str| {
            let name = name.to_owned();
            move |(images, _): Labelled| ImageSet::new(name, images)
        };
        let data = EvaluationData {
            name: data.clone(),
            test: ImageSet::new(text, test),
            train: train.map(set("training images")),
            held_out: held_out.map(set("held-out images")),
            held_out_note,
            outside,
        };
        Ok(Loaded { data, labels, notes })
    }

    /// The images `text`, the value of `flag`, with their classes.
    fn labelled(&self, flag: &str, text: &str, models: &[(PathBuf, Model)]) -> Result<Labelled> {
        let images = self.arguments.source.open(flag, text, &models[0].1, &self.arguments.output)?;
        let map = self.arguments.classes_map.as_deref().map(Map::read).transpose()?.unwrap_or_default();
        let mut all = Vec::new();
        for (path, model) in models {
            let classes = model.network().classes();
            if classes == 1 {
                all.push(None);
                continue;
            }
            let wrong =
                |why: &str| Error::setting(flag, format!("{} for {}: {why}", images.name, path.display()));
            let labels = images.labels.as_ref().ok_or_else(|| wrong("the images have no classes"))?;
            let names = self.names.or(model.class_names());
            if let Some(names) = names.filter(|names| names.len() != classes) {
                let message = format!(
                    "expected the names of the model's {}, got {}",
                    counted(classes, "class"),
                    names.len()
                );
                return Err(Error::setting("--classes", message));
            }
            let found = labels::of_model(flag, &images, labels, classes, names, &map)?;
            let labels = found.classes.ok_or_else(|| wrong(found.note.as_deref().unwrap_or("no classes")))?;
            all.push(Some(labels));
        }
        Ok((images, all))
    }

    /// The training images; `None`, with a note, where they cannot be read.
    fn training(
        &self,
        text: &str,
        models: &[(PathBuf, Model)],
        notes: &mut Vec<String>,
    ) -> Result<Option<Labelled>> {
        match self.labelled("--data", text, models) {
            Ok(labelled) => Ok(Some(labelled)),
            Err(error) => {
                notes.push(format!(
                    "no training images, so no temperature and no Mahalanobis distances: {error}"
                ));
                Ok(None)
            }
        }
    }

    /// The test images, and of them those that --held-out takes by their number, with what is said of these.
    fn taken(&self, test: Labelled) -> Result<(Labelled, Option<Labelled>, String)> {
        let asked = self.arguments.held_out.as_ref().and_then(|text| text.parse::<usize>().ok());
        let Some(count) = asked else { return Ok((test, None, String::new())) };
        let n = test.0.count;
        if count == 0 || count >= n {
            let message = format!("expected 1 to {} of the {n} test images, or a set, got {count}", n - 1);
            return Err(Error::setting("--held-out", message));
        }
        let labels = test.0.labels.clone().unwrap_or_else(|| vec![0; n]);
        let marks = held_out(&labels, count, SEED);
        let rest: Vec<usize> = (0..n).filter(|&image| !marks[image]).collect();
        let note = format!(
            "The temperature is fitted to {count} images of {}, which are left out of all else.",
            test.0.name
        );
        let taken = select(test.clone(), &indices(&marks));
        Ok((select(test, &rest), Some(taken), note))
    }

    /// The images that temperatures and class means are fitted to.
    fn fitted(
        &self,
        train: Option<Labelled>,
        taken: Option<(Labelled, String)>,
        models: &[(PathBuf, Model)],
        wanted: bool,
    ) -> Result<Fitted> {
        let mut held = None;
        let mut note =
            "No temperature was fitted: there are no held-out images. --held-out names some.".to_owned();
        if let Some((taken, said)) = taken {
            (held, note) = (Some(taken), said);
        } else if let Some(text) = self.arguments.held_out.as_deref().filter(|_| wanted) {
            let labelled = self.labelled("--held-out", text, models)?;
            note = format!("The temperature is fitted to the {} images of {text}.", labelled.0.count);
            held = Some(labelled);
        }
        let Some(train) = train else {
            return Ok(Fitted { train: None, held_out: held, held_out_note: note });
        };
        let labels = train.0.labels.clone().unwrap_or_else(|| vec![0; train.0.count]);
        let mut left = vec![true; labels.len()];
        if held.is_none() {
            let own = models[0]
                .1
                .held_out()
                .filter(|&(count, data, _)| data == train.0.name && count < labels.len());
            let (count, seed) = match own {
                Some((count, _, seed)) => (count, u64::from(seed)),
                None => (HELD_OUT.min(labels.len() / 2), SEED),
            };
            let marks = held_out(&labels, count, seed);
            note = match own {
                Some(_) => format!(
                    "The temperature is fitted to the {count} images of {} that the model's training held out.",
                    train.0.name
                ),
                None => format!(
                    "The temperature is fitted to {count} images of {}: the model's file does not say which images its \
                     training held out, and it may have been trained on these. --held-out names others.",
                    train.0.name
                ),
            };
            held = Some(select(train.clone(), &indices(&marks)));
            left.iter_mut().zip(&marks).for_each(|(left, held)| *left = !held);
        }
        // Class means leave out what was held out.
        let rest = select(train, &indices(&left));
        let count = if self.arguments.quick { QUICK[0] } else { FIT };
        let labels = rest.0.labels.clone().unwrap_or_else(|| vec![0; rest.0.count]);
        let marks = held_out(&labels, count.min(rest.0.count), SEED + 1);
        let train = Some(select(rest, &indices(&marks)));
        Ok(Fitted { train, held_out: held, held_out_note: note })
    }

    /// The sets that are to be told from the test images.
    fn outside(
        &self,
        test: &Images,
        models: &[(PathBuf, Model)],
        notes: &mut Vec<String>,
    ) -> Result<Vec<ImageSet>> {
        let asked = &self.arguments.ood;
        let own = Collection::named(&self.arguments.data).map(|own| format!("{}:", own.key));
        let is_own = |text: &str| own.as_ref().is_some_and(|own| text.starts_with(own.as_str()));
        let all: Vec<&str> = match asked.is_empty() {
            true => OUTSIDE.into_iter().filter(|text| !is_own(text)).collect(),
            false => asked.iter().map(String::as_str).collect(),
        };
        let most = if self.arguments.quick { QUICK[1] } else { OUTSIDE_IMAGES };
        let mut sets: Vec<ImageSet> = Vec::new();
        for text in all {
            if sets.iter().any(|set| set.name == text) {
                return Err(Error::setting("--ood", format!("expected each set once, got {text} twice")));
            }
            let images = match text.parse::<MadeSet>() {
                Ok(MadeSet::Interpolated) if test.count < 2 => {
                    return Err(Error::setting("--ood", "interpolated needs at least two test images"));
                }
                Ok(made) => {
                    made.make(test, self.arguments.ood_images.unwrap_or(most), self.arguments.seed.into())
                }
                Err(()) => {
                    match self.arguments.source.open("--ood", text, &models[0].1, &self.arguments.output) {
                        Ok(images) => {
                            let count = self.arguments.ood_images.unwrap_or(most.min(images.count));
                            images.select(&first("--ood-images", &images, Some(count))?)
                        }
                        Err(error) if asked.is_empty() => {
                            notes.push(format!("left out {text}: {error}"));
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            sets.push(ImageSet::new(text, images));
        }
        Ok(sets)
    }
}

/// Images that something is fitted to.
struct Fitted {
    train: Option<Labelled>,
    held_out: Option<Labelled>,
    held_out_note: String,
}

fn indices(marks: &[bool]) -> Vec<usize> {
    (0..marks.len()).filter(|&image| marks[image]).collect()
}

/// The first `count` images; of a folder, whose files are sorted by class, `count` images evenly spaced.
fn first(flag: &str, images: &Images, count: Option<usize>) -> Result<Vec<usize>> {
    let count = count.unwrap_or(images.count);
    if count == 0 || count > images.count {
        let message = format!("expected 1 to {}, the images of {}, got {count}", images.count, images.name);
        return Err(Error::setting(flag, message));
    }
    let spaced = |image: usize| image * images.count / count;
    Ok((0..count).map(|image| if images.files.is_some() { spaced(image) } else { image }).collect())
}

fn select((images, labels): Labelled, indices: &[usize]) -> Labelled {
    let of = |labels: Vec<u32>| indices.iter().map(|&image| labels[image]).collect();
    (images.select(indices), labels.into_iter().map(|labels| labels.map(of)).collect())
}

/// The names of models in a report: those of their files or run directories, made different.
pub fn names(models: &[(PathBuf, Model)]) -> Vec<String> {
    let short = |path: &Path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let shorts: Vec<String> = models.iter().map(|(path, _)| short(path)).collect();
    let name = |(i, (path, _)): (usize, &(PathBuf, Model))| match shorts
        .iter()
        .filter(|name| **name == shorts[i])
        .count()
    {
        1 => shorts[i].clone(),
        _ => path.display().to_string(),
    };
    models.iter().enumerate().map(name).collect()
}
