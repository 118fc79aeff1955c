//! Files whose objects are made to cost much: deep, cyclic, shared, and packed ones.

use std::io::{Cursor, Write};
use std::time::Instant;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::facts::MAX_FACTS;
use super::pickle::MAX_BYTES;
use super::tests::{SIX, View, archive, parse, refused, six, text};
use crate::io::state_file::{Opened, StateFile};

/// The file whose pickle is `{"model": {"a": six floats}, "x": VALUE}`; `code` makes the value.
fn beside(code: &[u8]) -> Vec<u8> {
    let model = [b"\x80\x02}(", &text("model")[..], b"}", &text("a"), &SIX.code(), b"s"].concat();
    let pickle = [&model, &text("x")[..], code, b"u."].concat();
    archive(&[("a/data.pkl", &pickle), ("a/data/0", &six())])
}

/// Opens a file and loads each of its dictionaries.
fn load_all(bytes: &[u8]) -> Result<Vec<StateFile>, String> {
    let open = || Opened::from_reader(Cursor::new(bytes), bytes.len() as u64);
    let count = open()?.dictionaries().len();
    (0..count).map(|dictionary| open()?.load_dictionary(dictionary)).collect()
}

#[track_caller]
fn refuses(result: Result<Vec<StateFile>, String>, part: &str) {
    let message = result.expect_err(part);
    assert!(message.contains(part), "{part:?} is not in {message:?}");
}

#[track_caller]
fn is_left_out(code: &[u8], ignored: &str) {
    let start = Instant::now();
    let bytes = beside(code);
    let opened = Opened::from_reader(Cursor::new(&bytes), bytes.len() as u64).unwrap();
    let model = opened.dictionaries().iter().position(|dictionary| dictionary.key == "model");
    let model = opened.load_dictionary(model.expect("the model")).unwrap();
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    assert_eq!((model.tensors.len(), model.tensors[0].0.as_str()), (1, "a"));
    assert_eq!(model.facts.ignored, [ignored]);
}

/// The class `m.N`, as memo 9.
const CLASS: &[u8] = b"cm\nN\nq\x090";

#[test]
fn objects_nested_deep_need_no_stack() {
    const LEVELS: usize = 300_000;
    // N(N(N(…))), as arguments.
    let arguments = [CLASS, &b"h\x09".repeat(LEVELS), b")\x81", &b"\x85\x81".repeat(LEVELS - 1)].concat();
    is_left_out(&arguments, "x: m.N");
    // As items, and as attributes.
    let items = [CLASS, &b"h\x09)\x81U\x01a".repeat(LEVELS), b"N", &b"s".repeat(LEVELS)].concat();
    is_left_out(&items, "x: m.N");
    let attributes = [CLASS, &b"h\x09)\x81}U\x01a".repeat(200_000), b"N", &b"sb".repeat(200_000)].concat();
    is_left_out(&attributes, "x: m.N");
    let lists = [&b"]".repeat(1_000_000)[..], &b"a".repeat(999_999)].concat();
    is_left_out(&lists, "x");
}

#[test]
fn long_lists_beside_the_weights() {
    let batch = [&b"("[..], &b"G\x3f\xf0\0\0\0\0\0\0".repeat(1000), b"e"].concat();
    is_left_out(&[&b"]"[..], &batch.repeat(3000)].concat(), "x");
    // Pairs, such as a step and its loss, are values each.
    let pairs = [&b"("[..], &b"K\x01K\x02\x86".repeat(1000), b"e"].concat();
    is_left_out(&[&b"]"[..], &pairs.repeat(1000)].concat(), "x");
    refuses(load_all(&beside(&[&b"]"[..], &pairs.repeat(1400)].concat())), "more than 4194304 values");
}

#[test]
fn objects_that_hold_themselves() {
    is_left_out(&[CLASS, b"h\x09)\x81q\x01U\x01ah\x01s"].concat(), "x: m.N");
    is_left_out(&[CLASS, b"h\x09)\x81q\x01}U\x01ah\x01sb"].concat(), "x: m.N");
    is_left_out(&[CLASS, b"h\x09]q\x01h\x09h\x01\x81a\x81"].concat(), "x: m.N");
    // A call whose function is the result of the call.
    is_left_out(b"cos\nsystem\n)R)R)R", "x");
    is_left_out(b"cos\nsystem\nX\x04\0\0\0true\x85R", "x: os.system");
    is_left_out(b"cbuiltins\neval\nX\x04\0\0\0true\x85R", "x: builtins.eval");
    // A rebuilt type of a rebuilt type.
    let again = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x010]q\x02(h\x01Nh\x02Ne0h\x01h\x02R";
    is_left_out(again, "x: torch._tensor._rebuild_from_type_v2");
}

/// A module with the children of `code`.
fn module(code: &[u8]) -> Vec<u8> {
    let parameters = [&text("_parameters")[..], b"}", &text("w"), b"h\x08s"].concat();
    [b"h\x09)\x81}(", &parameters[..], &text("_modules"), b"}(", code, b"uub"].concat()
}

