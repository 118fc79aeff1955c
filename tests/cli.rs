//! `train_cifar` as a user runs it: its files, interruption and resumption, and its errors.

#[path = "common/run_files.rs"]
mod run_files;
#[path = "common/train_cifar.rs"]
mod train_cifar;

use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use train_cifar::train_cifar_on;

fn train_cifar() -> Command {
    train_cifar_on("cpu")
}

/// A run of seconds: synthetic drawings, with few images of everything.
fn small_run(out: &Path) -> Command {
    let mut command = train_cifar();
    command.args(["--synthetic", "--preset", "tiny", "--batch", "4", "--steps", "2", "--buffer", "40"]);
    command.args(["--validation", "200", "--evaluate-every", "4", "--sample-every", "4"]);
    command.args(["--checkpoint-every", "2", "--iterations", "4", "--out"]).arg(out);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeed(mut command: Command) -> String {
    let output = command.output().expect("the example starts");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Asserts a failing exit without a panic, with one line of error that contains all of `words`.
fn fail(mut command: Command, words: &[&str]) {
    let output: Output = command.output().expect("the example starts");
    let stderr = text(&output.stderr);
    assert!(!output.status.success(), "it should fail with {words:?}: {}", text(&output.stdout));
    assert!(!stderr.contains("panicked"), "{stderr}");
    // The last one is ours: a driver may have printed one before.
    let line = stderr.lines().rfind(|line| line.starts_with("error:"));
    let line = line.unwrap_or_else(|| panic!("no error: {stderr}"));
    for word in words {
        assert!(line.contains(word), "expected {word:?} in: {line}");
    }
}

fn checkpoints(out: &Path) -> Vec<PathBuf> {
    let directory = std::fs::read_dir(out.join("checkpoints")).expect("a directory of checkpoints");
    let mut paths: Vec<PathBuf> = directory.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn a_run_leaves_its_record_and_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("run");
    let printed = succeed(small_run(&out));
    assert!(printed.contains("test accuracy (SYNTHETIC data)"), "{printed}");
    for file in ["config.toml", "metrics.csv", "events.jsonl", "curves.png", "best.safetensors"] {
        assert!(out.join(file).metadata().is_ok_and(|m| m.len() > 0), "{file} is missing or empty");
    }
    assert!(out.join("samples/samples-00000004.png").exists());
    let config = std::fs::read_to_string(out.join("config.toml")).expect("the settings");
    assert!(config.starts_with("# data: SYNTHETIC shapes train\n"), "{config}");
    let best = out.join("best.safetensors");
    let model = Checkpoint::load(&best).expect("a model");
    assert!(
        model.text(&best, "data").is_ok_and(|name| name == "SYNTHETIC shapes train"),
        "{:?}",
        model.metadata
    );
    let rows = std::fs::read_to_string(out.join("metrics.csv")).expect("metrics");
    assert_eq!(rows.lines().count(), 5, "a header and four rows: {rows}");
    assert_eq!(checkpoints(&out).len(), 2, "at iterations 2 and 4");

    let mut resumed = train_cifar();
    resumed.args(["--synthetic", "--iterations", "6", "--resume"]).arg(&out);
    succeed(resumed);
    let whole = directory.path().join("whole");
    let mut uninterrupted = train_cifar();
    uninterrupted.args(["--synthetic", "--iterations", "6", "--config"]).arg(out.join("config.toml"));
    uninterrupted.args(["--preset", "tiny", "--out"]).arg(&whole);
    succeed(uninterrupted);
    let last = |out: &Path| {
        let path = checkpoints(out).pop().expect("a checkpoint");
        assert!(path.ends_with("checkpoint-00000006.safetensors"), "{}", path.display());
        Checkpoint::load(&path).expect("a checkpoint").tensors
    };
    assert!(last(&out) == last(&whole), "the resumed run differs from the uninterrupted one");
}

/// Starts a run and waits until `ready` returns true.
#[cfg(unix)]
fn start(mut command: Command, ready: impl Fn() -> bool) -> Child {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the example starts");
    for _ in 0..1200 {
        if ready() {
            return child;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().and_then(|()| child.wait()).expect("it can be ended");
    panic!("it does not begin to train");
}

#[cfg(unix)]
fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill");
    assert!(status.success(), "kill {signal}");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_run_with_a_checkpoint() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["-INT", "-TERM"] {
        let out = directory.path().join(name);
        let mut command = train_cifar();
        command.args(["--synthetic", "--preset", "tiny", "--batch", "4", "--steps", "50", "--buffer", "40"]);
        command.args(["--iterations", "1000000", "--checkpoint-every", "1000000", "--out"]).arg(&out);
        let metrics = out.join("metrics.csv");
        let rows =
            || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count().saturating_sub(1));
        let child = start(command, || rows() > 0);
        // Stopped, so that no iteration ends between the count and the signal.
        signal(&child, "-STOP");
        let before = rows();
        signal(&child, name);
        signal(&child, "-CONT");
        let output = child.wait_with_output().expect("the example ends");
        assert_eq!(output.status.code(), Some(130), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("--resume"), "{name}: {}", text(&output.stdout));
        let (done, path) = run_files::checkpoints(&out).pop().expect("a checkpoint");
        Checkpoint::load(&path).expect("a whole checkpoint");
        // One iteration may be done without its row, and one in its optimizer step.
        assert!(done <= before as u64 + 2, "{name}: {done} iterations, {before} when it was asked to stop");
        assert_eq!(rows() as u64, done, "{name}");
    }
    a_signal_ends_an_iteration_that_takes_long(&directory.path().join("-TERM"));
    a_second_interrupt_ends_it_at_once(&directory.path().join("-INT"));
}

/// Returns the lines that `child` prints to standard error, up to the first that contains `part`.
#[cfg(unix)]
fn lines_until(child: &mut Child, part: &str) -> Vec<String> {
    use std::io::{BufRead as _, BufReader};
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok) {
        let found = line.contains(part);
        lines.push(line);
        if found {
            return lines;
        }
    }
    panic!("no {part:?} in {lines:?}");
}

/// Resumes the run in `out` with an iteration of 100,000 SGLD steps, which would take minutes, and interrupts it.
#[cfg(unix)]
fn a_signal_ends_an_iteration_that_takes_long(out: &Path) {
    let before = run_files::checkpoints(out);
    let contents = |checkpoints: &[(u64, PathBuf)]| {
        let read = |(_, path): &(u64, PathBuf)| Checkpoint::load(path).expect("a checkpoint").tensors;
        checkpoints.iter().map(read).collect::<Vec<_>>()
    };
    let (state, rows) = (contents(&before), std::fs::read(out.join("metrics.csv")).expect("metrics"));
    let mut command = train_cifar();
    command.args(["--synthetic", "--steps", "100000", "--resume"]).arg(out);
    let resumed =
        || std::fs::read_to_string(out.join("events.jsonl")).is_ok_and(|text| text.contains("\"resume\""));
    let mut child = start(command, resumed);
    // The log tells the progress of the first iteration, and that the time left is unknown.
    let lines = lines_until(&mut child, "SGLD ");
    let line = lines.last().expect("a line");
    let done: u64 =
        line.split_once("SGLD ").and_then(|(_, rest)| rest.split('/').next()?.parse().ok()).expect(line);
    assert!((1..100_000).contains(&done) && line.ends_with("/100000  – left"), "{line}");
    let interrupted = std::time::Instant::now();
    signal(&child, "-INT");
    let output = child.wait_with_output().expect("it ends");
    assert!(interrupted.elapsed() < Duration::from_secs(20), "{:?}", interrupted.elapsed());
    assert_eq!(output.status.code(), Some(130));
    assert!(text(&output.stdout).contains("--resume"), "{}", text(&output.stdout));
    let after = run_files::checkpoints(out);
    assert_eq!(after, before);
    assert!(contents(&after) == state, "the iteration has left a trace");
    assert!(std::fs::read(out.join("metrics.csv")).expect("metrics") == rows);
}

/// Starts `command` with SIGHUP ignored or not; the tests themselves may run under `nohup`.
#[cfg(unix)]
fn hang_up(command: &mut Command, ignored: bool) {
    use std::os::unix::process::CommandExt as _;
    unsafe extern "C" {
        fn signal(signal: i32, handler: usize) -> usize;
    }
    let set = move || {
        // SAFETY: signal(2) takes numbers, touches no memory, and may follow fork. SIGHUP and SIG_IGN are 1, SIG_DFL 0.
        unsafe { signal(1, usize::from(ignored)) };
        Ok(())
    };
    // SAFETY: the closure neither allocates nor locks, as is required between fork and exec.
    unsafe { command.pre_exec(set) };
}

#[cfg(unix)]
#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let directory = tempfile::tempdir().expect("a directory");
    for (ignored, goes_on) in [(true, true), (false, false)] {
        let out = directory.path().join(if ignored { "nohup" } else { "plain" });
        let mut command = train_cifar();
        command.args(["--synthetic", "--preset", "tiny", "--batch", "4", "--steps", "1", "--buffer", "40"]);
        command.args(["--iterations", "1000000", "--checkpoint-every", "1000000", "--out"]).arg(&out);
        hang_up(&mut command, ignored);
        let metrics = out.join("metrics.csv");
        let rows = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        let mut child = start(command, || rows() > 1);
        signal(&child, "-HUP");
        let before = rows();
        let more = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            // One iteration may be in progress, and the row of another not yet written.
            rows() > before + 3 || child.try_wait().expect("its state").is_some()
        });
        assert!(more);
        assert_eq!(child.try_wait().expect("its state").is_none(), goes_on, "ignored: {ignored}");
        if goes_on {
            signal(&child, "-TERM");
        }
        assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(130));
    }
}

