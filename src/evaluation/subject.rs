//! The models and the sets of images of an evaluation.

use crate::data::images::{Images, Pixels};
use crate::ebm::Model;
use crate::error::{Error, Result};
use crate::io::pack;
use md5::{Digest, Md5};

/// A model under evaluation.
#[derive(Debug)]
pub struct Subject {
    /// The name in the report.
    pub name: String,
    /// The model.
    pub model: Model,
    /// The names of its classes, in the order of its logits.
    pub class_names: Vec<String>,
    /// The model's classes of the images of each set; `None` for a scalar energy.
    pub labels: Option<Labels>,
    /// A digest of the model's file.
    pub(super) digest: String,
}

/// The classes of images, as numbers of a model's logits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The classes of the test images.
    pub test: Vec<u32>,
    /// The classes of the training images; empty without any.
    pub train: Vec<u32>,
    /// The classes of the held-out images; empty without any.
    pub held_out: Vec<u32>,
}

impl Subject {
    /// A model with its name in the report, the classes of the images, and `names` of its classes if it has none itself.
    ///
    /// # Errors
    /// [`Error::Io`] if its file cannot be read again.
    pub fn new(
        name: impl Into<String>,
        model: Model,
        labels: Option<Labels>,
        names: Option<&[String]>,
    ) -> Result<Self> {
        let numbers = || (0..model.network().classes()).map(|class| class.to_string()).collect();
        let class_names = names.or(model.class_names()).map_or_else(numbers, <[String]>::to_vec);
        let bytes = std::fs::read(model.path()).map_err(Error::io(model.path()))?;
        Ok(Self { name: name.into(), digest: hex(&bytes), class_names, model, labels })
    }

    /// The number of classes; 1 for a scalar energy.
    pub fn classes(&self) -> usize {
        self.model.network().classes()
    }
}

/// A set of images, in the shape of the models'.
#[derive(Debug, Clone)]
pub struct ImageSet {
    /// The name in commands and reports, such as `svhn:test`.
    pub name: String,
    /// The images.
    pub images: Images,
    /// A digest of the pixels.
    pub(super) digest: String,
}

impl ImageSet {
    /// A set of images with its name.
    pub fn new(name: impl Into<String>, images: Images) -> Self {
        let digest = match &images.pixels {
            Pixels::Bytes(bytes) => hex(bytes),
            Pixels::Floats(values) => hex(bytemuck::cast_slice(values)),
        };
        Self { name: name.into(), images, digest }
    }
}

/// The sets of an evaluation.
#[derive(Debug, Clone)]
pub struct EvaluationData {
    /// The name of the data set.
    pub name: String,
    /// The test images.
    pub test: ImageSet,
    /// The training images, for class means and nearest neighbours.
    pub train: Option<ImageSet>,
    /// The images that temperatures are fitted to, which are not in the test set.
    pub held_out: Option<ImageSet>,
    /// The origin of the held-out images, and what it means for the temperature.
    pub held_out_note: String,
    /// The sets that are to be told from the test images.
    pub outside: Vec<ImageSet>,
}

/// Samples, NCHW, of `[height, width, channels]`, as images.
pub(super) fn samples_as_images(values: &[f32], [height, width, channels]: [usize; 3]) -> Images {
    let count = values.len() / (height * width * channels);
    Images {
        pixels: Pixels::Floats(pack::nchw_to_nhwc(values, count, channels, height, width)),
        count,
        height,
        width,
        channels,
        labels: None,
        class_names: Vec::new(),
        name: "samples".into(),
        files: None,
        notes: Vec::new(),
    }
}

/// The MD5 digest of bytes in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
