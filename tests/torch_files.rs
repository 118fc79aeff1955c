//! Reads files from PyTorch, safetensors and NumPy: those of `fixtures/torch`, whose numbers are formulas that
//! `make.py` shares with this file.
//!
//! With `JEM_REFERENCE=DIR`, every folder of DIR that has `checkpoint.pt` beside `weights.safetensors` is compared too.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jem::io::elements::{Array, Elements};
use jem::io::state_file::{Dictionary, Opened, StateFile, open, read};
use jem::io::torch::pickle;
use jem::io::{npz, parametrization, state_file};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
}

fn load(name: &str) -> StateFile {
    read(&fixture(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// The tensors of `file`, all of whose names begin with `prefix`, without it.
fn behind(prefix: &str, file: StateFile) -> Vec<(String, Array)> {
    let plain = |name: String| name.strip_prefix(prefix).expect("the prefix").to_owned();
    file.tensors.into_iter().map(|(name, array)| (plain(name), array)).collect()
}

fn refusal(name: &str) -> String {
    let message = read(&fixture(name)).expect_err(name).to_string();
    assert!(message.contains(name) && !message.contains('\n'), "{message:?}");
    message
}

fn floats(shape: &[usize], values: impl IntoIterator<Item = f32>) -> Array {
    Array { shape: shape.to_vec(), elements: Elements::F32(values.into_iter().collect()) }
}

fn counted(shape: &[usize]) -> Array {
    floats(shape, (0..shape.iter().product()).map(|i: usize| i as f32))
}

/// The result of `state()` of `make.py`.
fn state() -> Vec<(String, Array)> {
    let batches = Array { shape: vec![], elements: Elements::I64(vec![7]) };
    [
        ("conv.weight", floats(&[2, 3, 2, 2], (0..24).map(|i| i as f32 / 4.0))),
        ("bias", floats(&[4], [-1.0, -0.5, 0.0, 0.5])),
        ("bn.num_batches_tracked", batches),
    ]
    .map(|(name, array)| (name.to_owned(), array))
    .to_vec()
}

fn chains() -> Option<Array> {
    Some(floats(&[2, 3, 2, 2], (0..24).map(|i| i as f32 / 8.0)))
}

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
fn the_length_of_a_name_does_not_matter() {
    assert_eq!(load("twenty_one_characters.pt").tensors, state());
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
fn views_are_gathered_row_major() {
    for name in ["views.pt", "views_legacy.pt"] {
        let at = |i: usize| i as f32;
        let permuted =
            (0..4).flat_map(|k| (0..2).flat_map(move |i| (0..3).map(move |j| at((i * 3 + j) * 4 + k))));
        let expected = [
            ("transposed", floats(&[3, 2], [0.0, 3.0, 1.0, 4.0, 2.0, 5.0])),
            ("permuted", floats(&[4, 2, 3], permuted)),
            ("tied", counted(&[4, 6])),
            ("tied_too", counted(&[24])),
            ("sliced", floats(&[2, 3], [6.0, 8.0, 10.0, 12.0, 14.0, 16.0])),
            ("expanded", floats(&[2, 3], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0])),
            ("empty", floats(&[0, 3], [])),
            ("number", floats(&[], [2.5])),
            ("channels_last", counted(&[1, 2, 3, 4])),
        ];
        assert_eq!(load(name).tensors, expected.map(|(name, array)| (name.to_owned(), array)), "{name}");
    }
}

/// The numbers -3 to 3 in each type.
fn numbers(kind: &str) -> Array {
    let elements = match kind {
        "float64" | "float32" | "float16" | "bfloat16" | "f8" | "f4" | "f2" => {
            Elements::F32((-3..4).map(|i| i as f32).collect())
        }
        "uint8" | "u1" => Elements::U8((0..7).collect()),
        "bool" | "b1" => Elements::U8(vec![0, 0, 0, 0, 1, 1, 1]),
        "u2" => Elements::I64((0..7).collect()),
        _ => Elements::I64((-3..4).collect()),
    };
    Array { shape: vec![7], elements }
}

#[test]
fn numbers_of_every_type() {
    for name in ["types.pt", "types_legacy.pt", "types.safetensors"] {
        let file = load(name);
        assert_eq!(file.tensors.len(), 10);
        for (kind, array) in file.tensors {
            assert_eq!(array, numbers(&kind), "{name} {kind}");
        }
    }
    let facts = load("types.safetensors").facts;
    assert_eq!(facts.format, "safetensors");
    assert_eq!(facts.metadata["note"], "two\nlines");
}

#[test]
fn arrays_of_numpy() {
    for (name, more) in [("arrays.npz", 0), ("arrays_compressed.npz", 1)] {
        let arrays = npz::read(&fixture(name)).unwrap();
        assert_eq!(arrays.len(), 10 + more);
        for (kind, array) in arrays {
            let expected = match kind.as_str() {
                "zeros" => floats(&[100, 100], vec![0.0; 10_000]),
                kind => numbers(kind),
            };
            assert_eq!(array, expected, "{name} {kind}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    assert!(refusal("complex.pt").contains("tensor a: torch.ComplexFloatStorage"));
    assert!(refusal("quantized.pt").contains("tensor a: torch._utils._rebuild_qtensor"));
    assert!(refusal("sparse.pt").contains("tensor b: torch._utils._rebuild_sparse_tensor is not supported"));
    assert!(refusal("dtensor.pt").contains("tensor a: torch.distributed.tensor.DTensor is not supported"));
    assert!(refusal("skipped.pt").contains("storage 0 was saved without its data"));
    assert!(
        refusal("frozen.pt").contains("is a TorchScript archive whose tensors are constants of its code")
    );
    assert!(refusal("system_legacy.pt").contains("found an object of posix.system"));
    assert!(refusal("arrays.npz").contains("without data.pkl"));
    assert!(refusal("make.py").contains("expected a checkpoint"));
}

/// A call of a system function is told, and never made.
#[test]
fn what_would_run_code_is_left_out() {
    let file = load("system.pt");
    assert_eq!(file.tensors, state());
    assert_eq!(file.facts.ignored, ["extra: posix.system"]);
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

fn load_under(opened: Opened, key: &str) -> StateFile {
    let at = opened.dictionaries().iter().position(|dictionary| dictionary.key == key);
    let at = at.unwrap_or_else(|| panic!("{key} is not in {:?}", opened.dictionaries()));
    opened.load(at).unwrap()
}

fn shapes(tensors: &[(String, Array)]) -> Vec<(String, Vec<usize>)> {
    tensors.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect()
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

#[test]
fn whole_modules_have_the_tensors_of_their_state_dicts() {
    let opened = open(&fixture("whole.pt")).unwrap();
    let [Dictionary { key, class, .. }] = opened.dictionaries() else {
        panic!("{:?}", opened.dictionaries())
    };
    assert_eq!((key.as_str(), class.as_deref()), ("", Some("__main__.Whole")));
    let file = opened.load(0).unwrap();
    assert!(file.facts.to_string().contains("the tensors of a __main__.Whole"), "{}", file.facts);
    let names: Vec<&str> = file.tensors.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "blocks.0.weight",
        "blocks.0.scale",
        "blocks.2.weight",
        "blocks.2.scale",
        "shared.weight",
        "shared.scale",
        "head.weight_orig",
        "head.weight_u",
        "head.weight_v",
    ];
    assert_eq!(names, expected);
    assert_eq!(file.tensors[4].1, counted(&[2, 3]));
    let file = load("whole_in_legacy.pt");
    let expected = [("module.weight", counted(&[2, 3])), ("module.scale", floats(&[1], [0.5]))];
    assert_eq!(file.tensors, expected.map(|(name, array)| (name.to_owned(), array)));
    assert_eq!(file.facts.key.as_deref(), Some("net"));
    assert_eq!(file.facts.class.as_deref(), Some("torch.nn.parallel.data_parallel.DataParallel"));
    assert_eq!(load("module.pt").tensors, [("weight".to_owned(), counted(&[2]))]);
    assert_eq!(load("module_legacy.pt").facts.class.as_deref(), Some("__main__.Net"));
}

#[test]
fn tensors_of_torchscript() {
    for name in ["script.pt", "trace.pt"] {
        let file = load(name);
        let mut tensors = file.tensors;
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            ("layers.0.bias", floats(&[2], [1.0, 2.0])),
            ("layers.0.weight", counted(&[2, 3])),
            ("scale", floats(&[1], [0.5])),
        ];
        assert_eq!(tensors, expected.map(|(name, array)| (name.to_owned(), array)), "{name}");
        assert!(file.facts.to_string().contains("TorchScript, whose code is not read"), "{}", file.facts);
    }
}

#[test]
fn archives_that_a_zip_tool_packed_again() {
    for name in ["compressed.pt", "streamed.pt", "no_folder.pt"] {
        assert_eq!(load(name).tensors, state(), "{name}");
    }
}

#[test]
fn tensors_of_newer_types_and_of_subclasses() {
    let expected = [
        ("uint16", Array { shape: vec![2], elements: Elements::I64(vec![1, 65535]) }),
        ("marked", counted(&[2])),
        ("uint32", Array { shape: vec![2], elements: Elements::U32(vec![1, u32::MAX]) }),
        ("subclass", counted(&[2])),
    ];
    assert_eq!(load("newer.pt").tensors, expected.map(|(name, array)| (name.to_owned(), array)));
}

/// The weights of parametrised layers are those that PyTorch computes.
#[test]
fn norms_of_weights() {
    let path = fixture("norms.pt");
    let under = |key| load_under(open(&path).unwrap(), key).tensors;
    let expected = under("weights");
    let find = |tensors: &[(String, Array)], name: &str| {
        let found = tensors.iter().find(|(other, _)| other == name);
        match found.map(|(_, array)| &array.elements) {
            Some(Elements::F32(values)) => values.clone(),
            other => panic!("{name} is {other:?}"),
        }
    };
    let mut compared = [0, 0];
    for key in ["old", "new"] {
        let parts = under(key);
        let names = parametrization::names(&shapes(&parts));
        let whole = parametrization::arrays(parts).unwrap();
        assert_eq!(names, shapes(&whole));
        for (name, array) in &expected {
            let Elements::F32(expected) = &array.elements else { panic!("floats") };
            let found = if let Some(layer) = name.strip_suffix(".spectral.weight") {
                if key == "old" {
                    continue;
                }
                compared[1] += 1;
                let part = |part: &str| find(&whole, &format!("{layer}.spectral.weight_{part}"));
                divided(&part("orig"), &part("u"), &part("v"), &array.shape, layer == "deconv")
            } else {
                compared[0] += 1;
                assert_eq!(whole.iter().find(|(other, _)| other == name).unwrap().1.shape, array.shape);
                find(&whole, name)
            };
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= 4e-7 * expected.abs().max(1e-2),
                    "{name}: {found} {expected}"
                );
            }
        }
    }
    assert_eq!(compared, [24, 4]);
}

/// The weight divided by u' W v, where the rows of W are those of axis 1 for a transposed convolution.
fn divided(weight: &[f32], u: &[f32], v: &[f32], shape: &[usize], transposed: bool) -> Vec<f32> {
    let taps: usize = shape[2..].iter().product();
    let (rows, columns) = if transposed { (shape[1], shape[0]) } else { (shape[0], shape[1]) };
    assert_eq!((u.len(), v.len()), (rows, columns * taps));
    let mut sigma = 0.0;
    for (row, &u) in u.iter().enumerate() {
        for (at, &v) in v.iter().enumerate() {
            let (column, tap) = (at / taps, at % taps);
            let index = if transposed { column * rows + row } else { row * columns + column };
            sigma += f64::from(u) * f64::from(weight[index * taps + tap]) * f64::from(v);
        }
    }
    weight.iter().map(|&value| (f64::from(value) / sigma) as f32).collect()
}

#[test]
fn numpy_arrays_in_pickles() {
    for name in ["arrays_2.pkl", "arrays_5.pkl", "arrays_python2.pkl"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let (pickle, length) = pickle::read(&bytes).unwrap_or_else(|message| panic!("{name}: {message}"));
        assert_eq!(length, bytes.len());
        let entries: Vec<_> = pickle.entries(pickle.root).collect();
        assert_eq!(entries.len(), 22);
        for (kind, id) in entries {
            let array = pickle.array(id).unwrap_or_else(|message| panic!("{name} {kind}: {message}"));
            let bytes = |shape: &[usize], values: Vec<u8>| Array {
                shape: shape.to_vec(),
                elements: Elements::U8(values),
            };
            let expected = match kind {
                "fortran" => counted(&[2, 3, 4]),
                ">fortran" => Array { shape: vec![2, 3, 4], elements: Elements::I64((0..24).collect()) },
                "bytes" => bytes(&[2, 128], (0..=255).collect()),
                "many" => bytes(&[1500], (0..1500).map(|i| (i % 256) as u8).collect()),
                "ascii" => bytes(&[1200], vec![65; 1200]),
                "empty" => floats(&[0, 3], []),
                "number" => floats(&[], [2.5]),
                "u4" => Array { shape: vec![7], elements: Elements::U32((0..7).collect()) },
                kind => numbers(kind.trim_start_matches('>')),
            };
            assert_eq!(array, expected, "{name} {kind}");
        }
    }
}

/// Every truncation of a file is an error, and every changed byte is an error or a readable file.
#[test]
fn damaged_files_never_panic() {
    for name in ["training_2.pt", "training_legacy.pt", "views.pt", "jem.safetensors", "keys.pt", "module.pt"]
    {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let parse = |bytes: &[u8]| state_file::parse(&mut std::io::Cursor::new(bytes), bytes.len() as u64);
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err(), "{name} cut to {cut} bytes");
        }
        let mut changed = bytes.clone();
        for at in 0..bytes.len() {
            for byte in [0, 0xff, bytes[at] ^ 1, b'R', b'h'] {
                changed[at] = byte;
                let _ = parse(&changed);
            }
            changed[at] = bytes[at];
        }
        // No single dictionary of keys.pt is the usual one.
        assert!(parse(&changed).is_ok() || name == "keys.pt");
    }
}

/// Reads the checkpoints of the published implementation, if the environment names them.
#[test]
fn reference_checkpoints_are_their_safetensors() {
    let Some(root) = std::env::var_os("JEM_REFERENCE") else {
        // Bypass libtest's capture, so that it is shown when the test passes.
        let line = "torch_files: JEM_REFERENCE is not set: ran without the reference checkpoints";
        writeln!(std::io::stderr(), "{line}").expect("standard error");
        return;
    };
    let mut compared = 0;
    for entry in std::fs::read_dir(root).expect("JEM_REFERENCE is a folder") {
        let folder = entry.expect("an entry").path();
        let [checkpoint, weights] = ["checkpoint.pt", "weights.safetensors"].map(|name| folder.join(name));
        if !checkpoint.is_file() || !weights.is_file() {
            continue;
        }
        let (checkpoint, weights) = (read(&checkpoint).unwrap(), read(&weights).unwrap());
        assert_eq!(checkpoint.facts.key.as_deref(), Some("model_state_dict"));
        assert_eq!(checkpoint.replay_buffer.expect("chains").shape, [100, 3, 32, 32]);
        assert_eq!(checkpoint.tensors.len(), weights.tensors.len());
        for (name, array) in &checkpoint.tensors {
            let (_, other) = weights.tensors.iter().find(|(other, _)| other == name).expect(name);
            assert_eq!(array.shape, other.shape, "{name}");
            let (Elements::F32(a), Elements::F32(b)) = (&array.elements, &other.elements) else {
                panic!("{name} is not of floats");
            };
            assert!(a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
        }
        compared += 1;
    }
    assert!(compared > 0, "JEM_REFERENCE has no folder with checkpoint.pt and weights.safetensors");
}
