//! File formats: checkpoints, arrays, pictures and TensorBoard events, and the memory layouts of their data.

#[cfg(feature = "train")]
mod archive;
pub mod atomic;
#[cfg(feature = "train")]
pub mod checkpoint;
#[cfg(feature = "train")]
pub mod elements;
#[cfg(feature = "train")]
pub mod events;
#[cfg(feature = "train")]
pub mod gif;
#[cfg(feature = "train")]
pub mod journal;
#[cfg(feature = "train")]
pub mod npy;
#[cfg(feature = "train")]
pub mod npz;
pub mod pack;
#[cfg(feature = "train")]
pub mod parametrization;
#[cfg(feature = "train")]
pub mod png;
#[cfg(feature = "train")]
pub mod safetensors;
#[cfg(feature = "train")]
pub mod state_file;
#[cfg(feature = "train")]
pub mod torch;

/// The extension of a path, in lower case, so that `x.npz` and `X.NPZ` are files of one kind.
pub fn ending(path: &std::path::Path) -> Option<String> {
    path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase)
}

/// Opens a file to read. A named pipe is an error: to open it would wait for its writer, and it cannot be read twice.
#[cfg(feature = "train")]
pub(crate) fn open_regular(path: &std::path::Path) -> crate::error::Result<std::fs::File> {
    use crate::error::Error;
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(Error::file(path, "is not a regular file; save it as one first"));
    }
    std::fs::File::open(path).map_err(Error::io(path))
}

/// A message as one printable line of at most 1000 characters, whatever it quotes from a file.
#[cfg(feature = "train")]
pub(crate) fn one_line(message: String) -> String {
    let printable = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    message.chars().take(1000).map(printable).collect()
}
