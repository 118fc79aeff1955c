//! Accuracy and energies of a whole data set.

use super::programs::{COUNTER_WORDS, DATA};
use crate::compute::loss_term::{LossTerm, STATS};
use crate::data::Dataset;
use crate::device::{Buffer, Buffers, Device, Executable, Key, ProgramBuilder, View};
use crate::error::Result;
use crate::graph::{Graph, Output, lower};
use crate::kernels::batch_gather::BatchGather;
use crate::kernels::tick::COUNTERS;
use crate::nn::batch_norm::NormMode;
use crate::nn::network::{Network, Pass};
use crate::nn::parameters::PARAMETERS;
use serde::{Deserialize, Deserializer, Serialize};

const INDICES: Key<u32> = Key::new("evaluated indices");
const IMAGES: Key<f32> = Key::new("evaluated images");
const LABELS: Key<u32> = Key::new("evaluated labels");
const STATISTICS: Key<f32> = Key::new("evaluated statistics");

/// The scores of a model on a data set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Accuracy; NaN (in JSON null) for an energy without classes.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy: f64,
    /// Mean cross-entropy, in nats; 0 for an energy without classes.
    pub cross_entropy: f64,
    /// Mean energy -LogSumExp f(x).
    pub energy: f64,
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Scores a data set without augmentation or noise, also with the parameters of a model in training.
#[derive(Debug)]
pub struct Evaluator {
    device: Device,
    program: Executable,
    buffers: Buffers,
    all_labels: Vec<u32>,
    has_classes: bool,
    batch: usize,
}

impl Evaluator {
    /// Loads `data` onto the device, to be scored with the parameters in `parameters`, `batch` images at a time.
    ///
    /// # Errors
    /// An error of the device, such as [`crate::Error::DeviceLost`].
    pub fn new(
        device: &Device,
        network: &dyn Network,
        parameters: &Buffer,
        data: &Dataset,
        batch: usize,
    ) -> Result<Self> {
        let batch = batch.min(data.len());
        let graph = Graph::new();
        let x = graph.input(IMAGES.name(), [batch, data.height, data.width, data.channels]);
        let labels = graph.indices(LABELS.name(), [batch]);
        let logits = network.logits(&x, &mut Pass::new(&network.layout(), NormMode::Inference));
        let stats = logits.logit_stats(&labels, &[LossTerm { count: batch, ..LossTerm::default() }]);
        let mut builder = ProgramBuilder::new("evaluate");
        let kernel = BatchGather {
            batch,
            h: data.height,
            w: data.width,
            c: data.channels,
            images: data.len(),
            pad: 0,
            flip: false,
            noise: 0.0,
            stream: 0,
            shard_words: BatchGather::SHARD_WORDS,
        };
        let bytes = builder.external(DATA, kernel.data_words());
        let mut shards = kernel.data_parts().into_iter().map(|(first, words)| bytes.part(first, words));
        let mut views: Vec<View> = shards.next().into_iter().collect();
        views.extend([
            builder.external(INDICES, batch),
            builder.external(COUNTER_WORDS, COUNTERS),
            builder.external(IMAGES, x.elements()),
        ]);
        views.extend(shards);
        builder.dispatch("batch", kernel, &views);
        let view = builder.external(STATISTICS, batch * STATS);
        lower(device.policy(), &mut builder, None, &[Output { tensor: &stats, view }])?;

        let mut buffers = Buffers::new(device);
        let mut packed = data.images.clone();
        packed.resize(packed.len().next_multiple_of(4), 0);
        buffers.add(DATA, &packed)?;
        buffers.zeros(INDICES, batch)?;
        buffers.zeros(LABELS, batch)?;
        buffers.zeros(COUNTER_WORDS, COUNTERS)?;
        buffers.share(PARAMETERS, parameters.clone());
        let program = buffers.load(builder.finish())?;
        let has_classes = network.classes() > 1;
        let all_labels = if has_classes { data.labels.clone() } else { vec![0; data.len()] };
        Ok(Self { device: device.clone(), program, buffers, all_labels, has_classes, batch })
    }

    /// Scores every image.
    ///
    /// # Errors
    /// An error of the device, such as [`crate::Error::DeviceLost`].
    pub fn evaluate(&self) -> Result<Evaluation> {
        Ok(self.evaluate_until(|| false)?.expect("nothing stops it"))
    }

    /// Scores every image. Returns `None` if `stop`, which is called before each batch, returns true.
    ///
    /// # Errors
    /// An error of the device, such as [`crate::Error::DeviceLost`].
    pub fn evaluate_until(&self, mut stop: impl FnMut() -> bool) -> Result<Option<Evaluation>> {
        let n = self.all_labels.len();
        let mut sums = [0.0f64; 3];
        for first in (0..n).step_by(self.batch) {
            if stop() {
                return Ok(None);
            }
            let count = self.batch.min(n - first);
            // The last batch is padded with its first image; the extra rows are not counted.
            let index = |i: usize| first + if i < count { i } else { 0 };
            let indices: Vec<u32> = (0..self.batch).map(|i| index(i) as u32).collect();
            let labels: Vec<u32> = (0..self.batch).map(|i| self.all_labels[index(i)]).collect();
            self.buffers.write(INDICES, &indices)?;
            self.buffers.write(LABELS, &labels)?;
            self.device.run(&self.program)?;
            let stats = self.buffers.read(STATISTICS)?;
            for row in stats.chunks(STATS).take(count) {
                sums[0] += f64::from(row[2]);
                sums[1] += f64::from(row[1]);
                sums[2] -= f64::from(row[0]);
            }
        }
        let [accuracy, cross_entropy, energy] = sums.map(|sum| sum / n as f64);
        let accuracy = if self.has_classes { accuracy } else { f64::NAN };
        Ok(Some(Evaluation { accuracy, cross_entropy, energy }))
    }
}
