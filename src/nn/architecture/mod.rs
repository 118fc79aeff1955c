//! The networks of the library: their kinds in files, their names on a command line, and their detection from the names
//! and shapes of a file's tensors.
//!
//! A network is a file beside this folder. Its entry in `FAMILIES` and its rows of names in `families.rs` let it be
//! recognised, opened and named.

mod families;
mod recognise;
mod shapes;

pub use super::batch_norm::NormMode;
#[cfg(any(feature = "train", test))]
pub(crate) use recognise::prefixes;
pub use recognise::{Assumption, Choices, Recognised, Unrecognised, recognise};
#[cfg(feature = "train")]
pub(crate) use recognise::{is_known_beside, nothing_known, recognise_as, some_of};
#[cfg(feature = "train")]
pub(crate) use shapes::Shown;

use super::network::{KIND, Network, SETTINGS};
use crate::error::{Error, Result};
use families::{FAMILIES, Family};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A network of the library.
#[derive(Debug, Clone)]
pub struct Architecture(Arc<dyn Network>);

/// Networks are equal if files say the same of them.
impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.0.kind() == other.0.kind() && self.0.settings() == other.0.settings()
    }
}

impl Architecture {
    /// The architecture of `network`, one of the library's.
    pub fn of(network: impl Network + 'static) -> Self {
        Self(Arc::new(network))
    }

    /// The network.
    pub fn network(&self) -> Arc<dyn Network> {
        self.0.clone()
    }

    /// The architecture that the metadata of a file of this library names.
    ///
    /// # Errors
    /// The setting that is missing or wrong.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let text =
            |key: &str| metadata.get(key).ok_or_else(|| format!("expected metadata {key}, found none"));
        let (kind, settings) = (text(KIND)?, text(SETTINGS)?);
        let family = FAMILIES.iter().find(|family| family.kinds.contains(&kind.as_str()));
        let family = family.ok_or_else(|| {
            let known: Vec<_> = FAMILIES.iter().flat_map(|family| family.kinds).copied().collect();
            format!("metadata {KIND}: expected {}, found {kind:?}", known.join(", "))
        })?;
        let network = (family.open)(kind, settings)
            .map_err(|error| format!("metadata {SETTINGS}: {}", error.message()))?;
        network.check().map_err(|error| format!("metadata {SETTINGS}: {error}"))?;
        Ok(Self(network))
    }

    /// Whether both are of one family and size, whatever their classes, channels, norms and activations.
    pub fn is_of_size(&self, other: &Self) -> bool {
        let size = |architecture: &Self| -> Vec<Option<toml::Value>> {
            let settings: toml::Table = toml::from_str(&architecture.0.settings()).unwrap_or_default();
            let keys = ["depth", "width", "block", "blocks", "bottleneck", "stem", "plan", "hidden"];
            keys.map(|key| settings.get(key).cloned()).into()
        };
        self.0.kind() == other.0.kind() && size(self) == size(other)
    }

    fn family(&self) -> &'static Family {
        let kind = self.0.kind();
        FAMILIES.iter().find(|family| family.kinds.contains(&kind)).expect("a network of the library")
    }
}

impl std::str::FromStr for Architecture {
    type Err = Error;

    /// The names that the families list, such as `wrn-28-10-bn`, `resnet-20` or `vgg-16`, in any letter case, for 10
    /// classes of RGB images.
    fn from_str(text: &str) -> Result<Self> {
        let lower = text.to_lowercase();
        let parts: Vec<&str> = lower.split('-').collect();
        let network = FAMILIES.iter().find_map(|family| (family.named)(&parts)).ok_or_else(|| {
            let examples: Vec<_> = FAMILIES.iter().flat_map(|family| family.examples).copied().collect();
            Error::setting("architecture", format!("expected such as {}, got {text:?}", examples.join(", ")))
        })?;
        network.check().map_err(|error| Error::setting("architecture", error.to_string()))?;
        Ok(Self(network))
    }
}

#[cfg(test)]
mod tests;
