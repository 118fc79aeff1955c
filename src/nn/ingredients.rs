//! Choices that the networks of the library share: the activation, the normalisation before it, and the pooling of
//! features.

use super::group_norm;
use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::named::named;
use crate::words::counted;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The slope below 0 of JEM's leaky ReLUs.
pub const SLOPE: f32 = 0.2;

/// The nonlinearity of a network. As text: `relu`, `leaky-relu` with JEM's slope of 0.2, `leaky-relu:SLOPE`, `silu`,
/// `softplus`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` if `x > 0`, else `slope x`.
    LeakyRelu {
        /// The slope below 0, in (0, 1).
        slope: f32,
    },
    /// `x σ(x)` (Hendrycks & Gimpel 2016), also called swish; smooth.
    Silu,
    /// `ln(1 + e^x)` (Dugas et al. 2000), smooth.
    Softplus,
}

impl Activation {
    /// The names, for messages.
    pub const NAMES: &str = "relu, leaky-relu, leaky-relu:SLOPE, silu or softplus";
    /// JEM's leaky ReLU, of slope 0.2.
    pub const JEM: Self = Self::LeakyRelu { slope: SLOPE };

    /// ReLU, the default of settings.
    pub(super) fn relu() -> Self {
        Self::Relu
    }

    /// Applies it to each element.
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Relu => x.leaky_relu(0.0),
            Self::LeakyRelu { slope } => x.leaky_relu(slope),
            Self::Silu => x.silu(),
            Self::Softplus => x.softplus(),
        }
    }

    /// The slope below 0, on which He initialisations depend: 0 for ReLU and the smooth ones.
    pub fn slope(self) -> f32 {
        match self {
            Self::LeakyRelu { slope } => slope,
            Self::Relu | Self::Silu | Self::Softplus => 0.0,
        }
    }
}

impl Default for Activation {
    fn default() -> Self {
        Self::JEM
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relu => f.write_str("relu"),
            Self::LeakyRelu { slope: SLOPE } => f.write_str("leaky-relu"),
            Self::LeakyRelu { slope } => write!(f, "leaky-relu:{slope}"),
            Self::Silu => f.write_str("silu"),
            Self::Softplus => f.write_str("softplus"),
        }
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::setting("activation", format!("expected {}, got {text:?}", Self::NAMES));
        Ok(match text {
            "relu" => Self::Relu,
            "leaky-relu" => Self::JEM,
            "silu" | "swish" => Self::Silu,
            "softplus" => Self::Softplus,
            _ => {
                let slope = text.strip_prefix("leaky-relu:").and_then(|slope| slope.parse().ok());
                let slope = slope.filter(|slope| (0.0..1.0).contains(slope)).ok_or_else(wrong)?;
                if slope == 0.0 { Self::Relu } else { Self::LeakyRelu { slope } }
            }
        })
    }
}

/// The normalisation of a network's channels. As text: `none`, `batch`, `instance`, `layer`, `group:G`, and `group` for
/// `group:8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norm {
    /// No normalisation.
    #[default]
    None,
    /// Batch normalisation.
    Batch,
    /// Instance normalisation with weight and bias: a group for each channel (`InstanceNorm2d(affine=True)`).
    Instance,
    /// One group of all channels (`GroupNorm(1)`), which JEM's code calls layer norm.
    Layer,
    /// Group normalisation.
    Group {
        /// The number of groups, which divides the channels of every layer.
        groups: usize,
    },
}

impl Norm {
    /// The names, for messages.
    pub const NAMES: &str = "none, batch, instance, layer or group:G";
    /// Group norm with the 8 groups that recipes take unless they name another number.
    pub const GROUP: Self = Self::Group { groups: group_norm::GROUPS };

    /// Batch norm, the default of settings.
    pub(super) fn batch() -> Self {
        Self::Batch
    }

