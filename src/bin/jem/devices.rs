//! `jem devices`: the adapters of this machine, and a self-test of their kernels.

use crate::common::{Output, waiting};
use crate::facts::say;
use crate::session::flags::Flags as _;
use jem::Result;
use jem::compute::shader;
use jem::device::{AdapterInfo, CooperativeChoice, CooperativeMatrix, Device, DeviceOptions, DeviceSpec};
use jem::self_test::{CooperativeResult, KernelResult, SelfTestReport, cooperative, self_test};
use jem::tuning::{self, file};
use jem::words::counted;
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::Duration;

/// The environment variable that names the default device of the commands.
const VARIABLE: &str = "JEM_DEVICE";
/// The longest a self-test may run.
const BUDGET: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "Examples:
  jem devices
  jem devices --test
  jem devices --test gpu:llvmpipe --test cpu
  jem devices --test gpu --cooperative flat";

/// List the GPU adapters and the CPU, mark the default device of the commands, and, with --test, test kernels
///
/// The default is the device that JEM_DEVICE names, else the one that `auto` selects.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Test the kernels of a device for up to 5 seconds: auto, gpu, gpu:NAME or cpu; without a value, the default
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = asked())]
    test: Vec<DeviceSpec>,
    /// Tensor-core shaders to test: any (tries each variant until one passes), none, naga, patched, flat or
    /// flat-patched [default: `JEM_COOPERATIVE`, else any]
    #[arg(long, value_name = "VARIANT")]
    cooperative: Option<CooperativeChoice>,
    #[command(flatten)]
    output: Output,
}

/// The default device of the commands, as the user names it.
fn asked() -> &'static str {
    static ASKED: OnceLock<String> = OnceLock::new();
    let variable = || std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    ASKED.get_or_init(|| match variable() {
        Some(value) => value.to_string_lossy().into_owned(),
        None => DeviceSpec::Auto.to_string(),
    })
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let default = asked().parse::<DeviceSpec>().flag("device", VARIABLE)?;
    if arguments.cooperative.is_none() {
        CooperativeChoice::from_environment()?;
    }
    let options = DeviceOptions { cooperative: arguments.cooperative, ..DeviceOptions::default() };
    let open = |spec: &DeviceSpec| tuning::open(spec, options);
    let tested = |spec: &DeviceSpec| open(spec).flag("device", "--test");
    let devices = arguments.test.iter().map(tested).collect::<Result<Vec<_>>>()?;
    let adapters = Device::adapters();
    let auto = open(&DeviceSpec::Auto)?;
    let default = match default {
        DeviceSpec::Auto => Taken { mark: "auto".into(), name: Ok(auto.name()) },
        named => {
            let name = open(&named).map(|device| device.name()).map_err(|error| error.to_string());
            Taken { mark: format!("{VARIABLE}={named}"), name }
        }
    };
    let shaders = shader::folder()?;
    let shapes = adapters.iter().map(|info| Ok(file::load(info)?.len())).collect::<Result<Vec<usize>>>()?;
    if !arguments.output.json {
        list(&adapters, &shapes, &default, shaders);
    }
    let mut reports = Vec::new();
    for device in &devices {
        let waiting = waiting(&format!("testing {}", device.name()), &arguments.output);
        let report = self_test(device, BUDGET)?;
        let matrices = cooperative(device, false);
        drop(waiting);
        if !arguments.output.json {
            print(&device.name(), &report, &matrices);
        }
        reports.push((device.name(), report, matrices));
    }
    if arguments.output.json {
        let facts = json!({
            "adapters": adapters.iter().zip(&shapes).map(|(info, &n)| adapter(info, n)).collect::<Vec<_>>(),
            "shaders": shaders.map(shader::Folder::json),
            "tuned_file": file::path().map(|path| path.display().to_string()),
            "cpu": {"name": Device::cpu().name(), "threads": threads()},
            "auto": auto.name(),
            "default": {"asked": asked(), "name": default.name.as_ref().ok(), "error": default.name.as_ref().err()},
            "tests": reports.iter().map(|(name, report, matrices)| test(name, report, matrices)).collect::<Vec<_>>(),
        });
        say(&facts.to_string());
    }
    for (name, report, _) in &reports {
        report.check(name)?;
    }
    Ok(())
}

fn threads() -> usize {
    rayon::current_num_threads()
}

/// The default device of the commands.
struct Taken {
    /// The setting that selects it.
    mark: String,
    /// Its name, or the reason why it cannot be opened.
    name: Result<String, String>,
}

impl Taken {
    /// The mark after `name` in the list if it names this device, else nothing.
    fn mark(&self, name: &str) -> String {
        if self.name.as_deref() == Ok(name) { format!("  <- {}", self.mark) } else { String::new() }
    }
}

