//! A process with a time limit. It leads a process group, and the whole group ends with it.

use super::log::Log;
use jem::process::{SIGTERM, signal};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The time to wait for a killed process to end. It takes longer only if it hangs in the kernel.
const GONE: Duration = Duration::from_secs(5);
/// The time for which its output may stay open after its end.
const CLOSED: Duration = Duration::from_secs(1);
/// The time between two checks of a process.
const LOOK: Duration = Duration::from_millis(10);

/// Set by Ctrl-C or SIGTERM: the run must end.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// The end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// With exit status 0.
    Ok,
    /// With another exit status, or it could not be started.
    Failed,
    /// By a signal.
    Died,
    /// It was killed at its limit.
    TimedOut,
    /// It was killed because the run was stopped.
    Stopped,
    /// It was not run.
    Skipped,
}

impl Status {
    /// The word for it in `results.jsonl`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Died => "died",
            Self::TimedOut => "timed out",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
        }
    }
}

/// The end of a process.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The kind of its end.
    pub status: Status,
    /// Its exit status.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The time that it was waited for. A process in the background began earlier.
    pub time: Duration,
    /// All that it printed, without the middle if that is long.
    pub text: String,
    /// The last lines of that.
    pub last_words: Vec<String>,
}

/// The times at which a process that does not end by itself is ended.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// After this it is killed.
    pub kill: Duration,
    /// After this it is asked to end, by SIGTERM.
    pub interrupt: Option<Duration>,
}

/// A process that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: Log,
}

impl Running {
    /// Starts `command`, whose output goes to the file `log`.
    ///
    /// # Errors
    /// The system's error if the program does not exist or no process can be started.
    pub fn start(mut command: Command, log: &Path) -> std::io::Result<Self> {
        let (output, write) = std::io::pipe()?;
        command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
        group::lead(&mut command);
        let child = command.spawn()?;
        // The command holds the write end of the pipe, which would otherwise never close.
        drop(command);
        Ok(Self { child, log: Log::read(output, log) })
    }

    /// Waits for its end. Kills it at `limit`, or when the run is stopped.
    pub fn wait(mut self, limit: Limit) -> Ended {
        let mut interrupt = limit.interrupt;
        let begin = Instant::now();
        let (status, ended) = loop {
            match self.child.try_wait() {
                Ok(Some(ended)) => break (None, Some(ended)),
                Ok(None) => {}
                Err(_) => break (Some(Status::Failed), None),
            }
            if STOP.load(Ordering::Relaxed) {
                break (Some(Status::Stopped), self.kill());
            }
            if begin.elapsed() >= limit.kill {
                break (Some(Status::TimedOut), self.kill());
            }
            if interrupt.is_some_and(|after| begin.elapsed() >= after) {
                interrupt = None;
                group::interrupt(&self.child);
            }
            std::thread::sleep(LOOK);
        };
        let time = begin.elapsed();
        // Processes that it left behind would share the device with the next step.
        group::end(&mut self.child);
        self.log.wait(CLOSED);
        let (exit, signal) = ended.map_or((None, None), |ended| (ended.code(), signal(ended)));
        let asked = limit.interrupt.is_some() && interrupt.is_none();
        let status = status.unwrap_or(match (exit, signal) {
            (Some(0), _) => Status::Ok,
            // Training that was asked to end, with its figures up to there.
            (Some(130), _) if asked => Status::Ok,
            // It was asked to end before it had installed a handler.
            (_, Some(SIGTERM)) if asked => Status::TimedOut,
            (_, Some(_)) => Status::Died,
            _ => Status::Failed,
        });
        let mut last_words = self.log.last_words();
        if ended.is_none() && matches!(status, Status::Stopped | Status::TimedOut) {
            last_words.push("(it could not be killed: it hangs in the kernel)".into());
        }
        Ended { status, exit, signal, time, text: self.log.text(), last_words }
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its output so far.
    pub fn text(&self) -> String {
        self.log.text()
    }

    /// Pauses the whole group, or resumes it.
    pub fn pause(&self, pause: bool) {
        group::pause(&self.child, pause);
    }

    /// Kills the whole group; returns how it ended, if it did.
    fn kill(&mut self) -> Option<ExitStatus> {
        group::end(&mut self.child);
        let begin = Instant::now();
        while begin.elapsed() < GONE {
            if let Ok(Some(ended)) = self.child.try_wait() {
                return Some(ended);
            }
            std::thread::sleep(LOOK);
        }
        None
    }
}

/// Runs `command` to its end.
pub fn run(command: Command, limit: Limit, log: &Path) -> Ended {
    let program = command.get_program().display().to_string();
    match Running::start(command, log) {
        Ok(running) => running.wait(limit),
        Err(error) => Ended {
            status: Status::Failed,
            exit: None,
            signal: None,
            time: Duration::ZERO,
            text: String::new(),
            last_words: vec![format!("{program}: {error}")],
        },
    }
}

/// Signals to the process group of a [`Running`]; elsewhere than on Unix only the process itself is ended.
mod group {
    use jem::process::{SIGKILL, SIGTERM, lead_group, signal_group};
    use std::process::{Child, Command};

    const SIGCONT: i32 = if cfg!(target_os = "linux") { 18 } else { 19 };
    const SIGSTOP: i32 = if cfg!(target_os = "linux") { 19 } else { 17 };

    pub fn lead(command: &mut Command) {
        lead_group(command);
        #[cfg(target_os = "linux")]
        end_with_parent(command);
    }

    /// Has the system kill the process when this one ends, even by SIGKILL.
    #[cfg(target_os = "linux")]
    fn end_with_parent(command: &mut Command) {
        use std::os::unix::process::CommandExt as _;
        const PR_SET_PDEATHSIG: i32 = 1;
        unsafe extern "C" {
            fn prctl(option: i32, ...) -> i32;
            fn getppid() -> i32;
        }
        let parent = i32::try_from(std::process::id());
        let ask = move || {
            // SAFETY: both calls take and return numbers, touch no memory, and may follow fork.
            let orphan = unsafe {
                prctl(PR_SET_PDEATHSIG, SIGKILL as u64, 0_u64, 0_u64, 0_u64);
                parent.is_ok_and(|parent| getppid() != parent)
            };
            // This process ended before the system was asked.
            if orphan { Err(std::io::Error::from_raw_os_error(3)) } else { Ok(()) }
        };
        // SAFETY: the closure neither allocates nor locks, as is required between fork and exec.
        unsafe { command.pre_exec(ask) };
    }

    pub fn end(child: &mut Child) {
        signal_group(child, SIGKILL);
        // Where there are no groups. It may have ended meanwhile.
        #[cfg(not(unix))]
        let _ = child.kill();
    }

    pub fn interrupt(child: &Child) {
        signal_group(child, SIGTERM);
    }

    pub fn pause(child: &Child, pause: bool) {
        signal_group(child, if pause { SIGSTOP } else { SIGCONT });
    }
}
