use super::writer::{DOUBLE, UINT8, UINT8_CLASS, Writer};
use super::*;
use crate::says::assert_says;

const LITTLE: Writer = Writer { big_endian: false };
const BIG: Writer = Writer { big_endian: true };

fn parse<const N: usize>(bytes: &[u8], wanted: [&str; N]) -> Result<[Array; N], String> {
    read(bytes, bytes.len() as u64, wanted)
}

#[test]
fn both_byte_orders_plain_and_compressed() {
    for writer in [LITTLE, BIG] {
        let bytes: Vec<u8> = (0..24).collect();
        let a = writer.matrix(UINT8_CLASS, "a", &[2, 3, 4], UINT8, &bytes);
        // The values of a double array are in its tag, as bytes.
        let b = writer.matrix(6, "b", &[1, 3], UINT8, &[9, 8, 7]);
        let c = writer.matrix(6, "long_name", &[2, 1], DOUBLE, &writer.doubles(&[1.5, -2e300]));
        let skipped = writer.matrix(UINT8_CLASS, "other", &[5, 1], UINT8, &[0; 5]);
        let plain = writer.file(&[skipped.clone(), a.clone(), b.clone(), c.clone()]);
        let compressed = writer.file(&[
            writer.compressed(&c),
            writer.compressed(&skipped),
            b,
            writer.element(UINT8, &[1, 2]),
            writer.compressed(&a),
        ]);
        for file in [plain, compressed] {
            let [c, a, b] = parse(&file, ["long_name", "a", "b"]).unwrap();
            assert_eq!((a.dimensions, a.storage, a.data), (vec![2, 3, 4], Storage::Uint8, bytes.clone()));
            assert_eq!((b.dimensions.clone(), b.to_f64()), (vec![1, 3], vec![9.0, 8.0, 7.0]));
            assert_eq!((c.storage, c.to_f64()), (Storage::Double, vec![1.5, -2e300]));
        }
    }
}

#[test]
fn numbers_of_every_storage() {
    for writer in [LITTLE, BIG] {
        for (kind, bytes, expected) in [
            (INT8, &[0xfe][..], -2.0),
            (UINT8, &[0xfe], 254.0),
            (3, &[0xff, 0x01], -255.0),
            (4, &[0xff, 0x01], 65281.0),
            (INT32, &[0xff, 0, 0, 0], -16_777_216.0),
            (UINT32, &[0xff, 0, 0, 0], 4_278_190_080.0),
            (7, &[0x3f, 0xc0, 0, 0], 1.5),
            (DOUBLE, &[0xbf, 0xf8, 0, 0, 0, 0, 0, 0], -1.5),
            (12, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd], -3.0),
            (13, &[0, 0, 1, 0, 0, 0, 0, 2], 1_099_511_627_778.0),
        ] {
            let mut data = bytes.to_vec();
            if !writer.big_endian {
                data.reverse();
            }
            let file = writer.file(&[writer.matrix(6, "n", &[1, 1], kind, &data)]);
            assert_eq!(parse(&file, ["n"]).unwrap()[0].to_f64(), [expected], "type {kind}, {writer:?}");
        }
    }
}

/// A file written by scipy (`tests/fixtures/matlab/write.py`).
#[test]
fn a_file_of_another_writer() {
    let file = include_bytes!("../../../tests/fixtures/matlab/plain.mat");
    let [single, i16, u64] = parse(file, ["single", "i16", "u64"]).unwrap();
    assert_eq!((i16.dimensions.clone(), i16.storage), (vec![1, 3], Storage::Int16));
    assert_eq!(i16.to_f64(), [-3.0, 300.0, 7.0]);
    assert_eq!((single.dimensions.clone(), single.to_f64()), (vec![2, 1], vec![0.5, -1.25]));
    assert_eq!(u64.to_f64(), [5.0]);
    for name in ["text", "list"] {
        let message = parse(file, [name]).unwrap_err();
        assert!(message.contains(&format!("variable {name} that is an array of numbers")), "{message}");
    }
}

#[test]
fn what_follows_the_wanted_variables_is_not_read() {
    let mut file = LITTLE.file(&[LITTLE.matrix(6, "a", &[1, 1], UINT8, &[3])]);
    file.extend([0xff; 5]);
    assert_eq!(parse(&file, ["a"]).unwrap()[0].to_f64(), [3.0]);
    assert!(parse(&file, ["b"]).unwrap_err().contains("truncated"));
}

