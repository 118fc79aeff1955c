//! Process groups, so that a child ends together with everything that it started, and names of signals.

use std::process::{Child, Command, ExitStatus};

/// The number of SIGHUP.
pub const SIGHUP: i32 = 1;
/// The number of SIGINT.
pub const SIGINT: i32 = 2;
/// The number of SIGKILL.
pub const SIGKILL: i32 = 9;
/// The number of SIGTERM.
pub const SIGTERM: i32 = 15;

/// The name of a signal that has the same number on every Unix, or of SIGBUS.
pub fn signal_name(number: i32) -> Option<&'static str> {
    const SIGBUS: i32 = if cfg!(target_os = "linux") { 7 } else { 10 };
    match number {
        SIGHUP => Some("SIGHUP"),
        SIGINT => Some("SIGINT"),
        4 => Some("SIGILL"),
        6 => Some("SIGABRT"),
        SIGBUS => Some("SIGBUS"),
        8 => Some("SIGFPE"),
        SIGKILL => Some("SIGKILL"),
        11 => Some("SIGSEGV"),
        SIGTERM => Some("SIGTERM"),
        _ => None,
    }
}

/// The signal that ended a process; `None` where there are no signals.
pub fn signal(status: ExitStatus) -> Option<i32> {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    {
        let _ = status;
        None
    }
}

/// Makes the process that `command` will start the leader of a new process group, which Ctrl-C in the terminal does not
/// reach.
pub fn lead_group(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(windows)]
    {
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
        std::os::windows::process::CommandExt::creation_flags(command, CREATE_NEW_PROCESS_GROUP);
    }
    #[cfg(not(any(unix, windows)))]
    let _ = command;
}

/// Ends this process without the handlers that a driver may have registered for its exit, which may hang, and without a
/// core dump.
pub fn exit_at_once(code: i32) -> ! {
    #[cfg(unix)]
    {
        unsafe extern "C" {
            fn _exit(code: i32) -> !;
        }
        // SAFETY: _exit(2) takes a number and does not return.
        unsafe { _exit(code) }
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}

/// Sends `signal` to the process group of `child`, which [`lead_group`] made. Has no effect elsewhere than on Unix, or
/// if the group is gone.
pub fn signal_group(child: &Child, signal: i32) {
    #[cfg(unix)]
    {
        unsafe extern "C" {
            fn kill(pid: i32, signal: i32) -> i32;
        }
        let Ok(group @ 2..) = i32::try_from(child.id()) else { return };
        // SAFETY: kill(2) takes numbers and touches no memory of this process.
        unsafe { kill(-group, signal) };
    }
    #[cfg(not(unix))]
    let _ = (child, signal);
}
