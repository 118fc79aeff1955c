//! Checkpoints with the number of their iteration, of which the newest are kept.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::{Error, Result};
use crate::io::atomic;

/// The path of the checkpoint of `iteration`: `DIRECTORY/PREFIX-00001234.safetensors`.
pub fn numbered(directory: &Path, prefix: &str, iteration: u64) -> PathBuf {
    directory.join(format!("{prefix}-{iteration:08}.safetensors"))
}

/// The numbered checkpoints in `directory`, oldest first. A missing directory has none.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be read.
pub fn list_numbered(directory: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for name in file_names(directory)? {
        let number = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".safetensors"))
            .and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            found.push((number, directory.join(name)));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes all but the newest `keep` (at least one) numbered checkpoints, and temporary files that
/// an interrupted [`Checkpoint::save`](super::Checkpoint::save) left behind. Returns what is kept, oldest first.
///
/// # Errors
/// [`Error::Io`] when a file cannot be removed.
pub fn rotate(directory: &Path, prefix: &str, keep: usize) -> Result<Vec<PathBuf>> {
    atomic::remove_temporary(directory)?;
    let mut paths: Vec<_> = list_numbered(directory, prefix)?.into_iter().map(|(_, path)| path).collect();
    let kept = paths.split_off(paths.len().saturating_sub(keep.max(1)));
    for path in paths {
        fs::remove_file(&path).map_err(Error::io(path))?;
    }
    Ok(kept)
}

fn file_names(directory: &Path) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(directory)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn rotation_keeps_the_newest_by_number() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        for iteration in [9, 100, 1_000_000_000, 20] {
            example().save(&numbered(here, "checkpoint", iteration)).unwrap();
        }
        fs::write(here.join("checkpoint-best.safetensors"), "").unwrap();
        fs::write(here.join(".checkpoint-00000030.safetensors.123.tmp"), "").unwrap();
        let kept = rotate(here, "checkpoint", 2).unwrap();
        assert_eq!(kept, [numbered(here, "checkpoint", 100), numbered(here, "checkpoint", 1_000_000_000)]);
        let mut left = file_names(here).unwrap();
        left.sort();
        assert_eq!(
            left,
            [
                "checkpoint-00000100.safetensors",
                "checkpoint-1000000000.safetensors",
                "checkpoint-best.safetensors"
            ]
        );
        assert!(list_numbered(&here.join("absent"), "checkpoint").unwrap().is_empty());
    }
}
