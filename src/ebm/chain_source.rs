//! The images that chains of a trained model start at.

use super::gaussians::ClassGaussians;
use super::model::Model;
use super::sampler::uniform_image;
use crate::compute::random::{Threefry, stream};
use crate::data::images::{Images, Pixels};
use crate::error::{Error, Result};
use crate::words::counted;

/// A source of starting images.
#[derive(Debug, Clone)]
pub struct ChainSource {
    seed: u32,
    image: usize,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Uniform,
    Images(Images),
    Buffer(Buffer),
    /// The Gaussians, and the name of the images that they are fitted to.
    Gaussians(ClassGaussians, String),
}

/// The chains of a replay buffer.
#[derive(Debug, Clone)]
struct Buffer {
    images: Images,
    /// The number of SGLD steps of each, if known.
    ages: Option<Vec<f32>>,
    /// The number of classes, each with its own part of the buffer, if chains were class-conditional in training.
    classes: Option<usize>,
    /// The entries that the chains start at.
    selected: Vec<usize>,
}

impl Buffer {
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

impl ChainSource {
    fn of(model: &Model, seed: u32, source: Source) -> Self {
        Self { seed, image: model.image_shape().iter().product(), source }
    }

    /// Uniform noise in [-1, 1), as in JEM's replay buffer.
    pub fn uniform(model: &Model, seed: u32) -> Self {
        Self::of(model, seed, Source::Uniform)
    }

    /// Starts at `images`, one after the other; they repeat after the last.
    ///
    /// # Errors
    /// [`Error::Setting`] for no images.
    pub fn images(model: &Model, seed: u32, images: Images) -> Result<Self> {
        if images.count == 0 {
            return Err(Error::setting("images", format!("{} has no images", images.name)));
        }
        Ok(Self::of(model, seed, Source::Images(images)))
    }

    /// The chains of the model's replay buffer. Call [`ChainSource::select`] before the first image.
    ///
    /// # Errors
    /// [`Error::File`] for a model without one, or that was read without it.
    pub fn buffer(model: &Model, seed: u32) -> Result<Self> {
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
        let buffer = Buffer { images, ages, classes, selected: Vec::new() };
        Ok(Self::of(model, seed, Source::Buffer(buffer)))
    }

    /// A Gaussian for each class of `images`, for chains of `classes` (empty: chains of p(x), which cycle through the
    /// classes).
    ///
    /// # Errors
    /// [`Error::Setting`] for the argument `images`, if they have no labels, or have not the model's classes and chains
    /// have.
    pub fn gaussians(model: &Model, seed: u32, images: Images, classes: &[u32]) -> Result<Self> {
        let (name, of) = (images.name.clone(), images.class_names.clone());
        let gaussians = ClassGaussians::fit(images)?;
        if let Some(names) =
            model.class_names().filter(|names| !classes.is_empty() && !of.is_empty() && **names != of)
        {
            let message = format!(
                "{name} has the classes {}, the model {}; name images of its classes in this order, such as those it \
                 was trained on",
                of.join(", "),
                names.join(", ")
            );
            return Err(Error::setting("images", message));
        }
        let (found, expected) = (gaussians.classes(), model.network().classes());
        if !classes.is_empty() && found != expected {
            let message = format!("{name} has {}, the model {expected}", counted(found, "class"));
            return Err(Error::setting("images", message));
        }
        Ok(Self::of(model, seed, Source::Gaussians(gaussians, name)))
    }

    /// Whether these are images, or chains of a buffer, rather than draws of a distribution.
    pub fn has_images(&self) -> bool {
        matches!(self.source, Source::Images(_) | Source::Buffer(_))
    }

    /// A description of the starting points of `count` chains.
    pub fn name(&self, count: usize) -> String {
        match &self.source {
            Source::Uniform => "uniform noise".into(),
            Source::Images(images) if count < images.count => {
                format!("the first {count} of {} of {}", images.count, images.name)
            }
            Source::Images(images) => format!("all {count} of {}", images.name),
            Source::Buffer(Buffer { images, .. }) if count == images.count => {
                format!("all {} of the replay buffer", counted(count, "chain"))
            }
            Source::Buffer(Buffer { images, ages, .. }) => {
                let which = if ages.is_some() { " with the most SGLD steps" } else { "" };
                format!("{count} of the {} of the replay buffer{which}", counted(images.count, "chain"))
            }
            Source::Gaussians(_, name) => format!("a Gaussian for each class of {name}"),
        }
    }

    /// The number of different starting images for chains of `classes` (empty: chains of p(x)), and their name; `None`
    /// if there is no end of them.
    pub fn available(&self, classes: &[u32]) -> Option<(usize, String)> {
        match &self.source {
            Source::Images(images) => Some((images.count, format!("the images of {}", images.name))),
            Source::Buffer(buffer) if buffer.classes.is_some() && !classes.is_empty() => {
                Some((buffer.there(classes), "the chains of these classes in the replay buffer".into()))
            }
            Source::Buffer(buffer) => Some((buffer.there(classes), "the chains of the replay buffer".into())),
            Source::Uniform | Source::Gaussians(..) => None,
        }
    }

    /// Selects the entries of the replay buffer that `count` chains of `classes` start at: those with the most steps, of
    /// each class's own part if training was class-conditional. `count` is at most [`ChainSource::available`], and a
    /// multiple of the number of classes.
    pub fn select(&mut self, count: usize, classes: &[u32]) {
        let Source::Buffer(buffer) = &mut self.source else { return };
        buffer.selected = match (buffer.classes, classes) {
            (Some(_), [_, ..]) => {
                let each = count / classes.len();
                classes.iter().flat_map(|&class| buffer.oldest(buffer.entries(Some(class)), each)).collect()
            }
            _ => buffer.oldest(buffer.entries(None), count),
        };
    }

    /// The starting image of chain `chain`, HWC: a function of the seed and of the chain's number. Given images repeat
    /// after the last.
    ///
    /// # Panics
    /// For a chain of the buffer that was not selected.
    pub fn image(&self, chain: usize, class: Option<u32>) -> Vec<f32> {
        match &self.source {
            Source::Uniform => uniform_image(self.seed, chain as u32, self.image),
            Source::Images(images) => {
                let i = chain % images.count;
                images.batch(i..i + 1)
            }
            Source::Buffer(Buffer { images, selected, .. }) => {
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
