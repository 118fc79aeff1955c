//! The file of the gate's answers: TOML, with an entry for each adapter, driver, set of shaders and matrices.
//!
//! It is in the user's cache directory. It is a cache: if it cannot be read or written, the gate runs again.

use super::gate;
use super::gate::Answer;
use crate::compute::cooperative::{Cooperative, Variant};
use crate::device::AdapterInfo;
use crate::io::atomic;
use crate::user::{self, cache_directory, variable};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const HEADER: &str =
    "# Results of the test of cooperative matrices. You can delete it; `jem devices --test` renews it.\n\n";

/// The whole file. Entries that this version cannot read stay in it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    answer: Vec<toml::Value>,
}

/// The answer for some matrices on an adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    name: String,
    vendor: u32,
    device: u32,
    backend: String,
    driver: String,
    driver_info: String,
    /// [`gate::digest`] of the shaders that were tried.
    shaders: String,
    size: usize,
    variant: Variant,
    #[serde(flatten)]
    answer: Answer,
}

impl Entry {
    fn new(adapter: &AdapterInfo, matrices: Cooperative, shaders: &str, answer: &Answer) -> Self {
        Self {
            name: adapter.name.clone(),
            vendor: adapter.vendor,
            device: adapter.device,
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            driver_info: adapter.driver_info.clone(),
            shaders: shaders.to_owned(),
            size: matrices.size,
            variant: matrices.variant,
            answer: answer.clone(),
        }
    }

    /// Whether both entries are of the same hardware.
    fn is_of_hardware(&self, other: &Self) -> bool {
        (&self.name, self.vendor, self.device, &self.backend)
            == (&other.name, other.vendor, other.device, &other.backend)
    }

    /// Whether both entries are of the same hardware and driver.
    fn is_of_driver(&self, other: &Self) -> bool {
        self.is_of_hardware(other) && (&self.driver, &self.driver_info) == (&other.driver, &other.driver_info)
    }

    fn is_of_matrices(&self, other: &Self) -> bool {
        (self.size, self.variant) == (other.size, other.variant)
    }
}

/// The path of the file: `gate.toml` in the user's cache directory; `None` where there is no such directory.
pub(super) fn path() -> Option<PathBuf> {
    Some(cache_directory(variable)?.join("gate.toml"))
}

/// The known answer about `matrices` on `adapter`.
pub(super) fn load(path: &Path, adapter: &AdapterInfo, matrices: Cooperative) -> Option<Answer> {
    let nothing = Answer::default();
    let wanted = Entry::new(adapter, matrices, &gate::digest(matrices, adapter.spirv), &nothing);
    let entries = read(path).answer.into_iter().filter_map(|entry| entry.try_into::<Entry>().ok());
    let is_wanted = |entry: &Entry| {
        entry.is_of_driver(&wanted) && entry.is_of_matrices(&wanted) && entry.shaders == wanted.shaders
    };
    entries.filter(is_wanted).map(|entry| entry.answer).next()
}

/// Stores an answer. Answers for the same hardware with another driver are dropped, and so is an older answer about
/// these matrices.
pub(super) fn store(path: &Path, adapter: &AdapterInfo, matrices: Cooperative, answer: &Answer) {
    let entry = Entry::new(adapter, matrices, &gate::digest(matrices, adapter.spirv), answer);
    let mut file = read(path);
    file.answer.retain(|other| {
        let Ok(other) = other.clone().try_into::<Entry>() else { return true };
        !other.is_of_hardware(&entry) || other.is_of_driver(&entry) && !other.is_of_matrices(&entry)
    });
    file.answer.push(toml::Value::try_from(entry).expect("answers are plain data"));
    let text = toml::to_string(&file).expect("answers are plain data");
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(crate::Error::io(path)).and_then(
            |()| {
                atomic::write(path, |file| {
                    file.write_all(HEADER.as_bytes()).and_then(|()| file.write_all(text.as_bytes()))
                })
            },
        );
    if let Err(error) = written {
        tracing::info!("the test of cooperative matrices will be repeated: {error}");
    }
}

fn read(path: &Path) -> File {
    let text = user::read_to_string(path).unwrap_or_default();
    toml::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(driver_info: &str) -> AdapterInfo {
        AdapterInfo { driver_info: driver_info.into(), spirv: Some((1, 6)), ..AdapterInfo::example() }
    }

    fn passed(kernels: usize) -> Answer {
        Answer { kernels, repeats: 200, error: 1e-12, refused: None, seconds: 2.5 }
    }

    #[test]
    fn an_answer_is_of_one_driver_one_size_and_one_variant() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/gate.toml");
        let (one, naga) = (adapter("1"), Cooperative::new(16, 32));
        let flat = Cooperative { variant: Variant::Flat, ..naga };
        assert_eq!(load(&path, &one, naga), None, "there is no file");
        store(&path, &one, naga, &Answer::refusal("was killed by SIGSEGV".into()));
        store(&path, &one, flat, &passed(9));
        assert_eq!(load(&path, &one, naga).unwrap().refused.as_deref(), Some("was killed by SIGSEGV"));
        assert_eq!(load(&path, &one, flat), Some(passed(9)));
        assert_eq!(load(&path, &one, Cooperative { size: 8, ..flat }), None);
        // The limits on a tile are part of the question.
        assert_eq!(load(&path, &one, Cooperative { memory: 48 << 10, ..flat }), None);
        store(&path, &one, flat, &passed(10));
        assert_eq!(load(&path, &one, flat), Some(passed(10)));
        assert_eq!(read(&path).answer.len(), 2);
        // Another driver is asked again, and the old one's answers are dropped.
        let newer = adapter("2");
        assert_eq!(load(&path, &newer, flat), None);
        store(&path, &newer, flat, &passed(11));
        assert_eq!((load(&path, &one, flat), read(&path).answer.len()), (None, 1));
        // Another card keeps its own.
        let other = AdapterInfo { device: 8, ..adapter("1") };
        store(&path, &other, flat, &passed(12));
        assert_eq!(load(&path, &newer, flat), Some(passed(11)));
    }

    #[test]
    fn a_damaged_file_is_no_answer_and_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.toml");
        let (one, naga) = (adapter("1"), Cooperative::new(16, 32));
        for text in ["[[answer", "answer = 3", "[[answer]]\nname = 1\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(load(&path, &one, naga), None);
            store(&path, &one, naga, &passed(1));
            assert_eq!(load(&path, &one, naga), Some(passed(1)));
        }
        // What another version wrote into it stays.
        let known = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{known}\n[[answer]]\nname = \"newer\"\nvariant = \"woven\"\n"))
            .unwrap();
        assert_eq!(load(&path, &one, naga), Some(passed(1)));
        store(&path, &one, naga, &passed(2));
        assert_eq!(load(&path, &one, naga), Some(passed(2)));
        assert!(std::fs::read_to_string(&path).unwrap().contains("woven"));
        // A failure to write is ignored.
        store(&path.join("below/gate.toml"), &one, naga, &passed(1));
    }
}
