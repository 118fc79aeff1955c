//! The one error type: every message names the kernel, tensor, file or setting, and what to do.

use std::path::PathBuf;

/// Everything that can go wrong without being a bug. `Debug` shows the message too, for a `main` that returns it.
#[derive(thiserror::Error)]
pub enum Error {
    /// A tensor expression whose shapes do not fit.
    #[error("{operation}: {message}")]
    Shape {
        /// The operation as the user wrote it, such as `conv2d`.
        operation: &'static str,
        /// Expected and found, with the shapes.
        message: String,
    },
    /// No device of the asked kind could be opened.
    #[error("device {asked}: {message}")]
    NoDevice {
        /// The device that the user asked for (`auto`, `gpu`, `gpu:NAME`, `cpu`).
        asked: String,
        /// The reason, the devices that there are, and what to install.
        message: String,
    },
    /// A tensor is larger than the device allows.
    #[error(
        "{tensor} in {program} needs {needs} bytes, but {device} allows {allows} ({limit}); reduce the batch or the width"
    )]
    Limit {
        /// The tensor or buffer that is too large.
        tensor: String,
        /// The program that uses it.
        program: String,
        /// Bytes (or elements) needed.
        needs: u64,
        /// Bytes (or elements) allowed.
        allows: u64,
        /// The name of the device.
        device: String,
        /// The name of the limit.
        limit: &'static str,
    },
    /// The device refused or failed a kernel: validation, out of memory.
    #[error("{device}: {what}: {message}")]
    Device {
        /// The name of the device.
        device: String,
        /// The kernel and tensor, or the buffer, concerned.
        what: String,
        /// The driver's message.
        message: String,
    },
    /// The device is gone; nothing on it can be read any more.
    #[error("{device} was lost ({message}); the last checkpoint on disk is intact")]
    DeviceLost {
        /// The name of the device.
        device: String,
        /// The driver's reason.
        message: String,
    },
    /// A buffer that a program needs was not given, or has the wrong size.
    #[error("program {program}: buffer {buffer}: {message}")]
    Binding {
        /// The program being loaded.
        program: String,
        /// The external buffer.
        buffer: String,
        /// Expected and found.
        message: String,
    },
    /// A file whose contents are not what they should be.
    #[error("{}: {message}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Expected, found, and what to do.
        message: String,
    },
    /// Reading or writing a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of a run that must be written could not be written.
    #[error("{}: {source}; the {what} could not be written: make room on the disk, then resume the run from the checkpoint before", path.display())]
    Unwritten {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
        /// The name of the file's contents, such as `last checkpoint`.
        what: String,
        /// The run directory.
        run: PathBuf,
    },
    /// A setting or an argument out of its range.
    #[error("{key}: {message}")]
    Setting {
        /// The name of the setting or the argument.
        key: String,
        /// The allowed range and what was found.
        message: String,
    },
    /// Training produced numbers that cannot be trained on.
    #[error("training diverged at iteration {iteration}: {message}")]
    Diverged {
        /// The iteration whose metrics showed it.
        iteration: u64,
        /// The symptom, and the checkpoint that is good.
        message: String,
    },
    /// A Langevin chain left the range of finite numbers.
    #[error("chain {chain} diverged: its log density is {log_density} at step {step}")]
    ChainDiverged {
        /// The number of the chain.
        chain: usize,
        /// The SGLD step whose log density showed it.
        step: usize,
        /// The log density, up to a constant.
        log_density: f32,
    },
    /// A device computes wrong results, or cannot run a kernel.
    #[error("{device} failed the self-test: {message}")]
    SelfTest {
        /// The name of the device.
        device: String,
        /// The kernel and its outcome.
        message: String,
    },
    /// Ctrl-C and termination signals cannot be handled.
    #[error("Ctrl-C cannot be handled: {message}")]
    Interrupts {
        /// The system's reason.
        message: String,
    },
}

/// The message of an [`Error::Device`] for want of memory.
pub(crate) const OUT_OF_MEMORY: &str = "the device is out of memory";

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// A closure that attaches `path` to a [`std::io::Error`].
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Whether the device had too little memory, which other programs may have taken.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Device { message, .. } if message == OUT_OF_MEMORY)
    }

    /// A [`Error::File`] for `path`.
    pub fn file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::File { path: path.into(), message: message.into() }
    }

    /// A [`Error::Setting`] for the setting or argument `key`.
    pub fn setting(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), message: message.into() }
    }
}
