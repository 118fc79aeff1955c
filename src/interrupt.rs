//! Requests to end: Ctrl-C, SIGTERM, and SIGHUP unless the program runs under `nohup`.

/// Runs `handler` in a thread of its own at each Ctrl-C, SIGTERM and SIGHUP. If the program was started with SIGHUP
/// ignored, as by `nohup`, it stays ignored.
///
/// # Errors
/// If `ctrlc` already has a handler in this process, or the system refuses.
pub fn handle(handler: impl FnMut() + Send + 'static) -> Result<(), ctrlc::Error> {
    let ignored = hangup::is_ignored();
    ctrlc::set_handler(handler)?;
    if ignored {
        hangup::ignore();
    }
    Ok(())
}

#[cfg(unix)]
mod hangup {
    use crate::process::SIGHUP;

    const SIG_IGN: usize = 1;

    unsafe extern "C" {
        /// signal(2); returns the previous handler.
        fn signal(signal: i32, handler: usize) -> usize;
    }

    /// Whether this process ignores SIGHUP.
    pub fn is_ignored() -> bool {
        // SAFETY: signal(2) takes numbers and touches no memory of this process. Only it tells the handler; until the
        // next call a SIGHUP is lost rather than deadly.
        unsafe {
            let before = signal(SIGHUP, SIG_IGN);
            if before != SIG_IGN {
                signal(SIGHUP, before);
            }
            before == SIG_IGN
        }
    }

    pub fn ignore() {
        // SAFETY: as above.
        unsafe { signal(SIGHUP, SIG_IGN) };
    }
}

#[cfg(not(unix))]
mod hangup {
    pub fn is_ignored() -> bool {
        false
    }

    pub fn ignore() {}
}
