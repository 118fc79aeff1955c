use super::*;
use crate::nn::ingredients::{Activation, Norm, Pooling};
use crate::nn::network::Network;
use crate::nn::resnet::{ResNet, Shortcut, Stem};
use crate::nn::vgg::{POOL, Vgg};
use crate::nn::wide_resnet::{Block, WideResNet};

type File = Vec<(String, Vec<usize>)>;

/// Names and shapes of a file with `network`, under `rename`d names.
fn tensors(network: &dyn Network, rename: impl Fn(&str) -> String) -> File {
    network.layout().in_files().map(|p| (rename(&p.name), p.file_shape())).collect()
}

fn named(file: &File) -> Vec<(&str, &[usize])> {
    file.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect()
}

/// The network of `file` with `choices`, without unknown tensors.
fn infer_with(file: &File, choices: Choices) -> Result<Recognised, Unrecognised> {
    let found = recognise(&named(file), &choices)?;
    assert_eq!(found.unknown, [""; 0]);
    Ok(found)
}

fn infer(file: &File) -> Result<Recognised, Unrecognised> {
    infer_with(file, Choices::default())
}

/// The settings that a file with `norm` does not tell: a norm without running statistics.
fn choices(norm: Norm) -> Choices {
    let looks_like_others = !matches!(norm, Norm::None | Norm::Batch);
    Choices { norm: looks_like_others.then_some(norm), ..Choices::default() }
}

/// Bare names of a WideResNet, with the last layer `last`.
fn bare(last: &'static str) -> impl Fn(&str) -> String {
    move |name: &str| name.replace("class_output", last).trim_start_matches("f.").to_owned()
}

const NORMS: [Norm; 5] = [Norm::None, Norm::Batch, Norm::GROUP, Norm::Instance, Norm::Layer];

#[test]
fn names_and_shapes_say_which_wide_resnet_it_is() {
    for (depth, width, classes, channels) in
        [(10, 1, 10, 3), (16, 2, 100, 3), (28, 10, 10, 3), (22, 3, 2, 1), (40, 4, 1, 3)]
    {
        for (norm, spectral_norm) in NORMS.into_iter().flat_map(|norm| [(norm, false), (norm, true)]) {
            let network =
                WideResNet { norm, spectral_norm, ..WideResNet::new(depth, width, classes, channels) };
            let mut file = tensors(&network, str::to_owned);
            file.push(("layer1.0.bn1.num_batches_tracked".into(), vec![]));
            if classes > 1 {
                file.push(("f.linear.weight".into(), vec![10, 64]));
                file.push(("energy_output.bias".into(), vec![1]));
            }
            let found = infer_with(&file, choices(norm)).unwrap();
            assert_eq!(found.architecture, Architecture::of(network));
            assert!(found.names.iter().all(|(engine, public)| engine == public));
            let mut metadata = BTreeMap::new();
            network.write_metadata(&mut metadata);
            assert_eq!(Architecture::from_metadata(&metadata), Ok(Architecture::of(network)));
        }
    }
}

#[test]
fn the_names_of_other_code() {
    let jem = WideResNet::new(16, 2, 10, 3);
    let meliketoy = WideResNet { norm: Norm::Batch, activation: Activation::Relu, ..jem };
    let found = infer(&tensors(&meliketoy, bare("linear"))).unwrap();
    assert_eq!(found.architecture, Architecture::of(meliketoy));
    assert_eq!(found.names["f.conv1.weight"], "conv1.weight");
    assert_eq!(found.names["class_output.bias"], "linear.bias");
    let activation = found.assumptions.iter().find(|a| a.setting == "activation").unwrap();
    assert!(activation.guess && activation.value == "relu", "{activation:?}");
    assert!(activation.reason.contains("meliketoy"), "{activation:?}");

    let original = WideResNet { block: Block::Original, ..meliketoy };
    let xternalz = |name: &str| {
        let name = name.replace("class_output", "fc").replace("shortcut.0", "convShortcut");
        let name =
            (1..4).fold(name, |name, i| name.replace(&format!("f.layer{i}."), &format!("block{i}.layer.")));
        name.trim_start_matches("f.").to_owned()
    };
    let file = tensors(&original, xternalz);
    assert!(file.iter().any(|(name, _)| name == "block2.layer.0.convShortcut.weight"));
    let found = infer(&file).unwrap();
    assert_eq!(found.architecture, Architecture::of(original));
    assert_eq!(found.names["f.layer3.1.bn2.running_var"], "block3.layer.1.bn2.running_var");

    for (depth, classes) in [(8, 7), (20, 10), (32, 10), (44, 10), (56, 100), (110, 10)] {
        for shortcut in [Shortcut::Padded, Shortcut::Projected] {
            for (last, other) in [("linear", "shortcut."), ("fc", "shortcut."), ("fc", "downsample.")] {
                let network = ResNet { shortcut, ..ResNet::cifar(depth, classes, 3) };
                let rename = |name: &str| name.replace("linear", last).replace("shortcut.", other);
                let found = infer(&tensors(&network, rename)).unwrap();
                assert_eq!(found.architecture, Architecture::of(network));
                assert_eq!(found.names["linear.weight"], format!("{last}.weight"));
            }
        }
    }
    for depth in [18, 34, 50, 101] {
        for (stem, width, last, shortcut) in
            [(Stem::Small, 64, "linear", "shortcut."), (Stem::Large, 8, "fc", "downsample.")]
        {
            let network = ResNet { width, ..ResNet::imagenet(depth, stem, 100, 3).unwrap() };
            let rename = |name: &str| name.replace("linear", last).replace("shortcut.", shortcut);
            let found = infer(&tensors(&network, rename)).unwrap();
            assert_eq!(found.architecture, Architecture::of(network));
        }
    }
    for vgg in [
        Vgg::new(11, 100, 3).unwrap(),
        Vgg::new(19, 10, 1).unwrap(),
        Vgg { hidden: vec![], ..Vgg::new(16, 10, 3).unwrap() },
        Vgg {
            hidden: vec![20],
            plan: vec![4, 0, 8, 0, 12, 12, 0, 8, 0, 9, 0],
            ..Vgg::new(13, 10, 3).unwrap()
        },
    ] {
        assert_eq!(infer(&tensors(&vgg, str::to_owned)).unwrap().architecture, Architecture::of(vgg));
    }
    assert_eq!(POOL, 0);
}

