//! Runs cargo, for targets that `cargo test` does not build by itself.

use std::process::Command;

/// `cargo` in the source tree, as a shell would run it.
///
/// cargo sets variables about the test's package. They must be removed: otherwise ring's build script takes them for
/// its own, and everything that depends on ring is rebuilt, here and in the next build.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
        if name.to_str().is_some_and(|name| told.iter().any(|start| name.starts_with(start))) {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}
