//! Images in a NumPy array: floats [N, C, H, W] in [-1, 1], or integers [N, H, W, C] in [0, 255].

use std::path::Path;

use super::images::{Images, Pixels};
use super::range;
use super::reading::{ReadOptions, ValueRange};
use crate::error::{Error, Result};
use crate::io::elements::{Array, Elements};
use crate::io::{ending, npy, npz, pack};

/// The names of an `.npz`'s array of images, in the order in which they are tried.
const IMAGES: [&str; 9] = ["images", "image", "x", "X", "data", "x_test", "x_train", "samples", "arr_0"];
/// The names of its array of labels.
const LABELS: [&str; 9] = ["labels", "label", "y", "Y", "targets", "y_test", "y_train", "classes", "arr_1"];

/// Whether [`load`] reads files with the extension of `path`.
pub fn is_array(path: &Path) -> bool {
    matches!(ending(path).as_deref(), Some("npy" | "npz"))
}

/// Reads the `.npy` file `path`, or an `.npz` with an array of images and perhaps one of labels.
///
/// # Errors
/// The errors of [`npy::read`] and [`npz::read`], and those of [`images`] as [`Error::File`]; [`Error::File`] for an
/// `.npz` without a known array of images, or whose labels do not fit; [`Error::Setting`] of `size` and `labels`, which
/// are for pictures.
pub fn load(path: &Path, options: &ReadOptions) -> Result<Images> {
    if options.size.is_some() {
        return Err(Error::setting("size", format!("scales picture files, {} is an array", path.display())));
    }
    let wrong = |message: String| Error::file(path, message);
    let name = path.display().to_string();
    let read = |array, boolean| images(array, boolean, options.range, &name).map_err(wrong);
    if ending(path).as_deref() == Some("npy") {
        let (array, boolean) = npy::read_typed(path)?;
        return read(array, boolean);
    }
    let mut arrays = npz::read_typed(path)?;
    let found: Vec<String> = arrays.iter().map(|(name, ..)| name.clone()).collect();
    let chosen = find(&found, &IMAGES).or_else(|| {
        // An array under another name, if no other has the shape of images.
        let mut shaped = (0..arrays.len()).filter(|&i| arrays[i].1.shape.len() == 4);
        shaped.next().filter(|_| shaped.next().is_none())
    });
    let Some(chosen) = chosen else {
        let expected = IMAGES.join(", ");
        return Err(wrong(format!("expected an array called {expected}, found {}", found.join(", "))));
    };
    let labelled = find(&found, &LABELS).filter(|&index| index != chosen);
    let labels = labelled.map(|index| arrays[index].1.clone());
    let (image_name, array, boolean) = arrays.swap_remove(chosen);
    let mut images = images(array, boolean, options.range, &name)
        .map_err(|message| wrong(format!("array {image_name}: {message}")))?;
    let mut note = format!("{name}: images are the array {image_name}");
    if let (Some(labels), Some(index)) = (labels, labelled) {
        let label_name = &found[index];
        let numbers = label_numbers(&labels, images.count)
            .map_err(|message| wrong(format!("array {label_name}: {message}")))?;
        images.labels = Some(numbers);
        note += &format!(", labels the array {label_name}");
    }
    images.notes.insert(0, note);
    Ok(images)
}

/// The place in `found` of the first of `names` that is there.
fn find(found: &[String], names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| found.iter().position(|found| found == name))
}

/// Labels of `count` images.
fn label_numbers(array: &Array, count: usize) -> Result<Vec<u32>, String> {
    // Some data sets have labels [N, 1].
    if array.shape.iter().product::<usize>() != count || array.shape.first() != Some(&count) {
        return Err(format!("expected labels [{count}], one an image, found {:?}", array.shape));
    }
    let number = |value: i64| match u32::try_from(value) {
        Ok(label) if label < MAX_CLASSES => Ok(label),
        _ => Err(format!("expected labels from 0 to {}, found {value}", MAX_CLASSES - 1)),
    };
    match &array.elements {
        Elements::I64(values) => values.iter().map(|&value| number(value)).collect(),
        Elements::U32(values) => values.iter().map(|&value| number(value.into())).collect(),
        Elements::U8(values) => values.iter().map(|&value| number(value.into())).collect(),
        Elements::F32(_) => Err("expected labels as integers, found floats".into()),
    }
}

/// The most classes of the labels of an array.
const MAX_CLASSES: u32 = 1 << 20;

