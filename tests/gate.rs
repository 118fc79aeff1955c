//! Drivers that crash, hang or fail when they compile cooperative matrices: every command survives them, reports the
//! failure, and computes without matrices.
//!
//! Only on Linux, where the loader takes the fake driver (`tests/fake_driver`) from the environment.
#![cfg(target_os = "linux")]

#[path = "../kernels-tests/adapter.rs"]
mod adapter;
#[path = "fake_driver/mod.rs"]
mod fake_driver;
#[path = "common/small.rs"]
#[allow(dead_code, reason = "only the pictures are wanted here")]
mod small;

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const VARIANTS: [&str; 4] = ["naga", "patched", "flat", "flat-patched"];

/// `jem` with the fake driver, and with its own cache for the gate's answers.
struct Jem {
    variables: Vec<(String, String)>,
    _layer: TempDir,
    cache: TempDir,
}

impl Jem {
    fn new(mode: &str) -> Self {
        let (variables, layer) = fake_driver::environment(mode);
        Self { variables, _layer: layer, cache: tempfile::tempdir().expect("a folder") }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jem"));
        command.args(words).envs(self.variables.iter().cloned());
        command.env("XDG_CACHE_HOME", self.cache.path()).env("XDG_RUNTIME_DIR", self.cache.path());
        command.env_remove("JEM_TUNED").env_remove("JEM_COOPERATIVE").env_remove("JEM_GATE_PATIENCE");
        command
    }

    fn run(&self, words: &[&str]) -> String {
        succeeded(&self.command(words).output().expect("jem starts"))
    }

    /// The file of the gate's answers.
    fn answers(&self) -> String {
        std::fs::read_to_string(self.cache.path().join("jem/gate.toml")).unwrap_or_default()
    }

