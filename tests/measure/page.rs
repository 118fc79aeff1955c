//! The summary of successful and failed runs.

use crate::figures::{line, steps, table};
use crate::measure::child::{Ended, Status};
use crate::measure::orders::Reader;
use crate::measure::plan::{self, Task};
use crate::measure::report::{self, slug};
use crate::measure::{clocks, journal, results, state, summary};
use jem::device::DeviceSpec;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

fn start(names: &[&str]) -> Value {
    let result = json!({"commit": "abc", "date": "2026-11-27", "quick": false, "seconds": 540.0, "device": "auto",
                        "data": "images", "steps": names});
    line(journal::START, result)
}

#[track_caller]
fn has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is not in:\n{page}");
    }
}

#[test]
fn a_run_without_any_result_says_so() {
    let page = summary::page(&[]);
    has(
        &page,
        &["an unknown device", "not measured", "the self-test has no result; `selftest-f32` has not run"],
    );
    let page = summary::page(&[start(&["host", "devices"])]);
    has(&page, &["host, devices: the run has not reached it.", "**Nothing was measured.**"]);
    // A test of tensor cores on a device without them ends without an error but measures nothing.
    let (facts, gate) = (line("devices", json!({})), line("gate-naga", json!({})));
    let skipped = journal::skipped("selftest-f32", "", 5.0, "no adapter is a hardware GPU");
    let page = summary::page(&[start(&["devices", "gate-naga"]), facts, gate, skipped]);
    has(&page, &["**Nothing was measured: no adapter is a hardware GPU.**"]);
}

