//! Compiled pipelines, kept in a file between runs.
//!
//! A driver trusts the cache data that it is given. The file therefore identifies its driver and has a checksum, and a
//! file that is damaged or of another driver is not handed to the driver: the pipelines are compiled again, and the
//! file is replaced.

use super::AdapterInfo;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::user::{cache_directory, variable};
use md5::{Digest as _, Md5};
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The environment variable that names the directory of the files; `none` turns them off.
pub const VARIABLE: &str = "JEM_PIPELINE_CACHE";

/// The first bytes of a file.
const MAGIC: [u8; 8] = *b"jempipe1";
/// Bytes before the data: [`MAGIC`], the driver's identity, the data's checksum.
const HEADER: usize = MAGIC.len() + 2 * size_of::<Digest>();
/// The most bytes of data that are kept. Drivers never drop a pipeline from a cache, so a file that would grow beyond
/// this is removed, and the next run starts a new one.
const MOST: usize = 64 << 20;
/// The age from which a temporary file is taken to be left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// An MD5 digest: against damage, not against forgers.
pub type Digest = [u8; 16];

/// The digest of `data`.
pub fn digest(data: &[u8]) -> Digest {
    Md5::digest(data).into()
}

/// A file of compiled pipelines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineFile {
    path: PathBuf,
    identity: Digest,
}

impl PipelineFile {
    /// The file for the pipelines of `adapter`, in the directory that [`VARIABLE`] names, else in the user's cache
    /// directory. `key` names the adapter's class of devices. `None` if the variable is `none`, or there is no
    /// directory.
    pub fn of(key: &str, adapter: &AdapterInfo) -> Option<Self> {
        Some(Self::in_directory(&directory(variable)?, key, adapter))
    }

    fn in_directory(directory: &Path, key: &str, adapter: &AdapterInfo) -> Self {
        // Another driver, driver version or version of this crate starts a new file.
        let parts = [key, &adapter.name, &adapter.driver, &adapter.driver_info, env!("CARGO_PKG_VERSION")];
        Self { path: directory.join(key), identity: digest(parts.join("\n").as_bytes()) }
    }

    /// The data that a run on the same driver gave [`PipelineFile::write`]; `None` if there are none. A damaged or
    /// unreadable file is a warning.
    pub fn read(&self) -> Option<Vec<u8>> {
        self.try_read().unwrap_or_else(|message| {
            tracing::warn!("{}: {message}; compiling all pipelines again", self.path.display());
            None
        })
    }

