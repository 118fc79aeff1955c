//! Files that PyTorch would not write.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::facts::MAX_FACTS;
use crate::io::elements::{Array, Elements};
use crate::io::state_file::{self, StateFile};

/// The pickle of `{"model": {name: tensor, …}}`.
fn pickle(tensors: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut code = b"\x80\x02}".to_vec();
    code.extend(text("model"));
    code.push(b'}');
    for (name, tensor) in tensors {
        code.extend(text(name));
        code.extend(tensor);
        code.push(b's');
    }
    code.extend(b"s.");
    code
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(value: u64) -> Vec<u8> {
    [b"\x8a\x09", &value.to_le_bytes()[..], b"\0"].concat()
}

fn tuple(items: &[u64]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|&item| int(item)).collect();
    [b"(", &items[..], b"t"].concat()
}

/// A view of a storage.
pub(super) struct View<'a> {
    pub(super) class: &'a str,
    pub(super) key: &'a str,
    pub(super) elements: u64,
    pub(super) offset: u64,
    pub(super) shape: &'a [u64],
    pub(super) strides: &'a [u64],
}

impl View<'_> {
    pub(super) fn code(&self) -> Vec<u8> {
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            &text("storage")[..],
            format!("ctorch\n{}\n", self.class).as_bytes(),
            &text(self.key),
            &text("cpu"),
            &int(self.elements),
            b"tQ",
            &int(self.offset),
            &tuple(self.shape),
            &tuple(self.strides),
            b"\x89ccollections\nOrderedDict\n)RtR",
        ]
        .concat()
    }
}

/// Six floats, storage `0`.
pub(super) const SIX: View<'_> =
    View { class: "FloatStorage", key: "0", elements: 6, offset: 0, shape: &[2, 3], strides: &[3, 1] };

