//! Times of single kernels on the shapes of the networks that the engine trains.
//!
//! `cargo bench --bench kernels -- [--device auto|gpu|gpu:NAME|cpu] [FILTER]`

mod conv2d;
mod conv2d_input_gradient;
mod conv2d_weight_gradient;
mod shapes;
mod timing;

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
    let kernels: [(&str, fn(&Bench) -> jem::Result<()>); 3] = [
        ("conv2d", conv2d::run),
        ("conv2d_input_gradient", conv2d_input_gradient::run),
        ("conv2d_weight_gradient", conv2d_weight_gradient::run),
    ];
    for (name, run) in kernels {
        if name.contains(&arguments.filter) {
            println!("\n{name}");
            run(&bench)?;
        }
    }
    Ok(())
}
