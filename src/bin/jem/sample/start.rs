//! The starting points of chains.

use super::Arguments;
use crate::common::waiting;
use crate::session::flags::Flags as _;
use jem::compute::random::{Threefry, stream};
use jem::data::images::{Images, Pixels};
use jem::ebm::{ClassGaussians, Model, uniform_image};
use jem::words::counted;
use jem::{Error, Result};

/// The values of `--init` that name no images.
pub const UNIFORM: &str = "uniform";
pub const BUFFER: &str = "buffer";
pub const GAUSSIANS: &str = "gaussians";
/// The default number of chains.
const COUNT: usize = 64;
/// The largest number of chains, whose samples are in memory at once.
const MAX_COUNT: usize = 1 << 20;

/// A source of starting images.
pub struct Start {
    seed: u32,
    image: usize,
    source: Source,
}

enum Source {
    Uniform,
    Images(Images),
    Chains(Chains),
    /// The Gaussians, and the name of the images that they are fitted to.
    Gaussians(ClassGaussians, String),
}

/// The chains of a replay buffer.
struct Chains {
    images: Images,
    /// The number of SGLD steps of each, if known.
    ages: Option<Vec<f32>>,
    /// The number of classes, each with its own part of the buffer, if chains were class-conditional in training.
    classes: Option<usize>,
    /// The entries that the chains start at.
    selected: Vec<usize>,
}

impl Chains {
    /// The entries of the buffer that belong to `class`; all entries without classes.
    fn entries(&self, class: Option<u32>) -> std::ops::Range<usize> {
        match (self.classes, class) {
            (Some(classes), Some(class)) => {
                let part = self.images.count / classes;
                class as usize * part..(class as usize + 1) * part
            }
            _ => 0..self.images.count,
        }
    }

    /// The `count` entries of `of` with the most steps (the first ones if ages are unknown), in the order of the
    /// buffer.
    fn oldest(&self, of: std::ops::Range<usize>, count: usize) -> Vec<usize> {
        let mut entries: Vec<usize> = of.collect();
        if let Some(ages) = &self.ages {
            entries.sort_by(|&a, &b| ages[b].total_cmp(&ages[a]));
        }
        entries.truncate(count);
        entries.sort_unstable();
        entries
    }

    /// The number of chains that the buffer has for `classes`.
    fn there(&self, classes: &[u32]) -> usize {
        match self.classes {
            Some(_) if !classes.is_empty() => self.entries(Some(0)).len() * classes.len(),
            _ => self.images.count,
        }
    }
}

impl Start {
    /// The source that `init`, the value of `--init`, names, for chains of `classes` (empty: chains of p(x)).
    /// Inpainting needs images, whose pixels it holds.
    pub fn new(arguments: &Arguments, init: &str, model: &Model, classes: &[u32]) -> Result<Self> {
        let source = match init {
            UNIFORM => Source::Uniform,
            BUFFER => Source::Chains(buffer(model)?),
            GAUSSIANS => {
                let images =
                    arguments.source.open("--init-data", &arguments.init_data, model, &arguments.output)?;
                let (name, of) = (images.name.clone(), images.class_names.clone());
                let waiting = waiting(&format!("fitting Gaussians to {name}"), &arguments.output);
                let gaussians = ClassGaussians::fit(images).flag("images", "--init-data")?;
                drop(waiting);
                if let Some(names) =
                    model.class_names().filter(|names| !classes.is_empty() && !of.is_empty() && **names != of)
                {
                    let message = format!(
                        "{name} has the classes {}, the model {}; name images of its classes in this order, such as \
                         those it was trained on",
                        of.join(", "),
                        names.join(", ")
                    );
                    return Err(Error::setting("--init-data", message));
                }
                let (found, expected) = (gaussians.classes(), model.network().classes());
                if !classes.is_empty() && found != expected {
                    let message = format!("{name} has {}, the model {expected}", counted(found, "class"));
                    return Err(Error::setting("--init-data", message));
                }
                Source::Gaussians(gaussians, name)
            }
            text => Source::Images(arguments.source.open("--init", text, model, &arguments.output)?),
        };
        if arguments.inpaint.is_some() && !matches!(source, Source::Images(_) | Source::Chains(_)) {
            let message = "needs images, whose pixels it holds: pass them with --init";
            return Err(Error::setting("--inpaint", message));
        }
        let image = model.image_shape().iter().product();
        Ok(Self { seed: arguments.seed, image, source })
    }

