//! Where chains start.

use super::Arguments;
use jem::data::images::Images;
use jem::jem::{ClassGaussians, Model};
use jem::kernels::random::{Threefry, stream};
use jem::{Error, Result};

/// Chains when nothing says how many.
const COUNT: usize = 64;

/// A source of first images.
pub struct Start {
    name: String,
    seed: u32,
    image: usize,
    source: Source,
}

enum Source {
    Uniform,
    /// NHWC, and how many.
    Images(Vec<f32>, usize),
    Gaussians(ClassGaussians),
}

impl Start {
    /// What `--init` asks for. Inpainting has pixels to hold, so it needs images.
    pub fn new(arguments: &Arguments, model: &Model, inpainting: bool) -> Result<Self> {
        let [height, width, channels] = model.image_shape();
        let open = |text: &str| Images::open(text, arguments.data.as_deref())?.fit(height, width, channels);
        let (name, source) = match arguments.init.as_str() {
            "uniform" => ("uniform noise".to_owned(), Source::Uniform),
            "buffer" => {
                let (images, count) = model.replay_buffer().ok_or_else(|| {
                    Error::file(model.path(), "has no replay buffer; --init uniform starts from noise")
                })?;
                (format!("the replay buffer's {count} chains"), Source::Images(images, count))
            }
            "gaussians" => {
                let images = open(&arguments.init_data)?;
                let name = format!("a Gaussian for each class of {}", images.name);
                (name, Source::Gaussians(ClassGaussians::fit(&images)?))
            }
            text => {
                let images = open(text)?;
                let name = format!("{} of {}", images.count, images.name);
                (name, Source::Images(images.batch(0..images.count), images.count))
            }
        };
        if inpainting && !matches!(source, Source::Images(..)) {
            return Err(Error::setting(
                "--inpaint",
                "needs images whose pixels are held: give them by --init",
            ));
        }
        Ok(Self { name, seed: arguments.seed, image: height * width * channels, source })
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The number of chains: what was asked for, else the source's own.
    pub fn count(&self, asked: Option<usize>) -> Result<usize> {
        match (asked, &self.source) {
            (Some(0), _) => Err(Error::setting("--count", "must be at least 1, got 0")),
            (Some(count), Source::Images(_, there)) if count > *there => {
                Err(Error::setting("--count", format!("{count} is more than {}", self.name)))
            }
            (Some(count), _) => Ok(count),
            (None, Source::Images(_, there)) => Ok(*there),
            (None, _) => Ok(COUNT),
        }
    }

    /// The first images of chains `first` to `first + labels.len()`, NHWC: a function of the seed and of each
    /// chain's number. Past the last of given images comes the first again.
    pub fn images(&self, first: usize, chains: usize, labels: &[u32]) -> Result<Vec<f32>> {
        let mut images = Vec::with_capacity(chains * self.image);
        for chain in first..first + chains {
            let mut random = Threefry::new(self.seed, stream::REPLAY_FILL, chain as u32);
            match &self.source {
                Source::Uniform => images.extend((0..self.image).map(|_| 2.0 * random.uniform() - 1.0)),
                Source::Images(all, count) => {
                    images.extend(&all[chain % count * self.image..][..self.image]);
                }
                Source::Gaussians(gaussians) => {
                    // Without a class, the classes in turn.
                    let class = labels.get(chain - first).map_or(chain, |&label| label as usize);
                    images.extend(gaussians.sample(class % gaussians.classes(), &mut random));
                }
            }
        }
        Ok(images)
    }
}