/// The images in an array of the file `name`: floats [N, C, H, W] or integers [N, H, W, C]. Without `range`, floats are
/// in [-1, 1] and integers in [0, 255]; booleans are black and white.
///
/// # Errors
/// When the array has another rank or type, another number of channels than 1 or 3, no element, or a value that is not
/// finite; integers beyond a byte without `range`.
pub fn images(array: Array, boolean: bool, range: Option<ValueRange>, name: &str) -> Result<Images, String> {
    let Array { shape, elements } = array;
    let wrong = |type_name: &str| {
        format!(
            "expected images as F32 [N, C, H, W] or U8 [N, H, W, C], C being 1 or 3, found {type_name} {shape:?}"
        )
    };
    let &[count, a, b, c] = shape.as_slice() else { return Err(wrong(elements.type_name())) };
    let [height, width, channels] = match elements {
        Elements::F32(_) => [b, c, a],
        _ => [a, b, c],
    };
    if elements.is_empty() || (channels != 1 && channels != 3) {
        return Err(wrong(elements.type_name()));
    }
    let mut notes = Vec::new();
    let binary = ValueRange { low: 0.0, high: 1.0 };
    let pixels = match elements {
        Elements::U8(mut bytes) => {
            notes.extend(range::bytes(&mut bytes, range.or(boolean.then_some(binary)), name));
            Pixels::Bytes(bytes)
        }
        Elements::F32(mut values) => {
            check_finite(&values, height * width * channels)?;
            notes.extend(range::floats(&mut values, range, name));
            Pixels::Floats(pack::nchw_to_nhwc(&values, count, channels, height, width))
        }
        Elements::I64(values) => {
            let (pixels, note) = range::integers(values.into_iter(), range, name)?;
            notes.extend(note);
            pixels
        }
        Elements::U32(values) => {
            let (pixels, note) = range::integers(values.into_iter().map(i64::from), range, name)?;
            notes.extend(note);
            pixels
        }
    };
    Ok(Images {
        pixels,
        count,
        height,
        width,
        channels,
        labels: None,
        class_names: Vec::new(),
        name: name.into(),
        files: None,
        notes,
    })
}

