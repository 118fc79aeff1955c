//! `jem devices`.

use crate::support::*;
use md5::{Digest, Md5};
use std::path::{Path, PathBuf};

#[test]
fn adapters_are_listed_with_what_matters() {
    let facts = facts(&["devices"]);
    let adapters = facts["adapters"].as_array().expect("a list");
    assert!(!adapters.is_empty(), "the tests have an adapter");
    for adapter in adapters {
        for key in [
            "name",
            "type",
            "backend",
            "driver",
            "driver_info",
            "max_storage_binding",
            "max_buffer",
            "workgroup_memory",
            "workgroup_invocations",
            "f16",
            "subgroups",
            "timestamps",
            "pipeline_cache",
            "cooperative_matrices",
            "tuned_shapes",
        ] {
            assert!(adapter.get(key).is_some(), "no {key} in {adapter}");
        }
    }
    assert!(facts["cpu"]["threads"].as_u64().is_some_and(|threads| threads > 0), "{facts}");
    let auto = facts["auto"].as_str().expect("a name");
    let printed = listed("auto").0;
    let marked: Vec<&str> = printed.lines().filter(|line| line.contains("<- ")).collect();
    let of = |line: &str| {
        line.strip_suffix("  <- auto").is_some_and(|name| auto.starts_with(name.trim_start_matches("gpu:")))
    };
    assert!(marked.len() == 1 && of(marked[0]), "{auto}: {printed}");
    for adapter in adapters {
        assert!(printed.contains(adapter["name"].as_str().expect("a name")), "{printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 100), "{printed}");
}

/// The list of devices and the facts, with this value of `JEM_DEVICE`.
fn listed(device: &str) -> (String, serde_json::Value) {
    let output = |words: &[&str]| {
        let output = jem(words).env("JEM_DEVICE", device).output().expect("the command starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    (output(&["devices"]), serde_json::from_str(&output(&["devices", "--json"])).expect("JSON"))
}

#[test]
fn the_device_of_the_environment_is_marked_and_tested() {
    let [cpu, gpu] = devices();
    for device in [&cpu, &gpu] {
        let (printed, facts) = listed(device);
        let marked: Vec<&str> = printed.lines().filter(|line| line.contains("<- ")).collect();
        assert_eq!(marked, [format!("{device}  <- JEM_DEVICE={device}")], "{printed}");
        assert_eq!(facts["default"]["asked"], device.as_str());
        let name = facts["default"]["name"].as_str().expect("a name");
        assert!(name.starts_with(device.trim_start_matches("gpu:")), "{facts}");
    }
    // A device that does not exist is named under the list of those that do.
    let (printed, facts) = listed("gpu:no such adapter");
    assert!(!printed.contains("<- ") && printed.contains("cpu\n"), "{printed}");
    assert!(printed.contains("JEM_DEVICE=gpu:no such adapter cannot be used: "), "{printed}");
    assert!(facts["default"]["name"].is_null() && facts["default"]["error"].is_string(), "{facts}");

    let wrong = jem(&["devices"]).env("JEM_DEVICE", "cuda").output().expect("the command starts");
    let stderr = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        wrong.status.code() == Some(1) && stderr.starts_with("error: JEM_DEVICE: expected auto, "),
        "{stderr}"
    );
    let wrong = jem(&["devices"]).env("JEM_COOPERATIVE", "maybe").output().expect("the command starts");
    let stderr = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        wrong.status.code() == Some(1) && stderr.contains("JEM_COOPERATIVE: expected any, none"),
        "{stderr}"
    );

    let mut test = jem(&["devices", "--test", "--json"]);
    let output = test.env("JEM_DEVICE", &gpu).output().expect("the command starts");
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(facts["tests"][0]["device"], facts["default"]["name"], "{facts}");
}

#[test]
fn kernels_are_tested_where_asked() {
    let [cpu, gpu] = devices();
    let facts = facts(&["devices", "--test", &cpu, "--test", &gpu]);
    let tests = facts["tests"].as_array().expect("a list");
    assert_eq!(tests.len(), 2);
    for test in tests {
        assert_eq!(test["passed"], true, "{test}");
        let kernels = test["kernels"].as_array().expect("a list");
        assert!(kernels.len() > 20 && kernels.iter().all(|kernel| kernel["passed"] == true), "{test}");
    }
    let printed = succeed(&["devices", "--test"]);
    assert!(printed.contains("conv2d") && printed.contains("all passed"), "{printed}");
    misuse(&["devices", "--test", "cuda"], &["cuda", "gpu:NAME"]);
}

/// The files of compiled pipelines in `directory` of `place`; asserts that each matches its checksum.
fn whole_files(place: &Place, directory: &str) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = std::fs::read_dir(place.at(directory))
        .expect("a directory")
        .map(|entry| entry.unwrap().path())
        .collect();
    for path in &files {
        let bytes = std::fs::read(path).expect("a file");
        assert_eq!(&bytes[..8], b"jempipe1");
        assert_eq!(bytes[24..40], *Md5::digest(&bytes[40..]), "{path:?} is damaged");
    }
    files
}

#[test]
fn compiled_pipelines_are_kept_and_damage_does_no_harm() {
    let [_, gpu] = devices();
    let adapters = jem::device::Device::adapters();
    let adapter = adapters.iter().find(|adapter| gpu.ends_with(&adapter.name)).expect("the adapter");
    if !adapter.pipeline_cache {
        eprintln!("{} has no pipeline cache: ran without", adapter.name);
        return;
    }
    let place = Place::new();
    let test = || {
        let mut command = jem(&["devices", "--test", &gpu]);
        command.env("JEM_PIPELINE_CACHE", place.at("pipelines"));
        command
    };
    // Several processes write the same file at the same time.
    let running: Vec<_> = (0..3)
        .map(|_| test().stdout(std::process::Stdio::piped()).spawn().expect("the command starts"))
        .collect();
    for child in running {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
    }
    let files = whole_files(&place, "pipelines");
    assert_eq!(files.len(), 1, "{files:?}");
    let whole = std::fs::read(&files[0]).expect("a file");
    assert!(whole.len() > 40, "the driver's data");
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 255;
    let half = whole[..whole.len() / 2].to_vec();
    for damaged in [changed, half, vec![7; 3 << 20], Vec::new()] {
        std::fs::write(&files[0], damaged).unwrap();
        assert!(test().output().expect("the command starts").status.success());
        assert_eq!(whole_files(&place, "pipelines"), files, "it is replaced");
    }
    // The directory cannot be created.
    let mut taken = test();
    taken.env("JEM_PIPELINE_CACHE", files[0].join("below"));
    assert!(taken.output().expect("the command starts").status.success());
    // No file.
    let mut none = test();
    none.env("JEM_PIPELINE_CACHE", "none").env("XDG_CACHE_HOME", place.at("cache"));
    assert!(none.output().expect("the command starts").status.success());
    // (Mesa keeps its cache there.)
    assert!(!Path::new(&place.at("cache/jem")).exists());
}
