//! `JEM_SHADERS`: kernels that are replaced without a build.

use crate::support::*;
use jem::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use jem::device::{Device, DeviceOptions};
use jem::policy::convolution::ConvolutionPolicy;
use jem::tuning::file;
use serde_json::Value;
use std::path::Path;

/// The executable's own text of `shaders/NAME.wgsl`.
fn own(name: &str) -> String {
    let path = format!("{}/shaders/{name}.wgsl", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("a shader")
}

/// Writes a file into the folder `shaders` of `place`; returns the folder.
fn put(place: &Place, name: &str, text: &str) -> String {
    let file = place.at(&format!("shaders/{name}.wgsl"));
    std::fs::create_dir_all(Path::new(&file).parent().expect("a folder")).expect("a folder");
    std::fs::write(file, text).expect("a file");
    place.at("shaders")
}

/// Exit code, output and errors of `jem` with these arguments and the shaders in `folder`.
fn with(folder: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let output = jem(words).env("JEM_SHADERS", folder).output().expect("it starts");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    (output.status.code(), stdout, stderr)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_kernel_of_the_folder_runs_instead_of_the_executables() {
    let place = Place::new();
    let [_, gpu] = devices();
    put(&place, "tick", &own("tick").replace("+= 1u", "+= 2u"));
    let folder = put(&place, "fill", &own("fill"));
    let (code, stdout, stderr) = with(&folder, &["devices", "--json", "--test", &gpu]);
    let facts = json(&stdout);
    assert_eq!(facts["shaders"]["folder"], folder, "{facts}");
    assert_eq!(facts["shaders"]["files"], 2);
    assert_eq!(facts["shaders"]["differing"], serde_json::json!(["tick"]));
    // The device now differs from the twin, in this one kernel only.
    let kernels = facts["tests"][0]["kernels"].as_array().expect("a list");
    let failed: Vec<&Value> = kernels.iter().filter(|kernel| kernel["passed"] == false).collect();
    assert!(failed.len() == 1 && failed[0]["kernel"] == "tick", "{failed:?}");
    assert!(code == Some(1) && stderr.contains("kernel tick"), "{stderr}");
    let (code, stdout, stderr) = with(&folder, &["devices"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains(&format!("shaders come from {folder}: 2 files, 1 unlike")), "{stdout}");
    // The CPU device runs no shaders.
    let (code, _, stderr) = with(&folder, &["devices", "--test", "cpu"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(facts_without()["shaders"].is_null());
}

fn facts_without() -> Value {
    facts(&["devices"])
}

#[test]
fn a_folder_with_a_mistake_opens_no_gpu_and_names_file_and_line() {
    let [_, gpu] = devices();
    let fails = |folder: &str, parts: &[&str]| {
        let (code, stdout, stderr) = with(folder, &["devices", "--test", &gpu]);
        assert!(code == Some(1) && stdout.is_empty(), "{code:?}: {stdout}{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
        for part in [&["error: ", "JEM_SHADERS"], parts].concat() {
            assert!(stderr.contains(part), "{part:?} is not in {stderr}");
        }
    };
    for (name, text, message) in [
        ("tick", own("tick") + "//#if X\n", "line 19: //#if without //#endif"),
        ("common/half", "//#endif\n".into(), "line 1: //#endif without //#if"),
        ("tick", "//#include tock\n".into(), "line 1: there is no common/tock.wgsl"),
        ("tock", own("tick"), "no kernel has this name"),
    ] {
        let place = Place::new();
        let folder = put(&place, name, &text);
        fails(&folder, &[&format!("shaders/{name}.wgsl: {message}")]);
    }
    let place = Place::new();
    fails(&place.at("none"), &["none: cannot be read: "]);
    std::fs::create_dir(place.at("empty")).expect("a folder");
    fails(&place.at("empty"), &["empty: has neither NAME.wgsl"]);
}

#[test]
fn what_naga_refuses_names_the_kernel_the_file_and_its_line() {
    let [_, gpu] = devices();
    let (mut parsed, mut valid) = (own("tick"), own("unary"));
    parsed = parsed.replace("+= 1u;", "+= 1u");
    valid = valid.replace("fn element(", "fn wrong() -> u32 { return 1.5f; }\nfn element(");
    assert!(valid != own("unary") && parsed != own("tick"), "nothing is wrong");
    for (kernel, file, text) in [("tick", "tick", parsed), ("unary", "unary", valid)] {
        let place = Place::new();
        let folder = put(&place, file, &text);
        let (code, stdout, stderr) = with(&folder, &["devices", "--json", "--test", &gpu]);
        assert_eq!(code, Some(1), "{stderr}");
        let kernels = json(&stdout)["tests"][0]["kernels"].as_array().expect("a list").clone();
        assert!(kernels.iter().filter(|result| result["passed"] == false).all(|r| r["kernel"] == kernel));
        let at = if kernel == "tick" { "fn main() {" } else { "fn wrong()" };
        let line = text.lines().position(|line| line.contains(at)).expect("the line") + 1;
        let line = if kernel == "tick" { line + 2 } else { line };
        for part in [
            &format!("kernel {kernel} ("),
            &format!(" with {folder}/{file}.wgsl, wrong at {folder}/{file}.wgsl line {line}: "),
        ] {
            assert!(stderr.contains(part), "{part:?} is not in {stderr}");
        }
    }
}

/// Winners are stored with a digest of the kernels' texts: those for other shaders are not used.
#[test]
fn tuned_winners_of_other_shaders_are_not_used() {
    let place = Place::new();
    let spec = crate::adapter::gpu_spec();
    let device = Device::open(&spec, DeviceOptions::default()).expect("the adapter");
    let adapter = device.adapter().expect("an adapter");
    let geometry =
        ConvGeometry { n: 4, h: 16, w: 16, c_in: 64, c_out: 64, kh: 3, kw: 3, stride: 1, padding: 1 };
    let shape = ConvProblem::new(Direction::Forward, geometry);
    let file = place.at("tuned.toml");
    file::write(Path::new(&file), adapter, &[(shape, ConvolutionPolicy::default().candidate(&shape))].into())
        .expect("a file");
    let shapes = |folder: Option<&str>| {
        let mut command = jem(&["devices", "--json"]);
        command.env("JEM_TUNED", &file).envs(folder.map(|folder| ("JEM_SHADERS", folder)));
        let output = command.output().expect("it starts");
        let facts = json(&String::from_utf8(output.stdout).expect("UTF-8"));
        let adapters = facts["adapters"].as_array().expect("a list");
        let own = adapters.iter().find(|other| other["name"] == adapter.name.as_str());
        own.expect("the adapter")["tuned_shapes"].as_u64().expect("a number")
    };
    assert_eq!(shapes(None), 1);
    let folder = put(&place, "conv2d", &own("conv2d"));
    assert_eq!(shapes(Some(&folder)), 1, "the same text");
    put(&place, "conv2d", &(own("conv2d") + "// changed\n"));
    assert_eq!(shapes(Some(&folder)), 0);
    put(&place, "conv2d", &own("conv2d"));
    put(&place, "common/conv_tiles", &(own("common/conv_tiles") + "// changed\n"));
    assert_eq!(shapes(Some(&folder)), 0, "a shared piece");
}
