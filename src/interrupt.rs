//! Requests to end: Ctrl-C, SIGTERM, and SIGHUP unless the program runs under `nohup`.

#[cfg(feature = "terminal")]
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a request has come.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether a request that `handle` handles has come.
pub fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Handles requests by a flag, for `RunOptions::stop`: the first request sets it. On Unix the second request ends the
/// process at once, as if requests were not handled.
///
/// # Errors
/// The errors of [`handle`].
#[cfg(feature = "terminal")]
pub fn flag() -> Result<&'static AtomicBool> {
    handle(hangup::unhandle)?;
    Ok(&REQUESTED)
}

/// Runs `handler` in a thread of its own at each Ctrl-C, SIGTERM and SIGHUP. If the program was started with SIGHUP
/// ignored, as by `nohup`, it stays ignored.
///
/// # Errors
/// [`Error::Interrupts`] if `ctrlc` already has a handler in this process, or the system refuses.
#[cfg(feature = "terminal")]
pub fn handle(mut handler: impl FnMut() + Send + 'static) -> Result<()> {
    let ignored = hangup::is_ignored();
    let handled = ctrlc::set_handler(move || {
        REQUESTED.store(true, Ordering::Relaxed);
        handler();
    });
    handled.map_err(|error| Error::Interrupts { message: error.to_string() })?;
    if ignored {
        hangup::ignore();
    }
    Ok(())
}

#[cfg(all(unix, feature = "terminal"))]
mod hangup {
    use crate::process::{SIGHUP, SIGINT, SIGTERM};

    const SIG_DFL: usize = 0;
    const SIG_IGN: usize = 1;

    unsafe extern "C" {
        /// signal(2); returns the previous handler.
        fn signal(signal: i32, handler: usize) -> usize;
    }

    /// Whether this process ignores SIGHUP.
    pub fn is_ignored() -> bool {
        // Only setting a handler shows the one before. Meanwhile SIGHUP is ignored, which loses one that comes now;
        // with the default action it would end a program under `nohup`.
        // SAFETY: signal(2) takes numbers, and touches no memory of this process.
        let before = unsafe { signal(SIGHUP, SIG_IGN) };
        if before != SIG_IGN {
            // SAFETY: as above; the handler is the one that was set before.
            unsafe { signal(SIGHUP, before) };
        }
        before == SIG_IGN
    }

    pub fn ignore() {
        // SAFETY: as above.
        unsafe { signal(SIGHUP, SIG_IGN) };
    }

    /// Restores the default action of the handled signals, which ends the process.
    pub fn unhandle() {
        for number in [SIGINT, SIGTERM, SIGHUP] {
            // SAFETY: as above.
            let before = unsafe { signal(number, SIG_DFL) };
            if before == SIG_IGN {
                // SAFETY: as above.
                unsafe { signal(number, before) };
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        extern "C" fn nothing(_: i32) {}

        /// Other tests of this process neither send SIGHUP nor handle it.
        #[test]
        fn asking_leaves_the_handler_as_it_was() {
            let handler = nothing as extern "C" fn(i32) as usize;
            // SAFETY: signal(2) takes numbers; the handler does nothing.
            let set = |handler| unsafe { signal(SIGHUP, handler) };
            let before = set(handler);
            assert!(!is_ignored());
            assert_eq!(set(SIG_IGN), handler);
            assert!(is_ignored());
            assert_eq!(set(before), SIG_IGN);
        }
    }
}

#[cfg(all(not(unix), feature = "terminal"))]
mod hangup {
    pub fn is_ignored() -> bool {
        false
    }

    pub fn ignore() {}

    pub fn unhandle() {}
}
