//! How images are read: scaled or not, truncated or not, in which range. A run records it with its data.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How images are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadOptions {
    /// Scales pictures to a square with this side: the shorter side is scaled, and the centre is cropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Reads truncated pictures as far as they go, with grey for the missing pixels.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_truncated: bool,
    /// The values of black and white; `None`: the usual ones of the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<ValueRange>,
    /// A CSV file with the class of each picture of a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The order of classes that are named by folders or labels.
    #[serde(default = "ClassOrder::unrecorded", skip_serializing_if = "ClassOrder::is_unrecorded")]
    pub class_order: ClassOrder,
    /// The directory in which decoded folders are kept; `None`: nowhere.
    #[serde(skip)]
    pub cache: Option<PathBuf>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            size: None,
            allow_truncated: false,
            range: None,
            labels: None,
            class_order: ClassOrder::Natural,
            cache: None,
        }
    }
}

impl ReadOptions {
    /// Refuses options that do not apply to `source`, whose images are no pictures of a folder.
    ///
    /// # Errors
    /// [`Error::Setting`] of `size`, `labels` or `range`.
    pub fn check_unused(&self, source: &str) -> Result<()> {
        let used = [
            ("size", self.size.is_some()),
            ("labels", self.labels.is_some()),
            ("range", self.range.is_some()),
        ];
        match used.into_iter().find(|(_, used)| *used) {
            Some((key, _)) => {
                let message = format!("is for pictures and arrays of your own, {source} needs none");
                Err(Error::setting(key, message))
            }
            None => Ok(()),
        }
    }
}

/// The order of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassOrder {
    /// Numbers in names count as numbers: 2 before 10.
    Natural,
    /// By characters, 10 before 2, as runs of earlier versions.
    Text,
}

impl ClassOrder {
    /// The order of a run that records none.
    pub(super) fn unrecorded() -> Self {
        Self::Text
    }

    fn is_unrecorded(&self) -> bool {
        *self == Self::unrecorded()
    }
}

/// The values of black and of white in a file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValueRange {
    /// The value of black.
    pub low: f32,
    /// The value of white.
    pub high: f32,
}

impl ValueRange {
    /// The value in [-1, 1] of `value`.
    pub fn scale(self, value: f32) -> f32 {
        let Self { low, high } = self;
        if [low, high] == [-1.0, 1.0] { value } else { (value - low) / (high - low) * 2.0 - 1.0 }
    }

    /// The byte of `byte`; values beyond the range are clamped.
    pub fn scale_byte(self, byte: u8) -> u8 {
        let Self { low, high } = self;
        ((f32::from(byte) - low) / (high - low) * 255.0).round().clamp(0.0, 255.0) as u8
    }
}

impl FromStr for ValueRange {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text.split_once(',').and_then(|(low, high)| {
            let number = |text: &str| text.trim().parse::<f32>().ok().filter(|value| value.is_finite());
            Some((number(low)?, number(high)?))
        });
        match numbers {
            Some((low, high)) if low < high => Ok(Self { low, high }),
            _ => Err(format!(
                "expected the values of black and white, such as 0,1 or -1,1 or 0,255, got {text:?}"
            )),
        }
    }
}

impl fmt::Display for ValueRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.low, self.high)
    }
}