/// Checks that `values`, in images of `image` values, are finite.
fn check_finite(values: &[f32], image: usize) -> Result<(), String> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(format!(
            "image {} has the value {}, expected numbers in [-1, 1]",
            index / image,
            values[index]
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::says::assert_says;

    #[test]
    fn floats_are_planar_and_bytes_interleaved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        let values: Vec<f32> = (0..12).map(|i| i as f32 / 12.0).collect();
        npy::write(&path, &[2, 3, 1, 2], &Elements::F32(values.to_vec())).unwrap();
        let images = load(&path, &ReadOptions::default()).unwrap();
        assert_eq!((images.count, images.height, images.width, images.channels), (2, 1, 2, 3));
        let order = [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11];
        assert_eq!(images.pixels, Pixels::Floats(order.map(|i| values[i]).to_vec()));
        assert_eq!((images.name, images.labels), (path.display().to_string(), None));

        npy::write(&path, &[1, 2, 2, 1], &Elements::U8(vec![1, 2, 3, 255])).unwrap();
        let images = load(&path, &ReadOptions::default()).unwrap();
        assert_eq!((images.count, images.height, images.width, images.channels), (1, 2, 2, 1));
        assert_eq!(images.pixels, Pixels::Bytes(vec![1, 2, 3, 255]));
    }

    #[test]
    fn arrays_that_are_no_images_are_refused() {
        let floats = |shape: &[usize], values: &[f32]| Array {
            shape: shape.to_vec(),
            elements: Elements::F32(values.to_vec()),
        };
        let four = |values: [f32; 4]| floats(&[2, 1, 1, 2], &values);
        for (array, part) in [
            (floats(&[2, 2], &[0.0; 4]), "found F32 [2, 2]"),
            (floats(&[1, 2, 2, 1], &[0.0; 4]), "C being 1 or 3, found F32 [1, 2, 2, 1]"),
            (floats(&[0, 3, 2, 2], &[]), "found F32 [0, 3, 2, 2]"),
            (Array { shape: vec![1, 3, 2, 2], elements: Elements::U8(vec![0; 12]) }, "found U8 [1, 3, 2, 2]"),
            (
                Array { shape: vec![1, 3, 2, 2], elements: Elements::I64(vec![0; 12]) },
                "found I64 [1, 3, 2, 2]",
            ),
            (Array { shape: vec![1, 1, 1, 1], elements: Elements::I64(vec![256]) }, "from 256 to 256"),
            (four([0.0, 0.0, f32::NAN, f32::INFINITY]), "image 1 has the value NaN"),
            (four([0.0, f32::NEG_INFINITY, 0.0, 9.0]), "image 0 has the value -inf"),
        ] {
            assert_says(&images(array, false, None, "").unwrap_err(), &[part]);
        }
    }

    #[test]
    fn messages_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        npy::write(&path, &[3], &Elements::F32(vec![0.0; 3])).unwrap();
        assert!(
            load(&path, &ReadOptions::default()).unwrap_err().to_string().contains("a.npy: expected images")
        );
        std::fs::write(&path, "no array").unwrap();
        assert!(load(&path, &ReadOptions::default()).unwrap_err().to_string().contains("a.npy: "));
    }

    #[test]
    fn ranges_are_noticed_or_given() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        let read = |shape: &[usize], elements: Elements, range: Option<&str>| {
            npy::write(&path, shape, &elements).unwrap();
            let range = range.map(|range| range.parse().unwrap());
            load(&path, &ReadOptions { range, ..ReadOptions::default() })
        };
        let planar = [1, 1, 1, 3];
        let floats = |values: [f32; 3]| Elements::F32(values.to_vec());
        let images = read(&planar, floats([0.0, 0.5, 1.0]), None).unwrap();
        assert!(images.notes[0].contains("from 0 to 1") && images.notes[0].contains("range of 0,1"));
        assert_eq!(images.pixels, Pixels::Floats(vec![0.0, 0.5, 1.0]));
        for (values, range) in
            [([0.0, 0.5, 1.0], "0,1"), ([0.0, 127.5, 255.0], "0,255"), ([-1.0, 0.0, 1.0], "-1,1")]
        {
            let images = read(&planar, floats(values), Some(range)).unwrap();
            assert_eq!(
                (images.pixels, images.notes.len()),
                (Pixels::Floats(vec![-1.0, 0.0, 1.0]), 0),
                "{range}"
            );
        }
        assert_eq!(read(&planar, floats([-0.1, 0.5, 1.0]), None).unwrap().notes.len(), 0);

        let interleaved = [1, 1, 3, 1];
        let bytes = read(&interleaved, Elements::U8(vec![0, 1, 1]), None).unwrap();
        assert!(
            bytes.notes[0].contains("0 or 1") && bytes.notes[0].contains("range of 0,1"),
            "{:?}",
            bytes.notes
        );
        let bytes = read(&interleaved, Elements::U8(vec![0, 1, 1]), Some("0,1")).unwrap();
        assert_eq!((bytes.pixels, bytes.notes.len()), (Pixels::Bytes(vec![0, 255, 255]), 0));
        assert_eq!(read(&interleaved, Elements::U8(vec![0, 1, 2]), None).unwrap().notes.len(), 0);

        let integers = read(&interleaved, Elements::I64(vec![3, 0, 255]), None).unwrap();
        assert_eq!(integers.pixels, Pixels::Bytes(vec![3, 0, 255]));
        assert!(integers.notes[0].contains("from 0 to 255"), "{:?}", integers.notes);
        let message = read(&interleaved, Elements::I64(vec![0, 9, 40_000]), None).unwrap_err().to_string();
        assert!(
            message.contains("a.npy: ") && message.contains("from 0 to 40000") && message.contains("0,65535")
        );
        let scaled = read(&interleaved, Elements::I64(vec![0, 65_535, 65_535]), Some("0,65535")).unwrap();
        assert_eq!((scaled.pixels, scaled.notes.len()), (Pixels::Floats(vec![-1.0, 1.0, 1.0]), 0));

        // NumPy's booleans: as bytes, under another type.
        npy::write(&path, &interleaved, &Elements::U8(vec![0, 1, 0])).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(3).position(|window| window == b"|u1").unwrap();
        std::fs::write(&path, [&bytes[..at], b"|b1", &bytes[at + 3..]].concat()).unwrap();
        let images = load(&path, &ReadOptions::default()).unwrap();
        assert_eq!((images.pixels, images.notes.len()), (Pixels::Bytes(vec![0, 255, 0]), 0));
        for text in ["1,0", "0", "0,nan", "a,b", "1,1"] {
            assert!(text.parse::<ValueRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_npz_has_images_and_labels() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        let pixels = Array { shape: vec![3, 1, 1, 1], elements: Elements::U8(vec![5, 6, 7]) };
        let labels =
            |values: &[i64]| Array { shape: vec![values.len()], elements: Elements::I64(values.to_vec()) };
        let read = |arrays: &[(&str, Array)]| {
            let arrays: Vec<_> =
                arrays.iter().map(|(name, array)| ((*name).to_owned(), array.clone())).collect();
            npz::write(&path, &arrays).unwrap();
            load(&path, &ReadOptions::default())
        };
        for (image_name, label_name) in [("images", "labels"), ("x", "y"), ("arr_0", "arr_1"), ("mine", "y")]
        {
            let images = read(&[(label_name, labels(&[2, 0, 2])), (image_name, pixels.clone())]).unwrap();
            assert_eq!(images.pixels, Pixels::Bytes(vec![5, 6, 7]));
            assert_eq!((images.labels, images.class_names.len()), (Some(vec![2, 0, 2]), 0));
            let expected = format!("images are the array {image_name}, labels the array {label_name}");
            assert!(images.notes[0].contains(&expected), "{:?}", images.notes);
        }
        let images = read(&[("x", pixels.clone())]).unwrap();
        assert_eq!((images.labels, images.class_names.len()), (None, 0));
        for (arrays, parts) in [
            (vec![("x", pixels.clone()), ("y", labels(&[1, 2]))], ["a.npz: array y", "expected labels [3]"]),
            (vec![("x", pixels.clone()), ("y", labels(&[1, 2, -1]))], ["a.npz: array y", "found -1"]),
            (vec![("x", labels(&[1]))], ["a.npz: array x", "found I64 [1]"]),
            (vec![("a", pixels.clone()), ("b", pixels.clone())], ["a.npz: expected an array", "found a, b"]),
        ] {
            assert_says(&read(&arrays).unwrap_err().to_string(), &parts);
        }
    }
}
