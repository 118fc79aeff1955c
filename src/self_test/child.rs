//! Work in a child process, so that a driver that crashes or hangs does not take this process with it.

use crate::process::{self, SIGHUP, SIGINT, SIGKILL, SIGTERM};
use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of a child's standard error that are kept: the driver's last words.
const LAST_WORDS: usize = 5;

/// Bytes of a line that are kept.
const LINE: usize = 400;

/// Time for a child to end after it closed its output.
const FAREWELL: Duration = Duration::from_secs(10);

/// The time between two checks of a silent child for its end.
const POLL: Duration = Duration::from_millis(100);

/// The exit status of a process that Ctrl-C ended on Windows (`STATUS_CONTROL_C_EXIT`).
const CONTROL_C_EXIT: i32 = 0xC000_013A_u32 as i32;

/// The end of a child.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` if it was stopped.
    pub status: Option<ExitStatus>,
    /// Whether it was stopped because it printed nothing for `patience`.
    pub silent: bool,
    /// Whether it was stopped because the caller of [`run`] was to stop.
    pub interrupted: bool,
    /// The last lines of its standard error.
    pub last_words: Vec<String>,
    /// The silence after which it would have been stopped.
    pub patience: Duration,
}

impl Ended {
    /// Whether a person or the system stopped it (Ctrl-C, `kill`, out of memory), which says nothing about the driver.
    pub fn was_stopped(&self) -> bool {
        let signal = self.status.and_then(process::signal);
        self.interrupted
            || signal.is_some_and(|signal| [SIGHUP, SIGINT, SIGKILL, SIGTERM].contains(&signal))
            || self.status.and_then(|status| status.code()) == Some(CONTROL_C_EXIT)
    }
}

impl fmt::Display for Ended {
    /// The end in words, such as `was killed by SIGSEGV`, with the child's last words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status.map(|status| (status, process::signal(status))) {
            None if self.interrupted => f.write_str("was stopped")?,
            None if self.silent => {
                write!(f, "printed nothing for {} s and was stopped", self.patience.as_secs())?;
            }
            None => {
                let farewell = FAREWELL.as_secs();
                write!(f, "closed its output, did not end within {farewell} s and was stopped")?;
            }
            Some((_, Some(number))) => match process::signal_name(number) {
                Some(name) => write!(f, "was killed by {name}")?,
                None => write!(f, "was killed by signal {number}")?,
            },
            Some((status, None)) => match status.code() {
                Some(code) => write!(f, "ended with exit status {}", exit_code(code))?,
                None => write!(f, "ended with {status}")?,
            },
        }
        match &self.last_words[..] {
            [] => Ok(()),
            words => write!(f, " ({})", words.join(" / ")),
        }
    }
}

/// An exit code as text. Windows' codes of crashes, which are negative, are known by their hexadecimal digits.
fn exit_code(code: i32) -> String {
    if code < 0 { format!("{code:#X}") } else { code.to_string() }
}

