//! Files that grow by records and hold whole records only, whatever ends a write: a kill, a full disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Appends records to a file. What cannot be written is kept in memory and tried again with the next record.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of the file in whole records.
    whole: u64,
    pending: Vec<u8>,
}

impl Journal {
    /// Goes on behind the first `whole` bytes of `file`, which was opened to append; the rest is cut off.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(path: &Path, file: File, whole: u64) -> Result<Self> {
        if file.metadata().map_err(Error::io(path))?.len() > whole {
            file.set_len(whole).map_err(Error::io(path))?;
        }
        Ok(Self { path: path.to_owned(), file, whole, pending: Vec::new() })
    }

    /// Goes on behind the last whole line of `path`, which is made if it is missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn lines(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path).map_err(Error::io(path))?;
        let bytes = fs::read(path).map_err(Error::io(path))?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        Self::new(path, file, whole as u64)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a record, to be written by the next [`Journal::flush`].
    pub fn append(&mut self, record: &[u8]) {
        self.pending.extend_from_slice(record);
    }

    /// Bytes that are still to be written.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Hands all records to the system.
    ///
    /// # Errors
    /// [`Error::Io`]; the file then ends with its last whole record, and the others stay pending.
    pub fn flush(&mut self) -> Result<()> {
        if let Err(error) = self.file.write_all(&self.pending) {
            // The write's own error is the one to report.
            let _ = self.file.set_len(self.whole);
            return Err(Error::io(&self.path)(error));
        }
        self.whole += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Makes what was flushed survive a power cut.
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