#[test]
fn the_page_has_ratios_fractions_failures_and_what_is_missing() {
    let ended = Ended {
        status: Status::Died,
        exit: None,
        signal: Some(11),
        time: Duration::from_millis(3200),
        text: String::new(),
        last_words: vec!["compiling".into(), "a | b".into()],
    };
    let gate = json!({"tables": [table("Gate of matrices", &[json!(
        {"variant": "patched", "matrices": "16x16", "outcome": "passed", "error": 1e-7, "kernels": 12, "seconds": 3.0}
    )])]});
    let profile = table(
        "Profile of an iteration",
        &[
            json!({"kernel": "(all dispatches)", "dispatches": 160, "ms": 100.0, "share %": 100.0}),
            json!({"kernel": "(the whole, not split)", "dispatches": null, "ms": 90.0, "share %": 90.0}),
            json!({"kernel": "small", "dispatches": 20, "ms": 20.0, "share %": 20.0, "GFLOP/s": 1.0, "fraction": 0.1}),
            json!({"kernel": "conv2d 160", "dispatches": 140, "ms": 80.0, "share %": 80.0, "GFLOP/s": 95000.0, "fraction": 0.16}),
        ],
    );
    let losses = |last: f64| json!({"columns": {"iteration": [1, 2, 3], "loss": [2.5, 2.4, last]}});
    let lines = [
        start(&["gate-naga", "gate-patched", "launch"]),
        line(
            "selftest-f32",
            json!({"tests": [{"kernels": [
            {"kernel": "conv2d", "passed": true}, {"kernel": "head", "passed": false}]}]}),
        ),
        journal::line("gate-naga", "matrices", 1.0, 60.0, &ended, Value::Null),
        line("gate-patched", gate),
        line("test-conv2d", json!({"passed": 20, "failed": ["conv2d::odd"], "finished": true})),
        line("steps-f16", steps()),
        line("profile-f16", json!({"tables": [profile]})),
        line(
            "tune-f16",
            json!({"milliseconds_by_rule": 100.0, "milliseconds_as_tuned": 80.0, "shapes": [1, 2]}),
        ),
        line(
            "registers",
            json!({"tables": [table("Registers and spills", &[
                json!({"pipeline": "conv2d 128x64", "registers": 168, "spills": 0}),
                json!({"pipeline": "winograd_input", "registers": 255, "spills": 32}),
            ])]}),
        ),
        line(
            "steps-f32",
            json!({"tables": [table("Steps", &[
                json!({"step": "paper WRN-28-10 f32 x64 iteration, K = 20", "median ms": 90.0})
            ])]}),
        ),
        line("train-f32", losses(2.25)),
        line("train-f16", losses(2.26)),
        journal::skipped("torch-bf16", "", 5.0, "PyTorch is not installed"),
        journal::skipped("torch-tf32", "", 5.0, "PyTorch is not installed"),
        journal::skipped("test-cooperative", "", 5.0, "no variant passed"),
    ];
    let page = summary::page(&lines);
    has(&page, &["# jem on A card", "2026-11-27, abc", "driver: 1.2", "s of 540 s"]);
    has(&page, &["network and batch: paper WRN-28-10, batch 64, an iteration with K = 20 SGLD steps"]);
    assert!(!page.contains("Nothing was measured"), "{page}");
    has(&page, &["**f32 is WRONG** in 1 of 2 kernels: head."]);
    has(&page, &["`naga`: was killed by SIGSEGV; `patched`: 16x16 passed"]);
    has(&page, &["`flat`, `flat-patched`, each: has not run."]);
    has(
        &page,
        &["20 passed, **1 FAILED**: conv2d::odd; not all tests ran in test-winograd, test-head, test-rest."],
    );
    assert_eq!(page.matches("An iteration in f32").count(), 1, "{page}");
    has(&page, &["An iteration in f32 takes 90.0 ms; PyTorch's was not measured."]);
    has(&page, &["trained on images in the folder `images`."]);
    has(
        &page,
        &["iteration in f16 takes 240 ms, 51% of PyTorch's speed (graph-bf16-nhwc); beside PyTorch in bf16"],
    );
    has(
        &page,
        &["| SGLD step, f16 beside bf16 | 10.0 ms | not measured | 5.00 ms (graph-bf16-nhwc) | 0.500 |"],
    );
    let apart = "PyTorch / jem: above 1, jem is faster.\n";
    has(&page, &[apart]);
    has(&page, &["Tuned 2 shapes in f16", "80.0 ms, by rule 100 ms (80%)"]);
    let with_tuned = [&lines[..], &[line("tuned-f16", steps())]].concat();
    let note =
        "tuned: the same time of PyTorch over that of the tuned kernels, which took no turns with it.\n";
    has(
        &summary::page(&with_tuned),
        &[note, "| 10.0 ms | 10.0 ms | 5.00 ms (graph-bf16-nhwc) | 0.500 | 0.500 |"],
    );
    has(&page, &["| conv2d 160 | 140 | 80.0 ms | 80% | 95.0 TFLOP/s | 16% |"]);
    has(&page, &["of 100 ms in all dispatches (the iteration as a whole takes 90.0 ms)"]);
    has(
        &page,
        &[
            "In f32: not measured; `profile-f32` has not run",
            "the most registers: 255, winograd_input",
            "winograd_input: 32",
        ],
    );
    has(&page, &["| 3 | 2.25000 | 2.26000 | +1.0e-2 |"]);
    has(&page, &["**gate-naga** was killed by SIGSEGV after 3.2 s.", "> a \\| b"]);
    has(&page, &["torch-bf16, torch-tf32: PyTorch is not installed.", "launch: the run has not reached it."]);
}

#[test]
fn a_lost_device_does_not_fill_the_page_with_names() {
    let failed: Vec<String> = (1..10).map(|n| format!("file::test_{n}")).collect();
    let tests = json!({"passed": 2, "failed": failed, "finished": true});
    let page = summary::page(&[start(&["test-conv2d"]), line("test-conv2d", tests)]);
    has(&page, &["2 passed, **9 FAILED**: file::test_1, ", "file::test_6 and 3 more (logs.tar.gz)"]);
    assert!(!page.contains("file::test_7"), "{page}");
}