#[test]
fn a_file_that_leaves_a_setting_open_is_not_guessed_at() {
    let norms = |norm| WideResNet { norm, ..WideResNet::new(10, 1, 10, 3) };
    for norm in [Norm::GROUP, Norm::Instance, Norm::Layer, Norm::Group { groups: 4 }] {
        let file = tensors(&norms(norm), str::to_owned);
        let error = infer(&file).unwrap_err();
        assert_eq!(error.setting, Some("norm"));
        assert!(error.message.contains("expected instance, layer or group:G"), "{}", error.message);
        let stated = infer_with(&file, choices(norm)).unwrap();
        assert_eq!(stated.architecture, Architecture::of(norms(norm)));
        for wrong in [Norm::None, Norm::Batch] {
            let wrong = infer_with(&file, Choices { norm: Some(wrong), ..Choices::default() });
            assert_eq!(wrong.unwrap_err().setting, Some("norm"));
        }
        let five = Choices { norm: Some(Norm::Group { groups: 5 }), ..Choices::default() };
        assert!(infer_with(&file, five).unwrap_err().message.contains("5 groups do not divide"));
    }
    let batch = tensors(&norms(Norm::Batch), str::to_owned);
    let error = infer_with(&batch, choices(Norm::GROUP)).unwrap_err();
    assert!(error.message.contains("has running statistics"), "{}", error.message);
    let none = tensors(&norms(Norm::None), str::to_owned);
    let error = infer_with(&none, choices(Norm::Layer)).unwrap_err();
    assert!(error.message.contains("no tensors of norms"), "{}", error.message);

    // Bare names without batch norm are of no code base that has one activation.
    let plain = tensors(&norms(Norm::None), bare("linear"));
    let error = infer(&plain).unwrap_err();
    assert_eq!(error.setting, Some("activation"));
    assert!(error.message.contains("relu, leaky-relu"), "{}", error.message);
    let stated =
        Choices { activation: Some(Activation::Silu), pooling: Some(Pooling::Sum), ..Choices::default() };
    let found = infer_with(&plain, stated).unwrap();
    let expected =
        WideResNet { activation: Activation::Silu, pooling: Pooling::Sum, ..WideResNet::new(10, 1, 10, 3) };
    assert_eq!(found.architecture, Architecture::of(expected));
    assert!(found.assumptions.iter().all(|assumption| !assumption.guess), "{:?}", found.assumptions);
}

#[test]
fn pytorchs_names_of_weights_beside_spectral_norm() {
    let divided = WideResNet { spectral_norm: true, ..WideResNet::new(10, 1, 10, 3) };
    let original = |name: &str| match name.ends_with("weight") {
        true => format!("{name}_orig"),
        false => name.to_owned(),
    };
    let mut file = tensors(&divided, original);
    let found = infer(&file).unwrap();
    assert_eq!(found.architecture, Architecture::of(divided));
    assert_eq!(found.names["f.conv1.weight"], "f.conv1.weight_orig");
    assert_eq!(found.names["f.conv1.weight_v"], "f.conv1.weight_v");
    file.push(("f.conv1.weight".into(), vec![16, 3, 3, 3]));
    assert_eq!(infer(&file).unwrap_err().message, "two tensors are called f.conv1.weight");
}