    /// The result of `devices --test` for each variant.
    fn tested(&self) -> Vec<Value> {
        let facts: Value =
            serde_json::from_str(&self.run(&["devices", "--test", &gpu(), "--json"])).expect("JSON");
        let test = &facts["tests"][0];
        assert_eq!(test["passed"], true, "the kernels without matrices: {test}");
        test["cooperative_matrices"].as_array().expect("a list").clone()
    }
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn gpu() -> String {
    adapter::gpu_spec().to_string()
}

#[test]
fn a_crash_is_a_line_of_the_test_of_a_device() {
    for (mode, end) in
        [("crash", "was killed by SIGSEGV"), ("abort", "was killed by SIGABRT"), ("exit", "exit status 3")]
    {
        let jem = Jem::new(mode);
        let tested = jem.tested();
        let variants: Vec<&str> = tested.iter().map(|one| one["variant"].as_str().expect("a name")).collect();
        assert_eq!(variants, VARIANTS);
        for one in &tested {
            let reason = one["reason"].as_str().expect("a reason");
            assert!(reason.contains(end) && reason.contains("forward 4x16x16x48 -> 80"), "{mode}: {reason}");
            assert_eq!(one["usable"], false);
        }
        assert_eq!(jem.answers().matches(end).count(), VARIANTS.len(), "{}", jem.answers());
    }
}

#[test]
fn a_driver_that_crashes_on_subgroups_and_matrices_together_gets_shaders_without_subgroups() {
    let jem = Jem::new("crash-group-non-uniform");
    for one in jem.tested() {
        let reason = one["reason"].as_str().expect("a reason");
        let flat = one["variant"].as_str().expect("a name").starts_with("flat");
        // This driver compiles no matrices at all, but only the variants that are not flat crash it.
        assert_eq!(reason.contains("was killed by SIGSEGV"), !flat, "{one}");
    }
}

#[test]
fn a_hang_is_stopped() {
    let jem = Jem::new("hang");
    let mut command = jem.command(&["devices", "--test", &gpu(), "--cooperative", "flat"]);
    let printed = succeeded(&command.env("JEM_GATE_PATIENCE", "10").output().expect("jem starts"));
    let line = printed.lines().find(|line| line.contains("matrices 16x16 flat")).expect("a line");
    assert!(line.contains("refused: the driver's test printed nothing for 10 s and was stopped"), "{line}");
    assert!(printed.contains("all passed"), "{printed}");
    assert_eq!(jem.answers(), "", "a shorter patience than usual says nothing lasting about a driver");
    for wrong in ["0", "soon"] {
        let output = command.env("JEM_GATE_PATIENCE", wrong).output().expect("jem starts");
        let printed = succeeded(&output);
        assert!(
            printed.contains(&format!(
                "JEM_GATE_PATIENCE: expected a whole number of seconds, at least 1, got {wrong}"
            )),
            "{printed}"
        );
    }
}

#[test]
fn a_test_without_memory_is_not_remembered() {
    let jem = Jem::new("full");
    for one in jem.tested() {
        let reason = one["reason"].as_str().expect("a reason");
        assert!(reason.contains("in f32") && reason.contains("out of memory"), "{reason}");
    }
    assert_eq!(jem.answers(), "", "the next run tries again");
}

#[test]
fn a_request_that_cannot_be_read_has_no_answer() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jem"));
    command.env("JEM_GATE_REQUEST", "{\n").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("jem starts");
    let input = child.stdin.take();
    let printed = succeeded(&child.wait_with_output().expect("it ends"));
    drop(input);
    assert!(printed.starts_with("unknown JEM_GATE_REQUEST: "), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
}

/// A folder of small images in two classes.
fn drawings(folder: &Path) -> String {
    let data = small::pictures(100, 8);
    for index in 0..data.len() {
        let Some(class) = ["disc", "square"].get(data.labels[index] as usize) else { continue };
        let class = folder.join("drawings").join(class);
        std::fs::create_dir_all(&class).expect("a folder");
        let picture = image::RgbImage::from_raw(8, 8, data.image(index).to_vec()).expect("8x8x3");
        picture.save(class.join(format!("{index}.png"))).expect("a file");
    }
    folder.join("drawings").to_str().expect("UTF-8").to_owned()
}

/// `--precision auto` explains why it is f32, trains, and does not try a driver again that has crashed.
#[test]
fn training_goes_on_in_f32() {
    let jem = Jem::new("crash");
    let data = drawings(jem.cache.path());
    let train = |out: &Path| {
        let out = out.to_str().expect("UTF-8");
        let mut words = vec!["train", "--data", &data, "--preset", "tiny", "--precision", "auto"];
        let device = gpu();
        words.extend(["--device", &device, "--batch", "4", "--steps", "2", "--iterations", "2"]);
        words.extend(["--buffer", "40", "--out", out]);
        let output = jem.command(&words).output().expect("jem starts");
        succeeded(&output) + &String::from_utf8_lossy(&output.stderr)
    };
    let first = train(&jem.cache.path().join("first"));
    assert!(first.contains("testing this GPU's tensor cores"), "{first}");
    let numbers = |text: &str| {
        let line = text.lines().find(|line| line.contains("numbers: f32, not f16")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text}"))
    };
    let line = numbers(&first);
    for variant in ["16x16x16 f16 -> f32: ", "(patched): ", "(flat): ", "(flat-patched): "] {
        assert!(
            line.contains(&format!("{variant}the driver's test was killed by SIGSEGV")),
            "{variant}: {line}"
        );
    }
    let known = jem.answers();
    let second = train(&jem.cache.path().join("second"));
    assert!(!second.contains("testing this GPU's"), "{second}");
    assert!(numbers(&second).contains("`jem devices --test` tries again"), "{second}");
    assert_eq!(jem.answers(), known, "nothing was asked again");
}

#[test]
fn an_interrupt_ends_the_test_and_says_nothing_about_the_driver() {
    let jem = Jem::new("hang");
    let (data, device, out) = (drawings(jem.cache.path()), gpu(), jem.cache.path().join("run"));
    let mut command = jem.command(&["train", "--data", &data, "--preset", "tiny", "--precision", "auto"]);
    command.args(["--device", &device, "--batch", "4", "--steps", "2", "--buffer", "40", "--out"]).arg(&out);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("jem starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("testing this GPU's tensor cores")));
    std::thread::sleep(Duration::from_secs(2));
    let (interrupted, pid) = (Instant::now(), child.id().to_string());
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill starts").success());
    // Nothing is trained yet, so it ends at once.
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(130));
    // A hang would take 300 s with each of four variants.
    assert!(interrupted.elapsed() < Duration::from_secs(60), "{:?}", interrupted.elapsed());
    assert_eq!(jem.answers(), "");
}

#[test]
fn no_matrices_are_tried_where_none_are_wanted() {
    let jem = Jem::new("crash");
    let printed = jem.run(&["devices", "--test", &gpu(), "--cooperative", "none"]);
    assert!(printed.contains("all passed") && !printed.contains("refused"), "{printed}");
    let mut command = jem.command(&["devices", "--test", &gpu()]);
    let printed = succeeded(&command.env("JEM_COOPERATIVE", "none").output().expect("jem starts"));
    assert!(!printed.contains("refused"), "{printed}");
    let wrong = jem.command(&["devices", "--test", &gpu()]).env("JEM_COOPERATIVE", "all").output();
    let message = String::from_utf8_lossy(&wrong.expect("jem starts").stderr).into_owned();
    assert!(message.contains("JEM_COOPERATIVE: expected any, none, naga"), "{message}");
    assert_eq!(jem.answers(), "");
}
