//! The folder for logs and caches, which the run makes and removes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The number of names to try in a folder.
const NAMES: u32 = 100;

/// A folder that did not exist before.
#[derive(Debug)]
pub struct Scratch {
    /// The folder.
    pub path: PathBuf,
    /// The folder around it, if that did not exist either.
    around: Option<PathBuf>,
}

impl Scratch {
    /// Makes a folder in the first of `parents` in which `fill` succeeds, and fills it.
    ///
    /// # Errors
    /// The last one's, with its path; nothing is left behind.
    pub fn new(parents: &[PathBuf], fill: impl Fn(&Path) -> io::Result<()>) -> Result<Self, String> {
        let mut message = "no folder for logs and caches".to_owned();
        for parent in parents {
            match Self::within(parent) {
                Ok(made) => match fill(&made.path) {
                    Ok(()) => return Ok(made),
                    Err(error) => {
                        message = format!("{}: {error}", made.path.display());
                        // The next folder may do.
                        let _ = made.remove();
                    }
                },
                Err(error) => message = format!("{}: {error}", parent.display()),
            }
        }
        Err(message)
    }

    /// Makes a folder in `parent`.
    fn within(parent: &Path) -> io::Result<Self> {
        let parent = std::path::absolute(parent)?;
        let around = (!parent.exists()).then(|| parent.clone());
        fs::create_dir_all(&parent)?;
        let mut number = 0;
        loop {
            let path = parent.join(format!("jem-measure-{}-{number}", std::process::id()));
            match private(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < NAMES => number += 1,
                made => return made.map(|()| Self { path, around }),
            }
        }
    }

    /// Removes the folder, and the one around it if the run made that and it is empty.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)?;
        if let Some(around) = &self.around {
            // Somebody else may use it by now.
            let _ = fs::remove_dir(around);
        }
        Ok(())
    }
}

/// Makes a folder that only this user may read.
fn private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
