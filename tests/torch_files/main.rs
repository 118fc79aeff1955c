//! Reads files from PyTorch, safetensors and NumPy: those of `fixtures/torch`, whose numbers are formulas that
//! `make.py` shares with this folder.
//!
//! With `JEM_REFERENCE=DIR`, every folder of DIR that has `checkpoint.pt` beside `weights.safetensors` is compared too.

mod containers;
mod modules;
mod reference;
mod state_dicts;
mod tensors;

use jem::io::elements::{Array, Elements};
use jem::io::state_file::{Opened, StateFile, read};
use std::path::{Path, PathBuf};

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

fn load_under(opened: Opened, key: &str) -> StateFile {
    let at = opened.dictionaries().iter().position(|dictionary| dictionary.key == key);
    let at = at.unwrap_or_else(|| panic!("{key} is not in {:?}", opened.dictionaries()));
    opened.load(at).unwrap()
}

fn shapes(tensors: &[(String, Array)]) -> Vec<(String, Vec<usize>)> {
    tensors.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect()
}
