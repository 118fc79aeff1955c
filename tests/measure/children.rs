//! Processes that end in different ways.

use crate::measure::child::{Ended, Limit, Running, Status, run};
use crate::measure::log::last_words;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn within(seconds: f64) -> Limit {
    Limit { kill: Duration::from_secs_f64(seconds), interrupt: None }
}

/// Runs `script`; returns how it ended, and its log.
fn end_of(script: &str, limit: Limit) -> (Ended, String) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let ended = run(shell(script), limit, &log);
    (ended, std::fs::read_to_string(log).unwrap())
}

#[test]
fn exit_statuses_and_signals_are_told_apart() {
    let (ended, log) = end_of("echo one; echo two >&2", within(60.0));
    assert_eq!((ended.status, ended.exit, ended.signal), (Status::Ok, Some(0), None));
    assert_eq!((log.as_str(), ended.text.as_str()), ("one\ntwo\n", "one\ntwo\n"));
    let (ended, _) = end_of("echo sorry; exit 3", within(60.0));
    assert_eq!((ended.status, ended.exit, ended.signal), (Status::Failed, Some(3), None));
    assert_eq!(ended.last_words, ["sorry"]);
    let (ended, _) = end_of("echo going; kill -SEGV $$", within(60.0));
    assert_eq!((ended.status, ended.exit, ended.signal), (Status::Died, None, Some(11)));
    assert_eq!(ended.last_words, ["going"]);
}

#[test]
fn a_program_that_is_missing_is_named() {
    let ended = run(Command::new("/no/such/program"), within(60.0), Path::new("/no/such/log"));
    assert_eq!((ended.status, ended.exit, ended.signal), (Status::Failed, None, None));
    assert!(ended.last_words[0].starts_with("/no/such/program: "), "{:?}", ended.last_words);
}

#[test]
fn a_log_that_cannot_be_written_costs_no_result() {
    let ended = run(shell("echo here"), within(60.0), Path::new("/no/such/folder/log"));
    assert_eq!((ended.status, ended.text.as_str()), (Status::Ok, "here\n"));
}

#[test]
fn the_whole_group_is_killed_at_the_limit() {
    let began = Instant::now();
    let (ended, _) = end_of("sleep 1000 & echo $!; sleep 1000", within(0.5));
    assert_eq!((ended.status, ended.exit, ended.signal), (Status::TimedOut, None, Some(9)));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    gone(&ended.last_words[0]);
}

#[test]
fn what_a_process_leaves_behind_is_killed() {
    let (ended, _) = end_of("sleep 1000 & echo $!", within(60.0));
    assert_eq!(ended.status, Status::Ok);
    gone(&ended.last_words[0]);
}

/// Asserts that the process `id` ends: that it is gone, or a zombie.
pub fn gone(id: &str) {
    let began = Instant::now();
    loop {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let state = state.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if state.is_none_or(|state| state == 'Z') || !Path::new("/proc/self/stat").exists() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "process {id} still runs: {state:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_flood_is_bounded_and_its_end_is_kept() {
    let (ended, log) = end_of("echo begin; yes water | head -c 5000000; echo end", within(60.0));
    assert_eq!(ended.status, Status::Ok);
    for text in [&ended.text, &log] {
        assert!(text.starts_with("begin\n") && text.ends_with("end\n"), "{} bytes", text.len());
        assert!(text.contains("bytes are left out here") && text.len() < 1_200_000, "{} bytes", text.len());
    }
    let (ended, _) = end_of("yes", within(0.5));
    assert_eq!(ended.status, Status::TimedOut);
    assert_eq!(ended.last_words.last().unwrap(), "y");
}

#[test]
fn a_process_is_asked_to_end_before_it_is_killed() {
    let limit = Limit { kill: Duration::from_secs(60), interrupt: Some(Duration::from_millis(300)) };
    let (ended, _) = end_of("trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done", limit);
    // Some shells report that a child of theirs was terminated.
    assert_eq!((ended.status, ended.last_words.last().unwrap().as_str()), (Status::Ok, "asked"));
    assert!(ended.time < Duration::from_secs(30), "{:?}", ended.time);
}

#[test]
fn one_that_does_not_listen_yet_has_run_out_of_time() {
    let limit = Limit { kill: Duration::from_secs(60), interrupt: Some(Duration::from_millis(100)) };
    let (ended, _) = end_of("exec sleep 1000", limit);
    assert_eq!((ended.status, ended.signal), (Status::TimedOut, Some(15)));
}

#[test]
fn the_background_halts_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (log, ticks) = (folder.path().join("log"), folder.path().join("ticks"));
    let script = format!("while :; do echo >>'{}'; sleep 0.02; done", ticks.display());
    let running = Running::start(shell(&script), &log).unwrap();
    let began = Instant::now();
    let count = || std::fs::metadata(&ticks).map_or(0, |ticks| ticks.len());
    let wait = |until: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !until() {
            assert!(began.elapsed() < Duration::from_secs(30), "{} ticks", count());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait(&|| count() > 2);
    running.pause(true);
    // One more tick may be under way.
    std::thread::sleep(Duration::from_millis(200));
    let halted = count();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(count(), halted, "it went on");
    running.pause(false);
    wait(&|| count() > halted + 2);
    let before = began.elapsed();
    let ended = running.wait(within(0.0));
    assert_eq!(ended.status, Status::TimedOut);
    // The time before the wait belongs to the steps that ran meanwhile.
    assert!(ended.time + before <= began.elapsed(), "{:?} after {before:?}", ended.time);
}

#[test]
fn last_words_are_few_and_plain() {
    let text = "\u{1b}[31merror\u{1b}[0m: it broke\n\nprogress 1%\rprogress 2%\n";
    assert_eq!(last_words(text), ["error: it broke", "progress 2%"]);
    let long = format!("{}\n", "x".repeat(1000)).repeat(20);
    let words = last_words(&long);
    assert!(words.len() <= 6 && words.iter().all(|word| word.len() <= 300), "{words:?}");
}
