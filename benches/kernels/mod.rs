//! Times of single kernels on the shapes of the networks that the engine trains.

mod adam;
mod ascent;
mod average_pool;
mod average_pool_gradient;
mod batch_gather;
mod binary;
mod conv2d;
mod conv2d_input_gradient;
mod conv2d_weight_gradient;
mod copy;
mod fill;
mod gather_labels;
mod head;
mod leaky_relu_gradient;
mod logit_loss;
mod logit_loss_gradient;
mod logsumexp;
mod matmul;
mod mismatches;
mod moments;
mod moments_combine;
mod momentum;
mod moving_average;
mod narrow;
mod normalise;
mod normalise_gradient;
mod normalise_sums;
mod normalise_sums_combine;
mod random_bits;
mod reduce;
mod replay_gather;
mod replay_scatter;
mod scatter_labels;
mod sgld;
mod shapes;
mod sign_mask;
mod softmax;
mod tick;
pub mod timing;
mod unary;
mod uniform_fill;
mod winograd_input;
mod winograd_output;
mod winograd_product;
mod winograd_weights;

use crate::ceilings::Ceilings;
use crate::options::Setting;
use crate::report::Report;
use timing::Bench;

/// A kernel's benchmark.
type Run = fn(&mut Bench);

const KERNELS: [(&str, Run); 43] = [
    ("adam", adam::run),
    ("ascent", ascent::run),
    ("average_pool", average_pool::run),
    ("average_pool_gradient", average_pool_gradient::run),
    ("batch_gather", batch_gather::run),
    ("binary", binary::run),
    ("conv2d", conv2d::run),
    ("conv2d_input_gradient", conv2d_input_gradient::run),
    ("conv2d_weight_gradient", conv2d_weight_gradient::run),
    ("copy", copy::run),
    ("fill", fill::run),
    ("gather_labels", gather_labels::run),
    ("head", head::run),
    ("leaky_relu_gradient", leaky_relu_gradient::run),
    ("logit_loss", logit_loss::run),
    ("logit_loss_gradient", logit_loss_gradient::run),
    ("logsumexp", logsumexp::run),
    ("matmul", matmul::run),
    ("mismatches", mismatches::run),
    ("moments", moments::run),
    ("moments_combine", moments_combine::run),
    ("momentum", momentum::run),
    ("moving_average", moving_average::run),
    ("narrow", narrow::run),
    ("normalise", normalise::run),
    ("normalise_gradient", normalise_gradient::run),
    ("normalise_sums", normalise_sums::run),
    ("normalise_sums_combine", normalise_sums_combine::run),
    ("random_bits", random_bits::run),
    ("reduce", reduce::run),
    ("replay_gather", replay_gather::run),
    ("replay_scatter", replay_scatter::run),
    ("scatter_labels", scatter_labels::run),
    ("sgld", sgld::run),
    ("sign_mask", sign_mask::run),
    ("softmax", softmax::run),
    ("tick", tick::run),
    ("unary", unary::run),
    ("uniform_fill", uniform_fill::run),
    ("winograd_input", winograd_input::run),
    ("winograd_output", winograd_output::run),
    ("winograd_product", winograd_product::run),
    ("winograd_weights", winograd_weights::run),
];

/// Times the kernels whose name contains `filter`; `ceilings` are of the same device.
///
/// # Errors
/// If there is no such kernel.
pub fn run(setting: &Setting, ceilings: &Ceilings, filter: &str, report: &mut Report) -> Result<(), String> {
    let kernels: Vec<_> = KERNELS.into_iter().filter(|(name, _)| name.contains(filter)).collect();
    if kernels.is_empty() {
        return Err(format!("no kernel has {filter:?} in its name"));
    }
    let columns = ["shape", "GFLOP", "best ms", "median ms", "GFLOP/s", "GB/s", "bound", "fraction"];
    let about = "rates at the median; fraction: the least time that the ceilings allow, of the median";
    report.table(&format!("Kernels, batch {}", setting.batch), about, &columns);
    for (kernel, run) in kernels {
        run(&mut Bench {
            device: &setting.device,
            ceilings,
            networks: &setting.networks,
            batch: setting.batch,
            budget: setting.budget,
            kernel,
            report: &mut *report,
        });
    }
    Ok(())
}
