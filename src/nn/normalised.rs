//! A network behind the normalisation that its images were trained with, so that gradients and samples are in the
//! library's range of images, [-1, 1].

use super::network::{Network, Pass};
use super::parameters::{ParameterKind, ParameterLayout};
use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::words::counted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The metadata key of a network's normalisation, as JSON.
pub const NORMALISATION: &str = "normalisation";
/// The factor and the offset of each channel among the parameters.
const SCALE: &str = "input.scale";
const OFFSET: &str = "input.offset";

/// The normalisation that a classifier was trained with: its network expects `(pixel - mean) / std` for pixels in
/// [0, 1], channel by channel. The engine's images are in [-1, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputNormalisation {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel.
    pub std: Vec<f32>,
}

impl InputNormalisation {
    /// Checks the normalisation for images with `channels` channels.
    ///
    /// # Errors
    /// [`Error::Setting`] with the name, the allowed range and what was found.
    pub fn check(&self, channels: usize) -> Result<()> {
        for (name, values, low) in [("mean", &self.mean, f32::MIN), ("std", &self.std, f32::MIN_POSITIVE)] {
            if values.len() != channels {
                let message =
                    format!("expected {}, one a channel, got {}", counted(channels, "number"), values.len());
                return Err(Error::setting(name, message));
            }
            if let Some(value) = values.iter().find(|value| !(value.is_finite() && **value >= low)) {
                let range = if name == "std" { "finite numbers above 0" } else { "finite numbers" };
                return Err(Error::setting(name, format!("expected {range}, got {value}")));
            }
            if let Some(value) = values.iter().find(|value| name == "mean" && value.abs() > 1.0) {
                let message = format!("expected a mean of pixels in [0, 1], got {value}: divide by 255");
                return Err(Error::setting(name, message));
            }
        }
        Ok(())
    }

    /// The factor and the offset that convert each channel from [-1, 1] to the network's input.
    fn affine(&self) -> (Vec<f32>, Vec<f32>) {
        let scale = self.std.iter().map(|std| 0.5 / std).collect();
        let offset = self.mean.iter().zip(&self.std).map(|(mean, std)| (0.5 - mean) / std).collect();
        (scale, offset)
    }
}

/// A network that takes images in [-1, 1] and normalises them for another.
#[derive(Debug)]
pub struct Normalised {
    network: Arc<dyn Network>,
    normalisation: InputNormalisation,
}

impl Normalised {
    /// `network` behind `normalisation`.
    ///
    /// # Errors
    /// The errors of [`InputNormalisation::check`].
    pub fn new(network: Arc<dyn Network>, normalisation: InputNormalisation) -> Result<Self> {
        normalisation.check(network.channels())?;
        Ok(Self { network, normalisation })
    }
}

impl Network for Normalised {
    fn name(&self) -> String {
        self.network.name()
    }

    fn classes(&self) -> usize {
        self.network.classes()
    }

    fn channels(&self) -> usize {
        self.network.channels()
    }

    fn image_size(&self) -> Option<[usize; 2]> {
        self.network.image_size()
    }

    fn usual_image_size(&self) -> [usize; 2] {
        self.network.usual_image_size()
    }

    fn check(&self) -> Result<()> {
        self.network.check()
    }

    fn layout(&self) -> ParameterLayout {
        let mut layout = self.network.layout();
        let (scale, offset) = self.normalisation.affine();
        for (name, values) in [(SCALE, scale), (OFFSET, offset)] {
            layout.push(name.into(), vec![values.len()], ParameterKind::Fixed(values));
        }
        layout
    }

    fn slope(&self) -> f32 {
        self.network.slope()
    }

    fn features(&self, images: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        let [scale, offset] = [SCALE, OFFSET].map(|name| pass.parameter(images, name));
        self.network.features(&images.mul(&scale).add(&offset), pass)
    }

    fn head(&self, features: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        self.network.head(features, pass)
    }

    fn kind(&self) -> &str {
        self.network.kind()
    }

    fn settings(&self) -> String {
        self.network.settings()
    }

    fn write_metadata(&self, metadata: &mut BTreeMap<String, String>) {
        self.network.write_metadata(metadata);
        let text = serde_json::to_string(&self.normalisation).expect("finite numbers");
        metadata.insert(NORMALISATION.into(), text);
    }
}
