//! The environment variables of every step.

use super::state::State;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of `scratch` that variables name.
pub const FOLDERS: [&str; 9] =
    ["logs", "home", "cache", "pipelines", "tmp", "inductor", "triton", "cuda", "shaders"];

/// Variables that name one file or folder.
const SINGLE: [&str; 2] = ["JEM_SHADERS", "JEM_DATA"];

/// Variables that name several, with colons between them.
const LISTS: [&str; 10] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
    "VK_ADD_DRIVER_FILES",
    "VK_LAYER_PATH",
    "VK_ADD_LAYER_PATH",
    "VK_IMPLICIT_LAYER_PATH",
    "__EGL_VENDOR_LIBRARY_FILENAMES",
];

/// Returns the user's variables that name files, with absolute paths, because steps run in another folder.
pub fn absolute(variable: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    let single = |value: OsString| Some(here(value).into_os_string());
    let list = |value: OsString| std::env::join_paths(std::env::split_paths(&value).map(here)).ok();
    let single = SINGLE.into_iter().filter_map(|name| Some((name, variable(name).and_then(single)?)));
    let lists = LISTS.into_iter().filter_map(|name| Some((name, variable(name).and_then(list)?)));
    single.chain(lists).collect()
}

/// `path` from this process's folder. An empty one stays empty.
pub fn here(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Sets the variables that `command` does not set itself, so that nothing in the user's folders is read or changed.
pub fn apply(command: &mut Command, state: &State) {
    let scratch = &state.scratch;
    let folder = |name: &str| scratch.join(name).into_os_string();
    let mut variables: Vec<(&str, OsString)> = vec![
        // Drivers compile on the caller's stack, and these kernels unroll to thousands of instructions.
        ("RUST_MIN_STACK", "33554432".into()),
        ("RUST_BACKTRACE", "0".into()),
        ("HOME", folder("home")),
        ("XDG_CACHE_HOME", folder("cache")),
        ("TMPDIR", folder("tmp")),
        ("TORCHINDUCTOR_CACHE_DIR", folder("inductor")),
        ("TRITON_CACHE_DIR", folder("triton")),
        ("CUDA_CACHE_PATH", folder("cuda")),
        ("__GL_SHADER_DISK_CACHE_PATH", folder("shaders")),
        ("JEM_TUNED", "none".into()),
        ("JEM_PIPELINE_CACHE", folder("pipelines")),
        ("JEM_DEVICE", state.device.to_string().into()),
    ];
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        variables.push(("XDG_RUNTIME_DIR", folder("tmp")));
    }
    variables.extend(state.variables.iter().cloned());
    if let Some(base) = &state.user_base {
        variables.push(("PYTHONUSERBASE", base.into()));
    }
    let set: Vec<OsString> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    let free = |name: &str| !set.iter().any(|set| set == name);
    // Once the gate has tried all variants, only one that passed is used.
    if free("JEM_COOPERATIVE") {
        match state.variant() {
            Some(variant) => command.env("JEM_COOPERATIVE", variant),
            None if state.no_matrices() => command.env("JEM_COOPERATIVE", "none"),
            None => command.env_remove("JEM_COOPERATIVE"),
        };
    }
    command.envs(variables.into_iter().filter(|(name, _)| free(name)));
    command.current_dir(scratch);
}

/// Makes the folders that the variables name.
///
/// # Errors
/// The file system's.
pub fn make(scratch: &Path) -> std::io::Result<()> {
    FOLDERS.iter().try_for_each(|name| std::fs::create_dir_all(scratch.join(name)))
}
