//! `jem devices`: the adapters of this machine, and whether they compute what they should.

use crate::common::Output;
use jem::Result;
use jem::device::{AdapterInfo, Device, DeviceOptions, DeviceSpec};
use jem::self_test::{Report, self_test};
use serde_json::{Value, json};
use std::time::Duration;

/// What a self-test may take.
const BUDGET: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "Examples:
  jem devices
  jem devices --test
  jem devices --test gpu:llvmpipe --test cpu";

/// List the adapters and the CPU, say which one `auto` takes, and test their kernels
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Test the kernels of a device for 5 seconds: auto, gpu, gpu:NAME or cpu [default: auto]
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = "auto")]
    test: Vec<DeviceSpec>,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let adapters = Device::adapters();
    let auto = Device::open(&DeviceSpec::Auto, DeviceOptions::default())?;
    if !arguments.output.json {
        list(&adapters, &auto);
    }
    let mut tests = Vec::new();
    let mut failed = None;
    for spec in &arguments.test {
        let device = Device::open(spec, DeviceOptions::default())?;
        let report = self_test(&device, BUDGET)?;
        if !arguments.output.json {
            print(&device.name(), &report);
        }
        tests.push(json!({"device": device.name(), "passed": report.failures().next().is_none(), "kernels": kernels(&report)}));
        if let Some(failure) = report.failures().next() {
            failed.get_or_insert(format!(
                "{}: kernel {}: {}",
                device.name(),
                failure.kernel,
                failure.outcome()
            ));
        }
    }
    if arguments.output.json {
        let adapters: Vec<Value> = adapters.iter().map(describe).collect();
        println!("{}", json!({"adapters": adapters, "auto": auto.name(), "tests": tests}));
    }
    match failed {
        None => Ok(()),
        Some(message) => Err(jem::Error::setting("--test", message)),
    }
}

fn list(adapters: &[AdapterInfo], auto: &Device) {
    for adapter in adapters {
        let mark = if adapter.title() == auto.name() { " <- auto" } else { "" };
        println!("gpu:{adapter}{mark}");
        for shape in &adapter.cooperative_matrices {
            println!(
                "    cooperative matrix {}x{}x{} {} -> {}",
                shape.m, shape.n, shape.k, shape.operand, shape.accumulator
            );
        }
    }
    if adapters.is_empty() {
        println!("no Vulkan, Metal or DX12 adapter");
    }
    let mark = if auto.is_cpu() { " <- auto" } else { "" };
    println!("{}{mark}", Device::cpu().name());
}

fn print(name: &str, report: &Report) {
    println!("\ntest of {name}: {}", report.what());
    for result in &report.results {
        println!("  {:<24} {:>3} variants  {}", result.kernel, result.variants, result.outcome());
    }
    let failures = report.failures().count();
    let verdict = if failures == 0 { "all passed".to_owned() } else { format!("{failures} FAILED") };
    println!("  {} kernels, {verdict}, {:.1} s", report.results.len(), report.seconds);
}

fn kernels(report: &Report) -> Vec<Value> {
    let one = |r: &jem::self_test::KernelResult| json!({"kernel": r.kernel, "variants": r.variants, "relative_error": r.error, "passed": r.passed()});
    report.results.iter().map(one).collect()
}

fn describe(adapter: &AdapterInfo) -> Value {
    let shape = |m: &jem::device::CooperativeMatrix| json!({"m": m.m, "n": m.n, "k": m.k, "operand": m.operand, "accumulator": m.accumulator});
    json!({
        "name": adapter.name,
        "type": adapter.kind.to_string(),
        "backend": adapter.backend,
        "driver": adapter.driver,
        "driver_info": adapter.driver_info,
        "max_storage_binding": adapter.max_storage_binding,
        "max_buffer": adapter.max_buffer,
        "workgroup_memory": adapter.workgroup_memory,
        "workgroup_invocations": adapter.workgroup_invocations,
        "f16": adapter.f16,
        "subgroups": adapter.subgroups,
        "timestamps": adapter.timestamps,
        "pipeline_cache": adapter.pipeline_cache,
        "cooperative_matrices": adapter.cooperative_matrices.iter().map(shape).collect::<Vec<_>>(),
    })
}
