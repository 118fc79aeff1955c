//! Work in a child process, so that a driver that crashes or hangs does not take this process with it.

use crate::process::{self, SIGHUP, SIGINT, SIGKILL, SIGTERM};
use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
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

/// How often a silent child is checked for its end.
const POLL: Duration = Duration::from_millis(100);

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` if it was stopped because it was silent, or did not end.
    pub status: Option<ExitStatus>,
    /// The last lines of its standard error.
    pub last_words: Vec<String>,
    /// The silence after which it was stopped; `None` if it was not silent.
    silence: Option<Duration>,
}

impl Ended {
    /// Whether a person or the system stopped it (Ctrl-C, `kill`, out of memory), which says nothing about the driver.
    pub fn was_stopped(&self) -> bool {
        /// `STATUS_CONTROL_C_EXIT` of Windows.
        const CONTROL_C: i32 = 0xC000_013A_u32 as i32;
        let signal = self.status.and_then(process::signal);
        let code = self.status.and_then(|status| status.code());
        signal.is_some_and(|signal| [SIGHUP, SIGINT, SIGKILL, SIGTERM].contains(&signal))
            || code == Some(CONTROL_C)
    }

    /// Whether it was stopped because it was silent.
    pub fn was_silent(&self) -> bool {
        self.silence.is_some()
    }
}

impl fmt::Display for Ended {
    /// How it ended, such as `was killed by SIGSEGV`, with its last words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status.map(|status| (status, process::signal(status))) {
            None => match self.silence {
                Some(silence) => write!(f, "printed nothing for {} s and was stopped", silence.as_secs())?,
                None => write!(f, "closed its output but did not end")?,
            },
            Some((_, Some(number))) => match process::signal_name(number) {
                Some(name) => write!(f, "was killed by {name}")?,
                None => write!(f, "was killed by signal {number}")?,
            },
            Some((status, None)) => match status.code() {
                // Windows has the reason for a crash there.
                Some(code @ ..0) => write!(f, "ended with exit status {code:#x}")?,
                Some(code) => write!(f, "ended with exit status {code}")?,
                None => write!(f, "ended with {status}")?,
            },
        }
        match &self.last_words[..] {
            [] => Ok(()),
            words => write!(f, " ({})", words.join(" / ")),
        }
    }
}

/// Runs `command`, passes every line of its standard output to `line`, and returns how it ended. It is stopped after
/// `patience` without a line, in which time during which this process is stopped does not count. On Unix, processes
/// that it leaves behind are killed.
///
/// Its standard input is a pipe that stays open as long as this process lives: a child that reads from it notices when
/// its parent has died.
///
/// # Errors
/// If it cannot be started.
pub fn run(mut command: Command, patience: Duration, mut line: impl FnMut(&str)) -> std::io::Result<Ended> {
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
    let mut silence = Duration::ZERO;
    let silent = loop {
        match receiver.recv_timeout(poll) {
            Ok(text) => {
                silence = Duration::ZERO;
                line(&text);
            }
            // A process that it left behind may hold its output open.
            Err(RecvTimeoutError::Timeout) if status.is_some() => break false,
            Err(RecvTimeoutError::Timeout) => {
                status = child.try_wait().unwrap_or(None);
                silence += poll;
                if status.is_none() && silence >= patience {
                    break true;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    let status = if silent { None } else { status.or_else(|| wait(&mut child, FAREWELL)) };
    process::signal_group(&child, SIGKILL);
    if status.is_none() {
        // It may have ended by itself in the meantime, or hang in the kernel and not end at all.
        let _ = child.kill();
        let _ = wait(&mut child, FAREWELL);
    }
    drop(input);
    let last_words = last_words.recv_timeout(FAREWELL).unwrap_or_default();
    Ok(Ended { status, last_words, silence: silent.then_some(patience) })
}

/// Call this in a process that [`run`] started: it ends the process when its parent is gone, whatever the driver is
/// doing.
pub fn end_with_parent() {
    thread::spawn(|| {
        let mut byte = [0];
        loop {
            match std::io::stdin().read(&mut byte) {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => process::end_at_once(1),
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str, patience: Duration) -> (Ended, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut lines = Vec::new();
        let ended = run(command, patience, |line| lines.push(line.to_owned())).unwrap();
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

    #[cfg(target_os = "linux")]
    #[test]
    fn time_in_which_this_process_is_stopped_is_no_silence() {
        // The parent of the child is a copy of this test's process that a shell stops for longer than its patience.
        const ROLE: &str = "JEM_TEST_OF_SILENCE";
        if std::env::var_os(ROLE).is_some() {
            let (ended, _) =
                sh("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done", Duration::from_secs(2));
            println!("the child {ended}");
            return;
        }
        let name = "self_test::child::tests::time_in_which_this_process_is_stopped_is_no_silence";
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new(own);
        command.args([name, "--exact", "--nocapture"]).env(ROLE, "yes").stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        thread::sleep(Duration::from_millis(800));
        for (signal, pause) in [("-STOP", 3000), ("-CONT", 0)] {
            Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
            thread::sleep(Duration::from_millis(pause));
        }
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("the child ended with exit status 0"), "{text}");
    }

    #[test]
    fn a_flood_of_errors_is_no_deadlock() {
        let (ended, _) = sh("yes fault | head -c 3000000 >&2; echo done", LONG);
        assert_eq!(ended.last_words, ["fault"; LAST_WORDS]);
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        assert!(run(Command::new("/no/such/program"), LONG, |_| {}).is_err());
    }
}