#[test]
fn what_does_not_fit_is_named() {
    let residual = ResNet::cifar(20, 10, 3);
    let file = || tensors(&residual, str::to_owned);
    let without = |name: &str| file().into_iter().filter(|tensor| tensor.0 != name).collect::<Vec<_>>();
    let message = |file: &File| infer(file).unwrap_err().message;
    let error = message(&without("layer2.1.bn2.running_var"));
    assert_eq!(error, "ResNet-20: expected tensor layer2.1.bn2.running_var [32], found none");
    let mut extra = file();
    extra.push(("attention.weight".into(), vec![3]));
    assert_eq!(recognise(&named(&extra), &Choices::default()).unwrap().unknown, ["attention.weight"]);
    let mut misfit = file();
    misfit.iter_mut().find(|t| t.0 == "layer3.0.conv1.weight").unwrap().1 = vec![64, 32, 5, 5];
    let error = message(&misfit);
    assert!(
        error.contains("layer3.0.conv1.weight: expected [64, 32, 3, 3], found [64, 32, 5, 5]"),
        "{error}"
    );
    let error = message(&vec![("encoder.weight".into(), vec![1])]);
    assert!(error.contains("found encoder.weight") && error.contains("features.0.weight"), "{error}");
    assert!(message(&without("linear.weight")).contains("expected tensor linear.weight"));
    // Shapes that claim much cost nothing.
    let mut hostile = file();
    hostile.iter_mut().for_each(|tensor| tensor.1 = vec![usize::MAX; 4]);
    assert!(infer(&hostile).is_err());
    let mut endless = file();
    endless.extend((0..100_000).map(|i| (format!("layer1.{}.conv1.weight", i + 3), vec![16, 16, 3, 3])));
    assert!(message(&endless).contains("at most 200 blocks"));
}

#[test]
fn wrappers_put_prefixes_before_names() {
    let names =
        ["conv1.weight", "module.conv1.weight_orig", "a.b.f.conv1.weight", "xconv1.weight", "fc.weight"];
    assert_eq!(prefixes(names.into_iter()), ["", "a.b.", "a.b.f.", "module."]);
    assert_eq!(prefixes(["model.features.0.weight", "other.weight"].into_iter()), ["model."]);
}

#[test]
fn files_of_earlier_versions_have_cifar_resnets() {
    let metadata = |kind: &str, settings: &str| {
        BTreeMap::from([(KIND.to_owned(), kind.to_owned()), (SETTINGS.to_owned(), settings.to_owned())])
    };
    let old = metadata("cifar-resnet", "depth = 20\nclasses = 10\nchannels = 3\n");
    assert_eq!(Architecture::from_metadata(&old), Ok(Architecture::of(ResNet::cifar(20, 10, 3))));
    let old =
        "depth = 16\nwidth = 2\nclasses = 10\nchannels = 3\nnorm = \"group\"\nactivation = \"leaky-relu\"\n";
    let network = WideResNet { norm: Norm::GROUP, ..WideResNet::new(16, 2, 10, 3) };
    assert_eq!(Architecture::from_metadata(&metadata("wide-resnet", old)), Ok(Architecture::of(network)));
    for (kind, settings, part) in [
        ("perceptron", "", "expected wide-resnet, resnet, cifar-resnet, vgg, found \"perceptron\""),
        ("resnet", "blocks = []\nwidth = 16\nclasses = 10\nchannels = 3\n", "depth"),
        ("vgg", "plan = []\nhidden = []\nclasses = 10\nchannels = 3\n", "5 pools"),
    ] {
        let error = Architecture::from_metadata(&metadata(kind, settings)).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn names_on_the_command_line() {
    for (text, name) in [
        ("wrn-28-10", "WRN-28-10"),
        ("WRN-16-2-bn", "WRN-16-2 with batch norm"),
        ("wrn-16-2-gn", "WRN-16-2 with group norm (8 groups)"),
        ("resnet-20", "ResNet-20"),
        ("resnet110", "ResNet-110"),
        ("resnet-18", "ResNet-18"),
        ("resnet50-large", "ResNet-50"),
        ("vgg-16", "VGG-16 with batch norm"),
        ("vgg11-bn", "VGG-11 with batch norm"),
    ] {
        assert_eq!(text.parse::<Architecture>().unwrap().network().name(), name);
    }
    for text in ["wrn-11-1", "wrn-10", "resnet-21", "resnet-20-large", "vgg17", "", "resnet"] {
        let message = text.parse::<Architecture>().unwrap_err().to_string();
        assert!(message.contains("architecture"), "{message}");
    }
    let size = |text: &str| text.parse::<Architecture>().unwrap();
    assert!(size("wrn-16-2").is_of_size(&size("wrn-16-2-bn")));
    assert!(
        !size("wrn-16-2").is_of_size(&size("wrn-16-4")) && !size("resnet-18").is_of_size(&size("resnet-34"))
    );
}
