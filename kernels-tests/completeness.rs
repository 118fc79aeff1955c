//! A kernel keeps one stem: its Rust side, its shader, its test and its bench.

use jem::kernels::catalogue;
use std::collections::BTreeSet;
use std::path::Path;

tests![every_kernel_has_its_shader_test_and_bench];

/// The stems of the files in `folder` with this extension that hold `text`.
fn stems(folder: &str, extension: &str, text: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter(|path| std::fs::read_to_string(path).expect("a text file").contains(text))
        .map(|path| path.file_stem().expect("a stem").to_string_lossy().into_owned())
        .collect()
}

fn assert_all(kernels: &BTreeSet<String>, other: &BTreeSet<String>, what: &str) {
    let missing: Vec<_> = kernels.difference(other).collect();
    assert!(missing.is_empty(), "{what} missing for {missing:?}");
}

fn every_kernel_has_its_shader_test_and_bench() {
    let kernels = stems("src/kernels", "rs", "impl Kernel for ");
    assert_all(&stems("shaders", "wgsl", ""), &kernels, "src/kernels/STEM.rs");
    assert!(kernels.contains("unary"), "the folder of kernels was read");
    let [whole, element] = ["fn main(", "//#include element"].map(|text| stems("shaders", "wgsl", text));
    assert_all(&kernels, &(&whole | &element), "shaders/STEM.wgsl");
    assert_all(&kernels, &stems("kernels-tests", "rs", "tests!["), "kernels-tests/STEM.rs");
    assert_all(&kernels, &stems("benches/kernels", "rs", "pub fn run("), "benches/kernels/STEM.rs");
    let catalogue: BTreeSet<String> = catalogue().iter().map(|k| k.name().to_owned()).collect();
    assert_all(&kernels, &catalogue, "instances in catalogue()");
    assert_all(&catalogue, &stems("src/kernels", "rs", "impl Kernel for "), "files named as the kernels");
}