#[test]
fn every_truncation_is_an_error() {
    let matrix = LITTLE.matrix(6, "abcdef", &[3, 2], DOUBLE, &LITTLE.doubles(&[1.0; 6]));
    for file in [LITTLE.file(std::slice::from_ref(&matrix)), LITTLE.file(&[LITTLE.compressed(&matrix)])] {
        assert!(parse(&file, ["abcdef"]).is_ok());
        for length in 0..file.len() {
            let message = parse(&file[..length], ["abcdef"]).unwrap_err();
            assert_eq!(message.lines().count(), 1, "{length}: {message}");
            // The size is that of the complete file: it was truncated after it was opened.
            assert!(read(&file[..length], file.len() as u64, ["abcdef"]).is_err(), "{length}");
        }
    }
}

#[test]
fn hostile_files_are_refused() {
    let file = |element: Vec<u8>| LITTLE.file(&[element]);
    let a = |dimensions: &[i32], data: &[u8]| LITTLE.matrix(UINT8_CLASS, "a", dimensions, UINT8, data);
    let good = a(&[3, 2], &[1; 6]);
    let with_word = |at: usize, value: u32| {
        let mut element = good.clone();
        element[at..at + 4].copy_from_slice(&value.to_le_bytes());
        element
    };
    let mut seven = file(good.clone());
    seven[124..126].copy_from_slice(&[0, 2]);
    let mut old = file(good.clone());
    old[124..126].copy_from_slice(&[0, 9]);
    let mut flipped = LITTLE.compressed(&good);
    *flipped.last_mut().unwrap() ^= 1;
    // Inside: 8 of the matrix' tag, 16 of flags, 16 of dimensions, 8 of name.
    let values = 8 + 16 + 16 + 8;
    for (bytes, part) in [
        (vec![], "truncated"),
        (vec![b'x'; 200], "does not begin"),
        (seven, "7.3 (HDF5); save it with -v7"),
        (old, "0x0900"),
        (LITTLE.file(&[]), "expected a variable a that is an array of numbers, found none"),
        (file(LITTLE.matrix(UINT8_CLASS, "b", &[1, 1], UINT8, &[1])), "variable a"),
        (file(LITTLE.matrix(1, "a", &[1, 1], UINT8, &[1])), "variable a"),
        // False dimensions and sizes.
        (file(a(&[3, 3], &[1; 6])), "variable a: dimensions [3, 3] of Uint8 need 9 bytes, found 6"),
        (file(a(&[3, 1], &[1; 6])), "need 3 bytes, found 6"),
        (file(a(&[-1, 2], &[1; 6])), "need 8589934590 bytes"),
        (file(a(&[i32::MIN; 32], &[1; 6])), "too many"),
        (file(a(&[1; 33], &[1])), "expected dimensions: at most 128 bytes"),
        (file(with_word(4, u32::MAX)), "a data element of 4294967295 bytes, but at most 56"),
        (file(with_word(values + 4, 4000)), "a data element of 4000 bytes, but at most 8"),
        (file(with_word(8 + 4, 4)), "expected 2 words of flags, found 1"),
        (file(with_word(8, UINT8)), "expected flags"),
        (file(with_word(16, UINT8_CLASS | COMPLEX)), "variable a: expected real numbers"),
        (file(with_word(values, MATRIX)), "variable a: expected numbers, found elements of type 14"),
        (file(with_word(values, 5 << 16 | UINT8)), "at most 4 bytes in a small data element, found 5"),
        (file(LITTLE.matrix(UINT8_CLASS, &"a".repeat(256), &[1, 1], UINT8, &[1])), "expected a name"),
        (file(LITTLE.compressed(&with_word(4, u32::MAX))), "a data element of 4294967295 bytes, but at most"),
        (file(LITTLE.compressed(&with_word(4, 1000))), "truncated"),
        (file(LITTLE.compressed(&[good.clone(), vec![0]].concat())), "continues after its end"),
        (file(LITTLE.compressed(&LITTLE.compressed(&good))), "found type 15"),
        (file(flipped), "corrupt deflate stream"),
        (file(LITTLE.element(COMPRESSED, &[1; 16])), "damaged"),
        (file(LITTLE.element(MATRIX, &[])), "truncated"),
    ] {
        assert_says(&parse(&bytes, ["a"]).unwrap_err(), &[part]);
    }
    let twice = LITTLE.file(&[good.clone(), good, LITTLE.matrix(6, "b", &[1, 1], UINT8, &[1])]);
    assert!(parse(&twice, ["a", "b"]).unwrap_err().contains("one variable a, found two"));
}
