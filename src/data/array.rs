//! Images in a NumPy array: floats [N, C, H, W] in [-1, 1] or bytes [N, H, W, C].

use std::path::Path;

use super::images::{Images, Pixels};
use crate::error::{Error, Result};
use crate::io::elements::{Array, Elements};
use crate::io::{npy, pack};

/// Reads the `.npy` file `path`.
///
/// # Errors
/// The errors of [`npy::read`], and those of [`images`] as [`Error::File`].
pub fn load(path: &Path) -> Result<Images> {
    images(npy::read(path)?, &path.display().to_string()).map_err(|message| Error::file(path, message))
}

/// The images in an array, with `name`.
///
/// # Errors
/// When the array has another rank or type, another number of channels than 1 or 3, no element, or a value that is not
/// finite.
pub fn images(array: Array, name: &str) -> Result<Images, String> {
    let Array { shape, elements } = array;
    let wrong = |type_name: &str| {
        format!(
            "expected images as F32 [N, C, H, W] or U8 [N, H, W, C], C being 1 or 3, found {type_name} {shape:?}"
        )
    };
    let &[count, a, b, c] = shape.as_slice() else { return Err(wrong(elements.type_name())) };
    let [height, width, channels] = match elements {
        Elements::U8(_) => [a, b, c],
        _ => [b, c, a],
    };
    if elements.is_empty() || (channels != 1 && channels != 3) {
        return Err(wrong(elements.type_name()));
    }
    let pixels = match elements {
        Elements::U8(bytes) => Pixels::Bytes(bytes),
        Elements::F32(values) => {
            check_finite(&values, height * width * channels)?;
            Pixels::Floats(pack::nchw_to_nhwc(&values, count, channels, height, width))
        }
        other => return Err(wrong(other.type_name())),
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

    #[test]
    fn floats_are_planar_and_bytes_interleaved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        let values: Vec<f32> = (0..12).map(|i| i as f32 / 12.0).collect();
        npy::write(&path, &[2, 3, 1, 2], &Elements::F32(values.to_vec())).unwrap();
        let images = load(&path).unwrap();
        assert_eq!((images.count, images.height, images.width, images.channels), (2, 1, 2, 3));
        let order = [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11];
        assert_eq!(images.pixels, Pixels::Floats(order.map(|i| values[i]).to_vec()));
        assert_eq!((images.name, images.labels), (path.display().to_string(), None));

        npy::write(&path, &[1, 2, 2, 1], &Elements::U8(vec![1, 2, 3, 255])).unwrap();
        let images = load(&path).unwrap();
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
            (Array { shape: vec![1, 1, 1, 1], elements: Elements::I64(vec![0]) }, "found I64 [1, 1, 1, 1]"),
            (four([0.0, 0.0, f32::NAN, f32::INFINITY]), "image 1 has the value NaN"),
            (four([0.0, f32::NEG_INFINITY, 0.0, 9.0]), "image 0 has the value -inf"),
        ] {
            let message = images(array, "").unwrap_err();
            assert!(message.contains(part) && message.lines().count() == 1, "{part:?} is not in {message:?}");
        }
    }

    #[test]
    fn messages_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        npy::write(&path, &[3], &Elements::F32(vec![0.0; 3])).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("a.npy: expected images"));
        std::fs::write(&path, "no array").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("a.npy: "));
    }
}