    /// The groups of `channels` channels that are normalised on their own; `None` for batch norm and for none.
    pub fn groups(self, channels: usize) -> Option<usize> {
        match self {
            Self::None | Self::Batch => None,
            Self::Instance => Some(channels),
            Self::Layer => Some(1),
            Self::Group { groups } => Some(groups),
        }
    }

    /// Checks that the groups divide the channels `of` a network's layers.
    ///
    /// # Errors
    /// [`Error::Setting`] with the channels that the groups do not divide.
    pub fn check(self, of: impl IntoIterator<Item = usize>) -> Result<()> {
        let Self::Group { groups } = self else { return Ok(()) };
        let wrong = of.into_iter().find(|&channels| groups == 0 || !channels.is_multiple_of(groups));
        wrong.map_or(Ok(()), |channels| {
            let message =
                format!("{groups} groups do not divide the {} of a layer", counted(channels, "channel"));
            Err(Error::setting("norm", message))
        })
    }

    /// Text for the name of a network with it, such as ` with batch norm`.
    pub fn title(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Batch => " with batch norm".into(),
            Self::Instance => " with instance norm".into(),
            Self::Layer => " with layer norm".into(),
            Self::Group { groups } => format!(" with group norm ({})", counted(groups, "group")),
        }
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Batch => f.write_str("batch"),
            Self::Instance => f.write_str("instance"),
            Self::Layer => f.write_str("layer"),
            Self::Group { groups } => write!(f, "group:{groups}"),
        }
    }
}

impl FromStr for Norm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::setting("norm", format!("expected {}, got {text:?}", Self::NAMES));
        Ok(match text {
            "none" => Self::None,
            "batch" => Self::Batch,
            "instance" => Self::Instance,
            "layer" => Self::Layer,
            "group" => Self::GROUP,
            _ => {
                let groups = text.strip_prefix("group:").and_then(|groups| groups.parse().ok());
                Self::Group { groups: groups.filter(|&groups| groups > 0).ok_or_else(wrong)? }
            }
        })
    }
}

/// The pooling of features over all pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// The mean.
    #[default]
    Mean,
    /// The sum, as in IGEBM (Du & Mordatch 2019).
    Sum,
}

named!(Pooling, "pooling": Mean = "mean", Sum = "sum");

impl Pooling {
    /// The features `[n, c]` of images `[n, h, w, c]`.
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Mean => x.global_average_pool(),
            Self::Sum => x.sum(&[1, 2]),
        }
    }
}

/// Implements serde by `Display` and `FromStr`.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(Activation, Norm);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["relu", "leaky-relu", "leaky-relu:0.1", "silu", "softplus"] {
            assert_eq!(text.parse::<Activation>().unwrap().to_string(), text);
        }
        assert_eq!("leaky-relu:0".parse::<Activation>().unwrap(), Activation::Relu);
        assert_eq!("leaky-relu:0.2".parse::<Activation>().unwrap(), Activation::JEM);
        for text in ["none", "batch", "instance", "layer", "group:4"] {
            assert_eq!(text.parse::<Norm>().unwrap().to_string(), text);
        }
        assert_eq!("group".parse::<Norm>().unwrap(), Norm::Group { groups: 8 });
        for text in ["leaky-relu:", "leaky-relu:1", "leaky-relu:-1", "leaky-relu:nan", "tanh", ""] {
            let message = text.parse::<Activation>().unwrap_err().to_string();
            assert!(message.contains("activation: expected relu") && message.contains(text), "{message}");
        }
        for text in ["group:0", "group:x", "spectral", ""] {
            assert!(text.parse::<Norm>().unwrap_err().to_string().contains("norm: expected none"));
        }
    }

    #[test]
    fn groups_divide_channels() {
        Norm::Group { groups: 4 }.check([16, 32]).unwrap();
        Norm::Instance.check([3]).unwrap();
        let message = Norm::Group { groups: 5 }.check([15, 32]).unwrap_err().to_string();
        assert!(message.contains("5 groups do not divide the 32 channels"), "{message}");
    }
}
