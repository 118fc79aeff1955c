//! Times of single kernels on the shapes of the networks that the engine trains.

mod shapes;
pub mod timing;

use crate::ceilings::Ceilings;
use crate::options::Setting;
use crate::report::Report;
use timing::Bench;

/// A kernel's benchmark.
type Run = fn(&mut Bench);

macro_rules! kernels {
    ($($module:ident: $kernel:ident,)+) => {
        $(mod $module;)+

        const KERNELS: &[(&str, Run)] = &[$((stringify!($module), $module::run)),+];
    };
}

jem::for_each_kernel!(kernels);

/// Times the kernels whose name contains `filter`; `ceilings` are of the same device.
///
/// # Errors
/// If there is no such kernel.
pub fn run(setting: &Setting, ceilings: &Ceilings, filter: &str, report: &mut Report) -> Result<(), String> {
    let kernels: Vec<_> = KERNELS.iter().copied().filter(|(name, _)| name.contains(filter)).collect();
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
