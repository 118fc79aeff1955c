//! The commands of steps, which depend on the results of earlier steps.

use crate::figures::table;
use crate::measure::orders::{blocked, order};
use crate::measure::plan::{HEAVY, Task, VARIANTS};
use crate::measure::state::State;
use crate::measure::{environment, orders};
use jem::ebm::Precision::{F16, F32};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn state() -> State {
    let mut state = State::new(Path::new("/out"), Path::new("/scratch"));
    let adapters = json!({"adapters": [{"name": "A card", "type": "discrete GPU"}]});
    state.learn(Task::Devices, true, &adapters);
    state
}

fn gates(state: &mut State, passes: &str) {
    for variant in VARIANTS {
        let outcome = if variant == passes { "passed" } else { "differs" };
        let result = json!({"tables": [table("Gate of matrices", &[json!({"outcome": outcome})])]});
        state.learn(Task::Gate(variant), true, &result);
    }
}

fn words(command: &Command) -> String {
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    words.collect::<Vec<_>>().join(" ")
}

/// The variable `name` in the environment of `task`; `None` if it is not set or was removed.
fn variable(task: Task, state: &State, name: &str) -> Option<String> {
    let mut order = order(task, "step", 10.0, false, state);
    environment::apply(&mut order.command, state);
    let found = order.command.get_envs().find(|(other, _)| *other == name);
    found.and_then(|(_, value)| Some(value?.to_string_lossy().into_owned()))
}

#[test]
fn the_first_variant_that_passes_is_used() {
    let mut state = state();
    let cooperative = |task, state: &State| variable(task, state, "JEM_COOPERATIVE");
    assert_eq!(cooperative(Task::SelfTest, &state).as_deref(), Some("none"));
    assert_eq!(cooperative(Task::Gate("naga"), &state), None, "the flag says it");
    assert!(
        words(&order(Task::Gate("flat"), "gate-flat", 9.0, false, &state).command)
            .contains("--cooperative flat")
    );
    let patience = |state| variable(Task::Gate("naga"), state, "JEM_GATE_PATIENCE");
    assert_eq!(patience(&state).as_deref(), Some("25"));
    let quick = State { quick: true, ..self::state() };
    assert_eq!(patience(&quick), None, "software compiles for minutes");
    assert_eq!(blocked(Task::Steps(F16), &state), None, "not known yet");
    let passed = json!({"tables": [table("Gate of matrices", &[json!({"outcome": "passed"})])]});
    let mut early = self::state();
    early.learn(Task::Gate("patched"), true, &passed);
    assert_eq!(cooperative(Task::Ceilings, &early).as_deref(), Some("patched"), "before all were tried");
    assert_eq!(blocked(Task::Gate("flat"), &early).as_deref(), Some("steps use `patched`, which has passed"));
    assert_eq!(blocked(Task::Gate("naga"), &self::state()), None);
    gates(&mut state, "flat");
    assert_eq!(cooperative(Task::Ceilings, &state).as_deref(), Some("flat"));
    assert_eq!(cooperative(Task::SelfTest, &state).as_deref(), Some("none"));
    assert_eq!(blocked(Task::Steps(F16), &state), None);
}

#[test]
fn without_matrices_there_is_no_step_in_f16() {
    let mut state = state();
    gates(&mut state, "");
    assert_eq!(variable(Task::Ceilings, &state, "JEM_COOPERATIVE").as_deref(), Some("none"));
    for task in [Task::Profile(F16), Task::Steps(F16), Task::Tune(F16), Task::Tuned(F16), Task::Train(F16)] {
        assert!(blocked(task, &state).is_some_and(|why| why.contains("gate")), "{task:?}");
    }
    for task in [Task::Profile(F32), Task::Steps(F32), Task::TrainSmall] {
        assert_eq!(blocked(task, &state), None, "{task:?}");
    }
    let small = order(Task::TrainSmall, "train-small", 9.0, false, &state);
    assert!(words(&small.command).contains("--precision f32"));
    assert!(small.interrupt.is_some_and(|after| after < 9.0));
    let full = order(Task::Train(F32), "train-f32", 18.0, false, &state);
    assert!(full.interrupt.is_some_and(|after| after < 18.0), "it would be killed at its limit");
}

