//! The kernel tests, in a process of their own: a driver that crashes ends them, not the bench.

use crate::kernels_tests;
use crate::options::Setting;
use crate::report::Report;
use jem::device::Device;
use libtest_mimic::Arguments;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// The environment variable that tells the tests their device.
const DEVICE: &str = "JEM_TEST_DEVICE";

/// Runs the tests whose name contains `filter` on the device, or on the first adapter if it is the CPU: they
/// hold the twins and an adapter to the same statements.
///
/// # Errors
/// If a test fails or the process cannot be run.
pub fn run(setting: &Setting, filter: Option<&str>, report: &mut Report) -> Result<(), String> {
    report.table("Kernel tests", "", &["device", "passed", "failed", "seconds"]);
    let adapter = match setting.device.adapter() {
        Some(adapter) => adapter.name.clone(),
        None => match Device::adapters().first() {
            Some(adapter) => adapter.name.clone(),
            None => {
                report.left_out("kernel tests: they need an adapter, and there is none");
                return Ok(());
            }
        },
    };
    let own = std::env::current_exe().map_err(|error| format!("the path of this executable: {error}"))?;
    let mut command = Command::new(own);
    command.arg("test-here").args(filter).env(DEVICE, format!("gpu:{adapter}")).stdout(Stdio::piped());
    // Without it Mesa complains once for each device that is opened.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    if setting.quick && std::env::var_os("PROPTEST_CASES").is_none() {
        command.env("PROPTEST_CASES", "4");
    }
    let mut child = command.spawn().map_err(|error| format!("the kernel tests: {error}"))?;
    let output = BufReader::new(child.stdout.take().expect("a piped output"));
    let mut result = None;
    for line in output.lines().map_while(Result::ok) {
        if line.starts_with("test result:") {
            result = Some(line);
        } else if !line.is_empty() && !line.ends_with("... ok") {
            crate::report::print(&format!("  {line}"));
        }
    }
    let status = child.wait().map_err(|error| format!("the kernel tests: {error}"))?;
    let result = result.ok_or_else(|| format!("the kernel tests ended without a result ({status})"))?;
    let seconds = result.rsplit(' ').next().and_then(|time| time.trim_end_matches('s').parse::<f64>().ok());
    let count = |what| count(&result, what);
    report.row(vec![json!(adapter), json!(count("passed")), json!(count("failed")), json!(seconds)]);
    match (status.success(), count("passed")) {
        (true, Some(0)) => Err("no kernel test has this in its name".into()),
        (true, _) => Ok(()),
        (false, _) => Err(format!("kernel tests failed: {result}")),
    }
}

/// The number in front of `what`, as in `167 passed; 0 failed;`.
fn count(result: &str, what: &str) -> Option<u64> {
    let parts = result.split([';', '.']).map(str::trim);
    parts.filter_map(|part| part.strip_suffix(what)).find_map(|number| number.trim().parse().ok())
}

/// Runs the tests in this process, except those whose name contains one of `skip`, and ends the process.
pub fn run_here(filter: Option<String>, skip: Vec<String>) -> ! {
    let filters: Vec<String> = filter.into_iter().collect();
    let arguments = Arguments { skip, ..Arguments::default() };
    kernels_tests::run(&kernels_tests::files(), &arguments, &filters).exit()
}
