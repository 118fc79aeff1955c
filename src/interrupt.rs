//! Requests to end: Ctrl-C, SIGTERM, and SIGHUP unless the program runs under `nohup`.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the first of them.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether a request that [`handle`] handles has come.
pub fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Runs `handler` in a thread of its own at each Ctrl-C, SIGTERM and SIGHUP. A SIGHUP that the program was started to
/// ignore, as by `nohup`, stays ignored.
///
/// # Errors
/// If there is another handler.
pub fn handle(mut handler: impl FnMut() + Send + 'static) -> Result<(), ctrlc::Error> {
    let ignored = hangup::is_ignored();
    ctrlc::set_handler(move || {
        REQUESTED.store(true, Ordering::Relaxed);
        handler();
    })?;
    if ignored {
        hangup::ignore();
    }
    Ok(())
}

#[cfg(unix)]
mod hangup {
    use crate::process::SIGHUP;

    const SIG_DFL: usize = 0;
    const SIG_IGN: usize = 1;

    unsafe extern "C" {
        /// signal(2): the handler before.
        fn signal(signal: i32, handler: usize) -> usize;
    }

    /// Whether this process ignores SIGHUP; if not, it takes the default action from now on.
    pub fn is_ignored() -> bool {
        // SAFETY: signal(2) takes numbers and touches no memory of this process.
        let before = unsafe { signal(SIGHUP, SIG_DFL) };
        if before == SIG_IGN {
            ignore();
        }
        before == SIG_IGN
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
