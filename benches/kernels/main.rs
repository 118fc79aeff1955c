//! Times of single kernels on the shapes of the networks that the engine trains.
//!
//! `cargo bench --bench kernels -- [--device auto|gpu|gpu:NAME|cpu] [FILTER]`

mod adam;
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
mod momentum;
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
mod timing;
mod unary;
mod uniform_fill;
mod winograd_input;
mod winograd_output;
mod winograd_product;
mod winograd_weights;

use clap::Parser;
use jem::device::{Device, DeviceOptions, DeviceSpec};
use timing::Bench;

#[derive(Parser)]
struct Arguments {
    /// Device: auto, gpu, gpu:NAME or cpu; by default $JEM_DEVICE, else auto.
    #[arg(long)]
    device: Option<DeviceSpec>,
    /// Only kernels whose name contains this.
    #[arg(default_value = "")]
    filter: String,
    /// Time to spend on each shape, in milliseconds.
    #[arg(long, default_value_t = 300)]
    milliseconds: u64,
    /// Images of a batch.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// `cargo bench` passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A kernel's benchmark.
type Run = fn(&Bench) -> jem::Result<()>;

fn main() -> jem::Result<()> {
    let arguments = Arguments::parse();
    let spec = match (arguments.device, std::env::var("JEM_DEVICE")) {
        (Some(spec), _) => spec,
        (None, Ok(name)) => name.parse()?,
        (None, Err(_)) => DeviceSpec::Auto,
    };
    let device = Device::open(&spec, DeviceOptions::default())?;
    println!("{}, batch {}", device.name(), arguments.batch);
    let bench = Bench {
        device,
        budget: std::time::Duration::from_millis(arguments.milliseconds),
        batch: arguments.batch,
    };
    let kernels: [(&str, Run); 33] = [
        ("adam", adam::run),
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
        ("momentum", momentum::run),
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
    for (name, run) in kernels {
        if name.contains(&arguments.filter) {
            println!("\n{name}");
            run(&bench)?;
        }
    }
    Ok(())
}
