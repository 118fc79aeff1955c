//! The sections of a report: the measurements that each needs, and what it makes of them.

pub(super) mod classification;
pub(super) mod generation;
pub(super) mod ood;
pub(super) mod published;
pub(super) mod robustness;
pub(super) mod scores;

use super::Settings;
use super::store::{Arrays, Store};
use super::subject::{EvaluationData, ImageSet, Subject};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::document::Section;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The inputs that all sections share.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub device: &'a Device,
    pub subjects: &'a [Subject],
    pub data: &'a EvaluationData,
    pub settings: &'a Settings,
    pub store: &'a Store,
    /// The directory of the report and its pictures.
    pub out: &'a Path,
}

/// A section with its numbers: those of each subject, in their order, to be merged into the report's objects.
pub(super) struct Written {
    pub section: Section,
    pub numbers: Vec<Map<String, Value>>,
}

impl Context<'_> {
    /// The names of the subjects.
    pub fn names(&self) -> Vec<String> {
        self.subjects.iter().map(|subject| subject.name.clone()).collect()
    }

    /// The name in the store of a measurement of a subject.
    pub fn name(&self, subject: usize, what: &str) -> String {
        if subject == 0 { what.to_owned() } else { format!("against-{subject}-{what}") }
    }

    /// The key of a measurement: the model, the images and `settings`.
    pub fn key(&self, subject: usize, set: &ImageSet, settings: Value) -> Value {
        json!({
            "model": self.subjects[subject].digest,
            "norm_mode": format!("{:?}", self.settings.mode),
            "images": set.digest,
            "settings": settings,
        })
    }

    /// A measurement that is made.
    pub fn load(&self, name: &str, key: &Value) -> Result<Arrays> {
        self.store.load(name, key).ok_or_else(|| {
            Error::file(self.store.path(name), "was removed or changed during the evaluation; run it again")
        })
    }

    /// Names the subject of the work `what` where there are several, for the progress.
    pub fn what(&self, subject: usize, what: &str) -> String {
        if self.subjects.len() == 1 {
            what.to_owned()
        } else {
            format!("{}: {what}", self.subjects[subject].name)
        }
    }
}
