//! ODIN (Liang, Li & Srikant, ICLR 2018): the greatest probability at a high temperature, of an image that is moved
//! towards a higher one.

use crate::data::images::Images;
use crate::device::Device;
use crate::ebm::Model;
use crate::error::Result;
use crate::graph::{Function, Graph};
use crate::nn::architecture::NormMode;
use crate::nn::network::Pass;
use crate::nn::parameters::PARAMETERS;

/// The temperature T of the paper's experiments.
pub const TEMPERATURE: f32 = 1000.0;
/// The step ε of the paper for CIFAR-10, in units of [0, 1] pixels. The authors choose T and ε on images of the set that is
/// to be detected; here both are fixed.
pub const STEP: f32 = 0.0014;

/// The logits of the first `count` of `images` after the step x - ε sign(-∂ log S_ŷ(x; T)/∂x) (equation 2), with S_ŷ the
/// greatest probability of softmax(f(x)/T): the score is S_ŷ there. `[count, classes]`. Returns `None` if `goes_on`
/// returns false; it is called with the number of images that are done.
///
/// # Errors
/// An error of the device.
pub fn logits(
    device: &Device,
    model: &Model,
    mode: NormMode,
    images: &Images,
    count: usize,
    batch: usize,
    goes_on: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<Vec<f32>>> {
    let network = &**model.network();
    let layout = network.layout();
    let parameters = model.parameters(&layout)?;
    let [height, width, channels] = model.image_shape();
    let mut logits = Vec::with_capacity(count * network.classes());
    let mut loaded = None;
    for first in (0..count).step_by(batch) {
        let size = batch.min(count - first);
        // The last batch may be smaller; it has its own program.
        let (function, x, moved) = match loaded.take() {
            Some(same @ (_, _, _)) if size == batch => same,
            _ => {
                let graph = Graph::new();
                let x = graph.input("images", [size, height, width, channels]);
                let at = |x| network.logits(x, &mut Pass::new(&layout, mode).without_dropout());
                let here = at(&x);
                let loss = here.scale(1.0 / TEMPERATURE).cross_entropy(&here.argmax(1));
                let [slope] = graph.grad(&loss, [&x]);
                // Images are in [-1, 1], twice as wide as [0, 1].
                let moved = at(&x.sub(&slope.sign().scale(2.0 * STEP)));
                let function = Function::new(device, &[&moved])?;
                function.set_slot(PARAMETERS.name(), &parameters)?;
                (function, x, moved)
            }
        };
        function.set(&x, &images.batch(first..first + size))?;
        function.run()?;
        logits.extend(function.get(&moved)?);
        loaded = Some((function, x, moved));
        if !goes_on((first + size) as f64) {
            return Ok(None);
        }
    }
    Ok(Some(logits))
}
