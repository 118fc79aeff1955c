//! Facts about the machine, from the system's files; the device is not touched.

use serde_json::{Value, json};
use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;

/// The folders in which the Vulkan loader looks for manifests of drivers.
const MANIFESTS: [&str; 6] = [
    "/etc/vulkan/icd.d",
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/local/etc/vulkan/icd.d",
    "/run/opengl-driver/share/vulkan/icd.d",
    "/usr/local/nvidia/share/vulkan/icd.d",
];

/// Prefixes of the variables that matter.
const VARIABLES: [&str; 8] = ["JEM_", "VK_", "LD_LIBRARY_PATH", "NVIDIA_", "CUDA_", "__EGL", "__GL", "RUST_"];

/// The facts, with the `commit` of this executable.
pub fn facts(commit: &str, date: &str) -> Value {
    let file = |path: &str| read_to_string(path).ok().map(|text| text.trim().to_owned());
    let field = |path: &str, name: &str, mark: char| {
        let text = read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(mark)?.1.trim().trim_matches('"').to_owned())
    };
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cached = said("ldconfig", &["-p"]).or_else(|| said("/sbin/ldconfig", &["-p"])).unwrap_or_default();
    let loaders: Vec<&str> = cached.lines().map(str::trim).filter(|l| l.contains("libvulkan.so")).collect();
    let variables: Vec<String> = std::env::vars_os()
        .map(|(name, value)| (name.display().to_string(), value.display().to_string()))
        .filter(|(name, _)| VARIABLES.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    json!({
        "commit": commit,
        "date": date,
        "version": env!("CARGO_PKG_VERSION"),
        "kernel": file("/proc/version"),
        "system": field("/etc/os-release", "PRETTY_NAME=", '='),
        "libc": said("getconf", &["GNU_LIBC_VERSION"]),
        "processor": field("/proc/cpuinfo", "model name", ':'),
        "threads": std::thread::available_parallelism().map_or(1, usize::from),
        "memory": field("/proc/meminfo", "MemTotal", ':'),
        "nvidia_module": file("/proc/driver/nvidia/version"),
        "device_files": matching(&["/dev", "/dev/dri"], |name| name.starts_with("nvidia") || name.starts_with("render")),
        "loaders": loaders,
        "manifests": matching(&MANIFESTS, |name| name.ends_with(".json")),
        "variables": variables,
    })
}

/// The paths in `folders` whose names are wanted.
fn matching(folders: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    for folder in folders {
        for entry in Path::new(folder).read_dir().into_iter().flatten().flatten() {
            if wanted(&entry.file_name().to_string_lossy()) {
                paths.push(entry.path().display().to_string());
            }
        }
    }
    paths.sort();
    paths
}