fn list(adapters: &[AdapterInfo], shapes: &[usize], default: &Taken, shaders: Option<&shader::Folder>) {
    for (adapter, &shapes) in adapters.iter().zip(shapes) {
        say(&format!("gpu:{}{}", adapter.name, default.mark(&adapter.title())));
        for (name, text) in details(adapter, shapes) {
            say(&format!("    {name:<21}{text}"));
        }
    }
    if adapters.is_empty() {
        say("no Vulkan, Metal or DX12 adapter");
    }
    say(&format!("cpu{}\n    {:<21}{}", default.mark(&Device::cpu().name()), "threads", threads()));
    if let Err(why) = &default.name {
        say(&format!("{} cannot be used: {why}", default.mark));
    }
    if let Some(path) = file::path() {
        say(&format!("tuned kernels are kept in {}", path.display()));
    }
    if let Some(folder) = shaders {
        say(&format!("shaders come from {} ({})", folder.summary(), shader::VARIABLE));
    }
}

/// The properties of an adapter, as names and values.
fn details(adapter: &AdapterInfo, shapes: usize) -> Vec<(&'static str, String)> {
    let driver = format!("{} {}", adapter.driver, adapter.driver_info);
    let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let subgroups = match adapter.subgroups {
        None => "none".into(),
        Some((least, most)) if least == most => least.to_string(),
        Some((least, most)) => format!("{least} to {most}"),
    };
    let limits = [adapter.max_storage_binding, adapter.max_buffer].map(|bytes| bytes >> 20);
    let workgroup =
        format!("{} invocations, {} KiB", adapter.workgroup_invocations, adapter.workgroup_memory >> 10);
    let tuned = match (shapes, file::path()) {
        (0, None) => "not looked for (JEM_TUNED=none)".to_owned(),
        (0, Some(_)) => "none: kernels are chosen by rule; jem tune measures them".to_owned(),
        (1, _) => "in use for 1 shape of convolutions".to_owned(),
        (shapes, _) => format!("in use for {shapes} shapes of convolutions"),
    };
    let mut details = vec![
        ("type", format!("{}, {}", adapter.kind, adapter.backend)),
        ("driver", driver.trim().to_owned()),
        ("largest buffer", format!("{} MiB, of which a kernel binds {} MiB", limits[1], limits[0])),
        ("workgroup", workgroup),
        ("subgroups", subgroups),
        ("f16", yes(adapter.f16)),
        ("timestamps", yes(adapter.timestamps)),
        ("pipeline cache", yes(adapter.pipeline_cache)),
        ("tuned kernels", tuned),
    ];
    if adapter.cooperative_matrices.is_empty() {
        details.push(("cooperative matrices", "none".into()));
    }
    for (i, CooperativeMatrix { m, n, k, operand, accumulator }) in
        adapter.cooperative_matrices.iter().enumerate()
    {
        let name = if i == 0 { "cooperative matrices" } else { "" };
        details.push((name, format!("{m}x{n}x{k} {operand} -> {accumulator}")));
    }
    details
}

fn print(name: &str, report: &SelfTestReport, matrices: &[CooperativeResult]) {
    say(&format!("\ntest of {name}: {}", report.what()));
    for result in &report.results {
        let KernelResult { kernel, variants, .. } = result;
        let word = if *variants == 1 { "variant" } else { "variants" };
        say(&format!("    {kernel:<24} {variants:>3} {word:<9} {}", result.outcome()));
    }
    for result in matrices {
        let CooperativeResult { matrices, answer } = result;
        let name = format!("matrices {}x{0} {}", matrices.size, matrices.variant);
        let word = if answer.kernels == 1 { "kernel" } else { "kernels" };
        say(&format!("    {name:<24} {:>3} {word:<9} {}", answer.kernels, result.outcome()));
    }
    let failures = report.failures().count();
    let verdict = if failures == 0 { "all passed".to_owned() } else { format!("{failures} FAILED") };
    say(&format!("{}, {verdict}, {:.1} s", counted(report.results.len(), "kernel"), report.seconds));
}

fn test(name: &str, report: &SelfTestReport, matrices: &[CooperativeResult]) -> Value {
    let kernel = |r: &KernelResult| json!({"kernel": r.kernel, "variants": r.variants, "relative_error": r.error, "passed": r.passed()});
    let shape = |r: &CooperativeResult| {
        json!({
            "matrices": r.matrices.size,
            "variant": r.matrices.variant,
            "usable": r.passed(),
            "reason": r.answer.refused,
            "kernels": r.answer.kernels,
            "repeats": r.answer.repeats,
            "relative_error": r.answer.error,
            "seconds": r.answer.seconds,
        })
    };
    json!({
        "device": name,
        "passed": report.failures().next().is_none(),
        "seconds": report.seconds,
        "kernels": report.results.iter().map(kernel).collect::<Vec<_>>(),
        "cooperative_matrices": matrices.iter().map(shape).collect::<Vec<_>>(),
    })
}

fn adapter(adapter: &AdapterInfo, tuned_shapes: usize) -> Value {
    let shape = |matrix: &CooperativeMatrix| {
        let CooperativeMatrix { m, n, k, operand, accumulator } = matrix;
        json!({"m": m, "n": n, "k": k, "operand": operand, "accumulator": accumulator})
    };
    json!({
        "name": adapter.name,
        "type": adapter.kind.to_string(),
        "vendor": adapter.vendor,
        "device": adapter.device,
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
        "tuned_shapes": tuned_shapes,
        "cooperative_matrices": adapter.cooperative_matrices.iter().map(shape).collect::<Vec<_>>(),
    })
}
