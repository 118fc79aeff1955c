//! The public Inception network of FID, KID and the Inception Score.
//!
//! The weights are those of TensorFlow's `inception-2015-12-05`, in the file `pt_inception-2015-12-05-6726825d.pth` of
//! pytorch-fid, which the user gives. The network is that of pytorch-fid (Szegedy et al. 2015, with the averages of
//! TensorFlow and the maximum in its last block), so features are those that published numbers are from.

mod layers;
mod network;
mod resize;
mod weights;

use crate::device::{Buffers, Device, Executable, Key, ProgramBuilder};
use crate::error::{Error, Result};
use crate::graph::{Graph, Output, lower};
use crate::nn::parameters::{PARAMETERS, ParameterLayout};
use std::path::Path;

/// The number of features of an image.
pub const FEATURES: usize = 2048;
/// The number of logits of an image: classes of ImageNet, and eight that mean nothing.
pub const LOGITS: usize = 1008;
/// The side of the images that the network takes, in pixels.
const SIDE: usize = 299;

const IMAGES: Key<f32> = Key::new("inception images");
const FEATURES_OF: Key<f32> = Key::new("inception features");
const LOGITS_OF: Key<f32> = Key::new("inception logits");

/// The outputs of the network for images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Activations {
    /// The mean over all pixels of the last block, `[n, 2048]`: the features of FID and KID.
    pub features: Vec<f32>,
    /// The last layer without its bias, `[n, 1008]`: the logits of the Inception Score, as in its authors' code and in
    /// torch-fidelity.
    pub logits: Vec<f32>,
}

/// The network with its weights, loaded on a device for batches of one size.
#[derive(Debug)]
pub struct Inception {
    device: Device,
    program: Executable,
    buffers: Buffers,
    batch: usize,
}

impl Inception {
    /// Reads the weights of the file `path` and loads the network for batches of `batch` images.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] for a file that is not this network's, with the first tensor that tells;
    /// [`Error::Setting`] for a batch of 0; an error of the device.
    pub fn open(path: &Path, device: &Device, batch: usize) -> Result<Self> {
        if batch == 0 {
            return Err(Error::setting("batch", "must be at least 1, got 0"));
        }
        let layout = layers::layout();
        let parameters = weights::read(path, &layout)?;
        let mut buffers = Buffers::new(device);
        buffers.add(PARAMETERS, &parameters)?;
        Self::load(device, buffers, &layout, batch)
    }

    /// Checks that the file `path` is this network's.
    ///
    /// # Errors
    /// The errors of [`Inception::open`] about the file.
    pub fn check(path: &Path) -> Result<()> {
        weights::read(path, &layers::layout()).map(drop)
    }

    fn load(device: &Device, mut buffers: Buffers, layout: &ParameterLayout, batch: usize) -> Result<Self> {
        let graph = Graph::new();
        let images = graph.input(IMAGES.name(), [batch, SIDE, SIDE, 3]);
        let (features, logits) = network::forward(&images, layout);
        let mut builder = ProgramBuilder::new("inception");
        let mut prepare = ProgramBuilder::new("prepare inception");
        let views = [
            builder.external(FEATURES_OF, features.elements()),
            builder.external(LOGITS_OF, logits.elements()),
        ];
        let outputs = [&features, &logits].into_iter().zip(views);
        let outputs: Vec<Output> = outputs.map(|(tensor, view)| Output { tensor, view }).collect();
        lower(device.policy(), &mut builder, Some(&mut prepare), &outputs)?;
        buffers.zeros(IMAGES, images.elements())?;
        let prepare = buffers.load(prepare.finish())?;
        let program = buffers.load(builder.finish())?;
        device.run(&prepare)?;
        Ok(Self { device: device.clone(), program, buffers, batch })
    }

    /// Computes the activations of `images` of shape `[height, width, channels]`, NHWC in [-1, 1], scaled bilinearly to
    /// 299 x 299 pixels as pytorch-fid does. Grey images are taken as three equal channels. `goes_on` is called at times
    /// with the fraction of the work that is done; returns `None` if it returns false. It must not use the device.
    ///
    /// Published numbers are from images in 8 bits: see [`crate::evaluation::generation::round_to_8_bits`].
    ///
    /// # Errors
    /// [`Error::Setting`] for images of other channels or an incomplete image; an error of the device.
    pub fn run(
        &self,
        images: &[f32],
        [height, width, channels]: [usize; 3],
        goes_on: &mut dyn FnMut(f64) -> bool,
    ) -> Result<Option<Activations>> {
        let image = height * width * channels;
        if !matches!(channels, 1 | 3) || image == 0 || !images.len().is_multiple_of(image) {
            let message = format!(
                "expected images of 1 or 3 channels, got {} numbers for images {height}x{width}x{channels}",
                images.len()
            );
            return Err(Error::setting("images", message));
        }
        let count = images.len() / image;
        let dispatches = self.program.program().dispatches.len() as f64;
        let mut found = Activations::default();
        for (done, batch) in images.chunks(self.batch * image).enumerate() {
            let mut scaled = resize::to_side(batch, [height, width, channels], SIDE);
            scaled.resize(self.batch * SIDE * SIDE * 3, 0.0);
            self.buffers.write(IMAGES, &scaled)?;
            let batches = count.div_ceil(self.batch) as f64;
            let mut goes_on = |next: usize| goes_on((done as f64 + next as f64 / dispatches) / batches);
            if !self.device.run_while(&self.program, &mut goes_on)? {
                return Ok(None);
            }
            let kept = batch.len() / image;
            found.features.extend(&self.buffers.read(FEATURES_OF)?[..kept * FEATURES]);
            found.logits.extend(&self.buffers.read(LOGITS_OF)?[..kept * LOGITS]);
        }
        Ok(Some(found))
    }
}
