//! A network of your own, whose features a function builds from layers.

use super::layers::{Layers, declared};
use super::network::{Network, Pass, is_known_kind};
use super::parameters::ParameterLayout;
use crate::error::{Error, Result};
use crate::graph::Tensor;
use std::fmt;

/// The name of a [`Layered`] network's last layer.
const HEAD: &str = "head";

/// A network whose features a function builds from layers; a linear layer, `head`, turns them into logits.
pub struct Layered<F> {
    name: String,
    image: [usize; 3],
    classes: usize,
    slope: f32,
    features: F,
    layout: ParameterLayout,
    /// The first mistake in shapes, if there is one.
    mistake: Option<(&'static str, String)>,
}

impl<F: Fn(&mut Layers<'_, '_>, &Tensor) -> Tensor + Send + Sync> Layered<F> {
    /// A network for images `[height, width, channels]` of `classes` classes, or with one class for an energy alone.
    /// `features` maps images `[n, height, width, channels]` to features `[n, count]`. It runs once now, to collect the
    /// parameters, and again for every program; it must declare the same layers each time.
    ///
    /// [`Network::check`] returns the first mistake in shapes.
    pub fn new(name: &str, image: [usize; 3], classes: usize, features: F) -> Self {
        let mut mistake = None;
        let layout = declared(image, |layers, images| {
            let x = features(layers, images);
            layers.linear(HEAD, &x, classes);
            if let Err(Error::Shape { operation, message }) = images.graph().check() {
                mistake = Some((operation, message));
            }
        });
        Self { name: name.into(), image, classes, slope: 0.0, features, layout, mistake }
    }

    /// Sets the slope below 0 of the activation, for [`init::Init::HeNormal`](super::init::Init::HeNormal).
    pub fn with_slope(mut self, slope: f32) -> Self {
        self.slope = slope;
        self
    }
}

impl<F> fmt::Debug for Layered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, image, classes, .. } = self;
        f.debug_struct("Layered")
            .field("name", name)
            .field("image", image)
            .field("classes", classes)
            .finish_non_exhaustive()
    }
}

impl<F: Fn(&mut Layers<'_, '_>, &Tensor) -> Tensor + Send + Sync> Network for Layered<F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn channels(&self) -> usize {
        self.image[2]
    }

    fn image_size(&self) -> Option<[usize; 2]> {
        Some([self.image[0], self.image[1]])
    }

    fn check(&self) -> Result<()> {
        if let Some((operation, message)) = &self.mistake {
            return Err(Error::Shape { operation, message: format!("network {}: {message}", self.name) });
        }
        if is_known_kind(&self.name) {
            let message = format!("{} is the name of a network of the library; choose another", self.name);
            return Err(Error::Shape { operation: "network", message });
        }
        let mut names: Vec<&str> = self.layout.parameters().iter().map(|p| p.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("network {}: two parameters are called {}", self.name, pair[0]);
            return Err(Error::Shape { operation: "network", message });
        }
        Ok(())
    }

    fn layout(&self) -> ParameterLayout {
        self.layout.clone()
    }

    fn slope(&self) -> f32 {
        self.slope
    }

    fn features(&self, images: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        (self.features)(&mut Layers::of(pass), images)
    }

    fn head(&self, features: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        Layers::of(pass).linear(HEAD, features, self.classes)
    }

    fn kind(&self) -> &str {
        &self.name
    }

    fn settings(&self) -> String {
        let [height, width, channels] = self.image;
        format!("image = [{height}, {width}, {channels}]\nclasses = {}\n", self.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::nn::batch_norm::NormMode;

    #[test]
    fn statistics_come_after_all_that_is_trained() {
        let network = Layered::new("small", [8, 8, 3], 10, |layers, images| {
            let x = layers.conv2d("conv1", images, 16, 3, 2, 1);
            let x = layers.batch_norm("bn1", &x).relu();
            let x = layers.conv2d("conv2", &x, 16, 3, 1, 1);
            layers.group_norm("gn2", &x, 4).relu().global_average_pool()
        });
        network.check().unwrap();
        let names: Vec<String> = network.layout().parameters().iter().map(|p| p.name.clone()).collect();
        assert_eq!(
            names,
            [
                "conv1.weight",
                "conv1.bias",
                "bn1.weight",
                "bn1.bias",
                "conv2.weight",
                "conv2.bias",
                "gn2.weight",
                "gn2.bias",
                "head.weight",
                "head.bias",
                "bn1.running_mean",
                "bn1.running_var"
            ]
        );
        let layout = network.layout();
        assert!(layout.has_statistics() && !layout.has_spectral_norm());
        let graph = Graph::new();
        let images = graph.input("images", [5, 8, 8, 3]);
        let mut pass = Pass::new(&layout, NormMode::Training);
        assert_eq!(network.logits(&images, &mut pass).shape(), [5, 10]);
        assert_eq!(pass.running_statistics(0.1).len(), 2);
        graph.check().unwrap();
    }

    #[test]
    fn mistakes_name_the_network() {
        let twice = Layered::new("twice", [4, 4, 1], 2, |layers, images| {
            let x = layers.linear("fc", &images.flatten(), 16);
            layers.linear("fc", &x, 16)
        });
        assert!(twice.check().unwrap_err().to_string().contains("two parameters are called fc.bias"));
        let flat = Layered::new("flat", [4, 4, 1], 2, |layers, images| layers.linear("fc", images, 16));
        assert!(flat.check().unwrap_err().to_string().contains("network flat"), "{:?}", flat.check());
        let known = Layered::new("wide-resnet", [4, 4, 1], 2, |_, images| images.flatten());
        assert!(known.check().unwrap_err().to_string().contains("choose another"));
        let small = Layered::new("small", [4, 4, 1], 2, |_, images| images.flatten());
        let message = small.check_images([8, 8, 1]).unwrap_err().to_string();
        assert!(message.contains("small takes 4x4 images with 1 channel, got 8x8"), "{message}");
    }
}
