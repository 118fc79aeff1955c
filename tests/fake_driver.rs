//! The fake driver of `tests/fake_driver`: adapters have cooperative matrices with it, and only with it.
//!
//! Only on Linux, whose loader takes layers from the environment.
#![cfg(target_os = "linux")]

#[path = "fake_driver/mod.rs"]
mod fake_driver;

use std::process::{Command, Output};

const MATRICES: &str = "16x16x16 F16 -> F32";

/// Runs `jem` with these arguments, with the fake driver if there is a mode.
fn jem(mode: Option<&str>, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jem"));
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).env("JEM_TUNED", "none").args(words);
    let environment = mode.map(fake_driver::environment);
    if let Some((variables, _folder)) = &environment {
        command.envs(variables.iter().cloned());
    }
    command.output().expect("jem starts")
}

fn listed(mode: Option<&str>) -> String {
    let output = jem(mode, &["devices"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn every_adapter_has_cooperative_matrices_under_the_fake_driver_only() {
    let (with, without) = (listed(Some("refuse")), listed(None));
    let adapters = without.lines().filter(|line| line.starts_with("gpu:")).count();
    assert!(adapters > 0, "the tests have an adapter: {without}");
    assert_eq!(with.matches(MATRICES).count(), adapters, "{with}");
    // Without the fake driver adapters report only their own matrices.
    assert!(without.matches(MATRICES).count() < adapters, "{without}");
}