#[test]
fn without_a_device_only_the_host_is_asked() {
    let mut state = State::new(Path::new("/out"), Path::new("/scratch"));
    state.learn(Task::Devices, true, &json!({"adapters": []}));
    for task in [
        Task::SelfTest,
        Task::Gate("naga"),
        Task::Ceilings,
        Task::Warm,
        Task::Peer("bf16"),
        Task::Train(F32),
        Task::Rest,
    ] {
        assert_eq!(
            blocked(task, &state).as_deref(),
            Some("no Vulkan driver offers an adapter: install the GPU's driver"),
            "{task:?}"
        );
    }
    assert_eq!(blocked(Task::Host, &state), None);
    // If the list of adapters itself failed, every step is tried.
    let mut state = State::new(Path::new("/out"), Path::new("/scratch"));
    state.learn(Task::Devices, false, &Value::Null);
    assert_eq!(blocked(Task::SelfTest, &state), None);
}

#[test]
fn steps_take_turns_with_the_best_modes() {
    let mut state = state();
    assert!(!words(&order(Task::Steps(F16), "steps-f16", 9.0, false, &state).command).contains("--peer"));
    let torch = json!({"torch": "2.9", "cuda": "12.8", "executable": "/usr/bin/python3"});
    state.learn(Task::Torch, true, &torch);
    for (precision, mode, time) in
        [("bf16", "eager-bf16-nhwc", 5.0), ("bf16", "graph-bf16-nhwc", 4.0), ("tf32", "graph-tf32-nhwc", 6.0)]
    {
        let rows = json!({"rows": [{"mode": mode, "step": "iteration", "median_ms": time}]});
        state.learn(Task::Peer(precision), true, &rows);
    }
    let steps = |precision| words(&order(Task::Steps(precision), "steps", 9.0, false, &state).command);
    let turns = "--peer /usr/bin/python3 --peer-device cuda --peer-mode";
    assert!(steps(F16).ends_with(&format!("{turns} graph-bf16-nhwc")), "{}", steps(F16));
    assert!(steps(F32).ends_with(&format!("{turns} graph-tf32-nhwc")), "{}", steps(F32));
    let alone = words(&order(Task::Peer("bf16"), "torch-bf16", 50.0, false, &state).command);
    assert!(alone.contains("--depth 28 --width 10 --batch 64") && alone.ends_with("--seconds 35"), "{alone}");
    let ways = "--modes graph-bf16,graph-compile-bf16,eager-bf16,compile-bf16 --json --repeats 5";
    assert!(alone.contains(ways), "{alone}");
    let warm = words(&orders::warm(&state));
    assert!(warm.ends_with("--batch 64 --k 20 --modes graph-compile,compile --warm"), "{warm}");
}

#[test]
fn repeats_fit_the_time() {
    let mut state = state();
    let words = |task, roomy, state: &State| words(&order(task, "step", 30.0, roomy, state).command);
    for (task, few) in [(Task::Profile(F32), "3"), (Task::Steps(F16), "5")] {
        assert!(words(task, false, &state).ends_with(&format!("--repeats {few}")), "{task:?}");
        assert!(words(task, true, &state).ends_with("--repeats 9"), "{task:?}");
    }
    state.quick = true;
    assert!(
        !words(Task::Profile(F32), true, &state).contains("--repeats"),
        "the bench's own default is less"
    );
}

#[test]
fn pytorch_without_cuda_is_no_peer_of_a_gpu() {
    let mut state = state();
    state.learn(Task::Torch, true, &json!({"torch": "2.9+cpu", "cuda": null}));
    let why = Some("PyTorch 2.9+cpu finds no CUDA device".to_owned());
    assert_eq!(blocked(Task::Peer("bf16"), &state), why);
    state.learn(Task::Torch, true, &json!({"torch": null}));
    assert_eq!(blocked(Task::Warm, &state).as_deref(), Some("PyTorch is not installed"));
}

