//! The example `train_cifar` as a program.

use std::process::Command;

/// Runs the example, which `cargo test` builds beside the tests, on `device`.
pub fn train_cifar_on(device: &str) -> Command {
    let mut path = std::env::current_exe().expect("the test has a path");
    path.pop();
    path.pop();
    path.push(format!("examples/train_cifar{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is not built: run cargo test without --test", path.display());
    let mut command = Command::new(path);
    command
        .env_remove("JEM_DATA")
        .env_remove("JEM_DEVICE")
        .env("JEM_TUNED", "none")
        .env("JEM_PIPELINE_CACHE", "none")
        .args(["--device", device]);
    command
}
