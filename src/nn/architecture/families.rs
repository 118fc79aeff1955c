//! The families of networks that are recognised: for each, the names that public code gives to its tensors, and its
//! settings from shapes.

use super::recognise::Found;
use super::shapes::{Dialect, View};
use crate::nn::ingredients::{Activation, Norm, Pooling};
use crate::nn::network::Network;
use crate::nn::resnet::{ResNet, Shortcut, Stem};
use crate::nn::vgg::{POOL, Vgg};
use crate::nn::wide_resnet::{Block, WideResNet};
use serde::Deserialize;
use std::sync::Arc;

/// A network of the library.
type Opened = Arc<dyn Network>;

/// A family of networks.
pub struct Family {
    /// The kinds that files of this library name; the first is the one that is written.
    pub kinds: &'static [&'static str],
    /// Names on a command line, for messages.
    pub examples: &'static [&'static str],
    /// The network with settings (TOML) of a kind.
    pub open: fn(&str, &str) -> Result<Opened, toml::de::Error>,
    /// The network that the parts of a name between hyphens name, in lower case.
    pub named: fn(&[&str]) -> Option<Arc<dyn Network>>,
    /// The names of its tensors in public code.
    pub dialects: &'static [Dialect],
    /// The network of a file, from shapes.
    pub infer: fn(&View<'_>, &Found) -> Result<Opened, String>,
    /// A norm whose tensors tell which it is.
    pub norm: &'static str,
}

/// All families, in the order in which they are tried.
pub static FAMILIES: [Family; 3] = [WIDE_RESNET, RESNET, VGG];

/// The classes and channels of the names on a command line.
const SIZE: (usize, usize) = (10, 3);
/// The most blocks of a group.
const MAX_BLOCKS: usize = 200;
/// The most channels of images.
const MAX_CHANNELS: usize = 64;
/// The most classes.
const MAX_CLASSES: usize = 1000;

const BARE: &[(&str, &str)] = &[("f.", "")];

const WIDE_RESNET: Family = Family {
    kinds: &[WideResNet::KIND],
    examples: &["wrn-28-10", "wrn-28-10-bn", "wrn-28-10-gn"],
    open: |_, settings| Ok(Arc::new(toml::from_str::<WideResNet>(settings)?)),
    named: |parts| {
        let ["wrn", depth, width, norm @ ..] = parts else { return None };
        let norm = match norm {
            [] => Norm::None,
            ["bn"] => Norm::Batch,
            ["gn"] => Norm::GROUP,
            _ => return None,
        };
        let plain = WideResNet::new(depth.parse().ok()?, width.parse().ok()?, SIZE.0, SIZE.1);
        Some(Arc::new(WideResNet { norm, ..plain }))
    },
    dialects: &[
        Dialect {
            source: "JEM",
            signs: &["f.conv1.weight", "f.layer1.0.conv1.weight"],
            names: &[],
            last: &["class_output", "energy_output"],
            activation: Some("leaky-relu"),
        },
        Dialect {
            source: "meliketoy/wide-resnet.pytorch",
            signs: &["layer1.0.conv1.bias", "layer1.0.bn1.running_mean"],
            names: BARE,
            last: &["linear", "fc", "class_output"],
            activation: Some("relu"),
        },
        Dialect {
            source: "a WideResNet without batch norm",
            signs: &["layer1.0.conv1.bias"],
            names: BARE,
            last: &["linear", "fc", "class_output", "energy_output"],
            activation: None,
        },
        Dialect {
            source: "xternalz/WideResNet-pytorch",
            signs: &["block1.layer.0.conv1.weight"],
            names: &[
                ("f.layer1.", "block1.layer."),
                ("f.layer2.", "block2.layer."),
                ("f.layer3.", "block3.layer."),
                ("f.", ""),
                ("shortcut.0", "convShortcut"),
            ],
            last: &["fc", "linear"],
            activation: Some("relu"),
        },
    ],
    infer: |view, found| {
        let blocks = count(|i| view.has(&format!("f.layer1.{i}.conv1.weight")))?;
        Ok(Arc::new(WideResNet {
            depth: 6 * blocks + 4,
            width: view.bounded("f.layer1.0.conv1.weight", 0, 1 << 10)? / 16,
            classes: view.bounded("class_output.weight", 0, MAX_CLASSES)?,
            channels: view.bounded("f.conv1.weight", 1, MAX_CHANNELS)?,
            block: match ["f.conv1.bias", "f.layer1.0.conv1.bias"].iter().any(|bias| view.has(bias)) {
                true => Block::Jem,
                false => Block::Original,
            },
            norm: found.norm,
            activation: found.activation,
            pooling: found.pooling,
            spectral_norm: view.has("f.conv1.weight_u"),
        }))
    },
    norm: "f.layer1.0.bn1",
};