pub(super) fn six() -> Vec<u8> {
    (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

pub(super) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, data) in entries {
        archive.start_file(*name, options).unwrap();
        archive.write_all(data).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

pub(super) fn parse(bytes: &[u8]) -> Result<StateFile, String> {
    state_file::parse(&mut Cursor::new(bytes), bytes.len() as u64)
}

/// Parses a file with the tensors `tensors` and six floats as storage `0`.
fn with(tensors: &[(&str, Vec<u8>)]) -> Result<StateFile, String> {
    parse(&archive(&[("a/data.pkl", &pickle(tensors)), ("a/data/0", &six())]))
}

pub(super) fn refused(result: Result<StateFile, String>, part: &str) {
    let message = result.expect_err(part);
    assert!(message.contains(part), "{part:?} is not in {message:?}");
    assert!(message.len() < 600 && !message.contains('\n'), "{message:?}");
}

#[test]
fn a_file_by_hand() {
    let file = with(&[("a", SIX.code())]).unwrap();
    assert_eq!(file.facts.key.as_deref(), Some("model"));
    let elements = Elements::F32((0..6).map(|i| i as f32).collect());
    assert_eq!(file.tensors, [("a".to_owned(), Array { shape: vec![2, 3], elements })]);
}

#[test]
fn views_stay_inside_their_storage() {
    const HUGE: u64 = 1 << 63;
    for (offset, shape, strides) in [
        (1, &[2, 3][..], &[3, 1][..]),
        (6, &[1], &[1]),
        (u64::MAX, &[1], &[1]),
        (0, &[7], &[1]),
        (0, &[2, 3], &[4, 1]),
        (0, &[2], &[HUGE]),
        (1, &[2], &[u64::MAX]),
        (0, &[3], &[HUGE]),
        (0, &[HUGE, 2], &[0, 0]),
        (0, &[HUGE, 4, 0], &[1, 1, 1]),
        (0, &[0, HUGE, 4], &[1, 1, 1]),
    ] {
        let view = View { offset, shape, strides, ..SIX };
        refused(with(&[("a", view.code())]), "tensor a: ");
        refused(with(&[("a", view.code())]), "reach outside its storage of 6 elements");
    }
    // The stride of an axis of size 1 is never used.
    let view = View { shape: &[1, 6], strides: &[u64::MAX, 1], ..SIX };
    assert_eq!(with(&[("a", view.code())]).unwrap().tensors[0].1.elements.len(), 6);
    let view = View { shape: &[3, 1, 2], strides: &[1, u64::MAX, 3], ..SIX };
    let Elements::F32(values) = &with(&[("a", view.code())]).unwrap().tensors[0].1.elements else {
        panic!("floats")
    };
    assert_eq!(values, &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
}

#[test]
fn tensors_have_few_more_elements_than_their_storages() {
    // Twice six plus 65,536 elements.
    let most = View { shape: &[65_548], strides: &[0], ..SIX };
    let found = with(&[("a", most.code())]).unwrap().tensors[0].1.elements.clone();
    assert_eq!(found, Elements::F32(vec![0.0; 65_548]));
    let more = View { shape: &[65_549], strides: &[0], ..SIX };
    refused(with(&[("a", more.code())]), "the tensors have 65549 elements, their storages 6");
    // A few views of one small storage.
    assert_eq!(with(&[("a", SIX.code()), ("b", SIX.code()), ("c", SIX.code())]).unwrap().tensors.len(), 3);
    let most = View { shape: &[u64::MAX >> 1], strides: &[0], ..SIX };
    refused(with(&[("a", most.code()), ("b", most.code()), ("c", most.code())]), "their storages 6");
}

#[test]
fn storages_are_what_the_pickle_says() {
    let shorter = View { elements: 5, shape: &[5], strides: &[1], ..SIX };
    refused(with(&[("a", shorter.code())]), "5 elements of 4 bytes in a storage of 24 bytes");
    let longer = View { elements: 1 << 62, shape: &[7], strides: &[1], ..SIX };
    refused(with(&[("a", longer.code())]), "in a storage of 24 bytes");
    let other = View { class: "LongStorage", elements: 3, shape: &[3], strides: &[1], ..SIX };
    refused(with(&[("a", SIX.code()), ("b", other.code())]), "tensor b: storage 0 is of two types");
    refused(with(&[("a", View { key: "1", ..SIX }.code())]), "no entry a/data/1");
    refused(with(&[("a", View { key: "../data.pkl", ..SIX }.code())]), "no entry a/data/../data.pkl");
    refused(with(&[("a", View { class: "Os", ..SIX }.code())]), "tensor a: torch.Os is not supported");
    refused(with(&[("a", SIX.code()), ("a", SIX.code())]), "two tensors are called \"a\"");
}

#[test]
fn only_a_state_dict_is_taken() {
    for (code, part) in [
        (&b"N."[..], "found something else"),
        (b"].", "found a list"),
        (b"}.", "found a dictionary without names"),
        (b"}U\x01aNs.", "found a dictionary of a"),
        // A dictionary under its own key.
        (b"}q\x00U\x05modelh\x00s.", "found a dictionary of model"),
    ] {
        refused(parse(&archive(&[("a/data.pkl", code)])), part);
    }
    let tensor = [&SIX.code()[..], b"."].concat();
    refused(parse(&archive(&[("a/data.pkl", &tensor), ("a/data/0", &six())])), "found a single tensor");
}

#[test]
fn archives_that_mean_two_things_are_refused() {
    let pickle = pickle(&[("a", SIX.code())]);
    let good = archive(&[("a/data.pkl", &pickle), ("a/data/0", &six()), ("a/data/1", &six())]);
    assert!(parse(&good).is_ok());
    let replaced = |from: &[u8], to: &[u8]| {
        let mut bytes = good.clone();
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
        places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
        bytes
    };
    refused(parse(&replaced(b"a/data/1", b"a/data/0")), "one name");
    refused(parse(&archive(&[("a/data.pk", &pickle)])), "without data.pkl");
    refused(parse(&archive(&[("b/a/model.pth", &pickle)])), "with the file b/a/model.pth; unpack it");
    refused(parse(&archive(&[("a/archive_format", b"pt2"), ("a/model.pt", b"")])), "of torch.export");
    refused(parse(&archive(&[("a/.data/extern_modules", b"")])), "of torch.package");
    refused(
        parse(&archive(&[("a/data.pkl", &pickle), ("b/data.pkl", &pickle)])),
        "two checkpoints, a/data.pkl and b/data.pkl",
    );
    refused(parse(&archive(&[("a/data.pkl", &pickle), ("a/byteorder", b"big")])), "big-endian");
    refused(parse(&archive(&[("a/data.pkl", &pickle), ("a/byteorder", b"odd")])), "neither little nor big");

    // In the central directory: sizes at 20 and 24, the position of the local header at 42.
    let second = good.windows(4).enumerate().filter(|(_, w)| w == b"PK\x01\x02").nth(1).unwrap().0;
    let changed = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[second + at..][..4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    refused(parse(&changed(24, 24 << 20)), "two sizes");
    refused(parse(&changed(20, 10_000)), "overlap or lie outside");
    refused(parse(&changed(42, 0)), "overlap");
    assert!(parse(&changed(42, u32::MAX - 1)).is_err());
    // The checksum at 16, then the method at 10.
    refused(parse(&changed(16, 1)), "storage 0 cannot be read");
    let mut bytes = good.clone();
    bytes[second + 10] = 8;
    refused(parse(&bytes), "storage 0 cannot be read");
    // By a method that is not built in, and encrypted.
    bytes[second + 10] = 12;
    refused(parse(&bytes), "compressed by");
    let mut bytes = good.clone();
    bytes[second + 8] |= 1;
    refused(parse(&bytes), "encrypted");
}

/// A legacy file: the four pickles, the keys and the data.
fn legacy(object: &[u8], keys: &[u8], data: &[u8]) -> Vec<u8> {
    let start =
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}U\x0dlittle_endian\x88s.";
    [start, object, keys, data].concat()
}

#[test]
fn legacy_files_that_lie() {
    let object = pickle(&[("a", SIX.code())]);
    let keys = b"\x80\x02]U\x010a.";
    let data = |count: u64| [&count.to_le_bytes()[..], &six()].concat();
    assert_eq!(parse(&legacy(&object, keys, &data(6))).unwrap().tensors.len(), 1);
    refused(parse(&legacy(&object, keys, &data(5))), "6 elements of 4 bytes in a storage of 20 bytes");
    refused(parse(&legacy(&object, keys, &data(7))), "storage 0 has 7 elements, but the file ends 24");
    refused(parse(&legacy(&object, keys, &data(u64::MAX))), "but the file ends");
    refused(parse(&legacy(&object, keys, &data(1 << 62))), "but the file ends");
    refused(parse(&legacy(&object, keys, &[])), "storage 0 cannot be read");
    refused(parse(&legacy(&object, b"\x80\x02N.", &data(6))), "no list of storages");
    refused(parse(&legacy(&object, b"\x80\x02]Na.", &data(6))), "key is no string");
    refused(parse(&legacy(&object, b"\x80\x02].", &data(6))), "there is no storage 0");
    refused(
        parse(&legacy(&object, b"\x80\x02]U\x011a.", &data(6))),
        "the type of storage \"1\" is not known",
    );
    let twice = [data(6), data(6)].concat();
    refused(parse(&legacy(&object, b"\x80\x02](U\x010U\x010e.", &twice)), "storage 0 is there twice");
    refused(parse(b"\x80\x02NNNNNNN."), "not one of torch.save");
    let mut version = legacy(&object, keys, &data(6));
    version[18] = 0xea;
    refused(parse(&version), "expected version 1001");
    let mut big = legacy(&object, keys, &data(6));
    let at = big.iter().position(|&byte| byte == 0x88).unwrap();
    big[at] = 0x89;
    refused(parse(&big), "big-endian");
}

#[test]
fn facts_are_few_however_many_entries_there_are() {
    let mut code = pickle(&[("a", SIX.code())]);
    code.truncate(code.len() - 1);
    code.extend(b"U\x01kq\x000");
    code.extend(b"h\x00Nsh\x00K\x01s".repeat(10_000));
    code.push(b'.');
    let file = parse(&archive(&[("a/data.pkl", &code), ("a/data/0", &six())])).unwrap();
    assert_eq!((file.facts.scalars.len(), file.facts.ignored.len()), (MAX_FACTS, MAX_FACTS));
}

#[test]
fn what_a_message_quotes_is_one_printable_line() {
    let bytes = archive(&[("a/data.pkl", &pickle(&[("\x1b[31m\n", View { key: "\r\n", ..SIX }.code())]))]);
    let message = state_file::parse(&mut Cursor::new(&bytes), bytes.len() as u64).unwrap_err();
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(message.contains(r"tensor \u{1b}[31m\n: there is no entry a/data/\r\n"), "{message:?}");
}

#[test]
fn what_is_neither_format_is_told_apart() {
    let parse = |bytes: &[u8]| state_file::parse(&mut Cursor::new(bytes), bytes.len() as u64).unwrap_err();
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(parse(&tar).contains("tar archive"), "{}", parse(&tar));
    assert!(parse(b"").contains("found 0 bytes"));
    assert!(parse(b"<!doctype html>").contains("begins with \"<!doctype\""));
}
