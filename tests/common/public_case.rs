//! The small networks of public families in `fixtures/public`, under the names that their code gives to their layers.

#![allow(dead_code, reason = "each test takes what it needs")]

use super::formula::{parameter, values};
use jem::ebm::{ImportOptions, Model};
use jem::io::checkpoint::Checkpoint;
use jem::io::pack;
use jem::nn::architecture::Choices;
use jem::nn::ingredients::{Activation, Norm, Pooling};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The number of images of a case.
pub const IMAGES: usize = 2;

/// PyTorch's numbers of a case.
pub struct Case {
    pub name: &'static str,
    pub numbers: Checkpoint,
    pub shapes: BTreeMap<String, Vec<usize>>,
    pub aliases: BTreeMap<String, String>,
    pub side: usize,
}

impl Case {
    pub fn load(name: &'static str) -> Self {
        let path = Path::new("tests/fixtures/public").join(format!("{name}.safetensors"));
        let numbers = Checkpoint::load(&path).expect("make.py's numbers");
        let json = |key: &str| serde_json::from_str(&numbers.metadata[key]).expect("JSON");
        let (shapes, aliases) =
            (json("shapes"), serde_json::from_str(&numbers.metadata["aliases"]).expect("JSON"));
        let shapes = serde_json::from_value(shapes).expect("shapes");
        let side = numbers.metadata["side"].parse().expect("a number");
        Self { name, numbers, shapes, aliases, side }
    }

    /// Writes the state dict, with `prefix` before every name.
    pub fn write(&self, directory: &Path, prefix: &str) -> PathBuf {
        let mut names: Vec<&String> = self.shapes.keys().collect();
        names.retain(|name| !name.ends_with("num_batches_tracked"));
        // In make.py the last of two names of a tensor fills it.
        let number = |name: &str| names.iter().position(|other| *other == name).expect("a name") as u32;
        let first = |name: &str| self.aliases.get(name).cloned().unwrap_or_else(|| name.to_owned());
        let mut file = Checkpoint::default();
        for name in &names {
            let last = names.iter().rev().find(|other| first(other) == first(name)).expect("itself");
            let shape = &self.shapes[*name];
            file.push_f32(format!("{prefix}{name}"), shape, parameter(last, shape, number(last)));
        }
        let path = directory.join(format!("{}.safetensors", self.name));
        file.save(&path).expect("a file");
        path
    }

    pub fn images(&self, key: &str) -> Vec<f32> {
        let number = self.numbers.metadata[key].parse().expect("a number");
        let planar = values(number, IMAGES * 3 * self.side * self.side);
        pack::nchw_to_nhwc(&planar, IMAGES, 3, self.side, self.side)
    }
}

/// Every case, with the settings that its file does not tell and the name of its network.
pub fn cases() -> Vec<(&'static str, Choices, &'static str)> {
    let none = Choices::default();
    let norm = |norm| Choices { norm: Some(norm), ..none };
    let activation = |activation| Choices { activation: Some(activation), ..none };
    let slope = Some(Activation::LeakyRelu { slope: 0.1 });
    let group16 = norm(Norm::Group { groups: 16 });
    vec![
        ("meliketoy", none, "WRN-10-1 with batch norm"),
        ("jem_instance", norm(Norm::Instance), "WRN-10-1 with instance norm"),
        ("jem_layer", Choices { activation: slope, ..norm(Norm::Layer) }, "WRN-16-1 with layer norm"),
        ("jem_group4", norm(Norm::Group { groups: 4 }), "WRN-10-2 with group norm (4 groups)"),
        (
            "jem_group16_softplus",
            Choices { activation: Some(Activation::Softplus), ..group16 },
            "WRN-10-1 with group norm (16 groups)",
        ),
        ("jem_silu_sum", Choices { pooling: Some(Pooling::Sum), ..activation(Activation::Silu) }, "WRN-10-1"),
        ("jempp_twice", none, "WRN-16-1 with batch norm"),
        ("bare_relu", activation(Activation::Relu), "WRN-10-1"),
        ("xternalz", none, "WRN-16-2 with batch norm"),
        ("akamaster_b", none, "ResNet-8"),
        ("chenyaofo", none, "ResNet-14 of width 8"),
        ("kuangliu18", none, "ResNet-18 of width 4"),
        ("kuangliu50", none, "ResNet-17 of width 4"),
        ("torchvision18", none, "ResNet-18 of width 4"),
        ("torchvision50", none, "ResNet-17 of width 4"),
        ("vgg", none, "VGG-10 with batch norm"),
        ("vgg_one", none, "VGG-7 with batch norm"),
    ]
}

pub fn import(case: &Case, path: &Path, choices: Choices) -> jem::Result<Model> {
    let image_size = Some([case.side, case.side]);
    Model::import(path, ImportOptions { choices, image_size, ..ImportOptions::default() })
}
