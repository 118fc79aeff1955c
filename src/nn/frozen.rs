//! A network whose batch norm keeps its running statistics while it is trained, as PyTorch's modules do in `eval()`: its
//! weights, and the factors and offsets of its norms, are trained.

use super::network::{Network, Pass};
use super::parameters::ParameterLayout;
use crate::error::Result;
use crate::graph::Tensor;
use crate::named::named;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The statistics that batch norm takes in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NormStatistics {
    /// Each batch's own, which running statistics follow.
    #[default]
    Batch,
    /// The running statistics that the network begins with.
    Frozen,
}

named!(NormStatistics, "norm_statistics": Batch = "batch", Frozen = "frozen");

/// A network with frozen running statistics.
#[derive(Debug)]
pub struct Frozen(Arc<dyn Network>);

impl Frozen {
    /// `network` with frozen running statistics.
    pub fn new(network: Arc<dyn Network>) -> Self {
        Self(network)
    }
}

impl Network for Frozen {
    fn name(&self) -> String {
        self.0.name()
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn channels(&self) -> usize {
        self.0.channels()
    }

    fn image_size(&self) -> Option<[usize; 2]> {
        self.0.image_size()
    }

    fn usual_image_size(&self) -> [usize; 2] {
        self.0.usual_image_size()
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn layout(&self) -> ParameterLayout {
        self.0.layout().with_frozen_statistics()
    }

    fn slope(&self) -> f32 {
        self.0.slope()
    }

    fn features(&self, images: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        self.0.features(images, pass)
    }

    fn head(&self, features: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        self.0.head(features, pass)
    }

    fn kind(&self) -> &str {
        self.0.kind()
    }

    fn settings(&self) -> String {
        self.0.settings()
    }

    fn write_metadata(&self, metadata: &mut BTreeMap<String, String>) {
        self.0.write_metadata(metadata);
    }
}