const RESNET: Family = Family {
    kinds: &[ResNet::KIND, "cifar-resnet"],
    examples: &["resnet-20", "resnet-18", "resnet-50", "resnet-18-large"],
    open: |kind, settings| {
        #[derive(Deserialize)]
        struct Cifar {
            depth: usize,
            classes: usize,
            channels: usize,
        }
        if kind == ResNet::KIND {
            return Ok(Arc::new(toml::from_str::<ResNet>(settings)?));
        }
        // Files of earlier versions.
        let Cifar { depth, classes, channels } = toml::from_str(settings)?;
        Ok(Arc::new(ResNet::cifar(depth, classes, channels)))
    },
    named: |parts| {
        let (depth, stem) = match parts {
            ["resnet", depth] => (*depth, Stem::Small),
            ["resnet", depth, "large"] => (*depth, Stem::Large),
            [one] => (one.strip_prefix("resnet")?, Stem::Small),
            [one, "large"] => (one.strip_prefix("resnet")?, Stem::Large),
            _ => return None,
        };
        let depth: usize = depth.parse().ok()?;
        if let Some(network) = ResNet::imagenet(depth, stem, SIZE.0, SIZE.1) {
            return Some(Arc::new(network));
        }
        let is_one = stem == Stem::Small && depth > 2 && (depth - 2).is_multiple_of(6);
        is_one.then(|| Arc::new(ResNet::cifar(depth, SIZE.0, SIZE.1)) as Arc<dyn Network>)
    },
    dialects: &[
        Dialect {
            source: "akamaster/pytorch_resnet_cifar10, kuangliu/pytorch-cifar",
            signs: &["conv1.weight", "layer1.0.conv1.weight"],
            names: &[],
            last: &["linear", "fc"],
            activation: Some("relu"),
        },
        Dialect {
            source: "chenyaofo/pytorch-cifar-models, torchvision",
            signs: &["conv1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight"],
            names: &[("shortcut.", "downsample.")],
            last: &["fc", "linear"],
            activation: Some("relu"),
        },
    ],
    infer: |view, found| {
        let mut blocks = Vec::new();
        while blocks.len() < 4 {
            let group = blocks.len() + 1;
            match count(|i| view.has(&format!("layer{group}.{i}.conv1.weight")))? {
                0 => break,
                many => blocks.push(many),
            }
        }
        let large = view.size("conv1.weight", 2)? == 7;
        Ok(Arc::new(ResNet {
            blocks,
            width: view.bounded("conv1.weight", 0, 1 << 10)?,
            classes: view.bounded("linear.weight", 0, MAX_CLASSES)?,
            channels: view.bounded("conv1.weight", 1, MAX_CHANNELS)?,
            bottleneck: view.has("layer1.0.conv3.weight"),
            stem: if large { Stem::Large } else { Stem::Small },
            shortcut: match view.has("layer2.0.shortcut.0.weight") {
                true => Shortcut::Projected,
                false => Shortcut::Padded,
            },
            norm: found.norm,
            activation: found.activation,
            pooling: found.pooling,
            spectral_norm: view.has("conv1.weight_u"),
        }))
    },
    norm: "bn1",
};

const VGG: Family = Family {
    kinds: &[Vgg::KIND],
    examples: &["vgg-16"],
    open: |_, settings| Ok(Arc::new(toml::from_str::<Vgg>(settings)?)),
    named: |parts| {
        let depth = match parts {
            ["vgg", depth] | ["vgg", depth, "bn"] => depth,
            [one] | [one, "bn"] => one.strip_prefix("vgg")?,
            _ => return None,
        };
        Some(Arc::new(Vgg::new(depth.parse().ok()?, SIZE.0, SIZE.1)?))
    },
    dialects: &[Dialect {
        source: "chenyaofo/pytorch-cifar-models, kuangliu/pytorch-cifar",
        signs: &["features.0.weight", "features.1.weight"],
        names: &[],
        last: &[],
        activation: Some("relu"),
    }],
    infer: |view, found| {
        // A convolution, its norm and its activation are three places; a fourth is a pool.
        let (mut plan, mut at) = (Vec::new(), 0);
        while view.has(&format!("features.{at}.weight")) && plan.len() < 100 {
            plan.push(view.bounded(&format!("features.{at}.weight"), 0, 1 << 14)?);
            at += 3;
            if !view.has(&format!("features.{at}.weight")) {
                plan.push(POOL);
                at += 1;
            }
        }
        let mut hidden = Vec::new();
        while view.has(&format!("classifier.{}.weight", 3 * hidden.len())) && hidden.len() < 10 {
            hidden.push(view.bounded(&format!("classifier.{}.weight", 3 * hidden.len()), 0, 1 << 14)?);
        }
        let classes = match hidden.pop() {
            Some(classes) => classes,
            None => view.bounded("classifier.weight", 0, MAX_CLASSES)?,
        };
        if found.pooling != Pooling::Mean {
            return Err("a VGG pools by maxima among its layers, and not at their end".into());
        }
        Ok(Arc::new(Vgg {
            plan,
            hidden,
            classes,
            channels: view.bounded("features.0.weight", 1, MAX_CHANNELS)?,
            norm: found.norm,
            activation: found.activation,
            spectral_norm: view.has("features.0.weight_u"),
        }))
    },
    norm: "features.1",
};

/// The number of blocks that are there, from 0 on.
fn count(is_there: impl Fn(usize) -> bool) -> Result<usize, String> {
    let count = (0..=MAX_BLOCKS).take_while(|&i| is_there(i)).count();
    if count > MAX_BLOCKS {
        return Err(format!("expected at most {MAX_BLOCKS} blocks in a group"));
    }
    Ok(count)
}

/// The activation of a dialect.
pub fn activation(dialect: &Dialect) -> Option<Activation> {
    dialect.activation.map(|text| text.parse().expect("the table names an activation"))
}
