//! The bench on a driver that crashes when it compiles cooperative matrices: it reports the crash and continues.
#![cfg(target_os = "linux")]

use crate::whole::bench;
use crate::{adapter, fake_driver};
use std::process::{Command, Output};

/// Runs a section of the bench on the test's adapter with the fake driver and its own cache; also returns whether the
/// gate's answers were saved.
fn under_a_crash(section: &str) -> (Output, String, bool) {
    let (variables, _layer) = fake_driver::environment("crash");
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(bench());
    command.args(["--device", &adapter::gpu_spec().to_string(), "--quick", section]).envs(variables);
    command.env("XDG_CACHE_HOME", cache.path()).env("XDG_RUNTIME_DIR", cache.path());
    command.env("JEM_TUNED", "none").env_remove("JEM_COOPERATIVE");
    let output = command.output().expect("the bench starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, printed, cache.path().join("jem/gate.toml").exists())
}

#[test]
fn a_crash_of_the_gate_is_a_row_for_each_variant() {
    let (output, printed, kept) = under_a_crash("gate");
    for variant in ["naga", "patched", "flat", "flat-patched"] {
        let row = printed.lines().find(|line| line.trim_start().starts_with(&format!("{variant} ")));
        assert!(row.is_some_and(|row| row.contains("was killed by SIGSEGV")), "{variant}: {printed}");
    }
    assert_eq!(output.status.code(), Some(1), "none passed: {output:?}");
    assert!(kept, "later steps would ask again");
}

#[test]
fn ceilings_in_f32_are_measured_all_the_same() {
    let (output, printed, kept) = under_a_crash("ceilings");
    assert!(output.status.success(), "{output:?}");
    assert!(printed.contains("f32, the best") && printed.contains("Ceiling of memory"), "{printed}");
    let left_out = "not measured: arithmetic of cooperative matrices: 16x16x16 f16 -> f32: the driver's test was killed by";
    assert!(printed.contains(left_out), "{printed}");
    assert!(kept, "later steps would ask again");
}

/// On a hardware GPU the gate takes seconds for each variant, and such a section has only a few.
#[test]
fn what_multiplies_no_matrices_does_not_ask_the_gate() {
    let (output, printed, kept) = under_a_crash("launch");
    assert!(output.status.success() && printed.contains("Cost of a dispatch"), "{output:?}");
    assert!(!kept);
}
