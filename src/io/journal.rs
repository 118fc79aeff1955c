//! Files that grow by records and hold complete records only, even if a kill or a full disk interrupts a write.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Appends records to a file. Records that cannot be written are kept in memory and retried with the next one.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The number of bytes of complete records in the file.
    whole: u64,
    pending: Vec<u8>,
}

impl Journal {
    /// Continues after the first `whole` bytes of `file`, which must be open for appending; truncates the rest.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(path: &Path, file: File, whole: u64) -> Result<Self> {
        if file.metadata().map_err(Error::io(path))?.len() > whole {
            file.set_len(whole).map_err(Error::io(path))?;
        }
        Ok(Self { path: path.to_owned(), file, whole, pending: Vec::new() })
    }

    /// Continues after the last complete line of `path`, which is created if it is missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn lines(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path).map_err(Error::io(path))?;
        let bytes = fs::read(path).map_err(Error::io(path))?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        Self::new(path, file, whole as u64)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a record, to be written by the next [`Journal::flush`].
    pub fn append(&mut self, record: &[u8]) {
        self.pending.extend_from_slice(record);
    }

    /// The number of bytes not yet written.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Writes all records to the file.
    ///
    /// # Errors
    /// [`Error::Io`]; the file then ends with its last complete record, and the others stay pending.
    pub fn flush(&mut self) -> Result<()> {
        if let Err(error) = self.file.write_all(&self.pending) {
            // Report the error of the write, not one of the clean-up.
            let _ = self.file.set_len(self.whole);
            return Err(Error::io(&self.path)(error));
        }
        self.whole += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Syncs the flushed records, so that they survive a power cut.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        for (before, after) in [("", "3\n"), ("1", "3\n"), ("1\n", "1\n3\n"), ("1\n2\n{\"a\"", "1\n2\n3\n")] {
            fs::write(&path, before).unwrap();
            let mut journal = Journal::lines(&path).unwrap();
            journal.append(b"3\n");
            journal.flush().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_full_disk_refuses_stays_pending() {
        // A device that is always full.
        let path = Path::new("/dev/full");
        let mut journal = Journal::new(path, File::options().append(true).open(path).unwrap(), 0).unwrap();
        for length in [4, 8] {
            journal.append(b"row\n");
            let message = journal.flush().unwrap_err().to_string();
            assert!(message.contains("/dev/full: No space left"), "{message}");
            assert_eq!(journal.pending(), length);
        }
    }
}