#[test]
fn steps_are_read_by_what_they_write() {
    let folder = tempfile::tempdir().unwrap();
    let ended = |text: &str| Ended {
        status: Status::Ok,
        exit: Some(0),
        signal: None,
        time: Duration::ZERO,
        text: text.into(),
        last_words: Vec::new(),
    };
    let read = |reader, text: &str| results::read(reader, &ended(text), folder.path());
    assert_eq!(read(Reader::Line, "warning\n{\"a\":1}\n{\"a\":2}\n{ no\nend"), json!({"a": 2}));
    assert_eq!(read(Reader::Line, "nothing"), Value::Null);
    assert_eq!(read(Reader::Lines, "{\"a\":1}\nx\n{\"a\":2}"), json!({"rows": [{"a": 1}, {"a": 2}]}));
    let tests = "running 3 tests\ntest a::b ... ok\ntest c::d  ... FAILED\n\ntest e::f    ... ok\n";
    let expected = json!({"passed": 2, "failed": ["c::d"], "finished": false});
    assert_eq!(read(Reader::Tests, tests), expected);
    assert_eq!(read(Reader::Tests, "Segmentation fault"), Value::Null);
    assert_eq!(read(Reader::Bench, ""), Value::Null);
    std::fs::write(folder.path().join("bench.json"), "{\"tables\": []}").unwrap();
    assert_eq!(read(Reader::Bench, ""), json!({"tables": []}));
    std::fs::write(folder.path().join("metrics.csv"), "iteration,loss\n1,2.5\n2,\n3,1.5\n4").unwrap();
    let expected = json!({"columns": {"iteration": [1.0, 2.0, 3.0], "loss": [2.5, null, 1.5]}});
    assert_eq!(read(Reader::Metrics, ""), expected);
}

#[test]
fn results_decide_about_later_steps() {
    let mut state = state::State::new(Path::new("out"), Path::new("scratch"));
    let adapters = json!({"adapters": [{"name": "llvmpipe", "type": "software"}, {"name": "A card", "type": "discrete GPU"}]});
    state.learn(Task::Devices, true, &adapters);
    assert_eq!((state.device.to_string().as_str(), &state.no_device), ("gpu:A card", &None));
    let gate = |outcome: &str| json!({"tables": [table("Gate", &[json!({"outcome": outcome})])]});
    state.learn(Task::Gate("naga"), true, &gate("differs between repeats"));
    state.learn(Task::Gate("patched"), false, &gate("passed"));
    state.learn(Task::Gate("flat"), true, &gate("passed"));
    assert_eq!((state.variant(), state.no_matrices()), (Some("flat"), false));
    let mut without = state::State::new(Path::new("out"), Path::new("scratch"));
    for variant in ["naga", "patched", "flat", "flat-patched"] {
        without.learn(Task::Gate(variant), false, &Value::Null);
    }
    assert_eq!((without.variant(), without.no_matrices()), (None, true));
    without.learn(Task::Devices, true, &json!({"adapters": [{"name": "llvmpipe", "type": "software"}]}));
    assert_eq!(
        without.no_device.as_deref(),
        Some("no adapter is a hardware GPU; found llvmpipe: name one by --device NAME")
    );
    let times = json!({"rows": [
        {"mode": "eager-bf16-nhwc", "step": "iteration", "median_ms": 3.0},
        {"mode": "graph-bf16-nhwc", "step": "iteration", "median_ms": 2.0},
        {"mode": "compile-bf16-nhwc", "step": "sgld", "median_ms": 1.0},
    ]});
    state.learn(Task::Peer("bf16"), true, &times);
    assert_eq!((state.best_mode("bf16"), state.best_mode("tf32")), (Some("graph-bf16-nhwc"), None));
}

#[test]
fn a_report_has_the_page_and_the_tables_under_a_name_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (out, to) = (folder.path().join("out"), folder.path().join("to"));
    std::fs::create_dir(&out).unwrap();
    let mut journal = journal::Journal::new(&out).unwrap();
    journal.add(start(&["steps-f16", "ceilings"]));
    let mut steps = steps();
    steps["tables"][0]["columns"] = json!(["step", "median ms", "GFLOP/s"]);
    steps["tables"][0]["notes"] = json!(["medians of few"]);
    journal.add(line("steps-f16", steps));
    let path = report::write(&out, &to).unwrap();
    assert_eq!(path, to.join("2026-11-27-a-card.md"));
    assert_eq!(report::write(&out, &to).unwrap(), to.join("2026-11-27-a-card-2.md"), "none is replaced");
    let page = std::fs::read_to_string(path).unwrap();
    has(&page, &["# jem on A card", "| steps-f16 | ok | 1.50 | 9.00 |"]);
    has(&page, &["## steps-f16: Steps\n\n| step | median ms | GFLOP/s |", "medians of few"]);
    has(&page, &["| paper WRN-28-10 f16 x64 update | 40.0 | 250 |"]);
    let message = report::write(folder.path(), &to).unwrap_err();
    assert!(message.contains("results.jsonl"), "{message}");
}