/// Runs `command`, passes every line of its standard output to `line`, and returns how it ended. It is stopped after
/// `patience` without a line, or when `stop` is true. On Unix, processes that it leaves behind are killed.
///
/// Its standard input is a pipe that stays open as long as this process lives: a child that reads from it notices when
/// its parent has died.
///
/// # Errors
/// If it cannot be started.
pub fn run(
    mut command: Command,
    patience: Duration,
    stop: impl Fn() -> bool,
    mut line: impl FnMut(&str),
) -> std::io::Result<Ended> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process::lead_group(&mut command);
    let mut child = command.spawn()?;
    let input = child.stdin.take();
    let (output, errors) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let (words, last_words) = channel();
    thread::spawn(move || words.send(tail(errors)));
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut status = None;
    let poll = patience.min(POLL);
    // Counted, not read from a clock: while this process is stopped (Ctrl-Z), nobody reads the child's lines.
    let mut silence = Duration::ZERO;
    let mut silent = false;
    while !stop() {
        match receiver.recv_timeout(poll) {
            Ok(text) => {
                silence = Duration::ZERO;
                line(&text);
            }
            // A process that it left behind may hold its output open.
            Err(RecvTimeoutError::Timeout) if status.is_some() => break,
            Err(RecvTimeoutError::Timeout) => {
                status = child.try_wait().unwrap_or(None);
                silence += poll;
                silent = status.is_none() && silence >= patience;
                if silent {
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let interrupted = stop();
    let status = if silent || interrupted { None } else { status.or_else(|| wait(&mut child, FAREWELL)) };
    process::signal_group(&child, SIGKILL);
    if status.is_none() {
        // It may have ended by itself in the meantime. In a call of the driver that hangs it does not end at all.
        let _ = child.kill();
        let _ = wait(&mut child, FAREWELL);
    }
    drop(input);
    let last_words = last_words.recv_timeout(FAREWELL).unwrap_or_default();
    Ok(Ended { status, silent, interrupted, last_words, patience })
}

/// Ends this process, which [`run`] started, when its parent is gone, whatever the driver is doing.
pub fn end_with_parent() {
    thread::spawn(|| {
        let mut byte = [0];
        loop {
            match std::io::stdin().read(&mut byte) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => process::exit_at_once(1),
            }
        }
    });
}

/// The status of a child if it ends within `time`.
fn wait(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if started.elapsed() < time => thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

/// The last lines of `source`, read to its end.
fn tail(source: impl Read) -> Vec<String> {
    let mut last = VecDeque::new();
    let mut source = BufReader::new(source);
    let mut bytes = Vec::new();
    while source.by_ref().take(1 << 16).read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&bytes);
        let text: String = text.trim().chars().take(LINE).collect();
        bytes.clear();
        if text.is_empty() {
            continue;
        }
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(text);
    }
    last.into()
}

#[cfg(all(test, windows))]
mod tests {
    use super::*;
    use std::os::windows::process::ExitStatusExt as _;

    #[test]
    fn a_crash_and_a_stop_are_told_apart() {
        let ended = |status| {
            let status = Some(ExitStatus::from_raw(status));
            Ended {
                status,
                silent: false,
                interrupted: false,
                last_words: Vec::new(),
                patience: Duration::ZERO,
            }
        };
        assert!(ended(0xC000_013A).was_stopped());
        assert!(!ended(0xC000_0005).was_stopped());
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Runs the test `name` of this module again in a process of its own, where [`is_inner`] is true.
    fn again(name: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "--nocapture", &format!("self_test::child::tests::{name}")])
            .env(INNER, name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    const INNER: &str = "JEM_TEST_INNER";

    fn is_inner(name: &str) -> bool {
        std::env::var(INNER).is_ok_and(|inner| inner == name)
    }

    fn send(child: &Child, signal: &str) {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    fn sh(script: &str, patience: Duration) -> (Ended, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut lines = Vec::new();
        let ended = run(command, patience, || false, |line| lines.push(line.to_owned())).unwrap();
        (ended, lines)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn lines_and_last_words_arrive() {
        let (ended, lines) =
            sh("echo one; echo two; for i in 1 2 3 4 5 6 7; do echo $i >&2; done; exit 3", LONG);
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(ended.to_string(), "ended with exit status 3 (3 / 4 / 5 / 6 / 7)");
        assert!(!ended.was_stopped());
    }

    #[test]
    fn a_crash_and_a_stop_are_told_apart() {
        let (crashed, _) = sh("kill -SEGV $$", LONG);
        assert_eq!(crashed.to_string(), "was killed by SIGSEGV");
        assert!(!crashed.was_stopped());
        let (stopped, _) = sh("kill -TERM $$", LONG);
        assert!(stopped.was_stopped(), "{stopped}");
    }

    #[test]
    fn silence_ends_it_and_talk_does_not() {
        let started = Instant::now();
        let (ended, lines) = sh("echo one; exec sleep 100", Duration::from_secs(1));
        assert_eq!((ended.to_string().as_str(), lines.len()), ("printed nothing for 1 s and was stopped", 1));
        assert!(started.elapsed() < LONG);
        let (ended, lines) = sh("for i in 1 2 3 4; do echo $i; sleep 0.4; done", Duration::from_secs(1));
        assert_eq!((ended.to_string().as_str(), lines.len()), ("ended with exit status 0", 4));
    }

    #[test]
    fn a_request_to_stop_ends_it() {
        let (started, stop) = (Instant::now(), std::cell::Cell::new(false));
        let mut command = Command::new("sh");
        command.args(["-c", "echo started; exec sleep 100"]);
        let ended = run(command, LONG, || stop.get(), |_| stop.set(true)).unwrap();
        assert_eq!(ended.to_string(), "was stopped");
        assert!(ended.was_stopped() && !ended.silent && started.elapsed() < LONG);
    }

    #[test]
    fn time_in_which_this_process_was_stopped_is_no_silence() {
        const NAME: &str = "time_in_which_this_process_was_stopped_is_no_silence";
        if is_inner(NAME) {
            let mut command = Command::new("sh");
            command.args(["-c", "echo started; sleep 5; echo ended"]);
            let tell = |line: &str| println!("the child {line}");
            let ended = run(command, Duration::from_secs(3), || false, tell);
            return assert_eq!(ended.unwrap().to_string(), "ended with exit status 0");
        }
        let mut inner = again(NAME);
        let mut lines = BufReader::new(inner.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.ends_with("the child started")));
        send(&inner, "-STOP");
        thread::sleep(Duration::from_secs(4));
        send(&inner, "-CONT");
        assert!(lines.any(|line| line.ends_with("the child ended")));
        assert!(wait(&mut inner, LONG).unwrap().success());
    }

    #[test]
    fn what_it_leaves_behind_is_ended_and_not_waited_for() {
        let started = Instant::now();
        let (ended, lines) = sh("sleep 100 & echo $!; echo gone >&2; kill -SEGV $$", LONG);
        assert!(started.elapsed() < LONG / 2);
        assert_eq!(ended.to_string(), "was killed by SIGSEGV (gone)");
        let alive = || Command::new("kill").args(["-0", &lines[0]]).stderr(Stdio::null()).status();
        let gone = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            !alive().is_ok_and(|status| status.success())
        });
        assert!(gone, "{lines:?}");
    }

    #[test]
    fn a_child_that_closes_its_output_and_stays_is_ended() {
        let started = Instant::now();
        let (ended, _) = sh("exec >&- 2>&-; exec sleep 100", LONG);
        assert_eq!(ended.to_string(), "closed its output, did not end within 10 s and was stopped");
        assert!(!ended.silent && started.elapsed() < 3 * LONG);
    }

    #[test]
    fn crashes_on_windows_are_hexadecimal() {
        assert_eq!([3, 0xC000_0005_u32 as i32].map(exit_code), ["3", "0xC0000005"]);
    }

    #[test]
    fn a_child_ends_with_its_parent_and_dumps_no_core() {
        const NAME: &str = "a_child_ends_with_its_parent_and_dumps_no_core";
        if is_inner(NAME) {
            end_with_parent();
            return thread::sleep(3 * LONG);
        }
        let mut inner = again(NAME);
        drop(inner.stdin.take());
        let status = wait(&mut inner, LONG).expect("it ends");
        assert_eq!((status.code(), process::signal(status)), (Some(1), None));
    }

    #[test]
    fn a_flood_of_errors_is_no_deadlock() {
        let (ended, _) = sh("yes fault | head -c 3000000 >&2; echo done", LONG);
        assert_eq!(ended.last_words, ["fault"; LAST_WORDS]);
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        assert!(run(Command::new("/no/such/program"), LONG, || false, |_| {}).is_err());
    }
}
