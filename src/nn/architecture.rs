//! The architectures of the networks in checkpoints, and their detection from the names and shapes in a file.

pub use super::batch_norm::NormMode;
use super::cifar_resnet::CifarResNet;
use super::network::{KIND, Network, SETTINGS};
use super::wide_resnet::{Norm, WideResNet};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A network that turns images into logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// The WideResNet of JEM, with or without batch, group and spectral norm.
    WideResNet(WideResNet),
    /// A ResNet for CIFAR.
    CifarResNet(CifarResNet),
}

/// An architecture in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The architecture.
    pub architecture: Architecture,
    /// The file's name of each of the architecture's parameters.
    pub names: BTreeMap<String, String>,
}

/// Tensors of a file: names and shapes.
type Named<'a> = [(&'a str, &'a [usize])];

/// Whether files of the library's own networks name this kind.
pub(crate) fn is_known_kind(kind: &str) -> bool {
    [WideResNet::KIND, CifarResNet::KIND].contains(&kind)
}

impl Architecture {
    /// The network.
    pub fn network(&self) -> Arc<dyn Network> {
        match *self {
            Self::WideResNet(network) => Arc::new(network),
            Self::CifarResNet(network) => Arc::new(network),
        }
    }

    /// The architecture that the metadata of a file of this library names.
    ///
    /// # Errors
    /// The setting that is missing or wrong.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let text =
            |key: &str| metadata.get(key).ok_or_else(|| format!("expected metadata {key}, found none"));
        let wrong = |error: toml::de::Error| format!("metadata {SETTINGS}: {}", error.message());
        let network = text(SETTINGS)?;
        let architecture = match text(KIND)?.as_str() {
            WideResNet::KIND => Self::WideResNet(toml::from_str(network).map_err(wrong)?),
            CifarResNet::KIND => Self::CifarResNet(toml::from_str(network).map_err(wrong)?),
            other => {
                return Err(format!(
                    "metadata {KIND}: expected wide-resnet or cifar-resnet, found {other:?}"
                ));
            }
        };
        architecture.network().check().map_err(|error| format!("metadata {SETTINGS}: {error}"))?;
        Ok(architecture)
    }

    /// The architecture that a file's tensors are of, and their names.
    ///
    /// # Errors
    /// The tensor that is missing or unexpected, or whose shape does not fit, with both shapes.
    pub fn infer(tensors: &Named<'_>) -> Result<Found, String> {
        let shapes = Shapes::of(tensors)?;
        let wide = shapes.has("f.conv1.weight") || shapes.has("layer1.0.conv1.bias");
        if !wide && !shapes.has("layer1.0.conv1.weight") {
            let names: Vec<&str> = tensors.iter().map(|(name, _)| *name).take(6).collect();
            return Err(format!(
                "expected the tensors of a WideResNet (f.conv1.weight or layer1.0.conv1.bias) or of a CIFAR ResNet \
                 (layer1.0.conv1.weight), found {}; name the architecture",
                if names.is_empty() { "none".into() } else { names.join(", ") }
            ));
        }
        let prefix = if shapes.has("f.conv1.weight") { "f." } else { "" };
        let blocks = (0..).take_while(|i| shapes.has(&format!("{prefix}layer1.{i}.conv1.weight"))).count();
        let architecture = match wide {
            true => Self::WideResNet(WideResNet {
                norm: match ["weight", "running_mean"]
                    .map(|part| shapes.has(&format!("{prefix}layer1.0.bn1.{part}")))
                {
                    [true, true] => Norm::Batch,
                    [true, false] => Norm::Group,
                    [false, _] => Norm::None,
                },
                ..WideResNet::new(
                    6 * blocks + 4,
                    shapes.size(&format!("{prefix}layer1.0.conv1.weight"), 0)? / 16,
                    0,
                    0,
                )
            }),
            false => Self::CifarResNet(CifarResNet { depth: 6 * blocks + 2, classes: 0, channels: 0 }),
        };
        architecture.find_sized(&shapes, tensors)
    }

    /// The file's names of this architecture's parameters, with the classes and channels that the file has,
    /// and spectral norm if the file has its vectors.
    ///
    /// # Errors
    /// The errors of [`Architecture::infer`].
    pub fn find(&self, tensors: &Named<'_>) -> Result<Found, String> {
        self.find_sized(&Shapes::of(tensors)?, tensors)
    }

    fn find_sized(mut self, shapes: &Shapes<'_>, tensors: &Named<'_>) -> Result<Found, String> {
        let prefix = if shapes.has("f.conv1.weight") { "f." } else { "" };
        let lasts: &[&str] = match self {
            Self::WideResNet(_) if prefix == "f." => &["class_output", "energy_output"],
            Self::WideResNet(_) => &["linear", "fc", "class_output"],
            Self::CifarResNet(_) => &["linear", "fc"],
        };
        let last = lasts.iter().find(|last| shapes.has(&format!("{last}.weight"))).unwrap_or(&lasts[0]);
        let channels = shapes.size(&format!("{prefix}conv1.weight"), 1)?;
        let classes = shapes.size(&format!("{last}.weight"), 0)?;
        match &mut self {
            Self::WideResNet(network) => {
                (network.classes, network.channels) = (classes, channels);
                network.spectral_norm |= shapes.has(&format!("{prefix}conv1.weight_u"));
            }
            Self::CifarResNet(network) => (network.classes, network.channels) = (classes, channels),
        }
        if channels == 0 || channels > 64 {
            return Err(format!("tensor {prefix}conv1.weight: expected 1 to 64 channels, found {channels}"));
        }
        self.network().check().map_err(|error| error.to_string())?;
        let public = |name: &str| match (self, name.split_once('.')) {
            (Self::WideResNet(_), Some(("class_output" | "energy_output", part))) => format!("{last}.{part}"),
            (Self::WideResNet(_), Some(("f", rest))) => format!("{prefix}{rest}"),
            (Self::CifarResNet(_), Some(("linear", part))) => format!("{last}.{part}"),
            _ => name.to_owned(),
        };
        let mut names = BTreeMap::new();
        for parameter in self.network().layout().in_files() {
            let (name, expected) = (public(&parameter.name), parameter.file_shape());
            let Some(&(written, found)) = shapes.0.get(name.as_str()) else {
                return Err(format!(
                    "{}: expected tensor {name} {expected:?}, found none",
                    self.network().name()
                ));
            };
            if *found != expected {
                return Err(format!(
                    "{}: tensor {written}: expected {expected:?}, found {found:?}",
                    self.network().name()
                ));
            }
            names.insert(parameter.name.clone(), written.to_owned());
        }
        let used: std::collections::HashSet<&str> = names.values().map(String::as_str).collect();
        let unknown = tensors.iter().find(|(name, _)| !used.contains(name) && !is_known_beside(name));
        if let Some((name, shape)) = unknown {
            return Err(format!(
                "{}: unknown tensor {name} {shape:?}; it belongs to another architecture",
                self.network().name()
            ));
        }
        Ok(Found { architecture: self, names })
    }
}