#[test]
fn a_report_needs_the_line_of_the_run_and_stays_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (out, to) = (folder.path().join("out"), folder.path().join("to"));
    std::fs::create_dir(&out).unwrap();
    let write = |value: &Value| std::fs::write(out.join(journal::FILE), format!("{value}\n")).unwrap();
    write(&line("host", Value::Null));
    let message = report::write(&out, &to).unwrap_err();
    assert!(message.ends_with("results.jsonl: no line describes the run itself"), "{message}");
    assert!(!to.exists());
    let mut start = start(&[]);
    start["result"]["date"] = json!("../2026");
    write(&start);
    assert_eq!(report::write(&out, &to).unwrap(), to.join("2026-an-unknown-device.md"));
}

#[test]
fn shaders_that_are_not_the_commits_are_named() {
    let shaders = |names: &[String]| json!({"folder": "my/`shaders", "files": 40, "differing": names});
    let names: Vec<String> = (0..30).map(|n| format!("kernel{n:02}")).collect();
    let run = |shaders: Value| {
        let mut start = start(&[]);
        start["result"]["shaders"] = shaders;
        summary::page(&[start])
    };
    let two = "**Not the commit's shaders: `my/?shaders` (JEM_SHADERS) replaces kernel00, kernel01.**";
    has(&run(shaders(&names[..2])), &[two]);
    has(&run(shaders(&names)), &["kernel19 and 10 more.**"]);
    has(&run(shaders(&[])), &["Shaders come from `my/?shaders` (JEM_SHADERS); none differs"]);
    assert!(!run(Value::Null).contains("JEM_SHADERS"));
}

#[test]
fn facts_alone_are_no_measurement() {
    let steps = plan::steps(true, 60.0);
    let ok = |step: &str| line(step, Value::Null);
    let skipped = journal::skipped("launch", "", 0.0, "no adapter");
    let facts = [ok("host"), ok("card"), ok("devices"), ok("torch"), ok("clocks"), skipped];
    assert!(!plan::has_measured(&steps, &facts));
    assert!(plan::has_measured(&steps, &[ok("host"), ok("launch")]));
}

#[test]
fn clocks_are_those_of_the_step() {
    let text = "0, A card, 1980, 2619, 700.10, 60\n0, A card, 345, 2619, 90.00, 41\n\
                0, A card, 1755, 2619, [N/A], 45\n";
    let largest = |text: &str, from| clocks::largest(text, from, &DeviceSpec::GpuNamed("A card".into()));
    let expected = json!({"sm_mhz": 1755.0, "memory_mhz": 2619.0, "watts": 90.0, "celsius": 45.0});
    assert_eq!(largest(text, 1), expected);
    assert_eq!(largest(text, 3), Value::Null);
    assert_eq!(largest("No devices were found\n", 0), Value::Null);
    // Other cards have their own clocks.
    let other = format!("{text}1, Another, 9000, 9000, 900, 90\n");
    assert_eq!(largest(&other, 1), expected);
    assert_eq!(largest(&other.replace("Another", "A card"), 1), Value::Null, "which of them?");
    assert_eq!(clocks::largest(text, 1, &DeviceSpec::Auto), expected, "the only one");
    assert_eq!(clocks::largest(&other, 1, &DeviceSpec::Auto), Value::Null);
    let mut ceilings = line("ceilings", Value::Null);
    ceilings["clocks"] = expected;
    let rates = line(
        "steps-f32",
        json!({"tables": [table("Steps", &[
        json!({"step": "paper x64 sgld", "median ms": 9.0, "GFLOP/s": 5.0})])]}),
    );
    has(&summary::page(&[ceilings, rates]), &["during `ceilings`: 1755 MHz, 2619 MHz memory, 90 W, 45 °C"]);
}

#[test]
fn names_of_files_are_plain() {
    assert_eq!(slug("NVIDIA H100 80GB HBM3 (Vulkan)"), "nvidia-h100-80gb-hbm3-vulkan");
    assert_eq!(slug("../é"), "unknown");
}