#[cfg(unix)]
fn a_second_interrupt_ends_it_at_once(out: &Path) {
    let before = run_files::files(&out.join("checkpoints"));
    let mut command = train_cifar();
    // An iteration that does not end.
    command.args(["--synthetic", "--steps", "1000000000", "--resume"]).arg(out);
    let resumed =
        || std::fs::read_to_string(out.join("events.jsonl")).is_ok_and(|text| text.contains("\"resume\""));
    let mut child = start(command, resumed);
    std::thread::sleep(Duration::from_secs(1));
    // Pause the process, so that the second signal arrives before the first has ended the run.
    signal(&child, "-STOP");
    signal(&child, "-INT");
    signal(&child, "-TERM");
    signal(&child, "-CONT");
    lines_until(&mut child, "Ctrl-C again stops at once");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(run_files::files(&out.join("checkpoints")) == before, "the checkpoints are as they were");
}

/// Writes beyond 1.1 MB per file fail, as on a full disk: those of checkpoints, but not the best model's, which has no
/// state of the optimizer.
#[cfg(unix)]
#[test]
fn checkpoints_that_cannot_be_written_end_a_run_at_its_end_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("run");
    let run = small_run(&out);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2200; exec \"$@\"", "sh"]).arg(run.get_program());
    limited
        .args(run.get_args())
        .env_remove("JEM_DATA")
        .env_remove("JEM_DEVICE")
        .env("JEM_TUNED", "none")
        .env("JEM_PIPELINE_CACHE", "none");
    fail(limited, &["checkpoint-00000004.safetensors", "could not be written", "make room", "--resume"]);
    let rows = std::fs::read_to_string(out.join("metrics.csv")).expect("metrics");
    assert_eq!(rows.lines().count(), 5, "a header and four rows: {rows}");
    assert!(checkpoints(&out).is_empty(), "nothing half: {:?}", checkpoints(&out));
    let events = run_files::events(&out);
    assert_eq!(events.iter().filter(|event| event["event"] == "write_failed").count(), 1, "{events:?}");

    let mut resumed = train_cifar();
    resumed.args(["--synthetic", "--resume"]).arg(&out);
    succeed(resumed);
    assert_eq!(run_files::checkpoints(&out).len(), 2, "at iterations 2 and 4");
    // A complete run reports that it is complete.
    let mut again = train_cifar();
    again.args(["--synthetic", "--resume"]).arg(&out);
    let output = again.output().expect("the example starts");
    assert!(
        output.status.success() && text(&output.stderr).contains("is complete: all 4 iterations"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn bad_settings_are_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("run");
    let run = |mut command: Command, flags: &[&str], words: &[&str]| {
        command.args(flags).arg("--synthetic").arg("--out").arg(&out);
        fail(command, words);
    };
    let tiny = |flags: &[&'static str], words: &[&str]| {
        run(train_cifar(), &[&["--preset", "tiny"], flags].concat(), words);
    };
    tiny(&["--depth", "12"], &["depth", "6n + 4", "12"]);
    tiny(&["--batch", "60000"], &["batch", "60000"]);
    tiny(&["--steps", "0"], &["steps", "at least 1"]);
    tiny(&["--buffer", "3"], &["buffer", "at least", "3"]);
    tiny(&["--step-size", "-1"], &["step_size", "-1"]);
    tiny(&["--optimizer", "adagrad"], &["optimizer", "adagrad"]);
    tiny(&["--labelled-loss", "hinges"], &["--labelled-loss", "hinges"]);
    tiny(&["--margin", "0"], &["margin", "above 0", "0"]);
    tiny(&["--validation", "50000"], &["validation", "50000"]);
    run(train_cifar(), &["--preset", "huge"], &["--preset", "huge"]);
    run(train_cifar_on("gpu:no such adapter"), &[], &["no such adapter"]);
    assert!(!out.join("metrics.csv").exists(), "nothing is started");
}

#[test]
fn an_unknown_key_of_a_config_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.toml");
    std::fs::write(&config, "depth = 10\nwidht = 2\n").expect("a file");
    let mut command = train_cifar();
    command.args(["--synthetic", "--preset", "tiny", "--config"]).arg(&config);
    fail(command, &["config.toml", "widht"]);
}