/// Whether a file may hold a tensor besides a network's own: layers of the released JEM that its class-conditional
/// model never uses, a counter of batch norm, the state of our optimizers, weights beside their moving averages, and
/// the ages of our chains.
fn is_known_beside(name: &str) -> bool {
    name.ends_with(".num_batches_tracked")
        || name == "chain_ages"
        || ["f.linear.", "energy_output.", "raw.", "adam.first.", "adam.second.", "momentum.velocity."]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The names and shapes of a file's tensors by name; `weight_orig`, PyTorch's beside spectral norm, is a
/// `weight`.
struct Shapes<'a>(HashMap<&'a str, (&'a str, &'a [usize])>);

impl<'a> Shapes<'a> {
    fn of(tensors: &Named<'a>) -> Result<Self, String> {
        let mut shapes = HashMap::new();
        for &(name, shape) in tensors {
            let plain = name.strip_suffix("_orig").filter(|plain| plain.ends_with(".weight"));
            if shapes.insert(plain.unwrap_or(name), (name, shape)).is_some() {
                return Err(format!("two tensors are called {name}"));
            }
        }
        Ok(Self(shapes))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The length of one axis.
    fn size(&self, name: &str, axis: usize) -> Result<usize, String> {
        let (_, shape) = self.0.get(name).ok_or_else(|| format!("expected tensor {name}, found none"))?;
        let size = shape.get(axis).copied();
        size.ok_or_else(|| format!("tensor {name}: expected at least {} axes, found {shape:?}", axis + 1))
    }
}

impl std::str::FromStr for Architecture {
    type Err = Error;

