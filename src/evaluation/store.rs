//! Finished measurements on disk, so that an interrupted evaluation goes on where it was.

use crate::error::{Error, Result};
use crate::io::elements::{Array, Elements};
use crate::io::npz;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The array that holds a measurement's key, as the bytes of JSON.
const KEY: &str = "key";

/// A directory of measurements, each a `.npz` file that also holds its key: everything that its numbers depend on.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The store in `directory`, which is made when the first measurement is kept.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The file of the measurement `name`, in which characters other than letters, digits, `-`, `.` and `_` become `-`.
    pub fn path(&self, name: &str) -> PathBuf {
        let safe = |c: char| if c.is_alphanumeric() || "-._".contains(c) { c } else { '-' };
        self.directory.join(format!("{}.npz", name.chars().map(safe).collect::<String>()))
    }

    /// The arrays of the measurement `name` if it is kept under the same `key`.
    pub fn load(&self, name: &str, key: &Value) -> Option<Arrays> {
        let mut arrays = npz::read(&self.path(name)).ok()?;
        let at = arrays.iter().position(|(name, _)| name == KEY)?;
        let (_, Array { elements: Elements::U8(found), .. }) = arrays.remove(at) else { return None };
        let same = serde_json::from_slice::<Value>(&found).is_ok_and(|found| found == *key);
        same.then_some(Arrays(arrays))
    }

    /// The arrays of the measurement `name`: those that are kept, or else those that `measure` returns, which are then
    /// kept. `None` if `measure` was stopped.
    ///
    /// # Errors
    /// The errors of `measure`; [`Error::Io`] if the file cannot be written.
    pub fn part(
        &self,
        name: &str,
        key: &Value,
        measure: impl FnOnce() -> Result<Option<Arrays>>,
    ) -> Result<Option<Arrays>> {
        if let Some(kept) = self.load(name, key) {
            return Ok(Some(kept));
        }
        let Some(arrays) = measure()? else { return Ok(None) };
        std::fs::create_dir_all(&self.directory).map_err(Error::io(&self.directory))?;
        npz::write(&self.path(name), &arrays.clone().with_json(KEY, key).0)?;
        Ok(Some(arrays))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// The named arrays of a measurement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrays(Vec<(String, Array)>);

impl Arrays {
    /// Adds floats of this shape.
    pub fn with_f32(mut self, name: &str, shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        self.0.push((name.into(), Array { shape: shape.into(), elements: Elements::F32(values) }));
        self
    }

    /// Adds whole numbers of this shape.
    pub fn with_u32(mut self, name: &str, shape: impl Into<Vec<usize>>, values: Vec<u32>) -> Self {
        self.0.push((name.into(), Array { shape: shape.into(), elements: Elements::U32(values) }));
        self
    }

    /// Adds a value as the bytes of JSON.
    pub fn with_json(mut self, name: &str, value: &Value) -> Self {
        let bytes = value.to_string().into_bytes();
        self.0.push((name.into(), Array { shape: vec![bytes.len()], elements: Elements::U8(bytes) }));
        self
    }

    fn get(&self, name: &str) -> Option<&Array> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, array)| array)
    }

    /// The floats called `name`; empty without them.
    pub fn f32(&self, name: &str) -> &[f32] {
        match self.get(name) {
            Some(Array { elements: Elements::F32(values), .. }) => values,
            _ => &[],
        }
    }

    /// The whole numbers called `name`; empty without them.
    pub fn u32(&self, name: &str) -> &[u32] {
        match self.get(name) {
            Some(Array { elements: Elements::U32(values), .. }) => values,
            _ => &[],
        }
    }

    /// The value called `name`; null without it.
    pub fn json(&self, name: &str) -> Value {
        match self.get(name) {
            Some(Array { elements: Elements::U8(bytes), .. }) => {
                serde_json::from_slice(bytes).unwrap_or_default()
            }
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_measurement_is_made_once_for_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("parts"));
        let key = json!({ "images": 3, "seed": 0 });
        let arrays = || {
            let arrays =
                Arrays::default().with_f32("x", [2], vec![1.0, f32::NAN]).with_u32("n", [1], vec![7]);
            arrays.with_json("facts", &json!({ "a": 1 }))
        };
        assert_eq!(store.part("a set:test", &key, || Ok(None)).unwrap(), None);
        assert!(!store.directory().exists(), "a stopped measurement leaves nothing");
        store.part("a set:test", &key, || Ok(Some(arrays()))).unwrap();
        let kept = store.part("a set:test", &key, || panic!("it is kept")).unwrap().unwrap();
        assert_eq!((kept.u32("n"), kept.f32("x")[0], kept.f32("y").len()), (&[7][..], 1.0, 0));
        assert_eq!((kept.json("facts"), kept.json("y")), (json!({ "a": 1 }), Value::Null));
        assert!(store.path("a set:test").ends_with("a-set-test.npz"));
        let other = json!({ "images": 3, "seed": 1 });
        assert_eq!(store.load("a set:test", &other), None);
        let again = store.part("a set:test", &other, || Ok(Some(Arrays::default()))).unwrap();
        assert_eq!(again, Some(Arrays::default()));
        std::fs::write(store.path("a set:test"), "half a file").unwrap();
        assert_eq!(store.load("a set:test", &other), None, "a damaged file is measured anew");
    }
}
