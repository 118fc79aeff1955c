//! State dicts: bare, under a key, beside what a training loop saves, and several in a file.

use crate::{behind, chains, counted, fixture, load, load_under, refusal, shapes, state};
use jem::io::state_file::open;

#[test]
fn bare_state_dicts_of_every_protocol_and_both_formats() {
    for protocol in [1, 2, 4, 5] {
        for (format, name) in [("PyTorch zip", "bare"), ("PyTorch legacy", "legacy")] {
            let file = load(&format!("{name}_{protocol}.pt"));
            assert_eq!(file.tensors, state(), "{name} {protocol}");
            assert_eq!((file.facts.format, file.facts.key, file.replay_buffer), (format, None, None));
            assert!(file.facts.scalars.is_empty() && file.facts.ignored.is_empty());
        }
    }
    assert_eq!(load("parameters.pt").tensors, state());
    assert_eq!(load("no_checksums.pt").tensors, state());
}

#[test]
fn the_key_of_a_state_dict_is_found() {
    for key in ["state_dict", "model_state_dict", "model", "net"] {
        let file = load(&format!("{key}.pt"));
        assert_eq!(file.tensors, state(), "{key}");
        assert_eq!(file.facts.key.as_deref(), Some(key));
        assert_eq!(file.facts.scalars, [("epoch".to_owned(), "3".to_owned())]);
    }
}

#[test]
fn what_a_training_loop_saves_beside_it_is_told_or_left_out() {
    for name in ["training_2.pt", "training_5.pt", "training_legacy.pt"] {
        let file = load(name);
        let facts = file.facts.clone();
        assert_eq!(behind("module.", file), state(), "{name}");
        let expected = [
            ("epoch", "30"),
            ("arch", "resnet20"),
            ("acc", "91.25"),
            ("loss", "0.5"),
            ("step", "12345678901"),
            ("best", "true"),
            ("big", "1180591620717411303424"),
            ("best_acc1", "90.5"),
        ];
        let expected = expected.map(|(key, text)| (key.to_owned(), text.to_owned()));
        assert_eq!(facts.scalars, expected, "{name}");
        let expected =
            ["none", "device: torch.device", "dtype: torch.float32", "shape", "optimizer", "scheduler"];
        assert_eq!(facts.ignored, expected, "{name}");
        assert!(facts.to_string().starts_with("PyTorch "), "{facts}");
        assert!(facts.to_string().contains(", net, epoch 30, arch resnet20"), "{facts}");
        assert!(facts.to_string().ends_with(", shape, optimizer, scheduler"), "{facts}");
        assert!(facts.to_string().contains("; left out: none, device: torch.device, "), "{facts}");
    }
}

#[test]
fn prefixes_of_wrappers_are_as_in_the_file() {
    let file = load("resnet.th");
    assert_eq!(file.facts.scalars, [("best_prec1".to_owned(), "91.73".to_owned())]);
    assert_eq!(behind("module.", file), state());
    assert_eq!(behind("_orig_mod.module.", load("compiled.pt")), state());
    let mut tensors = behind("module.", load("jem.safetensors"));
    let mut expected = state();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(tensors, expected);
}

#[test]
fn chains_of_the_released_layout() {
    let file = load("jem.pt");
    assert_eq!((file.tensors, file.replay_buffer), (state(), chains()));
    assert_eq!(load("jem.safetensors").replay_buffer, chains());
}

#[test]
fn objects_of_any_class_lie_beside_the_weights() {
    for name in ["beside.pt", "beside_legacy.pt"] {
        let opened = open(&fixture(name)).unwrap();
        let expected = [
            "args: argparse.Namespace",
            "path: pathlib.PurePosixPath",
            "date: datetime.datetime",
            "set",
            "array: numpy.ndarray",
            "objects: numpy.ndarray",
        ];
        assert_eq!(opened.facts().ignored[..6], expected, "{name}");
        let file = load_under(opened, "model_state");
        assert_eq!(file.tensors, state(), "{name}");
        let told: Vec<(&str, &str)> =
            file.facts.scalars.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let expected = [
            ("args.lr", "0.5"),
            ("args.name", "first"),
            ("settings.width", "4"),
            ("hyper_parameters.lr", "0.25"),
            ("hyper_parameters.optimizer", "sgd"),
        ];
        assert_eq!(told, expected, "{name}");
        for part in [
            "kind: __main__.Kind",
            "hyper_parameters: __main__.Settled",
            "function: __main__.own_function",
            "sparse: torch._utils._rebuild_sparse_tensor",
            "system: posix.system",
        ] {
            assert!(file.facts.ignored.iter().any(|ignored| ignored == part), "{:?}", file.facts.ignored);
        }
    }
}

#[test]
fn dictionaries_under_any_key() {
    let path = fixture("keys.pt");
    let opened = open(&path).unwrap();
    let keys: Vec<(&str, bool)> = opened
        .dictionaries()
        .iter()
        .map(|dictionary| (dictionary.key.as_str(), dictionary.flattened))
        .collect();
    let expected = [
        ("checkpoint.model", false),
        ("ema_state_dict", false),
        ("folds.0", false),
        ("folds.1", false),
        ("best", false),
        ("params.conv", false),
        ("params.head.out", false),
        ("params", true),
        ("params.head", true),
    ];
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
    assert_eq!(keys[..5], expected[..5]);
    assert_eq!(opened.dictionaries()[0].tensors, shapes(&state()));
    let file = load_under(opened, "checkpoint.model");
    assert_eq!((file.tensors, file.replay_buffer), (state(), chains()));
    assert_eq!(file.facts.key.as_deref(), Some("checkpoint.model"));
    assert_eq!(file.facts.scalars, [("checkpoint.epoch".to_owned(), "3".to_owned())]);

    // Names are as they are in the file.
    let names = |key| {
        load_under(open(&path).unwrap(), key).tensors.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(
        names("ema_state_dict"),
        ["module.conv.weight", "module.bias", "module.bn.num_batches_tracked"]
    );
    assert_eq!(names("best"), ["weight"]);
    assert_eq!(names("params"), ["conv.weight", "head.out.bias"]);
    let message = refusal("keys.pt");
    assert!(message.contains("found 9: checkpoint.model, ema_state_dict, folds.0"), "{message}");
    assert_eq!(load("list.pt").tensors, [("weight".to_owned(), counted(&[2]))]);
}

#[test]
fn nested_dictionaries_are_joined_by_dots() {
    let opened = open(&fixture("nested.pt")).unwrap();
    let joined = opened.dictionaries().iter().position(|dictionary| dictionary.flattened).unwrap();
    assert_eq!(opened.dictionaries()[joined].key, "");
    let file = opened.load(joined).unwrap();
    let mut tensors = file.tensors;
    tensors.sort_by_key(|(name, _)| state().iter().position(|(other, _)| name == other));
    assert_eq!(tensors, state());
    assert_eq!(file.facts.ignored, ["epoch"]);
}
