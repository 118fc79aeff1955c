//! Reads files from PyTorch, safetensors and NumPy: those of `fixtures/torch`, whose numbers are formulas that
//! `make.py` shares with this file.
//!
//! With `JEM_REFERENCE=DIR`, every folder of DIR that has `checkpoint.pt` beside `weights.safetensors` is compared too.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jem::io::elements::{Array, Elements};
use jem::io::state_file::{StateFile, read};
use jem::io::{npz, state_file};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
}

fn load(name: &str) -> StateFile {
    read(&fixture(name)).unwrap_or_else(|error| panic!("{error}"))
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
        let StateFile { tensors, facts, .. } = load(name);
        assert_eq!(tensors, state(), "{name}");
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
fn prefixes_of_wrappers_are_taken_off() {
    let file = load("resnet.th");
    assert_eq!(file.tensors, state());
    assert_eq!(file.facts.scalars, [("best_prec1".to_owned(), "91.73".to_owned())]);
    assert_eq!(load("compiled.pt").tensors, state());
    let mut tensors = load("jem.safetensors").tensors;
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

/// Every truncation of a file is an error, and every changed byte is an error or a readable file.
#[test]
fn damaged_files_never_panic() {
    for name in ["training_2.pt", "training_legacy.pt", "views.pt", "jem.safetensors"] {
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
        assert!(parse(&changed).is_ok());
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