#[test]
fn a_python_of_the_user_stays() {
    for (python, called) in [("python3", "/usr/bin/python3"), ("/home/me/wrapper.sh", "/home/me/wrapper.sh")]
    {
        let mut state = State { python: python.into(), ..state() };
        state.learn(Task::Torch, true, &json!({"torch": "2.9", "executable": "/usr/bin/python3"}));
        assert_eq!(orders::warm(&state).get_program(), called);
    }
}

#[test]
fn a_python_that_is_not_there_is_not_asked() {
    let mut state = state();
    for (python, why) in [
        ("no-python-of-this-name", Some("no-python-of-this-name is not installed")),
        ("sh", None),
        ("/no/python", None),
    ] {
        state.python = python.into();
        assert_eq!(blocked(Task::Torch, &state).as_deref(), why, "{python}");
    }
}

#[test]
fn nothing_of_the_user_is_read_or_changed() {
    let state = state();
    for (name, value) in [
        ("HOME", "/scratch/home"),
        ("XDG_CACHE_HOME", "/scratch/cache"),
        ("TMPDIR", "/scratch/tmp"),
        ("TORCHINDUCTOR_CACHE_DIR", "/scratch/inductor"),
        ("JEM_TUNED", "none"),
        ("JEM_DEVICE", "gpu:A card"),
        ("RUST_MIN_STACK", "33554432"),
    ] {
        assert_eq!(variable(Task::Ceilings, &state, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(variable(Task::Tuned(F32), &state, "JEM_TUNED").as_deref(), Some("/out/tuned.toml"));
    assert_eq!(variable(Task::Test("head"), &state, "JEM_TEST_DEVICE").as_deref(), Some("gpu:A card"));
}

#[test]
fn no_kernel_test_runs_twice() {
    let state = state();
    let words = |task| words(&order(task, "step", 10.0, false, &state).command);
    let parts = HEAVY.map(|(kind, part)| {
        assert_eq!(words(Task::Test(kind)), format!("test-here {part}"));
        part
    });
    assert_eq!(words(Task::Rest), format!("test-here --skip {}", parts.join(" --skip ")));
    // The names of the tests, as `tests!` lists them in each file.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels-tests");
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let listed = files.filter_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let tests = text.split_once("\ntests![")?.1.split_once(']')?.0;
        let file = path.file_stem()?.to_str()?;
        Some(tests.split(',').map(|test| format!("{file}::{}", test.trim())).collect::<Vec<_>>())
    });
    let names: Vec<String> = listed.flatten().collect();
    assert!(names.len() > 200, "{} tests", names.len());
    for name in &names {
        let kinds: Vec<&str> = parts.into_iter().filter(|part| name.contains(part)).collect();
        assert!(kinds.len() < 2, "{name} runs with {kinds:?}");
    }
    for (kind, part) in [("head", "head::"), ("cooperative", "cooperative::")] {
        let of = |name: &&String| name.contains(part);
        assert!(names.iter().any(|name| of(&name)), "{kind} has no test");
        let other = names.iter().filter(of).find(|name| !name.starts_with(part));
        assert_eq!(other, None, "not of {kind}");
    }
}

#[test]
fn nothing_tuned_is_not_measured_again() {
    let mut state = state();
    assert_eq!(blocked(Task::Tuned(F32), &state), None, "it is kept time for, until it is known");
    state.learn(Task::Tune(F32), false, &Value::Null);
    assert_eq!(blocked(Task::Tuned(F32), &state).as_deref(), Some("nothing was tuned"));
}

#[test]
fn paths_of_the_user_hold_in_another_folder() {
    let here = std::env::current_dir().unwrap();
    let here = here.display();
    let set =
        [("JEM_SHADERS", "sha:ders"), ("VK_DRIVER_FILES", "one.json:/two.json"), ("LD_LIBRARY_PATH", "")];
    let value = |name: &str| set.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
    let mut state = state();
    state.variables = environment::absolute(value);
    let of = |name: &str| variable(Task::Ceilings, &state, name);
    assert_eq!(of("JEM_SHADERS"), Some(format!("{here}/sha:ders")));
    assert_eq!(of("VK_DRIVER_FILES"), Some(format!("{here}/one.json:/two.json")));
    assert_eq!(of("LD_LIBRARY_PATH").as_deref(), Some(""));
    assert_eq!(of("VK_ICD_FILENAMES"), None);
}