    /// A description of the starting points of `count` chains.
    pub fn name(&self, count: usize) -> String {
        match &self.source {
            Source::Uniform => "uniform noise".into(),
            Source::Images(images) if count < images.count => {
                format!("the first {count} of {} of {}", images.count, images.name)
            }
            Source::Images(images) => format!("all {count} of {}", images.name),
            Source::Chains(Chains { images, .. }) if count == images.count => {
                format!("all {} of the replay buffer", counted(count, "chain"))
            }
            Source::Chains(Chains { images, ages, .. }) => {
                let which = if ages.is_some() { " with the most SGLD steps" } else { "" };
                format!("{count} of the {} of the replay buffer{which}", counted(images.count, "chain"))
            }
            Source::Gaussians(_, name) => format!("a Gaussian for each class of {name}"),
        }
    }

    /// The number of chains, a multiple of the number of classes: the number `asked` for, else [`COUNT`] or the number
    /// of images, whichever is less.
    pub fn count(&self, asked: Option<usize>, classes: &[u32]) -> Result<usize> {
        let there = match &self.source {
            Source::Images(images) => Some((images.count, format!("the images of {}", images.name))),
            Source::Chains(chains) if chains.classes.is_some() && !classes.is_empty() => {
                Some((chains.there(classes), "the chains of these classes in the replay buffer".into()))
            }
            Source::Chains(chains) => Some((chains.there(classes), "the chains of the replay buffer".into())),
            Source::Uniform | Source::Gaussians(..) => None,
        };
        let rows = classes.len().max(1);
        let wrong = |message: String| Err(Error::setting("--count", message));
        match (asked, there) {
            (Some(0), _) => wrong("must be at least 1, got 0".into()),
            (Some(count), _) if count > MAX_COUNT => {
                wrong(format!("expected at most {MAX_COUNT}, got {count}"))
            }
            (Some(count), _) if count % rows > 0 => wrong(format!(
                "expected a multiple of {rows}, for as many chains of each of the {rows} classes, got {count}"
            )),
            (Some(count), Some((there, what))) if count > there => {
                wrong(format!("expected at most {there}, {what}, got {count}"))
            }
            (Some(count), _) => Ok(count),
            (None, None) => Ok(COUNT.div_ceil(rows) * rows),
            (None, Some((there, what))) if there < rows => {
                wrong(format!("expected at least {rows}, one for each class, but {what} number {there}"))
            }
            (None, Some((there, _))) => Ok(there.min(COUNT.div_ceil(rows) * rows) / rows * rows),
        }
    }

    /// Selects the entries of the replay buffer that `count` chains of `classes` start at: those with the most steps, of
    /// each class's own part if training was class-conditional.
    pub fn select(&mut self, count: usize, classes: &[u32]) {
        let Source::Chains(chains) = &mut self.source else { return };
        chains.selected = match (chains.classes, classes) {
            (Some(_), [_, ..]) => {
                let each = count / classes.len();
                classes.iter().flat_map(|&class| chains.oldest(chains.entries(Some(class)), each)).collect()
            }
            _ => chains.oldest(chains.entries(None), count),
        };
    }

    /// The starting image of chain `chain`, HWC: a function of the seed and of the chain's number. Given images repeat
    /// after the last.
    pub fn image(&self, chain: usize, class: Option<u32>) -> Vec<f32> {
        match &self.source {
            Source::Uniform => uniform_image(self.seed, chain as u32, self.image),
            Source::Images(images) => {
                let i = chain % images.count;
                images.batch(i..i + 1)
            }
            Source::Chains(Chains { images, selected, .. }) => {
                let i = selected[chain];
                images.batch(i..i + 1)
            }
            Source::Gaussians(gaussians, _) => {
                // Without a class, cycle through the classes.
                let class = class.map_or(chain % gaussians.classes(), |class| class as usize);
                gaussians.sample(class, &mut Threefry::new(self.seed, stream::REPLAY_FILL, chain as u32))
            }
        }
    }
}

/// The model's replay buffer.
fn buffer(model: &Model) -> Result<Chains> {
    let (values, count) = model.replay_buffer().filter(|(_, count)| *count > 0).ok_or_else(|| {
        Error::file(
            model.path(),
            "has no replay buffer, which the models of runs with samples have; --init uniform needs none",
        )
    })?;
    let [height, width, channels] = model.image_shape();
    let conditional = model.recipe().is_some_and(|recipe| recipe.class_conditional);
    let classes = conditional.then(|| model.network().classes());
    let ages = model.chain_ages().map(<[f32]>::to_vec);
    let images = Images {
        pixels: Pixels::Floats(values),
        count,
        height,
        width,
        channels,
        labels: None,
        class_names: Vec::new(),
        name: "the replay buffer".into(),
        files: None,
        notes: Vec::new(),
    };
    Ok(Chains { images, ages, classes, selected: Vec::new() })
}