#[test]
fn bad_data_is_one_line_with_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = |data: &Path| {
        let mut command = train_cifar();
        command
            .args(["--preset", "tiny", "--data-dir"])
            .arg(data)
            .arg("--out")
            .arg(directory.path().join("run"));
        command
    };
    fail(data(&directory.path().join("nowhere")), &["--data", "nowhere is not a directory"]);

    let set = directory.path().join("cifar-10-batches-bin");
    std::fs::create_dir(&set).expect("a directory");
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    {
        std::fs::write(set.join(format!("{name}.bin")), vec![0u8; 3073 * 3 + 100]).expect("a file");
    }
    fail(data(directory.path()), &["data_batch_1.bin", "30730000"]);

    let mut records = vec![0u8; 3073 * 10_000];
    records[3073 * 7] = 10;
    std::fs::write(set.join("data_batch_1.bin"), records).expect("a file");
    fail(data(directory.path()), &["data_batch_1.bin", "label", "10", "7"]);

    std::fs::remove_file(set.join("data_batch_3.bin")).expect("it was there");
    fail(data(directory.path()), &["data_batch"]);
}

#[test]
fn an_unwritable_or_used_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("a file");
    fail(small_run(&file.join("run")), &["file"]);

    let out = directory.path().join("run");
    std::fs::create_dir(&out).expect("a directory");
    std::fs::write(out.join("config.toml"), "of another run").expect("a file");
    fail(small_run(&out), &["holds another run", "--resume"]);
    assert_eq!(std::fs::read_to_string(out.join("config.toml")).expect("it is there"), "of another run");
}

#[test]
fn nan_images_end_a_run_without_a_guard_and_are_healed_by_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("run");
    succeed(small_run(&out));
    let path = checkpoints(&out).pop().expect("a checkpoint");
    let mut checkpoint = Checkpoint::load(&path).expect("a checkpoint");
    for (name, _, data) in &mut checkpoint.tensors {
        if let (true, Elements::F32(values)) = (name == "replay_buffer", data) {
            values.fill(f32::NAN);
        }
    }
    checkpoint.save(&path).expect("it can be written");
    let before = checkpoints(&out);
    let mut command = train_cifar();
    command.args(["--synthetic", "--iterations", "8", "--guard", "false", "--resume"]).arg(&out);
    fail(command, &["diverged", "NaN", "checkpoint", "guard is off", "try more --steps"]);
    assert_eq!(checkpoints(&out), before);
    let mut command = train_cifar();
    command.args(["--synthetic", "--iterations", "8", "--guard", "true", "--resume"]).arg(&out);
    let printed = succeed(command);
    assert!(printed.contains("healed          1 fault;"), "{printed}");
}
