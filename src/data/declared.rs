//! Reading data whose size a header declares: never more memory than the source can fill.

use std::io::Read;

/// The most bytes that one byte of a deflate stream stands for (zlib's technical details).
pub(super) const DEFLATE_RATIO: u64 = 1032;

/// Reads `declared` bytes from a source that cannot hold more than `at_most`.
///
/// # Errors
/// When the source cannot hold as many, ends before, or fails; when there is not the memory.
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

/// What a failed read means to the reader of a message.
pub(super) fn broken(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return "the file is truncated".into();
    }
    format!("cannot be read on: {error}; the file may be damaged")
}