#[test]
fn modules_that_hold_themselves_or_share_their_children() {
    let start = Instant::now();
    let tensor = [&SIX.code()[..], b"q\x080"].concat();
    let prelude = [CLASS, &tensor].concat();
    // A module that is its own child.
    let children = [&text("m")[..], b"h\x01"].concat();
    let cyclic = module(&children);
    let cyclic = [b"h\x09)\x81q\x01}(", &cyclic[b"h\x09)\x81}(".len()..]].concat();
    refuses(load_all(&beside(&[&prelude[..], &cyclic].concat())), "nested in themselves");
    // Two children that are one, forty times.
    let mut shared = [&module(b"")[..], b"q\x010"].concat();
    for _ in 0..40 {
        let children = [&text("a")[..], b"h\x01", &text("b"), b"h\x01"].concat();
        shared.extend([&module(&children)[..], b"q\x010"].concat());
    }
    refuses(load_all(&beside(&[&prelude[..], &shared, b"h\x01"].concat())), "names of its tensors");
    // A few of them are what the file says.
    let few = module(&[&text("a")[..], &module(b""), &text("b"), &module(b"")].concat());
    let files = load_all(&beside(&[&prelude[..], &few].concat())).unwrap();
    let names: Vec<&str> = files[1].tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, files[1].facts.class.as_deref()), (vec!["w", "a.w", "b.w"], Some("m.N")));
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn dictionaries_that_share_their_entries() {
    let start = Instant::now();
    let mut shared = [b"}", &text("t")[..], &SIX.code(), b"sq\x010"].concat();
    for _ in 0..40 {
        shared.extend([b"}(", &text("a")[..], b"h\x01", &text("b"), b"h\x01uq\x010"].concat());
    }
    refuses(load_all(&beside(&[&shared[..], b"h\x01"].concat())), "more than 10000 dictionaries");
    // A wide dictionary, held often.
    let wide = [b"}(", &b"U\x01kN".repeat(100_000)[..], b"uq\x010"].concat();
    let often = [&wide[..], b"](", &b"h\x01".repeat(100_000), b"e"].concat();
    refuses(load_all(&beside(&often)), "over and over");
    let wide = [CLASS, b"h\x09)\x81(", &b"U\x01kN".repeat(100_000)[..], b"uq\x010"].concat();
    let often = [&wide[..], b"}(", &b"U\x01ah\x01".repeat(100_000), b"u"].concat();
    refuses(load_all(&beside(&often)), "over and over");
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn facts_of_many_objects_are_few() {
    let objects = [CLASS, b"}", &b"U\x01kh\x09)\x81}(U\x01aK\x01U\x01bNubs".repeat(20_000)].concat();
    let pickle = [b"\x80\x02", &objects[..], &text("w"), &SIX.code(), b"s."].concat();
    let bytes = archive(&[("a/data.pkl", &pickle), ("a/data/0", &six())]);
    let file = parse(&bytes).unwrap();
    assert_eq!((file.tensors.len(), file.facts.ignored.len()), (1, MAX_FACTS));
    assert_eq!(file.facts.ignored[99], "k: m.N");
}

#[test]
fn a_storage_that_is_a_part_of_another_is_refused_if_a_tensor_needs_it() {
    let six = SIX.code();
    let end = six.windows(2).position(|window| window == b"tQ").unwrap();
    let part = [&six[..end], b"(K\x00K\x06t", &six[end..]].concat();
    is_left_out(&part, "x");
    let pickle = [b"\x80\x02}", &text("w")[..], &part, b"s."].concat();
    refused(parse(&archive(&[("a/data.pkl", &pickle)])), "tensor w: its storage is a part of another");
}

/// An archive whose entries are deflated.
fn deflated(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, data) in entries {
        archive.start_file(*name, options).unwrap();
        archive.write_all(data).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn deflated_entries_hold_what_they_declare() {
    let zeros = View { elements: 1 << 20, shape: &[1 << 20], strides: &[1], ..SIX };
    let pickle = [b"\x80\x02}", &text("w")[..], &zeros.code(), b"s."].concat();
    let good = deflated(&[("a/data.pkl", &pickle), ("a/data/0", &vec![0; 4 << 20])]);
    assert!(good.len() < 10_000, "{}", good.len());
    assert_eq!(parse(&good).unwrap().tensors[0].1.elements.len(), 1 << 20);
    let directory: Vec<usize> = (0..good.len()).filter(|&at| good[at..].starts_with(b"PK\x01\x02")).collect();
    // The size that the directory declares, at 24.
    let declared = |entry: usize, size: u32| {
        let mut bytes = good.clone();
        bytes[directory[entry] + 24..][..4].copy_from_slice(&size.to_le_bytes());
        parse(&bytes)
    };
    refused(declared(1, u32::MAX - 1), "deflated ones; refused");
    refused(declared(1, 1 << 20), "1048576 elements of 4 bytes in a storage of 1048576 bytes");
    refused(declared(0, 5 << 20), "refused");
    refused(declared(0, 100), "entry a/data.pkl cannot be read");
    // More bytes than the entry declares, and the pickle with it.
    let fewer = View { elements: 1 << 18, shape: &[1 << 18], strides: &[1], ..SIX };
    let pickle = [b"\x80\x02}", &text("w")[..], &fewer.code(), b"s."].concat();
    let mut bytes = deflated(&[("a/data.pkl", &pickle), ("a/data/0", &vec![0; 4 << 20])]);
    let at = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"PK\x01\x02")).nth(1).unwrap();
    bytes[at + 24..][..4].copy_from_slice(&(1u32 << 20).to_le_bytes());
    refused(parse(&bytes), "storage 0");
    // A pickle of many zeros is refused by what it declares.
    let bomb = deflated(&[("a/data.pkl", &vec![b'N'; MAX_BYTES + 1])]);
    refused(parse(&bomb), &format!("expected at most {MAX_BYTES}"));
}
