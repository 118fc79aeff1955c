//! The fake driver for a child process: builds the layer of lib.rs and makes the Vulkan loader find it.

#[path = "../common/cargo.rs"]
pub mod cargo;

use cargo::cargo;
use serde_json::json;
use std::path::PathBuf;
use std::sync::OnceLock;
use tempfile::TempDir;

const LAYER: &str = "VK_LAYER_JEM_fake_driver";

/// The environment variables that give a process cooperative matrices from a driver that fails in `mode` (a value of
/// `$JEM_FAKE_DRIVER` in lib.rs), and the folder with the layer's manifest, which must outlive the process.
///
/// # Panics
/// If the layer cannot be built.
pub fn environment(mode: &str) -> (Vec<(String, String)>, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = json!({
        "file_format_version": "1.1.2",
        "layer": {
            "name": LAYER,
            "type": "GLOBAL",
            "library_path": library(),
            "api_version": "1.3.0",
            "implementation_version": "1",
            "description": "Pretends that there are cooperative matrices, and fails on them",
        },
    });
    std::fs::write(folder.path().join("fake_driver.json"), manifest.to_string()).expect("a manifest");
    let path = folder.path().to_str().expect("UTF-8").to_owned();
    let variables =
        [("VK_LAYER_PATH", path.as_str()), ("VK_INSTANCE_LAYERS", LAYER), ("JEM_FAKE_DRIVER", mode)];
    (variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(), folder)
}

/// The library of the layer, beside the examples of the profile of this test. `cargo test` builds it, but `cargo test
/// --test NAME` does not.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let own = std::env::current_exe().expect("the path of this test");
        let folder = own.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
        let profile = folder.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        let profile = if profile == "debug" { "dev" } else { profile };
        let build = ["build", "--quiet", "--example", "fake_driver", "--profile", profile];
        let status = cargo().args(build).status().expect("cargo starts");
        assert!(status.success(), "cargo build --example fake_driver: {status}");
        let library = folder.join("examples/libfake_driver.so");
        assert!(library.is_file(), "cargo did not build {}", library.display());
        library
    })
}