    /// `wrn-DEPTH-WIDTH`, the same with `-bn` or `-gn`, or `resnet-DEPTH`, for 10 classes of RGB images.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let message =
                format!("expected such as wrn-28-10, wrn-28-10-bn, wrn-28-10-gn or resnet-20, got {text:?}");
            Error::setting("architecture", message)
        };
        let lower = text.to_lowercase();
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let (classes, channels) = (10, 3);
        let architecture = match lower.split('-').collect::<Vec<_>>()[..] {
            ["wrn", depth, width] => {
                let (depth, width) = (number(depth)?, number(width)?);
                Self::WideResNet(WideResNet::new(depth, width, classes, channels))
            }
            ["wrn", depth, width, norm @ ("bn" | "gn")] => {
                let (depth, width) = (number(depth)?, number(width)?);
                Self::WideResNet(WideResNet {
                    norm: if norm == "bn" { Norm::Batch } else { Norm::Group },
                    ..WideResNet::new(depth, width, classes, channels)
                })
            }
            ["resnet", depth] => Self::CifarResNet(CifarResNet { depth: number(depth)?, classes, channels }),
            [one] => {
                let depth = number(one.strip_prefix("resnet").ok_or_else(wrong)?)?;
                Self::CifarResNet(CifarResNet { depth, classes, channels })
            }
            _ => return Err(wrong()),
        };
        architecture.network().check().map_err(|error| Error::setting("architecture", error.to_string()))?;
        Ok(architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and shapes of a file with `architecture`, under `rename`d names.
    fn tensors(architecture: &Architecture, rename: impl Fn(&str) -> String) -> Vec<(String, Vec<usize>)> {
        architecture.network().layout().in_files().map(|p| (rename(&p.name), p.file_shape())).collect()
    }

    fn infer(tensors: &[(String, Vec<usize>)]) -> Result<Found, String> {
        let named: Vec<(&str, &[usize])> =
            tensors.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect();
        Architecture::infer(&named)
    }

    fn architectures() -> Vec<Architecture> {
        let mut all = Vec::new();
        for (depth, width, classes, channels) in
            [(10, 1, 10, 3), (16, 2, 100, 3), (28, 10, 10, 3), (22, 3, 2, 1)]
        {
            for (norm, spectral_norm) in [
                (Norm::None, false),
                (Norm::Batch, false),
                (Norm::Group, false),
                (Norm::None, true),
                (Norm::Batch, true),
                (Norm::Group, true),
            ] {
                all.push(Architecture::WideResNet(WideResNet {
                    norm,
                    spectral_norm,
                    ..WideResNet::new(depth, width, classes, channels)
                }));
            }
        }
        for (depth, classes) in [(8, 7), (20, 10), (32, 10), (44, 10), (56, 100), (110, 10)] {
            all.push(Architecture::CifarResNet(CifarResNet { depth, classes, channels: 3 }));
        }
        all
    }

    fn residual(depth: usize) -> Architecture {
        Architecture::CifarResNet(CifarResNet { depth, classes: 10, channels: 3 })
    }

    #[test]
    fn names_and_shapes_say_what_it_is() {
        for architecture in architectures() {
            let mut file = tensors(&architecture, str::to_owned);
            file.push(("layer1.0.bn1.num_batches_tracked".into(), vec![]));
            if matches!(architecture, Architecture::WideResNet(_)) {
                file.push(("f.linear.weight".into(), vec![10, 64]));
                file.push(("energy_output.bias".into(), vec![1]));
            }
            let found = infer(&file).unwrap();
            assert_eq!(found.architecture, architecture);
            assert!(found.names.iter().all(|(engine, public)| engine == public));
            let mut metadata = BTreeMap::new();
            architecture.network().write_metadata(&mut metadata);
            assert_eq!(Architecture::from_metadata(&metadata), Ok(architecture));
        }
    }

    #[test]
    fn other_names_of_the_same() {
        let wide = architectures()[0];
        let plain = |name: &str| name.replace("class_output", "linear").trim_start_matches("f.").to_owned();
        let found = infer(&tensors(&wide, plain)).unwrap();
        assert_eq!(found.architecture, wide);
        assert_eq!(found.names["f.conv1.weight"], "conv1.weight");
        assert_eq!(found.names["class_output.bias"], "linear.bias");
        let residual = residual(20);
        let found = infer(&tensors(&residual, |name| name.replace("linear", "fc"))).unwrap();
        assert_eq!(found.architecture, residual);
        assert_eq!(found.names["linear.weight"], "fc.weight");
    }

    #[test]
    fn pytorchs_names_of_weights_beside_spectral_norm() {
        let divided = WideResNet { spectral_norm: true, ..WideResNet::new(10, 1, 10, 3) };
        let original = |name: &str| match name.ends_with("weight") {
            true => format!("{name}_orig"),
            false => name.to_owned(),
        };
        let mut file = tensors(&Architecture::WideResNet(divided), original);
        let found = infer(&file).unwrap();
        assert_eq!(found.architecture, Architecture::WideResNet(divided));
        assert_eq!(found.names["f.conv1.weight"], "f.conv1.weight_orig");
        assert_eq!(found.names["f.conv1.weight_v"], "f.conv1.weight_v");
        file.push(("f.conv1.weight".into(), vec![16, 3, 3, 3]));
        assert_eq!(infer(&file).unwrap_err(), "two tensors are called f.conv1.weight");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let residual = residual(20);
        let file = || tensors(&residual, str::to_owned);
        let without = |name: &str| file().into_iter().filter(|tensor| tensor.0 != name).collect::<Vec<_>>();
        let error = infer(&without("layer2.1.bn2.running_var")).unwrap_err();
        assert_eq!(error, "ResNet-20: expected tensor layer2.1.bn2.running_var [32], found none");
        let mut extra = file();
        extra.push(("attention.weight".into(), vec![3]));
        assert!(infer(&extra).unwrap_err().contains("unknown tensor attention.weight [3]"));
        let mut misfit = file();
        misfit.iter_mut().find(|t| t.0 == "layer3.0.conv1.weight").unwrap().1 = vec![64, 32, 5, 5];
        let error = infer(&misfit).unwrap_err();
        assert!(
            error.contains("layer3.0.conv1.weight: expected [64, 32, 3, 3], found [64, 32, 5, 5]"),
            "{error}"
        );
        let error = infer(&[("encoder.weight".into(), vec![1])]).unwrap_err();
        assert!(error.contains("found encoder.weight") && error.contains("name the architecture"), "{error}");
        for name in ["conv1.weight", "linear.weight"] {
            assert!(infer(&without(name)).unwrap_err().contains(&format!("expected tensor {name}")));
        }
        // Shapes that claim much cost nothing.
        let mut hostile = file();
        hostile.iter_mut().for_each(|tensor| tensor.1 = vec![usize::MAX; 4]);
        assert!(infer(&hostile).is_err());
    }

    #[test]
    fn names_on_the_command_line() {
        for (text, name) in [
            ("wrn-28-10", "WRN-28-10"),
            ("WRN-16-2-bn", "WRN-16-2 with batch norm"),
            ("wrn-16-2-gn", "WRN-16-2 with group norm"),
            ("resnet-20", "ResNet-20"),
            ("resnet110", "ResNet-110"),
        ] {
            assert_eq!(text.parse::<Architecture>().unwrap().network().name(), name);
        }
        for text in ["wrn-11-1", "wrn-10", "resnet-21", "vgg16", "", "resnet"] {
            let message = text.parse::<Architecture>().unwrap_err().to_string();
            assert!(message.contains("architecture"), "{message}");
        }
    }
}