    fn try_read(&self) -> Result<Option<Vec<u8>>, String> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
            // Opening a named pipe would block until it has a writer.
            Ok(metadata) if !metadata.is_file() => return Err("is not a file".into()),
            Ok(_) => {}
        }
        let mut bytes = Vec::new();
        let longest = (HEADER + MOST) as u64;
        let file = fs::File::open(&self.path).map_err(|error| error.to_string())?;
        file.take(longest + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > longest {
            return Err(format!("is longer than {longest} bytes"));
        }
        self.unwrap(bytes)
    }

    /// The data in a file's `bytes`; `None` if they are of another driver.
    fn unwrap(&self, mut bytes: Vec<u8>) -> Result<Option<Vec<u8>>, String> {
        let header = bytes.get(..HEADER).filter(|header| header.starts_with(&MAGIC));
        let header = header.ok_or("is not a file of compiled pipelines")?;
        let (identity, checksum) = header[MAGIC.len()..].split_at(size_of::<Digest>());
        if identity != self.identity {
            return Ok(None);
        }
        if checksum != digest(&bytes[HEADER..]) {
            return Err("is damaged".into());
        }
        Ok(Some(bytes.split_off(HEADER)))
    }

    /// Replaces the file by one with `data`; removes it if `data` has more than [`MOST`] bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory or the file cannot be written.
    pub fn write(&self, data: &[u8]) -> Result<()> {
        // Threads of one process would use the same temporary file.
        static WRITING: Mutex<()> = Mutex::new(());
        let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        if data.len() > MOST {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(&self.path)(error)),
                _ => Ok(()),
            };
        }
        let directory = atomic::directory_of(&self.path);
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        self.remove_abandoned(directory, ABANDONED);
        atomic::write(&self.path, |file| {
            file.write_all(&MAGIC)?;
            file.write_all(&self.identity)?;
            file.write_all(&digest(data))?;
            file.write_all(data)
        })
    }

    /// Removes temporary files that killed processes left beside this file `age` ago or earlier. Failures are ignored.
    fn remove_abandoned(&self, directory: &Path, age: Duration) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.");
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let modified = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
            if name.starts_with(&prefix) && name.ends_with(".tmp") && modified().is_some_and(|old| old >= age)
            {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

fn directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    match variable(VARIABLE) {
        Some(value) if value == "none" => None,
        Some(value) => Some(value.into()),
        None => cache_directory(variable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(driver_info: &str) -> AdapterInfo {
        AdapterInfo { driver_info: driver_info.into(), pipeline_cache: true, ..AdapterInfo::example() }
    }

    fn file(directory: &Path) -> PipelineFile {
        PipelineFile::in_directory(&directory.join("of jem"), "key", &adapter("1.0"))
    }

    #[test]
    fn what_was_written_is_read_by_the_same_driver_only() {
        let place = tempfile::tempdir().unwrap();
        let file = file(place.path());
        assert_eq!(file.try_read(), Ok(None), "there is none yet");
        for data in [b"some pipelines".as_slice(), b"", b"others"] {
            file.write(data).unwrap();
            assert_eq!(file.try_read(), Ok(Some(data.to_vec())));
        }
        let newer = PipelineFile::in_directory(&place.path().join("of jem"), "key", &adapter("1.1"));
        assert_eq!(newer.path, file.path);
        assert_eq!(newer.try_read(), Ok(None));
        newer.write(b"newer").unwrap();
        assert_eq!(file.try_read(), Ok(None));
    }

    #[test]
    fn damage_anywhere_is_found() {
        let place = tempfile::tempdir().unwrap();
        let file = file(place.path());
        file.write(b"some pipelines").unwrap();
        let whole = fs::read(&file.path).unwrap();
        for length in 0..whole.len() {
            fs::write(&file.path, &whole[..length]).unwrap();
            assert!(file.try_read().is_err(), "cut to {length} bytes");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&file.path, bytes).unwrap();
            // Damage to the identity looks like another driver's file.
            assert!(!matches!(file.try_read(), Ok(Some(_))), "byte {at}");
        }
        fs::write(&file.path, [whole.as_slice(), b"."].concat()).unwrap();
        assert_eq!(file.try_read(), Err("is damaged".into()));
        assert_eq!(file.read(), None);
        file.write(b"again").unwrap();
        assert_eq!(file.read(), Some(b"again".to_vec()));
    }

    #[test]
    fn a_file_is_bounded() {
        let place = tempfile::tempdir().unwrap();
        let file = file(place.path());
        file.write(&vec![1; MOST]).unwrap();
        assert_eq!(file.read().map(|data| data.len()), Some(MOST));
        fs::OpenOptions::new().append(true).open(&file.path).unwrap().write_all(b".").unwrap();
        assert!(file.try_read().unwrap_err().contains("is longer than"));
        for _ in 0..2 {
            file.write(&vec![1; MOST + 1]).unwrap();
            assert!(!file.path.exists());
        }
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let file = file(place.path());
        fs::create_dir_all(&file.path).unwrap();
        assert_eq!(file.try_read(), Err("is not a file".into()));
        assert!(matches!(file.write(b"data"), Err(Error::Io { .. })));
        assert!(file.path.is_dir());
        // A file where the directory should be.
        fs::write(place.path().join("taken"), "").unwrap();
        let file = PipelineFile::in_directory(&place.path().join("taken"), "key", &adapter(""));
        assert_eq!(file.read(), None);
        assert!(matches!(file.write(b"data"), Err(Error::Io { .. })));
    }

    #[test]
    fn writers_do_not_mix() {
        let place = tempfile::tempdir().unwrap();
        let file = file(place.path());
        file.write(&[0; 100_000]).unwrap();
        std::thread::scope(|scope| {
            for writer in 1..5u8 {
                let file = &file;
                scope.spawn(move || {
                    for _ in 0..10 {
                        file.write(&vec![writer; 100_000 * usize::from(writer)]).unwrap();
                        let data = file.try_read().unwrap().expect("a file");
                        assert!(data.iter().all(|&byte| byte == data[0]));
                    }
                });
            }
        });
        let left = fs::read_dir(place.path().join("of jem")).unwrap().count();
        assert_eq!(left, 1, "no temporary file is left");
    }

    #[test]
    fn what_killed_processes_left_is_removed_when_it_is_old() {
        let place = tempfile::tempdir().unwrap();
        let file = file(place.path());
        file.write(b"data").unwrap();
        let directory = place.path().join("of jem");
        for name in [".key.12.tmp", ".other.12.tmp", ".key.tmp.more", "key.12.tmp"] {
            fs::write(directory.join(name), "half").unwrap();
        }
        file.remove_abandoned(&directory, ABANDONED);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 5, "none of them is old");
        file.remove_abandoned(&directory, Duration::ZERO);
        assert!(!directory.join(".key.12.tmp").exists());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 4);
    }

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn the_variable_names_the_directory() {
        let with = |pairs: &'static [(&str, &str)]| {
            directory(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.into()))
        };
        assert_eq!(with(&[("JEM_PIPELINE_CACHE", "here"), ("HOME", "/h")]), Some("here".into()));
        assert_eq!(with(&[("JEM_PIPELINE_CACHE", "none"), ("HOME", "/h")]), None);
        assert_eq!(with(&[("HOME", "/h")]), Some("/h/.cache/jem".into()));
        assert_eq!(with(&[]), None);
    }
}
