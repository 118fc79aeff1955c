//! The starting points of chains.

use super::Arguments;
use crate::common::waiting;
use crate::session::flags::Flags as _;
use jem::compute::random::{Threefry, stream};
use jem::data::images::{Images, Pixels};
use jem::ebm::{ClassGaussians, Model, uniform_image};
use jem::{Error, Result};

/// The default number of chains.
const COUNT: usize = 64;

/// A source of starting images.
pub struct Start {
    seed: u32,
    image: usize,
    source: Source,
}

enum Source {
    Uniform,
    Images(Images),
    /// The Gaussians, and the name of the images that they are fitted to.
    Gaussians(ClassGaussians, String),
}

impl Start {
    /// The source that `--init` names, for chains of `classes` (empty: chains of p(x)). Inpainting needs images, whose
    /// pixels it holds.
    pub fn new(arguments: &Arguments, model: &Model, classes: &[u32]) -> Result<Self> {
        let source = match arguments.init.as_str() {
            "uniform" => Source::Uniform,
            "buffer" => Source::Images(buffer(model)?),
            "gaussians" => {
                let images =
                    arguments.source.open("--init-data", &arguments.init_data, model, &arguments.output)?;
                let name = images.name.clone();
                let waiting = waiting(&format!("fitting Gaussians to {name}"), &arguments.output);
                let gaussians = ClassGaussians::fit(images).flag("images", "--init-data")?;
                drop(waiting);
                let (found, expected) = (gaussians.classes(), model.network().classes());
                if !classes.is_empty() && found != expected {
                    let message = format!("{name} has {found} classes, the model {expected}");
                    return Err(Error::setting("--init-data", message));
                }
                Source::Gaussians(gaussians, name)
            }
            text => Source::Images(arguments.source.open("--init", text, model, &arguments.output)?),
        };
        if arguments.inpaint.is_some() && !matches!(source, Source::Images(_)) {
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
            Source::Gaussians(_, name) => format!("a Gaussian for each class of {name}"),
        }
    }

    /// The number of chains, a multiple of the number of classes: the number `asked` for, else [`COUNT`] or the number
    /// of images, whichever is less.
    pub fn count(&self, asked: Option<usize>, classes: &[u32]) -> Result<usize> {
        let there = match &self.source {
            Source::Images(images) => Some((images.count, &images.name)),
            _ => None,
        };
        let rows = classes.len().max(1);
        let wrong = |message: String| Err(Error::setting("--count", message));
        match (asked, there) {
            (Some(0), _) => wrong("must be at least 1, got 0".into()),
            (Some(count), _) if count % rows > 0 => wrong(format!(
                "expected a multiple of {rows}, for as many chains of each of the {rows} classes, got {count}"
            )),
            (Some(count), Some((there, name))) if count > there => {
                wrong(format!("expected at most {there}, the images of {name}, got {count}"))
            }
            (Some(count), _) => Ok(count),
            (None, None) => Ok(COUNT.div_ceil(rows) * rows),
            (None, Some((there, name))) if there < rows => {
                wrong(format!("expected {rows} images for {rows} classes, {name} has {there}"))
            }
            (None, Some((there, _))) => Ok(there.min(COUNT.div_ceil(rows) * rows) / rows * rows),
        }
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
            Source::Gaussians(gaussians, _) => {
                // Without a class, cycle through the classes.
                let class = class.map_or(chain % gaussians.classes(), |class| class as usize);
                gaussians.sample(class, &mut Threefry::new(self.seed, stream::REPLAY_FILL, chain as u32))
            }
        }
    }
}

/// The model's replay buffer.
fn buffer(model: &Model) -> Result<Images> {
    let (values, count) = model.replay_buffer().filter(|(_, count)| *count > 0).ok_or_else(|| {
        Error::file(
            model.path(),
            "has no replay buffer, as a run's checkpoints have; --init uniform needs none",
        )
    })?;
    let [height, width, channels] = model.image_shape();
    Ok(Images {
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
    })
}
