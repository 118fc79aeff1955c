//! Tensors and arrays of every layout and type.

use crate::{counted, fixture, floats, load};
use jem::io::elements::{Array, Elements};
use jem::io::npz;
use jem::io::torch::pickle;

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
fn tensors_of_newer_types_and_of_subclasses() {
    let expected = [
        ("uint16", Array { shape: vec![2], elements: Elements::I64(vec![1, 65535]) }),
        ("marked", counted(&[2])),
        ("uint32", Array { shape: vec![2], elements: Elements::U32(vec![1, u32::MAX]) }),
        ("subclass", counted(&[2])),
    ];
    assert_eq!(load("newer.pt").tensors, expected.map(|(name, array)| (name.to_owned(), array)));
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
