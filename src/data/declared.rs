//! Reads data whose size a header declares, without allocating more memory than the source can fill.

use std::io::Read;

/// The highest compression ratio of a deflate stream (zlib's technical details).
pub(super) const DEFLATE_RATIO: u64 = 1032;

/// Reads `declared` bytes from a source that cannot hold more than `at_most`.
///
/// # Errors
/// When the source cannot hold as many bytes, ends early or fails; when memory is short.
pub(super) fn read_declared(source: &mut impl Read, declared: u64, at_most: u64) -> Result<Vec<u8>, String> {
    if declared > at_most {
        return Err(format!(
            "the header declares {declared} bytes of data, but at most {at_most} can follow; the file is \
             truncated or damaged"
        ));
    }
    let mut data = Vec::new();
    let length = usize::try_from(declared).map_err(|_| format!("{declared} bytes are too many here"))?;
    data.try_reserve_exact(length).map_err(|_| format!("there is no memory for {declared} bytes of data"))?;
    source.take(declared).read_to_end(&mut data).map_err(|error| broken(&error))?;
    if data.len() != length {
        return Err(format!(
            "the header declares {declared} bytes of data, found {}; the file is truncated or damaged",
            data.len()
        ));
    }
    Ok(data)
}

/// The meaning of a failed read, for a message.
pub(super) fn broken(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return "the file is truncated".into();
    }
    format!("cannot be read on: {error}; the file may be damaged")
}
